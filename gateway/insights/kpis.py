"""KPIs: one definition, one number, with its uncertainty.

Shares are percentages (0 to 100) with the Wilson score interval, means come with Student's t interval, both at 95 %.
Formulas: Wilson 1927 as in Agresti & Coull 1998; a funnel takes each user's best attempt, the window is counted from
the attempt's first step and includes its end. A zero denominator gives None, never 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.contract import Funnel, FunnelStep, Kpi, KpiStatus, Satisfied, SessionLength
from gateway.insights.kernels.statistics import margin_of_mean, wilson
from gateway.model.scope import Scope
from gateway.store.measures import Measures


@dataclass(frozen=True, slots=True)
class KpiStep:
    """One step of a funnel and how many users reached it."""

    key: str
    label: str
    users: int


@dataclass(frozen=True, slots=True)
class KpiPoint:
    """The KPI over one part [start, end) of a range, in milliseconds."""

    start: int
    end: int
    value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class KpiValue:
    """The KPI over a range: `value` in the KPI's unit, `low` and `high` its 95 % interval, from `n` observations.

    `open` are users of a funnel who still have time to convert; `n` is without them, `steps` are with them.
    """

    value: float | None
    n: int
    low: float | None
    high: float | None
    as_of: int
    definition: str
    steps: tuple[KpiStep, ...] = ()
    open: int = 0


@dataclass(frozen=True, slots=True)
class _Estimate:
    value: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    steps: tuple[KpiStep, ...] = ()
    open: int = 0


def status(kpi: Kpi) -> KpiStatus:
    """Whether this gateway can compute the KPI: the function, as it is written."""
    match kpi.function:
        case Funnel(steps, window) as funnel:
            plain = Funnel(tuple(FunnelStep(step.key, step.label, step.rule) for step in steps), window)
            known = funnel == plain
        case function:
            known = isinstance(function, Satisfied | SessionLength)
    return KpiStatus.LIVE if known and not kpi.filters else KpiStatus.PLANNED


async def evaluate(measures: Measures, scope: Scope, kpi: Kpi, between: tuple[int, int], as_of: int) -> KpiValue:
    """The KPI over [start, end) milliseconds, as the events stored now say. Raises Unavailable when that takes too
    long. A planned KPI has no value."""
    (one,) = await _estimates(measures, scope, kpi, list(between), as_of)
    return KpiValue(one.value, one.n, one.low, one.high, as_of, kpi.definition, one.steps, one.open)


async def series(
    measures: Measures, scope: Scope, kpi: Kpi, between: tuple[int, int], points: int, as_of: int
) -> list[KpiPoint]:
    """The KPI over each of `points` equal parts of [start, end). Raises Unavailable when it takes too long."""
    start, end = between
    bounds = sorted({start + (end - start) * part // points for part in range(points + 1)})
    parts = await _estimates(measures, scope, kpi, bounds, as_of)
    return [KpiPoint(low, high, part.value, part.n) for low, high, part in zip(bounds, bounds[1:], parts, strict=False)]


async def _estimates(measures: Measures, scope: Scope, kpi: Kpi, bounds: list[int], as_of: int) -> Sequence[_Estimate]:
    """One estimate for each part between two bounds."""
    if status(kpi) is KpiStatus.PLANNED:
        return [_Estimate()] * (len(bounds) - 1)
    async with measures.turn:
        match kpi.function:
            case Funnel() as funnel:
                return await _funnels(measures, scope, funnel, bounds, as_of)
            case Satisfied() as satisfied:
                return await _satisfied(measures, scope, satisfied, bounds)
            case _:
                lengths = await measures.session_lengths(scope, bounds)
                return [_mean(*lengths.get(start, (0, 0.0, 0.0))) for start in bounds[:-1]]


# -- funnels ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Attempts:
    """One user's way through a funnel: by step, when the latest attempt that reached it began (ms)."""

    begun: list[int] = field(default_factory=list)

    def advance(self, steps: Sequence[int], at: int, window: int | None) -> None:
        """An event that matches `steps`; the last one first, so that one event is not two steps of an attempt."""
        for step in reversed(steps):
            if step == 0 or step > len(self.begun):
                continue
            start = self.begun[step - 1]
            if window is None or at - start <= window:
                self.begun[step : step + 1] = [start]

    def begin(self, at: int) -> None:
        self.begun[0:1] = [at]


async def _funnels(measures: Measures, scope: Scope, funnel: Funnel, bounds: list[int], as_of: int) -> list[_Estimate]:
    """An attempt belongs to the part of the range in which it began; its later steps may lie beyond."""
    window = None if funnel.window is None else funnel.window // timedelta(milliseconds=1)
    horizon = max(bounds[-1], as_of + 1) if window is None else bounds[-1] + window + 1
    names = {step.rule.event for step in funnel.steps}
    paths = {condition.property for step in funnel.steps for condition in step.rule.where}
    parts: list[dict[str, _Attempts]] = [{} for _ in bounds[:-1]]
    users: dict[str, str] = {}
    async for page in measures.occurrences(scope, names, (bounds[0], horizon), paths):
        users |= await measures.users_of(scope, {event.sk for event in page} - users.keys())
        for event in page:
            steps = [
                index for index, step in enumerate(funnel.steps) if step.rule.matches(event.name, event.properties)
            ]
            # An identity whose first event is being derived this moment is a user of its own.
            user = users.get(event.sk, event.sk)
            for part in parts:
                if attempts := part.get(user):
                    attempts.advance(steps, event.at, window)
            if 0 in steps and event.at < bounds[-1]:
                parts[bisect_right(bounds, event.at) - 1].setdefault(user, _Attempts()).begin(event.at)
    return [_converted(funnel, part.values(), as_of, window) for part in parts]


def _converted(funnel: Funnel, users: Collection[_Attempts], as_of: int, window: int | None) -> _Estimate:
    depths = Counter(len(attempts.begun) for attempts in users)
    goal = len(funnel.steps)
    reached = [sum(count for depth, count in depths.items() if depth > index) for index in range(goal)]
    still_open = 0
    if window is not None:
        still_open = sum(len(one.begun) < goal and as_of - one.begun[0] <= window for one in users)
    steps = tuple(KpiStep(step.key, step.label, count) for step, count in zip(funnel.steps, reached, strict=True))
    return _share(reached[-1], len(users) - still_open, steps, still_open)


# -- answers, shares and means ------------------------------------------------------------------------------------


async def _satisfied(measures: Measures, scope: Scope, satisfied: Satisfied, bounds: list[int]) -> list[_Estimate]:
    paths = {satisfied.property, *(condition.property for condition in satisfied.rule.where)}
    answers = [0] * (len(bounds) - 1)
    good = [0] * (len(bounds) - 1)
    async for page in measures.occurrences(scope, {satisfied.rule.event}, (bounds[0], bounds[-1]), paths):
        for event in page:
            if not satisfied.rule.matches(event.name, event.properties):
                continue
            answer = satisfied.answer(event.properties)
            if answer is not None:
                part = bisect_right(bounds, event.at) - 1
                answers[part] += 1
                good[part] += answer >= satisfied.at_least
    return [_share(hits, n) for hits, n in zip(good, answers, strict=True)]


def _share(hits: int, n: int, steps: tuple[KpiStep, ...] = (), still_open: int = 0) -> _Estimate:
    if not n:
        return _Estimate(steps=steps, open=still_open)
    low, high = wilson(hits, n)
    return _Estimate(100 * hits / n, n, 100 * low, 100 * high, steps, still_open)


def _mean(n: int, mean_ms: float, deviation_ms: float) -> _Estimate:
    """Of lengths, in seconds: never below 0. One observation has no interval."""
    if not n:
        return _Estimate()
    mean = mean_ms / 1000
    if n == 1:
        return _Estimate(mean, n)
    margin = margin_of_mean(n, deviation_ms / 1000)
    return _Estimate(mean, n, max(0.0, mean - margin), mean + margin)
