"""Whatever a segment's rule says and however the events are split, the fold has in it whom the oracle has; and it knows
the very millisecond at which time alone changes that. Mutants do neither."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract import JourneyMap, Persona
from gateway.contract.reading.journeys import build_journey
from gateway.contract.reading.segments import build_segment
from gateway.contract.segments import Segments
from gateway.journeys import segments as segments_module
from gateway.journeys.changes import memberships_between
from gateway.journeys.fold import fold
from gateway.model.event import Event
from gateway.model.journey import UserState
from tests import oracle
from tests.unit.journeys import oracle_segments
from tests.unit.journeys.cases import CONDITIONS, HALF_HOUR, NAMES, START, case, to_event

THOROUGH = settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
PERSONAS: dict[str, dict[str, Any]] = {"regular": {"p": 1}, "odd": {"p": 2, "q": "1"}}
WITHIN = ["30m", "1h", "90m", "3h"]


@dataclass(frozen=True, slots=True)
class Told:
    """Segments and a map as files have them, a person's events in any order, where to cut them, and a moment."""

    segments: dict[str, dict[str, Any]]
    journey_map: dict[str, Any]
    events: list[dict[str, Any]]
    cuts: set[int]
    as_of: int

    @property
    def built(self) -> Segments:
        personas = {key: Persona(key, key, key, traits=tuple(traits.items())) for key, traits in PERSONAS.items()}
        named = {"name": "S", "description": "d", "owners": ["ux"]}
        return Segments(
            {key: build_segment({"key": key, **named, "who": who}, personas) for key, who in self.segments.items()}
        )

    @property
    def maps(self) -> dict[str, JourneyMap]:
        return {"m": build_journey(self.journey_map)}

    @property
    def ordered(self) -> list[Event]:
        made = [
            replace(to_event(one), traits=one["traits"], client=one["client"], consent=one["consent"])
            for one in self.events
        ]
        return sorted(made, key=lambda event: event.order)

    def expected(self, as_of: int) -> tuple[str, ...]:
        maps = {"m": self.journey_map}
        return tuple(
            key
            for key, who in sorted(self.segments.items())
            if oracle_segments.is_in(who, self.events, as_of, maps, PERSONAS)
        )

    def turns(self) -> set[int]:
        """Every moment at which anything could turn, and its neighbours."""
        spans = [int(one[:-1]) * oracle_segments.UNITS[one[-1]] for one in WITHIN]
        turns = {event["at"] + span for event in self.events for span in spans}
        ordered = sorted(self.events, key=oracle.order)
        for run in oracle.trips(ordered, self.journey_map, 0):
            turns |= {moment for moment in (run["due"], run["ended"]) if moment is not None}
        return {moment + shift for moment in turns for shift in (-1, 0, 1)}


def told(rng: Random) -> Told:
    one = case(rng)
    events = [
        {
            **event,
            "traits": {"p": rng.choice([1, 2, "1"])} if rng.randint(0, 3) == 0 else {},
            "client": {"device": rng.choice(["mobile", "desktop"])} if rng.randint(0, 1) else {},
            "consent": rng.choice([None, None, {"analytics": True}, {"analytics": False}]),
        }
        for event in one.events
    ]
    segments = {key: _rule(rng, 0, one.journey_map) for key in "stu"[: rng.randint(1, 3)]}
    as_of = START + rng.randint(0, 16) * HALF_HOUR + rng.choice([0, 1, -1])
    return Told(segments, one.journey_map, events, one.cuts, as_of)


def _rule(rng: Random, depth: int, journey_map: dict[str, Any]) -> dict[str, Any]:
    kind = rng.choice(
        ["did", "did", "didNot", "trait", "client", "stage", "persona"] + ["all", "any", "not"] * (depth < 2)
    )
    if kind in ("all", "any"):
        return {kind: [_rule(rng, depth + 1, journey_map) for _ in range(rng.randint(1, 3))]}
    if kind == "not":
        return {kind: _rule(rng, depth + 1, journey_map)}
    if kind in ("did", "didNot"):
        said: dict[str, Any] = {"event": rng.choice(NAMES)}
        said |= {"where": [rng.choice(CONDITIONS)]} if rng.randint(0, 2) == 0 else {}
        said |= {"atLeast": rng.randint(1, 3)} if rng.randint(0, 1) else {}
        return {kind: said | ({"within": rng.choice(WITHIN)} if rng.randint(0, 3) else {})}
    if kind == "trait":
        return {kind: rng.choice(CONDITIONS)}
    if kind == "client":
        return {kind: {"property": "device", "equals": rng.choice(["mobile", "desktop"])}}
    if kind == "persona":
        return {kind: rng.choice(sorted(PERSONAS))}
    stage = {"stage": rng.choice(journey_map["stages"])["key"]} if rng.randint(0, 1) else {}
    status = {"status": rng.choice(["active", "completed", "abandoned"])} if rng.randint(0, 1) else {}
    return {kind: {"map": "m", **stage, **status}}


cases = st.builds(told, st.randoms(use_true_random=False))


def folded(one: Told, as_of: int, folding: Callable[..., Any] = fold) -> UserState:
    """Folded in parts, each as of its last event, and looked at once more."""
    state = None
    bounds = [0, *sorted(one.cuts - {len(one.events)}), len(one.events)]
    for start, stop in pairwise(bounds):
        part = one.ordered[start:stop]
        state = folding("u", part, one.maps, as_of=part[-1].at, state=state, segments=one.built).state
    found: UserState = folding("u", [], one.maps, as_of=as_of, state=state, segments=one.built).state
    return found


@THOROUGH
@given(cases)
def test_the_fold_has_in_a_segment_whom_the_oracle_has(one: Told) -> None:
    assert folded(one, one.as_of).segments == one.expected(one.as_of)


@THOROUGH
@given(cases)
def test_time_alone_changes_it_when_the_fold_said_and_not_before(one: Told) -> None:
    state = folded(one, one.as_of)
    until = state.segments_until
    for moment in sorted(one.turns()):
        if moment > one.as_of and (until is None or moment < until):
            assert one.expected(moment) == state.segments
    if until is not None:
        assert until > one.as_of
        assert one.expected(until - 1) == state.segments != one.expected(until)
        assert state.due_at(one.as_of) is not None
        assert folded(one, until).segments == one.expected(until)


@THOROUGH
@given(cases)
def test_what_is_announced_leads_from_one_state_to_the_next(one: Told) -> None:
    known: UserState | None = None
    heard: set[str] = set()
    for count in range(1, len(one.ordered) + 1):
        now = fold("u", one.ordered[:count], one.maps, as_of=one.ordered[count - 1].at, segments=one.built).state
        for step in memberships_between("u", known, now, 0):
            assert step.entered != (step.segment in heard)
            heard ^= {step.segment}
        assert heard == set(now.segments)
        known = now
    assert {step.segment for step in memberships_between("u", known, None, 0)} == heard


def test_what_is_remembered_stays_small() -> None:
    one = Told({"s": {"did": {"event": "A", "atLeast": 3}}}, case(Random(1)).journey_map, [], set(), START)
    events = [
        to_event({"id": n.to_bytes(16, "big"), "name": "A", "at": START + n, "seq": 0, "properties": {}})
        for n in range(50)
    ]
    state = fold("u", events, one.maps, as_of=START, segments=one.built).state
    assert state.did == {"s.who": (START + 47, START + 48, START + 49)}
    assert state.client == {}


MUTANTS = {
    "an event that is exactly so old is too old": (
        "times[0] >= as_of - rule.lasts_ms",
        "times[0] > as_of - rule.lasts_ms",
    ),
    "an event counts a millisecond longer": (
        "times[0] >= as_of - rule.lasts_ms",
        "times[0] >= as_of - rule.lasts_ms - 1",
    ),
    "the latest event counts instead of the first of so many": (
        "(rule.lasts_ms is None or times[0] >=",
        "(rule.lasts_ms is None or times[-1] >=",
    ),
    "one event is enough": (
        "            return len(times) == rule.at_least and",
        "            return len(times) >= 1 and",
    ),
    "the first events are remembered, not the last": ("times[-did.at_least :]", "times[: did.at_least]"),
    "conditions are ignored": ("did.rule.matches(event.name, event.properties)", "True"),
    "who denied it counts": ("event.consent.get(_PURPOSE) is False", "False"),
    "all is any": ("return all(_holds(one", "return any(_holds(one"),
    "any is all": ("return any(_holds(one", "return all(_holds(one"),
    "not is nothing": ("return not _holds(inner", "return _holds(inner"),
    "a persona is told by one trait": ("return all(condition.holds", "return any(condition.holds"),
    "traits are those of the client": ("condition.holds(state.client)", "condition.holds(state.traits)"),
    "what is known of a client first stays": (
        "{**state.client, **{name: str(value) for name, value in known.items()}}",
        "{**{name: str(value) for name, value in known.items()}, **state.client}",
    ),
    "a run whose time is up is open": ("run.due_at <= as_of", "run.due_at < as_of"),
    "a stage that was left is still stood in": ("run.stage == rule.stage", "run.visits[-1].stage == rule.stage"),
    "the status is ignored": ("(rule.status is None or rule.status == status.value)", "True"),
    "it changes a millisecond too soon": ("yield times[0] + lasts + 1", "yield times[0] + lasts"),
    "runs change nothing by time": ("yield run.due_at", "yield from ()"),
    "the last change is told, not the next": ("return min((moment", "return max((moment"),
    "a moment that has passed is told": ("if moment > as_of}", "}"),
}


@pytest.fixture(scope="module")
def known() -> list[tuple[Told, tuple[str, ...], int | None]]:
    made = [told(Random(number)) for number in range(3_000)]
    return [(one, one.expected(one.as_of), folded(one, one.as_of).segments_until) for one in made]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistaken_fold_is_caught(
    name: str, known: list[tuple[Told, tuple[str, ...], int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = MUTANTS[name]
    source = Path(str(segments_module.__file__)).read_text(encoding="utf-8")
    assert source.count(old) == 1, old
    changed = ModuleType("mutant_of_segments")
    monkeypatch.setitem(sys.modules, changed.__name__, changed)
    exec(compile(source.replace(old, new), "mutant", "exec"), changed.__dict__)  # noqa: S102 - its own source
    monkeypatch.setattr("gateway.journeys.fold.remember", changed.remember)
    monkeypatch.setattr("gateway.journeys.fold.settle", changed.settle)
    for one, expected, until in known:
        state = folded(one, one.as_of)
        if state.segments != expected or state.segments_until != until:
            return
    pytest.fail(f"nothing tells that {name}")
