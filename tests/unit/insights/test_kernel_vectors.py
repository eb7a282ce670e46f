"""The kernels against worked examples, other people's figures, and what must add up in every answer."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gateway.errors import InvalidInput, TooLarge
from gateway.insights.kernels.activity import customer_churn, lifecycle, stickiness, usage_churn
from gateway.insights.kernels.attempts import Counting, Exclusion, FunnelQuestion, Order, ReEntry, Step
from gateway.insights.kernels.calendar import Calendar, Interval, Statistic, begin_of, trend
from gateway.insights.kernels.events import Events, Packing, Unit
from gateway.insights.kernels.follows import follows
from gateway.insights.kernels.friction import Visits, friction
from gateway.insights.kernels.funnel import Attribution, Breakdown, Outcome, funnel
from gateway.insights.kernels.paths import EXIT, Direction, PathQuestion, paths
from gateway.insights.kernels.retention import Retained, RetentionQuestion, retention
from gateway.insights.kernels.sessions import session_stats, time_on_page
from gateway.insights.kernels.statistics import Share, nps, nps_of, percentile
from gateway.insights.kernels.variants import variants
from tests.rules.sources import ROOT

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
DAY = 24 * HOUR
NAMES = "ABCDEX"
ECOM = ROOT.parent / "shared" / "data" / "ecom.csv.gz"
BERLIN = ZoneInfo("Europe/Berlin")


def events(*told: tuple[str, int] | tuple[str, int, int], value: float | None = None) -> Events:
    """(name, ms) or (name, ms, user), in the order in which they came."""
    users = [one[2] if len(one) == 3 else 0 for one in told]
    codes = [NAMES.find(one[0]) for one in told]
    values = None if value is None else np.full(len(told), value)
    at = np.array([one[1] for one in told], np.int64)
    return Events.of(np.array(users, np.int64), at, np.arange(len(told)), np.array(codes, np.int64), value=values)


def steps(names: str) -> tuple[Step, ...]:
    """A small letter is an optional step."""
    return tuple(Step((NAMES.index(name.upper()),), name.islower()) for name in names)


def reached(told: Events, names: str, **options: Any) -> list[int]:
    answer = funnel(told, FunnelQuestion(steps=steps(names), **{"as_of": 10**12} | options))
    return [step.reached for step in answer.funnel.steps]


NOTHING = events()


# -- worked examples ------------------------------------------------------------------------------------------------


def test_mixpanels_example_converts_with_the_best_attempt_and_not_with_the_first_touch() -> None:
    one, half, quarter = 13 * HOUR, 30 * MINUTE, 15 * MINUTE
    told = events(("A", one), ("A", one + half), ("B", one + 3 * quarter), ("C", one + 5 * quarter))
    assert reached(told, "ABC", window_ms=HOUR) == [1, 1, 1]
    assert reached(told, "ABC", window_ms=HOUR, re_entry=ReEntry.FIRST_TOUCH) == [1, 1, 0]
    assert reached(told, "ABC", window_ms=HOUR, counting=Counting.TOTALS) == [1, 1, 0]
    answer = funnel(told, FunnelQuestion(steps=steps("ABC"), window_ms=HOUR, as_of=10**12)).funnel
    assert answer.to_convert.p50 == 45 * MINUTE
    assert [step.since_previous.p50 for step in answer.steps] == [None, 15 * MINUTE, 30 * MINUTE]


def test_the_window_is_counted_from_the_first_step_and_includes_its_end() -> None:
    assert reached(events(("A", 0), ("B", 50), ("C", 100)), "ABC", window_ms=100) == [1, 1, 1]
    assert reached(events(("A", 0), ("B", 50), ("C", 101)), "ABC", window_ms=100) == [1, 1, 0]


def test_the_tolerance_forgives_an_order_turned_round_and_no_event_is_two_steps() -> None:
    turned = events(("B", 0), ("A", 2000))
    assert reached(turned, "AB") == [1, 0]
    assert reached(turned, "AB", tolerance_ms=2000) == [1, 1]
    assert reached(turned, "AB", tolerance_ms=1999) == [1, 0]
    assert reached(events(("A", 0), ("B", 0)), "ABA", tolerance_ms=2000) == [1, 1, 0]
    assert reached(events(("A", 0)), "AA") == [1, 0]
    assert reached(events(("A", 0), ("A", 0)), "AA") == [1, 1]


def test_totals_enter_again_after_converting_timing_out_and_being_excluded() -> None:
    told = events(("A", 0), ("A", 5), ("B", 10), ("A", 20), ("A", 130), ("X", 140), ("A", 150), ("B", 160))
    options: dict[str, Any] = {"window_ms": 100, "exclusions": (Exclusion((NAMES.index("X"),), 0, 1),)}
    assert reached(told, "AB", counting=Counting.TOTALS, **options) == [4, 2]
    answer = funnel(told, FunnelQuestion(steps=steps("AB"), counting=Counting.TOTALS, as_of=10**6, **options)).funnel
    assert (answer.converted, answer.dropped, answer.excluded, answer.open) == (2, 1, 1, 0)


def test_an_optional_step_is_counted_and_hinders_nobody() -> None:
    told = events(("A", 0, 0), ("C", 9, 0), ("B", 10, 0), ("A", 0, 1), ("B", 5, 1), ("C", 9, 1))
    assert reached(told, "AbC") == [2, 1, 2]
    assert reached(told, "AbC", order=Order.STRICT) == [2, 1, 2]


def test_who_still_has_time_is_open_and_in_no_share() -> None:
    told = events(("A", 0, 0), ("B", 10, 0), ("A", 0, 1), ("A", 950, 2))
    answer = funnel(told, FunnelQuestion(steps=steps("AB"), window_ms=100, as_of=1050))
    assert (answer.funnel.conversion.hits, answer.funnel.conversion.n) == (1, 2)
    assert answer.attempts.people(answer.attempts.ended(Outcome.OPEN)).tolist() == [2]
    later = funnel(told, FunnelQuestion(steps=steps("AB"), window_ms=100, as_of=1051)).funnel
    assert (later.open, later.conversion.n) == (0, 3)


def test_nothing_is_null_and_not_0() -> None:
    answer = funnel(NOTHING, FunnelQuestion(steps=steps("AB"), as_of=0)).funnel
    assert answer.conversion == Share(0, 0, None, None, None)
    assert answer.to_convert.p50 is None
    assert session_stats(NOTHING, ()).bounce.value is None
    assert stickiness(NOTHING, (0,), Calendar.covering(BERLIN, Interval.DAY, 0, DAY)).ratio is None
    assert paths(NOTHING, PathQuestion()).total == variants(NOTHING).total == 0
    assert follows(NOTHING).edges == ()
    assert time_on_page(NOTHING, (0,)).pages == ()


def test_the_net_promoter_score_of_the_literature() -> None:
    score = nps(50, 20, 100)
    assert score.value == pytest.approx(30)
    assert score.margin == pytest.approx(15.3, abs=0.05)
    assert nps(0, 0, 0).value is None
    assert nps_of(np.array([10, 9, 8, 7, 6, 0, 11, -1, np.nan])).n == 6
    assert nps_of(np.array([10, 9, 8, 7, 6, 0])).value == 0


def test_wilson_and_percentiles_of_the_literature() -> None:
    share = Share.of(8, 10)
    assert (round(share.low or 0, 3), round(share.high or 0, 3)) == (0.490, 0.943)
    assert percentile(np.array([1, 2, 3, 4]), 0.5) == 2.5


def test_everything_in_a_row_of_users_with_many_events_stays_linear() -> None:
    """One user with 100,000 events: A B C over and over, a minute apart."""
    n = 100_000
    told = events(*((NAMES[number % 3], number * MINUTE) for number in range(n)))
    assert reached(told, "ABC", counting=Counting.TOTALS) == [33_334, 33_333, 33_333]
    assert reached(told, "ABC", window_ms=2 * MINUTE) == [1, 1, 1]
    assert reached(told, "ABC", order=Order.STRICT, counting=Counting.TOTALS) == [33_334, 33_333, 33_333]
    assert reached(told, "CBA", order=Order.ANY_ORDER, counting=Counting.TOTALS) == [33_334, 33_333, 33_333]
    assert paths(told, PathQuestion(anchor=(0,), totals=True)).total == 33_334
    assert [edge.count for edge in follows(told).edges] == [33_333, 33_333, 33_333]
    assert variants(told).distinct == session_stats(told, (0,)).sessions == 1
    question = RetentionQuestion(
        start=(0,), back=(1,), between=(0, n * MINUTE), as_of=n * MINUTE, zone=BERLIN, first_ever=False
    )
    assert sum(cohort.size for cohort in retention(told, question).cohorts) == 70  # 69.4 days


def test_variants_differ_by_their_last_event_however_long_they_are() -> None:
    long = [("A", number, user) for user in range(4) for number in range(100)]
    found = variants(events(*long, ("B", 100, 1), ("B", 100, 2), ("C", 100, 3)))
    assert [(variant.count, len(variant.codes)) for variant in found.shown] == [(2, 101), (1, 100), (1, 101)]
    assert [found.people(place).tolist() for place in range(3)] == [[1, 2], [0], [3]]


def test_a_funnel_of_400_steps_is_answered() -> None:
    told = events(*((NAMES[number % 2], number) for number in range(1000)))
    assert reached(told, "AB" * 200)[-1] == 1


# -- calendars ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # there was no midnight
        ("Pacific/Apia", date(2011, 12, 30), 0),  # there was no such day
        ("Asia/Kathmandu", date(2026, 6, 1), 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_says(zone: str, day: date, hours: float) -> None:
    begin, end = (begin_of(one, ZoneInfo(zone)) for one in (day, day + timedelta(days=1)))
    assert end - begin == hours * HOUR
    calendar = Calendar.covering(ZoneInfo(zone), Interval.HOUR, begin, max(end - 1, begin), beyond=2)
    assert len(calendar) == max(-(-int(hours * 2) // 2), 1) + 2
    assert (np.diff(calendar.bounds) > 0).all()


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/Sao_Paulo", "America/Toronto", "Africa/Cairo", "Asia/Amman"]
)
def test_a_day_begins_with_its_first_ms(zone: str) -> None:
    place = ZoneInfo(zone)
    for number in range(0, 12_000, 7):
        day = date(1990, 1, 1) + timedelta(days=number)
        begin = begin_of(day, place)
        assert datetime.fromtimestamp(begin / 1000, place).date() == day
        assert datetime.fromtimestamp((begin - 1) / 1000, place).date() == day - timedelta(days=1)


def test_weeks_begin_on_monday_and_months_on_their_first_day() -> None:
    begin = int(datetime(2026, 2, 28, 23, 30, tzinfo=UTC).timestamp() * 1000)  # a Sunday and March in Berlin
    weeks, months = (Calendar.covering(BERLIN, one, begin, begin) for one in (Interval.WEEK, Interval.MONTH))
    bounds = [[datetime.fromtimestamp(at / 1000, BERLIN) for at in one.bounds] for one in (weeks, months)]
    days = [[at.strftime("%m-%d %H") for at in one] for one in bounds]
    assert days == [["02-23 00", "03-02 00"], ["03-01 00", "04-01 00"]]


def test_too_many_intervals_are_refused() -> None:
    with pytest.raises(TooLarge, match="intervals"):
        Calendar.covering(BERLIN, Interval.HOUR, 0, 10**13)


# -- order and bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["all columns in one number", "a value", "many ties", "numbers that do not fit"])
def test_the_order_is_user_time_sequence_and_id(way: str) -> None:
    """Whichever way they are sorted."""
    chance = np.random.default_rng(3)
    n = 500
    columns = {"user": 3, "at": 40 if way == "many ties" else 400_000, "seq": 2, "rank": n, "code": 9, "breakdown": 4}
    made = {name: chance.integers(0, top, n) for name, top in columns.items()}
    made["rank"] = chance.permutation(n)
    made["at"][:20] = made["at"][20:40]
    made["user"][:20] = made["user"][20:40]
    if way == "numbers that do not fit":
        made["code"][7] = 2**40
    value = made["rank"].astype(np.float64) if way == "a value" else None
    rows = sorted(range(n), key=lambda row: tuple(made[name][row] for name in ("user", "at", "seq", "rank")))
    found = Events.of(**made, value=value)
    for name in ("user", "at", "code", "breakdown"):
        assert getattr(found, name).tolist() == made[name][rows].tolist()
    again = Events.of(found.user, found.at, np.arange(n), found.code)
    assert again.code.tolist() == found.code.tolist()


def test_what_does_not_fit_into_63_bits_is_refused() -> None:
    with pytest.raises(TooLarge, match="too many for one question"):
        Packing.of(np.array([0, 2**50]), np.array([0, 2**20]))
    assert Packing.of(np.array([-(2**40), 2**40]), np.array([0, 2**20]))(np.array([3]), np.array([0]))[0] > 0


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Events(np.zeros(1, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64))
    two = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="another length"):
        Events.of(two, two, two[:1], two)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": ()},
        {"steps": steps("aB")},
        {"steps": steps("Ab")},
        {"window_ms": 0},
        {"tolerance_ms": -1},
        {"tolerance_ms": 1, "order": Order.STRICT},
        {"exclusions": (Exclusion((5,), 0, 1),), "order": Order.STRICT},
        {"steps": steps("AbC"), "order": Order.ANY_ORDER},
        {"exclusions": (Exclusion((5,), 1, 0),)},
        {"exclusions": (Exclusion((5,), 0, 3),)},
        {"exclusions": (Exclusion((5,), 0, 1),), "order": Order.ANY_ORDER},
        {"steps": steps("AbC"), "exclusions": (Exclusion((5,), 0, 1),)},
    ],
)
def test_a_funnel_that_contradicts_itself_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        FunnelQuestion(**{"steps": steps("ABC"), "as_of": 0, **options})


@pytest.mark.parametrize(
    "ask",
    [
        lambda: PathQuestion(depth=0),
        lambda: PathQuestion(most=0),
        lambda: PathQuestion(totals=True),
        lambda: RetentionQuestion(start=(0,), back=(0,), between=(1, 1), as_of=0, zone=BERLIN),
        lambda: RetentionQuestion(start=(0,), back=(0,), between=(0, 1), as_of=0, zone=BERLIN, buckets=0),
        lambda: RetentionQuestion(start=(0,), back=(0,), between=(0, 1), as_of=0, zone=BERLIN, interval=Interval.HOUR),
        lambda: RetentionQuestion(start=(0,), back=(0,), between=(0, 1), as_of=0, zone=BERLIN, kind=Retained.BRACKET),
        lambda: RetentionQuestion(start=(0,), back=(0,), between=(0, 1), as_of=0, zone=BERLIN, brackets=((0, 1),)),
        lambda: usage_churn(NOTHING, (0,), (0, 1), HOUR, 0),
    ],
)
def test_other_questions_that_cannot_be_answered_are_refused(ask: Any) -> None:
    with pytest.raises(InvalidInput):
        ask()


def test_a_column_that_is_needed_and_missing_is_named() -> None:
    told, calendar = events(("A", 0)), Calendar.covering(BERLIN, Interval.DAY, 0, 1)
    with pytest.raises(ValueError, match="breakdown"):
        funnel(told, FunnelQuestion(steps=steps("AB"), as_of=0), Breakdown())
    with pytest.raises(ValueError, match="value"):
        trend(told, (0,), calendar, 0, Statistic.SUM)


# -- someone else's numbers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shop:
    """The public log of a shop; the file's order is the sequence."""

    events: Events
    names: dict[str, int]

    def steps(self, *names: str) -> tuple[Step, ...]:
        return tuple(Step((self.names[name],)) for name in names)


@pytest.fixture(scope="module", params=["its own sessions", "the 30-minute rule"])
def shop(request: pytest.FixtureRequest) -> Shop:
    if not ECOM.exists():
        pytest.skip(f"{ECOM.name} lies beside a full checkout only")
    with gzip.open(ECOM, "rt") as file:
        rows = list(csv.DictReader(file))
    numbers: dict[str, dict[str, int]] = defaultdict(dict)

    def column(name: str) -> Any:
        return np.array([numbers[name].setdefault(row[name], len(numbers[name])) for row in rows], np.int32)

    at = [int(datetime.fromisoformat(row["timestamp"] + "+00:00").timestamp() * 1000) for row in rows]
    told = Events.of(
        column("user_id"),
        np.array(at, np.int64),
        np.arange(len(rows)),
        column("event"),
        session=column("session_id") if request.param == "its own sessions" else None,
        breakdown=column("platform"),
    )
    return Shop(told, numbers["event"])


BUYING = ("catalog", "add_to_cart", "purchase")


@pytest.mark.parametrize(
    ("order", "counting", "expected"),
    [
        (Order.ORDERED, Counting.UNIQUES, [600, 511, 285]),
        (Order.ANY_ORDER, Counting.UNIQUES, [600, 522, 328]),
        (Order.ORDERED, Counting.SESSIONS, [2837, 819, 213]),
    ],
)
def test_the_published_funnels(shop: Shop, order: Order, counting: Counting, expected: list[int]) -> None:
    question = FunnelQuestion(steps=shop.steps(*BUYING), order=order, counting=counting, as_of=10**13)
    assert [step.reached for step in funnel(shop.events, question).funnel.steps] == expected


def test_the_published_sessions_variants_and_edges(shop: Shop) -> None:
    stats = session_stats(shop.events, ())
    assert (stats.sessions, stats.users) == (3605, 600)
    assert round(stats.events.mean or 0, 2) == 8.63
    assert round((stats.duration.mean or 0) / 1000, 2) == 1039.55
    found = variants(shop.events, most=10_000)
    assert (found.total, found.distinct) == (3605, 3003)
    assert found.shown[-1].coverage == 1
    edges = follows(shop.events).edges
    assert len(edges) == 336
    assert sum(edge.count for edge in edges) == 31_106 - 3605


# -- what must add up -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counting", list(Counting))
@pytest.mark.parametrize("order", list(Order))
def test_a_funnel_adds_up(shop: Shop, order: Order, counting: Counting) -> None:
    question = FunnelQuestion(
        steps=shop.steps(*BUYING), window_ms=3 * DAY, order=order, counting=counting, as_of=int(shop.events.at.max())
    )
    answer = funnel(shop.events, question, Breakdown(Attribution.LAST, most=1))
    told = answer.funnel
    assert told.entered == told.converted + told.dropped + told.open + told.excluded
    assert told.entered == told.steps[0].reached
    assert told.converted == told.steps[-1].reached
    for step, following in pairwise(told.steps):
        stopped = (step.dropped or 0) + (step.open or 0) + (step.excluded or 0)
        assert step.reached == following.reached + stopped
    assert sum(part.entered for _, part in answer.by_value) == told.entered
    for place, told_step in enumerate(told.steps):
        people = answer.attempts.people(answer.attempts.reached(place))
        assert len(people) <= told_step.reached
        assert counting is not Counting.UNIQUES or len(people) == told_step.reached


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("totals", [True, False])
def test_paths_add_up(shop: Shop, direction: Direction, totals: bool) -> None:
    question = PathQuestion(
        anchor=(shop.names["catalog"],), direction=direction, most=3, totals=totals, unit=Unit.SESSION
    )
    told = paths(shop.events, question)
    for column in told.columns:
        assert sum(count for _, count in column.shown) + column.other + column.exited == told.total
    inward: dict[tuple[int, int], int] = defaultdict(int)
    outward: dict[tuple[int, int], int] = defaultdict(int)
    for link in told.links:
        inward[link.column + 1, link.to] += link.paths
        outward[link.column, link.source] += link.paths
    for (place, code), count in outward.items():
        assert inward[place, code] == count or place == 0
    assert all(code == EXIT or place == question.depth or (place, code) in outward for place, code in inward)


def test_lifecycle_and_churn_add_up(shop: Shop) -> None:
    span = int(shop.events.at.min()), int(shop.events.at.max())
    calendar = Calendar.covering(BERLIN, Interval.WEEK, span[0] - 7 * DAY, span[1])
    codes = tuple(shop.names.values())
    phases, sticky = lifecycle(shop.events, codes, calendar, span[1]), stickiness(shop.events, codes, calendar)
    assert [point.new + point.returning + point.resurrecting for point in phases.points] == list(sticky.actives[1:])
    assert sum(point.new for point in phases.points) == 600
    assert [point.dormant + point.returning for point in phases.points] == list(sticky.actives[:-1])
    active = trend(shop.events, codes, calendar, span[1], Statistic.UNIQUES)
    assert [point.value for point in active.points] == list(sticky.actives)
    churn = usage_churn(shop.events, codes, span, 7 * DAY, span[1])
    assert churn.churn.n + churn.open == 600
    joined = customer_churn(shop.events, (shop.names["home"],), (shop.names["purchase"],), span)
    assert joined.churn.n == 0


def test_friction_names_where_and_who() -> None:
    told = events(("A", 0), ("X", 5), ("X", 6), ("A", 10), value=1.0)
    columns = ([0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 10, 0], [10, 20, -1], [2, 2, 0])
    found = friction(told, Visits(*(np.array(one, np.int64) for one in columns)), 2, errors=(NAMES.index("X"),))
    first, second = found.stages
    assert (second.went_back.hits, second.errors, second.repeats, second.with_error.hits) == (1, 2, 1, 1)
    assert (first.visits, first.open, first.dropped.hits, first.dropped.n) == (2, 1, 1, 1)
    assert found.people(0, found.dropped).tolist() == [0]
    assert found.people(0, found.open).tolist() == [1]
