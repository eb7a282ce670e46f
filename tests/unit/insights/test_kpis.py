"""KPIs over stored events: what belongs to a range, who is who, and an oracle that tries every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.contract import Condition, Contract, EventRule, Funnel, FunnelStep, Kpi, Satisfied, SessionLength
from gateway.insights.asking import Questions
from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.scan import Scans
from gateway.insights.columnar.users import Directory
from gateway.insights.kernels import statistics
from gateway.insights.kernels.statistics import wilson
from gateway.insights.kpis.estimates import Estimate
from gateway.insights.kpis.evaluating import Evaluator, Figure, KpiQuestion
from gateway.insights.kpis.ranges import TimeRange
from gateway.model.event import Event, EventType
from gateway.model.identity import Identity, Member, digest
from gateway.model.scope import Scope
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import Events, to_document
from gateway.store.identities import Identities
from gateway.store.lanes import Lanes
from tests.unit.insights import oracle_kpis

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
AS_OF = 1_000 * DAY


def kpi(function: Funnel | Satisfied | SessionLength) -> Kpi:
    return Kpi("k", "?", "percent", "higher", ("ux",), None, function)


def funnel(*names: str, window: timedelta | None = None) -> Funnel:
    steps = tuple(FunnelStep(name.lower(), name, EventRule(f"k.{name}", name)) for name in names)
    return Funnel(steps, window)


CSAT = Satisfied(EventRule("k", "Answer", (Condition("survey", "equals", "csat"),)), "score", 4, 1, 5)


NO_MAPS = Contract("none", {}, {})


@dataclass
class Evaluating:
    """What answers, over one database; nothing is in parts."""

    database: Database
    clock: FrozenClock
    scans: Scans

    @property
    def evaluator(self) -> Evaluator:
        """One that remembers nothing: nothing tells it here that events have come."""
        return Evaluator(Questions.of(self.scans, self.database, self.clock))


class Workspace:
    """A workspace of its own in the test's database."""

    def __init__(self, evaluating: Evaluating, name: str | None = None) -> None:
        self.database, self.evaluating = evaluating.database, evaluating
        self.name = name or uuid4().hex
        self.scope = Scope(self.name, permissions=frozenset({"kpis:read"}))
        self.count = 0
        self.users: dict[str, str] = {}

    async def add(self, *events: tuple[str, str, int] | tuple[str, str, int, dict[str, Any]]) -> None:
        """Events as (userId, name, at, properties); whoever was not merged is a user."""
        made = [self._event(*event) for event in events]
        await Events(self.database).insert([to_document(event, escape=True) for event in made])
        await self.merge({event.sk: event.sk for event in made if event.sk not in self.users})

    async def merge(self, user_of: dict[str, str]) -> None:
        """Identities, given as sk, with their users."""
        self.users |= user_of
        ids = {sk: digest(self.name, user).hex() for sk, user in user_of.items()}
        members = {Identity.from_sk(sk): Member((0, 0, b"0" * 16), sk, user) for sk, user in ids.items()}
        async with self.database.transaction() as session:
            await Identities(self.database).write(self.name, members, {}, session)

    async def sessions(self, *spans: tuple[int, int]) -> None:
        """Sessions as (start, end), each of another user."""
        await self.add(*((f"s{self.count}.{n}", "x", at) for n, span in enumerate(spans) for at in dict.fromkeys(span)))

    async def evaluate(self, one: Kpi, between: tuple[int, int], as_of: int) -> Estimate:
        return (await self.figure(one, between, as_of)).estimate

    async def figure(self, one: Kpi, between: tuple[int, int], as_of: int) -> Figure:
        self.evaluating.clock.at = as_of
        question = KpiQuestion(kpi=one, range=TimeRange(start=between[0], end=between[1]))
        return await self.evaluating.evaluator.figure(self.scope, NO_MAPS, question)

    async def series(
        self, one: Kpi, between: tuple[int, int], points: int, as_of: int
    ) -> list[tuple[int, int, Estimate]]:
        start, end = between
        bounds = sorted({start + (end - start) * part // points for part in range(points + 1)})
        self.evaluating.clock.at = as_of
        question = KpiQuestion(kpi=one, range=TimeRange(start=start, end=end))
        found = await self.evaluating.evaluator.series(self.scope, NO_MAPS, question, bounds)
        return [(low, high, one) for (low, high), one in zip(pairwise(bounds), found, strict=True)]

    def _event(self, user: str, name: str, at: int, properties: dict[str, Any] | None = None) -> Event:
        self.count += 1
        return Event(
            id=digest(self.name, str(self.count)),
            workspace=self.name,
            source="test",
            message_id=str(self.count),
            type=EventType.TRACK,
            name=name,
            user_id=user,
            anonymous_id=None,
            at=at,
            seq=self.count,
            received_at=at,
            content_hash=b"",
            properties=properties or {},
        )


@pytest.fixture
async def evaluating(database: Database) -> AsyncIterator[Evaluating]:
    await collections.prepare(database)
    await Lanes(database).prepare()
    clock = FrozenClock(AS_OF)
    engine, directory = Engine(None, threads=1, memory_mb=256, at_once=1), Directory(database, clock)
    yield Evaluating(database, clock, Scans(database, None, engine, directory, clock))
    await directory.close()
    engine.close()


async def emptied(evaluating: Evaluating) -> Workspace:
    """A workspace for many examples: to follow the identities of one costs more than the rest of an example."""
    await evaluating.database.delete_many("events", {})
    return Workspace(evaluating, "examples")


@pytest.fixture
def workspace(evaluating: Evaluating) -> Workspace:
    return Workspace(evaluating)


# -- intervals ----------------------------------------------------------------------------------------------------


def test_the_wilson_interval_is_the_one_in_the_literature() -> None:
    low, high = wilson(8, 10)
    assert (round(100 * low, 1), round(100 * high, 1)) == (49.0, 94.3)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert [round(bound, 4) for bound in wilson(0, 10)] == [0, 0.2775]


# -- funnels ------------------------------------------------------------------------------------------------------


async def test_a_funnel_counts_users_in_order(workspace: Workspace) -> None:
    await workspace.add(
        ("ann", "A", 0), ("ann", "B", 1), ("ann", "C", 2),
        ("bob", "A", 0), ("bob", "x", 1), ("bob", "B", 2), ("bob", "B", 3),
        ("cyd", "B", 0), ("cyd", "C", 1), ("cyd", "A", 2),
        ("dan", "B", 0), ("dan", "C", 1),
        ("eve", "A", 0), ("eve", "A", 1), ("eve", "C", 2), ("eve", "B", 3), ("eve", "C", 4),
    )  # fmt: skip
    found = await workspace.evaluate(kpi(funnel("A", "B", "C")), (0, 10), AS_OF)
    assert list(found.reached) == [4, 3, 2]
    assert (found.value, found.n, found.open) == (50.0, 4, 0)
    assert (found.low, found.high) == tuple(100 * bound for bound in wilson(2, 4))
    figure = await workspace.figure(kpi(funnel("A", "B", "C")), (0, 10), AS_OF)
    assert figure.as_of == AS_OF
    assert figure.question.words.startswith("Of the unique users with")


async def test_the_best_attempt_counts(workspace: Workspace) -> None:
    """A 13:00, A 13:30, B 13:45, C 14:15 within an hour: the first attempt fails, the second converts."""
    await workspace.add(
        ("ann", "A", 0), ("ann", "A", 30 * MINUTE), ("ann", "B", 45 * MINUTE), ("ann", "C", 75 * MINUTE)
    )
    within_an_hour = kpi(funnel("A", "B", "C", window=timedelta(hours=1)))
    found = await workspace.evaluate(within_an_hour, (0, DAY), AS_OF)
    assert (found.value, found.n) == (100.0, 1)


@pytest.mark.parametrize(("late", "value"), [(0, 100.0), (1, 0.0)])
async def test_the_window_counts_from_the_first_step_and_includes_its_end(
    workspace: Workspace, late: int, value: float
) -> None:
    await workspace.add(("ann", "A", 0), ("ann", "B", 50 * MINUTE), ("ann", "C", 60 * MINUTE + late))
    within_an_hour = kpi(funnel("A", "B", "C", window=timedelta(hours=1)))
    found = await workspace.evaluate(within_an_hour, (0, DAY), AS_OF)
    assert (found.value, found.n) == (value, 1)


async def test_one_event_is_not_two_steps(workspace: Workspace) -> None:
    await workspace.add(("ann", "A", 0), ("bob", "A", 0), ("bob", "A", 1))
    found = await workspace.evaluate(kpi(funnel("A", "A")), (0, 10), AS_OF)
    assert list(found.reached) == [2, 1]
    await workspace.add(("ann", "B", 2), ("bob", "B", 3), ("bob", "B", 3))
    found = await workspace.evaluate(kpi(funnel("A", "B", "B")), (0, 10), AS_OF)
    assert list(found.reached) == [2, 2, 1]


async def test_entries_lie_in_the_range_and_later_steps_may_follow_it(workspace: Workspace) -> None:
    await workspace.add(("ann", "A", 9), ("ann", "B", 10), ("bob", "A", 10), ("bob", "B", 11), ("cyd", "B", 5))
    for function in (funnel("A", "B"), funnel("A", "B", window=timedelta(minutes=1))):
        found = await workspace.evaluate(kpi(function), (0, 10), AS_OF)
        assert list(found.reached) == [1, 1]


async def test_who_still_has_time_is_open_and_in_no_percentage(workspace: Workspace) -> None:
    await workspace.add(
        ("ann", "A", 0), ("bob", "A", 0), ("bob", "B", 5), ("cyd", "A", 1), ("dan", "A", 0), ("dan", "A", 2)
    )
    within = kpi(funnel("A", "B", window=timedelta(minutes=1)))
    found = await workspace.evaluate(within, (0, 10), MINUTE + 1)
    assert (found.n, found.open, found.value) == (2, 2, 50.0)
    assert list(found.reached) == [4, 1]
    nobody = await workspace.evaluate(within, (2, 3), MINUTE + 1)
    assert (nobody.n, nobody.open, nobody.value) == (0, 1, None)


async def test_the_identities_of_one_user_count_once(workspace: Workspace) -> None:
    await workspace.merge({"u:ann": "1", "u:ann2": "1", "u:bob": "2"})
    await workspace.add(("ann", "A", 0), ("ann2", "B", 1), ("bob", "A", 0), ("new", "A", 0))
    found = await workspace.evaluate(kpi(funnel("A", "B")), (0, 10), AS_OF)
    assert list(found.reached) == [3, 1]


async def test_conditions_on_properties_hold(workspace: Workspace) -> None:
    rule = EventRule("k", "B", (Condition("price.net", "gte", 5), Condition("price", "exists", True)))
    function = Funnel((FunnelStep("a", "A", EventRule("k", "A")), FunnelStep("b", "B", rule)))
    await workspace.add(
        ("ann", "A", 0), ("ann", "B", 1, {"price": {"net": 5, "gross": 6}}),
        ("bob", "A", 0), ("bob", "B", 1, {"price": {"net": "5"}}),
        ("cyd", "A", 0), ("cyd", "B", 1, {"price.net": 9}),
        ("dan", "A", 0), ("dan", "B", 1, {"price": [{"net": 9}]}),
    )  # fmt: skip
    found = await workspace.evaluate(kpi(function), (0, 10), AS_OF)
    assert list(found.reached) == [4, 1]


async def test_another_workspace_is_not_counted(workspace: Workspace) -> None:
    await Workspace(workspace.evaluating).add(("ann", "A", 0), ("ann", "B", 1))
    found = await workspace.evaluate(kpi(funnel("A", "B")), (0, 10), AS_OF)
    assert (found.value, found.n, found.low, found.high) == (None, 0, None, None)
    assert list(found.reached) == [0, 0]


# Few users, names and minutes, so that ties, repeated steps and returns are common.
EVENTS = st.lists(
    st.tuples(st.sampled_from("pqrs"), st.sampled_from("AABBCx"), st.integers(0, 9)), min_size=8, max_size=24
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=EVENTS,
    steps=st.sampled_from(["AB", "ABC", "AAB", "ABB", "ABA", "BABC"]),
    window=st.sampled_from([None, 1, 2, 3, 5]),
    between=st.tuples(st.integers(0, 3), st.integers(6, 10)),
    points=st.integers(1, 4),
    as_of=st.integers(9, 11),
)
async def test_a_funnel_is_what_trying_every_way_gives(
    evaluating: Evaluating,
    events: list[tuple[str, str, int]],
    steps: str,
    window: int | None,
    between: tuple[int, int],
    points: int,
    as_of: int,
) -> None:
    workspace = await emptied(evaluating)
    user_of = {"u:p": "1", "u:q": "1", "u:r": "2"}
    await workspace.merge(user_of)
    events = [(user, name, minute * MINUTE) for user, name, minute in events]
    await workspace.add(*events)
    plain = [{"sk": f"u:{user}", "name": name, "at": at, "seq": seq} for seq, (user, name, at) in enumerate(events)]
    tests = [lambda event, name=name: event["name"] == name for name in steps]
    start, end, now = between[0] * MINUTE, between[1] * MINUTE, as_of * MINUTE
    limit = None if window is None else window * MINUTE
    one = kpi(funnel(*steps, window=None if window is None else timedelta(minutes=window)))

    found = await workspace.evaluate(one, (start, end), now)
    reached, waiting = oracle_kpis.funnel(plain, user_of, tests, (start, end), limit, now)  # type: ignore[arg-type]
    assert (list(found.reached), found.open) == (reached, waiting)
    assert found.n == reached[0] - waiting
    if found.n:
        assert found.value == pytest.approx(100 * reached[-1] / found.n)

    for low, high, point in await workspace.series(one, (start, end), points, now):
        reached, waiting = oracle_kpis.funnel(plain, user_of, tests, (low, high), limit, now)  # type: ignore[arg-type]
        assert point.n == reached[0] - waiting
        assert point.value == (pytest.approx(100 * reached[-1] / point.n) if point.n else None)


# -- satisfaction -------------------------------------------------------------------------------------------------


async def test_csat_is_the_share_of_answers_of_four_and_five(workspace: Workspace) -> None:
    answers = [5, 5, 5, 4, 4, 4, 4, 4, 3, 1]
    await workspace.add(*(("ann", "Answer", 1, {"survey": "csat", "score": score}) for score in answers))
    found = await workspace.evaluate(kpi(CSAT), (0, 10), AS_OF)
    assert (found.value, found.n, found.reached, found.open) == (80.0, 10, (), 0)
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low, 1), round(found.high, 1)) == (49.0, 94.3)


PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "survey": st.sampled_from(["csat", "nps", 1, None]),
        "score": st.one_of(st.integers(0, 6), st.sampled_from([4.5, 3.999, "5", True, None, [5], {"a": 5}])),
        "comment": st.just("fine"),
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(st.tuples(st.sampled_from(["Answer", "Other"]), st.integers(0, 9), PROPERTIES), max_size=20),
    between=st.tuples(st.integers(0, 4), st.integers(5, 10)),
)
async def test_csat_is_what_counting_gives(
    evaluating: Evaluating, answers: list[tuple[str, int, dict[str, Any]]], between: tuple[int, int]
) -> None:
    workspace = await emptied(evaluating)
    await workspace.add(*(("ann", name, at, properties) for name, at, properties in answers))
    plain = [{"name": name, "at": at, "properties": properties} for name, at, properties in answers]
    hits, n = oracle_kpis.satisfied(plain, between)
    found = await workspace.evaluate(kpi(CSAT), between, AS_OF)
    assert found.n == n
    assert found.value == (pytest.approx(100 * hits / n) if n else None)
    parts = await workspace.series(kpi(CSAT), between, 2, AS_OF)
    assert sum(part.n for _, _, part in parts) == n


# -- sessions -----------------------------------------------------------------------------------------------------


async def test_the_length_of_sessions_is_their_mean_in_seconds(workspace: Workspace) -> None:
    await workspace.sessions((0, 10_000), (5, 20_005), (9, 9), (10, 1_000_000), (-1, 500_000))
    found = await workspace.evaluate(kpi(SessionLength()), (0, 10), AS_OF)
    assert (found.value, found.n) == (10.0, 3)
    # Lengths 10, 20, 0: sample deviation 10, t(97.5 %, 2) = 4.3027.
    margin = 4.3026527297 * 10 / 3**0.5
    assert found.low == 0.0, "no session is shorter"
    assert found.high == pytest.approx(10 + margin)


async def test_many_sessions_have_the_normal_interval_and_one_has_none(workspace: Workspace) -> None:
    await workspace.sessions(*((n, n + 1_000 * (n % 2)) for n in range(40)), (100, 3_100))
    many = await workspace.evaluate(kpi(SessionLength()), (0, 50), AS_OF)
    deviation = (40 * 0.25 / 39) ** 0.5
    assert many.value == 0.5
    margin = 1.959964 * deviation / 40**0.5
    assert many.low == pytest.approx(0.5 - margin, abs=1e-6)
    assert many.high == pytest.approx(0.5 + margin, abs=1e-6)
    one = await workspace.evaluate(kpi(SessionLength()), (50, 200), AS_OF)
    assert (one.value, one.n, one.low, one.high) == (3.0, 1, None, None)
    none = await workspace.evaluate(kpi(SessionLength()), (200, 300), AS_OF)
    assert (none.value, none.n) == (None, 0)


async def test_a_series_covers_the_range_without_overlap_or_hole(workspace: Workspace) -> None:
    await workspace.sessions(*((at, at + 1_000) for at in range(100)))
    points = await workspace.series(kpi(SessionLength()), (0, 100), 7, AS_OF)
    assert [low for low, _, _ in points] == [0, 14, 28, 42, 57, 71, 85]
    assert [high for _, high, _ in points] == [14, 28, 42, 57, 71, 85, 100]
    assert sum(point.n for _, _, point in points) == 100
    short = await workspace.series(kpi(SessionLength()), (0, 3), 60, AS_OF)
    assert [(low, high) for low, high, _ in short] == [(0, 1), (1, 2), (2, 3)]


def test_the_table_of_t_has_a_value_for_every_small_sample() -> None:
    assert len(statistics._T) == 29
    assert list(statistics._T) == sorted(statistics._T, reverse=True)
    assert replace(kpi(CSAT), key="x").definition == kpi(CSAT).definition
