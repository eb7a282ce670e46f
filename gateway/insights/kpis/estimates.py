"""From observations to one number, and how sure it is.

Intervals are at 95 %: Wilson's for shares, Student's t for means, by ranks for percentiles (Conover 1999, 3.2), of a
difference of two shares for net scores. What was counted in full, such as events or users, has none. A zero denominator
gives None, never 0; a count or sum of nothing is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import ceil, floor, sqrt

import numpy as np

from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Funnel,
    Nps,
    PropertyStatistic,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    StageMetric,
    Statistic,
    Sum,
    TimeBetween,
    UniqueUsers,
)
from gateway.insights.kernels.events import Flags, Floats, Longs, distinct
from gateway.insights.kernels.statistics import Z, margin_of_mean, nps, percentile, wilson

_SHARES: dict[Statistic, float] = {"median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` in the KPI's unit, `low` and `high` its 95 % interval, from `n` observations; `open` more cannot be
    judged yet. `reached`: of a funnel, how many did each step, open ones among them."""

    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    open: int = 0
    reached: tuple[int, ...] = ()


class Kind(Enum):
    """What is made of the observations."""

    COUNT = "COUNT"
    UNIQUES = "UNIQUES"
    SUM = "SUM"
    MEAN = "MEAN"
    PERCENTILE = "PERCENTILE"
    SHARE = "SHARE"
    NET = "NET"
    RATIO = "RATIO"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a KPI observes: columns of equal length n, one row per event, user, attempt, session or visit.

    `user`: codes. `value`: what was seen; of shares 1 and 0, of net scores 1, 0 and -1. `open`: cannot be judged yet,
    and has no value. `part`: the value of the breakdown, -1 without one; None where there is no breakdown. `steps`: of
    a funnel bool [n, steps], who did which. Of a ratio these are the rows of what is divided; `whole` is what it is
    divided by. `kind`: what is made of them, where the function does not say it but who observed (a plugin).
    """

    user: Longs
    value: Floats
    open: Flags
    part: Longs | None = None
    steps: Flags | None = None
    whole: Sample | None = None
    kind: Kind | None = None

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, user: Longs, value: Floats, part: Longs | None = None, open_: Flags | None = None) -> Sample:
        """Rows that are all judged, unless some are said to be open."""
        waiting = np.zeros(len(user), np.bool_) if open_ is None else open_
        return cls(user.astype(np.int64), value.astype(np.float64), waiting, part)

    def take(self, which: Flags | Longs) -> Sample:
        """Some of the rows; `whole` stays as it is."""
        part = None if self.part is None else self.part[which]
        steps = None if self.steps is None else self.steps[which]
        user, value, waiting = self.user[which], self.value[which], self.open[which]
        return replace(self, user=user, value=value, open=waiting, part=part, steps=steps)

    def only(self, value: int) -> Sample:
        """The rows with one value of the breakdown, on both sides of a ratio."""
        assert self.part is not None
        found = self.take(self.part == value)
        whole = None if self.whole is None else self.whole.only(value)
        return replace(found, whole=whole)


class Group(Enum):
    """People behind a number: who is counted in n; of shares those it is true of, and the others; who is open."""

    COUNTED = "COUNTED"
    HIT = "HIT"
    MISSED = "MISSED"
    OPEN = "OPEN"


def kind_of(function: Function) -> Kind:
    """What a function makes of its observations."""
    match function:
        case Count():
            return Kind.COUNT
        case UniqueUsers():
            return Kind.UNIQUES
        case Sum():
            return Kind.SUM
        case Ratio():
            return Kind.RATIO
        case Nps():
            return Kind.NET
        case Funnel() | Satisfied() | Retention() | Churn():
            return Kind.SHARE
        case Ces():
            return {"mean": Kind.MEAN, "percentEasy": Kind.SHARE, "index": Kind.NET}[function.method]
        case StageMetric(measure="users"):
            return Kind.UNIQUES
        case StageMetric(measure="time", statistic=statistic):
            return _of_statistic(statistic)
        case StageMetric():
            return Kind.SHARE
        case PropertyStatistic() | TimeBetween():
            return _of_statistic(function.statistic)
        case SessionLength() | EngagementDepth():
            return Kind.MEAN
        case _:
            raise ValueError(f"{type(function).__name__} has no observations.")


def kind_seen(function: Function, sample: Sample) -> Kind:
    """What is made of a sample of the function's."""
    return sample.kind or kind_of(function)


def _of_statistic(statistic: Statistic) -> Kind:
    return Kind.MEAN if statistic == "mean" else Kind.PERCENTILE


def estimate(function: Function, sample: Sample) -> Estimate:
    """The number that a function makes of a sample."""
    waiting = int(sample.open.sum())
    judged = sample.take(~sample.open) if waiting else sample
    reached = () if sample.steps is None else tuple(int(count) for count in sample.steps.sum(axis=0))
    found = _judged(function, judged)
    return Estimate(found.value, found.n, found.low, found.high, waiting, reached)


def _judged(function: Function, sample: Sample) -> Estimate:
    n = len(sample)
    match kind_seen(function, sample):
        case Kind.COUNT:
            return Estimate(float(n), n)
        case Kind.UNIQUES:
            users = len(distinct(sample.user))
            return Estimate(float(users), users)
        case Kind.SUM:
            return Estimate(float(sample.value.sum()), n)
        case Kind.MEAN:
            return _mean(sample.value, function)
        case Kind.PERCENTILE:
            return _percentile(sample.value, _SHARES[getattr(function, "statistic")])  # noqa: B009
        case Kind.SHARE:
            return _share(int(sample.value.sum()), n)
        case Kind.NET:
            return _net(sample.value)
        case Kind.RATIO:
            assert isinstance(function, Ratio)
            return _ratio(function, sample)


def _share(hits: int, n: int) -> Estimate:
    if not n:
        return Estimate()
    low, high = wilson(hits, n)
    return Estimate(100 * hits / n, n, 100 * low, 100 * high)


def _mean(values: Floats, function: Function) -> Estimate:
    """One observation has no interval; times, lengths and numbers of events are never below 0, scores are
    on their scale."""
    n = len(values)
    if not n:
        return Estimate()
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, n)
    margin = margin_of_mean(n, float(values.std(ddof=1)))
    low, high = mean - margin, mean + margin
    match function:
        case TimeBetween() | SessionLength() | EngagementDepth() | StageMetric():
            low = max(0.0, low)
        case Ces():
            low, high = max(function.lowest, low), min(function.highest, high)
    return Estimate(mean, n, low, high)


def _percentile(values: Floats, share: float) -> Estimate:
    """The interval lies between two ranks; without bounds where there are too few observations for such ranks."""
    n = len(values)
    if not n:
        return Estimate()
    margin = Z * sqrt(n * share * (1 - share))
    low, high = floor(n * share - margin), ceil(n * share + margin)
    ranked = np.sort(values)
    bounds = (float(ranked[low - 1]), float(ranked[high - 1])) if low >= 1 and high <= n else (None, None)
    return Estimate(percentile(values, share), n, *bounds)


def _net(values: Floats) -> Estimate:
    score = nps(int((values > 0).sum()), int((values < 0).sum()), len(values))
    if score.value is None or score.margin is None:
        return Estimate()
    return Estimate(
        score.value, score.n, max(-100.0, score.value - score.margin), min(100.0, score.value + score.margin)
    )


def _ratio(ratio: Ratio, sample: Sample) -> Estimate:
    """Only a part of what is counted is a share, and has its interval; more than the whole is none."""
    assert sample.whole is not None
    part, whole = _judged(ratio.part, sample), _judged(ratio.whole, sample.whole)
    return divided(ratio, part.value or 0.0, whole.value or 0.0, whole.n)


def divided(ratio: Ratio, part: float, whole: float, n: int) -> Estimate:
    """`part` by `whole`, which `n` observations make up."""
    if not whole:
        return Estimate(n=n)
    scale = 100 if ratio.percent else 1
    found = Estimate(scale * part / whole, n)
    alike = {Count, UniqueUsers} & {type(ratio.part)} & {type(ratio.whole)}
    if not alike or part > whole:
        return found
    low, high = wilson(int(part), int(whole))
    return Estimate(found.value, n, scale * low, scale * high)


def people(function: Function, sample: Sample, group: Group) -> Longs | None:
    """The users of a group, each once, ascending; None where the function knows no such group."""
    kind = kind_seen(function, sample)
    if group is Group.OPEN:
        return distinct(sample.user[sample.open])
    if kind is Kind.RATIO:
        assert sample.whole is not None
        part, whole = distinct(sample.user), distinct(sample.whole.user)
        return {Group.COUNTED: whole, Group.HIT: part}.get(group, np.setdiff1d(whole, part))
    judged = sample.take(~sample.open)
    if group is Group.COUNTED:
        return distinct(judged.user)
    if kind not in (Kind.SHARE, Kind.NET):
        return None
    good = judged.value > 0
    return distinct(judged.user[good if group is Group.HIT else (judged.value < 0 if kind is Kind.NET else ~good)])
