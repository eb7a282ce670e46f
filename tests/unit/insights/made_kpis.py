"""KPIs of every kind made from a source of chance: as the contract has them, and as the oracle does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

from gateway.contract import EventRule, Funnel, FunnelStep
from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Nps,
    PropertyStatistic,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    Sum,
    TimeBetween,
    UniqueUsers,
)
from tests.unit.insights.made import DAY, HOUR, MINUTE

NAMES = tuple(f"e{code}" for code in range(6))
VALUE = "v"
STATISTICS: dict[Any, float | str] = {"mean": "mean", "median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}

Made = tuple[Function, dict[str, Any]]


def rule(name: str) -> EventRule:
    return EventRule("k", name)


def rules(names: Sequence[str]) -> tuple[EventRule, ...]:
    return tuple(rule(name) for name in names)


def some(chance: Random, most: int = 2) -> list[str]:
    return chance.sample(NAMES, chance.randint(1, most))


def quantity(chance: Random) -> tuple[Any, dict[str, Any]]:
    names = some(chance)
    match chance.choice(("count", "uniques", "sum")):
        case "count":
            return Count(rules(names)), {"kind": "count", "names": names}
        case "uniques":
            return UniqueUsers(rules(names)), {"kind": "uniques", "names": names}
        case _:
            return Sum(rule(names[0]), VALUE), {"kind": "sum", "names": names[:1]}


def ratio(chance: Random) -> Made:
    part, whole = quantity(chance), quantity(chance)
    if chance.random() < 0.5:  # so that shares are common
        names = some(chance, 3)
        kind, word = chance.choice(((Count, "count"), (UniqueUsers, "uniques")))
        part = kind(rules(names[:1])), {"kind": word, "names": names[:1]}
        whole = kind(rules(names)), {"kind": word, "names": names}
    percent = chance.random() < 0.7
    return Ratio(part[0], whole[0], percent), {
        "kind": "ratio", "part": part[1], "whole": whole[1], "percent": percent,
    }  # fmt: skip


def statistic(chance: Random) -> Made:
    name, which = chance.choice(NAMES), chance.choice(list(STATISTICS))
    said = {"kind": "statistic", "names": [name], "statistic": STATISTICS[which]}
    return PropertyStatistic(rule(name), VALUE, which), said


def answers(chance: Random) -> Made:
    name = chance.choice(NAMES)
    lowest, highest = chance.choice(((1.0, 7.0), (1.0, 5.0), (0.0, 10.0), (0.0, 4.0)))
    scale = {"names": [name], "lowest": lowest, "highest": highest}
    match chance.choice(("satisfied", "nps", "score", "easy", "index")):
        case "satisfied":
            at_least = chance.choice((1.0, 2.0, 4.0))
            return Satisfied(rule(name), VALUE, at_least, lowest, highest), {
                "kind": "satisfied", "at_least": at_least, **scale,
            }  # fmt: skip
        case "nps":
            return Nps(rule(name), VALUE), {"kind": "nps", "names": [name], "lowest": 0, "highest": 10}
        case kind:
            method: Any = {"score": "mean", "easy": "percentEasy", "index": "index"}[kind]
            direction: Any = chance.choice(("highIsEasy", "lowIsEasy"))
            said = {"kind": kind, "low_is_easy": direction == "lowIsEasy", **scale}
            return Ces(rule(name), VALUE, method, direction, lowest, highest), said


def of_sessions(chance: Random) -> Made:
    if chance.random() < 0.4:
        return SessionLength(), {"kind": "length"}
    names = some(chance, 4)
    return EngagementDepth(rules(names)), {"kind": "depth", "names": names}


def time_between(chance: Random) -> Made:
    start = None if chance.random() < 0.4 else chance.choice(NAMES)
    end, which = chance.choice(NAMES), chance.choice(list(STATISTICS))
    limit = chance.choice((None, MINUTE, HOUR, DAY, 2 * DAY))
    function = TimeBetween(
        rule(end),
        None if start is None else rule(start),
        which,
        None if limit is None else timedelta(milliseconds=limit),
    )
    return function, {
        "kind": "between",
        "start": None if start is None else [start],
        "end": [end],
        "within": limit,
        "statistic": STATISTICS[which],
    }


def retention(chance: Random) -> Made:
    start, back = (None if chance.random() < 0.5 else chance.choice(NAMES) for _ in range(2))
    period: Any = chance.choice(("day", "day", "week", "month"))
    kind: Any = chance.choice(("n_day", "unbounded"))
    bucket: Any = chance.choice(("rolling", "calendar"))
    after = chance.randint(1, 3)
    function = Retention(
        None if start is None else rule(start), None if back is None else rule(back), period, after, kind, bucket
    )
    return function, {
        "kind": "retention",
        "start": None if start is None else [start],
        "back": None if back is None else [back],
        "period": period.upper(),
        "after": after,
        "unbounded": kind == "unbounded",
        "bucket": bucket,
    }


def churn(chance: Random) -> Made:
    name = None if chance.random() < 0.4 else chance.choice(NAMES)
    quiet = chance.choice((DAY, 2 * DAY, 7 * DAY))
    return Churn(None if name is None else rule(name), timedelta(milliseconds=quiet)), {
        "kind": "churn", "names": None if name is None else [name], "quiet": quiet,
    }  # fmt: skip


def funnel(chance: Random) -> Made:
    order: Any = chance.choice(("ordered", "ordered", "strict", "any"))
    attempt: Any = chance.choice(("best", "first"))
    counting: Any = chance.choice(("users", "users", "totals", "sessions"))
    length = chance.randint(2, 4)
    names = [chance.choice(NAMES) for _ in range(length)]
    optional = [order != "any" and 0 < place < length - 1 and chance.random() < 0.3 for place in range(length)]
    exclude = some(chance) if order != "strict" and chance.random() < 0.4 else []
    tolerance = 0 if order == "strict" else chance.choice((0, 0, 1000, 2000))
    window = chance.choice((None, 1000, MINUTE, HOUR))
    steps = tuple(
        FunnelStep(f"s{place}", name, rule(name), skipped)
        for place, (name, skipped) in enumerate(zip(names, optional, strict=True))
    )
    limit = None if window is None else timedelta(milliseconds=window)
    function = Funnel(steps, limit, order, attempt, rules(exclude), tolerance, counting)
    codes = [((NAMES.index(name),), skipped) for name, skipped in zip(names, optional, strict=True)]
    said = {
        "steps": codes,
        "window": window,
        "order": {"ordered": "ORDERED", "strict": "STRICT", "any": "ANY_ORDER"}[order],
        "re_entry": {"best": "BEST_ATTEMPT", "first": "FIRST_TOUCH"}[attempt],
        "counting": {"users": "UNIQUES", "totals": "TOTALS", "sessions": "SESSIONS"}[counting],
        "exclusions": [((NAMES.index(name),), 0, length - 1) for name in exclude],
        "tolerance": tolerance,
    }
    return function, {"kind": "funnel", "funnel": said}


KINDS = {
    "quantities": quantity,
    "ratios": ratio,
    "statistics": statistic,
    "answers": answers,
    "sessions": of_sessions,
    "times": time_between,
    "retention": retention,
    "churn": churn,
    "funnels": funnel,
}
