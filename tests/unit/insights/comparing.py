"""Each kernel beside its oracle on one made-up population: where they differ, or None."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np

from gateway.insights.kernels.activity import customer_churn, lifecycle, stickiness, usage_churn
from gateway.insights.kernels.calendar import Calendar, Interval, Statistic, trend
from gateway.insights.kernels.events import Unit
from gateway.insights.kernels.follows import follows
from gateway.insights.kernels.friction import Visits, friction
from gateway.insights.kernels.funnel import Attribution, Breakdown, Outcome, funnel
from gateway.insights.kernels.paths import Direction, PathQuestion, paths
from gateway.insights.kernels.retention import Clock, Retained, RetentionQuestion, retention
from gateway.insights.kernels.sessions import TimeOnPage, session_stats, time_on_page
from gateway.insights.kernels.variants import variants
from tests.unit.insights.made import (
    DAY,
    FAR,
    HOUR,
    MINUTE,
    asked,
    difference,
    funnel_question,
    population,
    some_codes,
)
from tests.unit.insights.oracles import frictions, funnels, periods, sequences


def first_of(*differences: str | None) -> str | None:
    return next((one for one in differences if one), None)


def compare_funnel(chance: Random) -> str | None:
    made = population(chance)
    question = funnel_question(chance, made.span)
    step = chance.randrange(len(question["steps"]))
    breakdown = Breakdown(chance.choice(list(Attribution)), step, chance.randint(0, 3))
    answer = funnel(made.plain, asked(question), breakdown)
    found = funnels.attempts(question, made.rows, own_sessions=made.own_sessions)
    constant = breakdown.attribution is Attribution.ALL
    apart = funnels.attempts(question, made.rows, own_sessions=made.own_sessions, constant=constant)
    by_value = funnels.by_value(question, apart, breakdown.attribution.value, breakdown.step, breakdown.most)
    steps = range(len(question["steps"]))
    people = [answer.attempts.people(answer.attempts.reached(step)) for step in steps]
    of_outcome = [answer.attempts.people(answer.attempts.ended(outcome)) for outcome in Outcome]
    return first_of(
        difference(answer.funnel, funnels.summary(question, found)),
        difference(people, [funnels.people(found, step) for step in steps], "people"),
        difference(
            of_outcome,
            [sorted({one["user"] for one in found if one["outcome"] == outcome.name}) for outcome in Outcome],
            "outcomes",
        ),
        difference([list(pair) for pair in answer.by_value], [list(pair) for pair in by_value], "by value"),
    )


def compare_paths(chance: Random) -> str | None:
    made = population(chance)
    anchor = some_codes(chance) if chance.random() < 0.7 else ()
    question: dict[str, Any] = {
        "anchor": anchor,
        "direction": chance.choice(("FROM", "TO")),
        "depth": chance.randint(1, 4),
        "most": chance.randint(1, 3),
        "unit": chance.choice(("USER", "SESSION")),
        "totals": bool(anchor) and chance.random() < 0.5,
        "collapse": chance.random() < 0.5,
        "window": chance.choice((None, MINUTE, HOUR)),
    }
    answer = paths(
        made.plain,
        PathQuestion(
            anchor=anchor,
            direction=Direction(question["direction"]),
            depth=question["depth"],
            most=question["most"],
            unit=Unit(question["unit"]),
            totals=question["totals"],
            collapse=question["collapse"],
            window_ms=question["window"],
        ),
    )
    expected = sequences.paths(made.rows, question, own_sessions=made.own_sessions)
    nodes, users = expected.pop("paths"), expected.pop("users")
    people = [answer.people(link.column, link.source, link.to) for link in answer.links]
    of_links = [
        sorted({user for path, user in zip(nodes, users, strict=True) if path[at : at + 2] == [link.source, link.to]})
        for link in answer.links
        for at in (link.column,)
    ]
    return first_of(difference(answer, expected), difference(people, of_links, "people"))


def compare_variants(chance: Random) -> str | None:
    made = population(chance, most=8)
    unit, collapse, most = chance.choice(list(Unit)), chance.random() < 0.5, chance.randint(1, 9)
    answer = variants(made.plain, unit, collapse=collapse, most=most)
    expected = sequences.variants(made.rows, unit.value, collapse=collapse, most=most, own_sessions=made.own_sessions)
    people = expected.pop("people")
    found = [answer.people(place) for place in range(answer.distinct)]
    return first_of(difference(answer, expected), difference(found, people, "people"))


def compare_follows(chance: Random) -> str | None:
    made, unit = population(chance), chance.choice(list(Unit))
    answer = follows(made.plain, unit)
    expected = sequences.follows(made.rows, unit.value, own_sessions=made.own_sessions)
    people = expected.pop("people")
    found = {pair: answer.people(*pair) for pair in people}
    return first_of(difference(answer, expected), difference(found, people, "people"))


def compare_sessions(chance: Random) -> str | None:
    made = population(chance, most=8)
    views, keys, pings, method = (0, 1), (2,), (3, 4), chance.choice(list(TimeOnPage))
    answer = session_stats(made.plain, views, keys)
    times = time_on_page(made.plain, views, method, pings=pings)
    return first_of(
        difference(answer, sequences.session_stats(made.rows, views, keys, own_sessions=made.own_sessions)),
        difference(
            times.pages,
            sequences.time_on_page(made.rows, views, pings, method.value, own_sessions=made.own_sessions),
            "time on page",
        ),
    )


def compare_trend(chance: Random) -> str | None:
    made = population(chance, gaps=FAR)
    interval = chance.choice((Interval.DAY, Interval.WEEK, Interval.MONTH))
    statistic, codes, fraction = chance.choice(list(Statistic)), some_codes(chance), chance.choice((0.0, 0.5, 0.9, 1.0))
    span, as_of = made.span, made.span[1] + chance.choice((0, DAY))
    between = (span[0] + chance.choice((0, DAY)), span[1] + DAY)
    calendar = Calendar.covering(made.zone, interval, *between)
    answer = trend(made.events, codes, calendar, as_of, statistic, fraction)
    expected = periods.trend(made.rows, codes, between, made.zone, interval.value, as_of, statistic.value, fraction)
    found = [(point, answer.people(place)) for place, point in enumerate(answer.points)]
    return difference(found, expected)


def compare_retention(chance: Random) -> str | None:
    made = population(chance, gaps=FAR)
    kind, buckets = chance.choice(list(Retained)), chance.randint(1, 4)
    span = made.span
    question: dict[str, Any] = {
        "start": some_codes(chance),
        "back": some_codes(chance),
        "between": (span[0] + chance.choice((0, 0, HOUR)), span[0] + chance.choice((DAY, 5 * DAY, 30 * DAY))),
        "as_of": span[1] + chance.choice((0, DAY, 3 * DAY)),
        "interval": chance.choice(("DAY", "DAY", "WEEK", "MONTH")),
        "buckets": buckets,
        "kind": kind.value,
        "clock": chance.choice(list(Clock)).value,
        "first_ever": chance.random() < 0.5,
        "brackets": ((0, 0), (1, buckets), (buckets, buckets)) if kind is Retained.BRACKET else (),
    }
    kinds = {"interval": Interval(question["interval"]), "kind": kind, "clock": Clock(question["clock"])}
    answer = retention(made.plain, RetentionQuestion(**question | kinds, zone=made.zone))
    expected = periods.retention(made.rows, question | {"zone": made.zone})
    rows = expected.pop("rows")
    columns = range(len(expected["average"]))
    people = [sorted({user for user, held in rows if held[column]}) for column in columns]
    found = [answer.people(column=column) for column in columns]
    return first_of(difference(answer, expected), difference(found, people, "people"))


def compare_activity(chance: Random) -> str | None:
    made = population(chance, gaps=FAR)
    interval, codes = chance.choice((Interval.DAY, Interval.WEEK)), some_codes(chance)
    span, as_of = made.span, made.span[1] + chance.choice((0, DAY, 4 * DAY))
    between = (span[0] - DAY, span[1] + DAY)
    calendar = Calendar.covering(made.zone, interval, *between)
    phases = lifecycle(made.events, codes, calendar, as_of)
    told = [
        {"start": point.start, "end": point.end, "complete": point.complete}
        | {name: getattr(phases, name)[place] for name in ("new", "returning", "resurrecting", "dormant")}
        for place, point in enumerate(phases.points)
    ]
    period = (span[0] + HOUR, span[0] + chance.choice((DAY, 3 * DAY)))
    inactive = chance.choice((DAY, 2 * DAY))
    joins, leaves = (0, 1), (2,)
    return first_of(
        difference(
            stickiness(made.events, codes, calendar),
            periods.stickiness(made.rows, codes, between, made.zone, interval.value),
        ),
        difference(told, periods.lifecycle(made.rows, codes, between, made.zone, interval.value, as_of), "lifecycle"),
        difference(
            customer_churn(made.events, joins, leaves, period),
            periods.customer_churn(made.rows, joins, leaves, period),
            "customers",
        ),
        difference(
            usage_churn(made.events, codes, period, inactive, as_of),
            periods.usage_churn(made.rows, codes, period, inactive, as_of),
            "usage",
        ),
    )


def compare_friction(chance: Random) -> str | None:
    made = population(chance)
    visits: list[dict[str, Any]] = []
    for user in range(3):
        at = made.span[0] + chance.choice((0, MINUTE))
        for run in range(chance.randint(0, 3)):
            status, last = chance.randint(0, 2), chance.randint(1, 4)
            for place in range(last):
                left = at + chance.choice((0, 1000, MINUTE, HOUR))
                lasts = place == last - 1 and status == 0
                visits.append(
                    {
                        "user": user,
                        "run": run,
                        "stage": chance.randint(0, 2),
                        "entered": at,
                        "left": -1 if lasts else left,
                        "status": status,
                    }
                )
                at = left + chance.choice((0, 0, 1000))
    names = ("user", "run", "stage", "entered", "left", "status")
    columns = [np.array([visit[name] for visit in visits], np.int64) for name in names]
    answer = friction(made.events, Visits(*columns), 3, errors=(0,), scores=(1, 2), low=2.0)
    return difference(answer.stages, frictions.friction(made.rows, visits, 3, (0,), (1, 2), 2.0))


COMPARISONS = {
    "funnel": compare_funnel,
    "paths": compare_paths,
    "variants": compare_variants,
    "follows": compare_follows,
    "sessions": compare_sessions,
    "trend": compare_trend,
    "retention": compare_retention,
    "activity": compare_activity,
    "friction": compare_friction,
}
