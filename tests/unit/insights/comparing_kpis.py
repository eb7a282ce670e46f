"""KPIs of every kind beside the oracle on one made-up population: where they differ, or None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np

from gateway.contract import Kpi, StageMetric, rules_of
from gateway.insights.asking import Gathered
from gateway.insights.columnar.users import Users
from gateway.insights.kernels.events import by_gap
from gateway.insights.kpis import estimates, evaluating
from gateway.insights.kpis.estimates import Group
from gateway.insights.kpis.ranges import TimeRange
from gateway.insights.kpis.samples import Seen, samples
from gateway.insights.kpis.stages import stage_samples
from gateway.store.stage_visits import RunRow
from tests.unit.insights.comparing import first_of
from tests.unit.insights.made import DAY, FAR, HOUR, NEAR, Population, difference, population
from tests.unit.insights.made_kpis import KINDS, NAMES, STATISTICS, VALUE
from tests.unit.insights.oracles import kpis, stages


def named(made: Population) -> Population:
    """Every event has a name: what is in no question is the last one."""
    for row in made.rows:
        row["code"] %= len(NAMES)
        row["name"] = NAMES[row["code"]]
    return Population(made.rows, made.zone, False)


def gathered(made: Population, function: Any) -> Gathered:
    events = made.events
    value = events.value
    assert value is not None
    codes = tuple((NAMES.index(rule.event),) for rule in rules_of(function))
    events = replace(events, value=None, session=None)
    events = replace(events, session=by_gap(events))
    return Gathered(events, codes, NAMES, (0, 1, 2), Users(), {VALUE: value})


def asked(name: str, function: Any) -> evaluating.KpiQuestion:
    kpi = Kpi("k", "?", "number", "higher", ("ux",), None, function)
    return evaluating.KpiQuestion(kpi=kpi, range=TimeRange("1d", DAY), by="p", most=1)


def compare_kpi(name: str, chance: Random) -> str | None:
    far = name in ("times", "retention", "churn")
    made = named(population(chance, gaps=FAR if far else NEAR, most=10 if far else 24))
    function, question = KINDS[name](chance)
    low, high = made.span
    as_of = high + chance.choice((0, HOUR, DAY, 4 * DAY, 40 * DAY))
    # One of them is when something happens.
    some = chance.choice(made.rows)["at"] if made.rows else low
    bounds = sorted({low + chance.choice((0, HOUR)), some, low + chance.choice((1, HOUR, DAY, 9 * DAY)), high + 1})
    if chance.random() < 0.4:
        bounds = [bounds[0], bounds[-1] + 1]
    seen = Seen(gathered(made, function), as_of, as_of + 1, made.zone)
    found = samples(function, seen, bounds)
    differences = []
    for sample, between in zip(found, pairwise(bounds), strict=True):
        expected = kpis.kpi(question, made.rows, between, as_of, made.zone)
        differences.append(difference(estimates.estimate(function, sample), expected, "value"))
        parted, _ = evaluating.sliced(asked(name, function), sample)
        told = [(one.value, one.estimate) for one in parted]
        differences.append(difference(told, kpis.slices(question, made.rows, between, as_of, made.zone, 1), "slices"))
        differences.append(_people(question, function, sample, made, between, as_of))
    return first_of(*differences)


def _people(question: Any, function: Any, sample: Any, made: Population, between: Any, as_of: int) -> str | None:
    if question["kind"] == "ratio":
        return None
    seen = kpis.observations(question, made.rows, between, as_of, made.zone)
    differences = []
    for group in Group:
        people = estimates.people(function, sample, group)
        if people is not None:
            differences.append(difference(people, kpis.people(question, seen, group.value), group.value))
    return first_of(*differences)


COMPARISONS: dict[str, Callable[[Random], str | None]] = {name: partial(compare_kpi, name) for name in KINDS}


ORDER = ["a", "b", "c"]


def made_runs(chance: Random) -> list[dict[str, Any]]:
    """Runs of a few users through three stages, forth and back."""
    runs = []
    for _ in range(chance.randint(0, 6)):
        at, status = chance.randint(0, 5) * 1000, chance.choice(("active", "completed", "abandoned"))
        started, visits = at, []
        for place in range(chance.randint(1, 4)):
            left: int | None = at + chance.choice((0, 1000, 5000))
            following = at + chance.choice((0, 1000, 5000))
            last = place == 3 or chance.random() < 0.3
            if last and status == "active":
                left = None
            visits.append((chance.choice(ORDER), at, left))
            at = following
            if last:
                break
        runs.append({"user": chance.randrange(3), "status": status, "started": started, "last": at, "visits": visits})
    return runs


def compare_stages(chance: Random) -> str | None:
    runs = made_runs(chance)
    measure: Any = chance.choice(("users", "conversion", "dropOff", "backTracks", "time"))
    which: Any = chance.choice(list(STATISTICS))
    stage = chance.choice([None, *ORDER])
    metric = StageMetric("m", stage, measure, which)
    bounds = sorted({0, chance.choice((1000, 3000)), 7000})
    users = Users(high=np.arange(1, 4, dtype=np.uint64), low=np.zeros(3, np.uint64))
    rows = [
        RunRow(f"{run['user'] + 1:016x}{0:016x}", run["status"], run["started"], run["last"], tuple(run["visits"]))
        for run in runs
    ]
    kind = {"users": "uniques", "time": "between"}.get(measure, "funnel")
    question = {"kind": kind, "statistic": STATISTICS[which]}
    found = stage_samples(metric, ORDER, rows, bounds, users)
    differences = []
    for sample, between in zip(found, pairwise(bounds), strict=True):
        seen = stages.observations(runs, ORDER, stage, measure, between)
        differences.append(difference(estimates.estimate(metric, sample), kpis.number(question, seen), "stage"))
        differences.append(
            difference(
                estimates.people(metric, sample, Group.COUNTED), kpis.people(question, seen, "COUNTED"), "people"
            )
        )
    return first_of(*differences)


COMPARISONS["stages"] = compare_stages
