"""What KPIs may compute: each function is read from its file, says what it counts, and has a hash of its own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.contract import (
    Ces,
    Churn,
    Condition,
    Count,
    EngagementDepth,
    EventRule,
    Function,
    Funnel,
    Kpi,
    KpiStatus,
    Nps,
    Planned,
    PropertyStatistic,
    Ratio,
    Retention,
    StageMetric,
    Sum,
    Thresholds,
    TimeBetween,
    UniqueUsers,
    load_texts,
    rules_of,
)
from gateway.contract.functions import PluginFunction
from gateway.errors import ContractError
from gateway.insights.kpis.evaluating import status
from tests.unit.contract.acme import JOURNEY

FILE = """\
key: k
question: How much?
unit: {unit}
better: higher
owners: [ux]
function:
  {function}
"""


def kpi(function: str, unit: str = "percent", more: str = "") -> Kpi:
    text = FILE.format(unit=unit, function=function) + more
    return load_texts("acme", {"kpis/k.yaml": text, "journeys/trial.yaml": JOURNEY}).kpis["k"]


def problem(function: str, unit: str = "percent", more: str = "") -> str:
    with pytest.raises(ContractError) as refused:
        kpi(function, unit, more)
    (only,) = refused.value.problems
    return only


A, B = EventRule("k.x", "A"), EventRule("k.x", "B")


@pytest.mark.parametrize(
    ("text", "unit", "function", "words"),
    [
        (
            "count: {events: [{event: A}, {event: B, where: [{property: p, gte: 1}]}]}",
            "events",
            Count(
                (EventRule("k.count.events[0]", "A"), EventRule("k.count.events[1]", "B", (Condition("p", "gte", 1),)))
            ),
            'The number of events "A" or "B" where "p" is at least 1 in the range.',
        ),
        (
            "uniqueUsers: {events: [{event: A}]}",
            "users",
            UniqueUsers((EventRule("k.uniqueUsers.events[0]", "A"),)),
            'The number of unique users with "A" in the range.',
        ),
        (
            "sum: {event: A, property: cart.value}",
            "currency",
            Sum(EventRule("k.sum", "A"), "cart.value"),
            'The sum of "cart.value" over the events "A" in the range.',
        ),
        (
            "ratio: {part: {uniqueUsers: {events: [{event: A}]}}, whole: {uniqueUsers: {events: [{event: B}]}}}",
            "percent",
            Ratio(
                UniqueUsers((EventRule("k.ratio.part.events[0]", "A"),)),
                UniqueUsers((EventRule("k.ratio.whole.events[0]", "B"),)),
            ),
            '100 times the number of unique users with "A", divided by the number of unique users with "B", both in '
            "the range; null when the latter is 0.",
        ),
        (
            "ratio: {part: {sum: {event: A, property: v}}, whole: {count: {events: [{event: A}]}}}",
            "currency",
            Ratio(
                Sum(EventRule("k.ratio.part", "A"), "v"),
                Count((EventRule("k.ratio.whole.events[0]", "A"),)),
                percent=False,
            ),
            'The sum of "v" over the events "A", divided by the number of events "A", both in the range; null when the '
            "latter is 0.",
        ),
        (
            "mean: {event: A, property: v}",
            "number",
            PropertyStatistic(EventRule("k.mean", "A"), "v", "mean"),
            "The mean",
        ),
        (
            "percentile: {event: A, property: v, statistic: p90}",
            "seconds",
            PropertyStatistic(EventRule("k.percentile", "A"), "v", "p90"),
            'The 90th percentile of "v" over the events "A" in the range, every event counting once',
        ),
        (
            "timeBetween: {to: {event: B}, statistic: median, within: 30d}",
            "seconds",
            TimeBetween(EventRule("k.timeBetween.to", "B"), None, "median", timedelta(days=30)),
            "The median of the seconds from their first event ever, which was in the range, to the first "
            '"B" after it, at most 30 days later',
        ),
        (
            "timeBetween: {from: {event: A}, to: {event: B}, statistic: mean}",
            "seconds",
            TimeBetween(EventRule("k.timeBetween.to", "B"), EventRule("k.timeBetween.from", "A"), "mean"),
            'from their first "A" in the range, to the first "B" after it, each user',
        ),
        (
            "retention: {period: week, after: 4}",
            "percent",
            Retention(None, None, "week", 4),
            "whose first event ever was in the range, the percentage with any event in week 4, counted in 7 days from "
            "that moment",
        ),
        (
            "retention: {start: {event: A}, back: {event: B}, period: day, after: 1, kind: unbounded, "
            "bucket: calendar}",
            "percent",
            Retention(
                EventRule("k.retention.start", "A"),
                EventRule("k.retention.back", "B"),
                "day",
                1,
                "unbounded",
                "calendar",
            ),
            'first "A" was in the range, the percentage with "B" in day 1 or any later, counted in the days of the '
            "calendar, the one of that moment being day 0",
        ),
        ("churn: {quiet: 60d}", "percent", Churn(None, timedelta(days=60)), "no such event in the 60 days after"),
        (
            "churn: {event: A, quiet: 60d}",
            "percent",
            Churn(EventRule("k.churn", "A"), timedelta(days=60)),
            'Of the unique users with "A" in the range, the percentage who had no such event',
        ),
        (
            "stage: {map: trial, stage: signup, measure: dropOff}",
            "percent",
            StageMetric("trial", "signup", "dropOff"),
            'Of the visits of the stage "signup" of the journey map "trial" begun in the range, the percentage at '
            "whose end the run was abandoned",
        ),
        (
            "stage: {map: trial, measure: time, statistic: p75}",
            "seconds",
            StageMetric("trial", None, "time", "p75"),
            "The 75th percentile of the seconds from the first to the last event of the runs",
        ),
        (
            "nps: {event: A, property: score}",
            "points",
            Nps(EventRule("k.nps", "A"), "score"),
            'Of the answers in the range (events "A" where "score" is a number from 0 to 10), the percentage of 9 and '
            "10 minus the percentage of 0 to 6, not rounded",
        ),
        (
            "ces: {event: A, property: score}",
            "score",
            Ces(EventRule("k.ces", "A"), "score"),
            "a number from 1 to 7), the mean, where 7 is easiest",
        ),
        (
            "ces: {event: A, property: score, method: percentEasy, direction: lowIsEasy, highest: 5}",
            "percent",
            Ces(EventRule("k.ces", "A"), "score", "percentEasy", "lowIsEasy", 1, 5),
            "a number from 1 to 5), the percentage with at most 2.33, where 1 is easiest",
        ),
        (
            "engagementDepth: {events: [{event: A}, {event: B}]}",
            "events",
            EngagementDepth(
                (EventRule("k.engagementDepth.events[0]", "A"), EventRule("k.engagementDepth.events[1]", "B"))
            ),
            'The mean number of different events per session that began in the range, counting only "A" or "B"',
        ),
        (
            "plugin: {name: acme.gaps, events: [{event: A}, {event: B}], property: total, parameters: {b: 1, a: [x]}}",
            "number",
            PluginFunction(
                "acme.gaps",
                (EventRule("k.plugin.events[0]", "A"), EventRule("k.plugin.events[1]", "B")),
                "total",
                {"a": ["x"], "b": 1},
            ),
            'What the function "acme.gaps" of a plugin, with the parameters {"a":["x"],"b":1} makes of each unique '
            'user\'s events "A" or "B" in the range that have a number in "total": one number per user',
        ),
        (
            "planned: {words: How often people smile.}",
            "number",
            Planned("How often people smile."),
            "Planned, not computed yet: How often people smile.",
        ),
    ],
)
def test_a_function_is_read_and_says_what_it_counts(text: str, unit: str, function: Function, words: str) -> None:
    read = kpi(text, unit)
    assert read.function == function
    assert words in read.definition
    assert {rule.event for rule in rules_of(function)} <= {"A", "B"}
    assert status(read) is (KpiStatus.PLANNED if isinstance(function, Planned) else KpiStatus.LIVE)


def test_every_function_has_a_hash_of_its_own() -> None:
    functions: list[Function] = [
        Count((A,)),
        UniqueUsers((A,)),
        EngagementDepth((A,)),
        Count((A, B)),
        Sum(A, "v"),
        PropertyStatistic(A, "v", "mean"),
        PropertyStatistic(A, "v", "p90"),
        Ratio(Count((A,)), Count((B,))),
        Ratio(Count((A,)), Count((B,)), percent=False),
        Ratio(UniqueUsers((A,)), Count((B,))),
        Ratio(UniqueUsers((A,)), UniqueUsers((B,))),
        TimeBetween(A, None, "mean"),
        TimeBetween(A, B, "mean"),
        Retention(None, A, "day", 1),
        Retention(A, None, "day", 1),
        Retention(A, None, "day", 1, "unbounded"),
        Churn(A, timedelta(days=1)),
        Churn(None, timedelta(days=1)),
        StageMetric("m", None, "time"),
        StageMetric("m", "s", "time"),
        Nps(A, "v"),
        Ces(A, "v"),
        Ces(A, "v", "index"),
        Ces(A, "v", direction="lowIsEasy"),
        Planned("a"),
    ]
    hashes = {Kpi("k", "?", "number", "higher", ("ux",), None, function).hash for function in functions}
    assert len(hashes) == len(functions)


STEPS = "steps: [{key: a, label: A, event: A}, {key: b, label: B, event: B%s}, {key: c, label: C, event: C}]"


@pytest.mark.parametrize(
    ("said", "optional", "words"),
    [
        ("", "", "in this order, with any other events in between"),
        (", order: strict", "", "in this order, with no other event in between"),
        (
            ", order: any",
            "",
            '"A" or "B" or "C" in the range, the percentage who had all of "A", "B", "C", in any order',
        ),
        (", attempt: first", "", "with their first attempt"),
        (", exclude: [{event: X}]", "", '"X" in between ends the attempt'),
        (", toleranceMs: 2000", "", "events up to 2000 ms apart may stand in any order"),
        (", counting: sessions", "", "all within one session, each session counts once"),
        ("", ", optional: true", '"B" (may be skipped)'),
    ],
)
def test_each_way_to_count_a_funnel_is_said_hashed_and_computed(said: str, optional: str, words: str) -> None:
    plain = kpi("funnel: {" + STEPS % "" + "}")
    other = kpi("funnel: {" + STEPS % optional + said + "}")
    assert words in other.definition
    assert (other.hash == plain.hash) is (not said and not optional)
    assert status(other) is KpiStatus.LIVE


def test_filters_are_counted_said_and_hashed() -> None:
    text = "funnel: {" + STEPS % "" + "}"
    plain, filtered = kpi(text), kpi(text, more="filters: [{property: client.device, equals: mobile}]\n")
    assert filtered.filters == (Condition("client.device", "equals", "mobile"),)
    assert filtered.definition == plain.definition + ' Only events with "client.device" equals "mobile" count.'
    assert filtered.hash != plain.hash
    assert (status(plain), status(filtered)) == (KpiStatus.LIVE, KpiStatus.LIVE)


def test_what_stands_around_the_number_changes_no_hash() -> None:
    text = "funnel: {" + STEPS % "" + "}"
    more = "breakdowns: [traits.plan]\ncadence: daily\nthresholds: {warning: 5, critical: 1}\ntarget: 9\n"
    said = kpi(text, more=more)
    assert (said.breakdowns, said.cadence, said.thresholds) == (("traits.plan",), "daily", Thresholds(5, 1))
    assert said.hash == kpi(text).hash


def test_one_event_counts_as_one_attempt_whatever_the_order_of_options() -> None:
    first = kpi("funnel: {order: strict, attempt: first, " + STEPS % "" + "}").function
    assert isinstance(first, Funnel)
    assert (first.order, first.attempt, first.counting, first.tolerance_ms) == ("strict", "first", "users", 0)


@pytest.mark.parametrize(
    ("function", "unit", "more", "said"),
    [
        ("count: {events: [{event: A}]}", "percent", "", "unit: count is not measured in percent - write events"),
        ("nps: {event: A, property: s}", "score", "", "unit: nps is not measured in score - write points"),
        ("ces: {event: A, property: s, method: index}", "score", "", "ces is not measured in score - write points"),
        ("stage: {map: trial, measure: time}", "percent", "", "stage is not measured in percent - write seconds"),
        (
            "stage: {map: tiral, measure: users}",
            "users",
            "",
            "no journey map has the key 'tiral' - did you mean 'trial'?",
        ),
        (
            "stage: {map: trial, stage: singup, measure: users}",
            "users",
            "",
            "no stage of that map has the key 'singup' - did you mean 'signup'?",
        ),
        ("stage: {map: trial, measure: users, statistic: p90}", "users", "", "only times have a statistic"),
        ("ces: {event: A, property: s, lowest: 7}", "score", "", "the scale from 7 to 7 is empty"),
        ("churn: {quiet: 60d, where: [{property: p, exists: true}]}", "percent", "", "where stands without an event"),
        ("churn: {quiet: 9999w}", "percent", "", "'9999w' is too long"),
        ("count: {events: []}", "events", "", "has 0 entries - write at least 1"),
        (
            "ratio: {part: {count: {events: [{event: A}]}, sum: {event: A, property: p}}, "
            "whole: {count: {events: [{event: A}]}}}",
            "percent",
            "",
            "count and sum stand together - write exactly one of count, uniqueUsers, sum",
        ),
        ("sessionLength: {statistic: mean}", "seconds", "filters: [{property: p, equals: 1}]\n", "could be filtered"),
        (
            "churn: {quiet: 60d}",
            "percent",
            "thresholds: {warning: 5, critical: 6}\n",
            "thresholds.critical: critical 6 is better than warning 5, as higher is better - write less than 5",
        ),
        (
            "churn: {quiet: 60d}",
            "percent",
            "target: 4\nthresholds: {warning: 5}\n",
            "thresholds.warning: warning 5 is better than target 4, as higher is better - write less than 4",
        ),
        ("funnel: {" + STEPS % "" + "}", "percent", "cadence: dayly\n", "'dayly' is not known - did you mean 'daily'?"),
    ],
)
def test_a_mistake_in_a_function_is_told_with_the_fix(function: str, unit: str, more: str, said: str) -> None:
    assert said in problem(function, unit, more)


def test_the_last_step_of_a_funnel_cannot_be_skipped() -> None:
    steps = "steps: [{key: a, label: A, event: A}, {key: b, label: B, event: B, optional: true}]"
    assert "the last step is what is measured, and cannot be optional" in problem("funnel: {" + steps + "}")


@pytest.mark.parametrize(
    ("function", "what"),
    [
        ("churn: {event: A, quiet: 12h}", "nobody has left after 12h"),
        ("funnel: {" + STEPS % ", optional: true" + ", order: any}", "in any order no step is optional"),
        ("funnel: {" + STEPS % "" + ", order: strict, exclude: [{event: X}]}", "any other event ends an attempt"),
        ("funnel: {" + STEPS % "" + ", order: strict, toleranceMs: 1}", "nothing can be tolerated"),
    ],
)
def test_what_contradicts_itself_is_refused(function: str, what: str) -> None:
    assert what in problem(function)


def test_answers_off_the_scale_are_no_answers() -> None:
    assert [Nps(A, "s").answer({"s": value}) for value in (0, 10, 11, "9", None)] == [0, 10, None, None, None]
    assert [Ces(A, "s").answer({"s": value}) for value in (0, 1, 7, 8)] == [None, 1, 7, None]


def test_a_plugin_s_function_is_part_of_the_hash_with_all_that_it_is_given() -> None:
    said = "plugin: {name: acme.gaps, events: [{event: A}], parameters: {least: 2, most: 5}}"
    others = ["acme.gap", "event: B", "least: 3"]
    changed = [said.replace(*pair) for pair in zip(["acme.gaps", "event: A", "least: 2"], others, strict=True)]
    changed.append(said.replace("parameters", "property: total, parameters"))
    assert len({kpi(one, "number").hash for one in [said, *changed]}) == 5
    assert kpi(said.replace("least: 2, most: 5", "most: 5, least: 2"), "number").hash == kpi(said, "number").hash


def test_a_plugin_s_function_has_a_whole_name() -> None:
    assert "acme.median_hours" in problem("plugin: {name: gaps, events: [{event: A}]}", "number")
    assert "property" in problem("plugin: {name: acme.gaps, events: [{event: A}], propperty: total}", "number")
