"""Whatever the map says and however the events are split, the fold tells what the oracle tells; mutants do not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.contract import JourneyMap
from gateway.contract import journeys as map_module
from gateway.contract.reading.journeys import build_journey
from gateway.journeys import fold as fold_module
from gateway.journeys.changes import steps_between
from gateway.journeys.fold import Folded, fold
from gateway.model.event import Event
from gateway.model.journey import Journey, JourneyStatus, Session
from tests import oracle
from tests.unit.journeys.cases import START, Case, case, cases, loaded, to_event

_ANY = list(HealthCheck)
THOROUGH = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=_ANY)
BRIEF = settings(THOROUGH, max_examples=120)


def split(one: Case) -> Iterator[list[Event]]:
    """The person's events in order, cut where the case says."""
    ordered = sorted(map(to_event, one.events), key=lambda event: event.order)
    bounds = [0, *sorted(one.cuts - {len(ordered)}), len(ordered)]
    for start, stop in pairwise(bounds):
        yield ordered[start:stop]


def told(run: Journey) -> dict[str, Any]:
    """A run in the oracle's words."""
    return {
        "run": run.run,
        "status": run.status.value,
        "stages": [
            {
                "stage": visit.stage,
                "entered": visit.entered_at,
                "left": visit.left_at,
                "rule": visit.rule,
                "first": visit.first_event,
                "last": visit.last_event,
                "events": visit.events,
                "leftRule": visit.left_rule,
                "leftEvent": visit.left_event,
            }
            for visit in run.visits
        ],
        "started": run.started_at,
        "last": run.last_at,
        "ended": run.ended_at,
        "due": run.due_at,
        "broken": None if run.ended_rule is None else (run.ended_rule, run.ended_event),
    }


def expected(one: Case) -> tuple[list[tuple[int, int, int]], list[dict[str, Any]]]:
    """The sessions and runs that the oracle sees in the whole."""
    ordered = sorted(one.events, key=oracle.order)
    return oracle.sessions(ordered), oracle.trips(ordered, one.journey_map, one.as_of)


def found(one: Case, journey_map: JourneyMap, folding: Callable[..., Folded] = fold) -> Any:
    """The same from the fold, of one part after the other; and what it counted on the way."""
    sessions: dict[str, Session] = {}
    runs: dict[str, Journey] = {}
    state = None
    for part in split(one):
        folded = folding("u", part, {"m": journey_map}, as_of=one.as_of, state=state)
        state = folded.state
        sessions |= folded.sessions
        runs |= folded.journeys
    assert state is not None
    assert (state.events, state.sessions) == (len(one.events), len(sessions))
    assert state.first_seen == min(event["at"] for event in one.events)
    assert state.last == max(map(oracle.order, one.events))
    return (
        sorted((visit.start, visit.end, visit.events) for visit in sessions.values()),
        [told(run) for run in runs.values()],
    )


@THOROUGH
@given(cases)
def test_the_fold_in_any_steps_is_the_oracles_world(one: Case) -> None:
    assert found(one, loaded(one.journey_map)) == expected(one)


def robot(length: int) -> Case:
    """Somebody who puts things into the cart and goes back to look, all day long."""
    stages: list[dict[str, Any]] = [
        {"key": "a", "label": "a", "enter": [{"event": "A"}], "repeats": True},
        {"key": "b", "label": "b", "enter": [{"event": "B"}], "repeats": True, "leave": [{"event": "L"}]},
        {"key": "c", "label": "c", "enter": [{"event": "C"}], "completes": True},
    ]
    named = {"key": "m", "version": 1, "name": "M", "persona": "P", "goal": "G", "owners": ["ux"]}
    names = [name for _ in range(length) for name in ("A", "B", "L", "B")] + ["A", "C"]
    events = [
        {"id": number.to_bytes(16, "big"), "name": name, "at": START + number, "seq": 0, "properties": {}}
        for number, name in enumerate(names)
    ]
    return Case({**named, "abandonedAfter": "1h", "stages": stages}, events, set(), START)


def test_a_run_of_a_robot_stays_small() -> None:
    one = robot(60)
    runs = found(one, loaded(one.journey_map))
    assert runs == expected(one)
    assert [len(run["stages"]) for run in runs[1]] == [102]


@BRIEF
@given(cases)
def test_what_has_been_told_of_the_past_stays_true(one: Case) -> None:
    journey_map = loaded(one.journey_map)
    ordered = sorted(map(to_event, one.events), key=lambda event: event.order)
    before: dict[str, Journey] = {}
    for count, event in enumerate(ordered):
        now = dict(fold("u", ordered[: count + 1], {"m": journey_map}, as_of=event.at).journeys)
        for key, run in before.items():
            if run.status is not JourneyStatus.ACTIVE:
                assert now[key] == run
            stages = [(visit.stage, visit.entered_at, visit.rule, visit.first_event) for visit in run.visits]
            after = [(visit.stage, visit.entered_at, visit.rule, visit.first_event) for visit in now[key].visits]
            assert after[: len(stages)] == stages
        before = dict(fold("u", ordered[: count + 1], {"m": journey_map}, as_of=event.at).journeys)
    late = dict(fold("u", ordered, {"m": journey_map}, as_of=one.as_of + 10**12).journeys)
    for key, run in before.items():
        assert late[key].visits == run.visits
        if run.due_at is not None:
            assert (late[key].status, late[key].ended_at) == (JourneyStatus.ABANDONED, run.due_at)
        else:
            assert late[key] == run


@BRIEF
@given(cases)
def test_a_state_that_was_folded_onto_is_still_what_it_was(one: Case) -> None:
    journey_map = loaded(one.journey_map)
    parts = list(split(one))
    state = fold("u", parts[0], {"m": journey_map}, as_of=one.as_of).state
    if len(parts) > 1:
        once = fold("u", parts[1], {"m": journey_map}, as_of=one.as_of, state=state)
        assert fold("u", parts[1], {"m": journey_map}, as_of=one.as_of, state=state) == once


@BRIEF
@given(cases)
def test_the_steps_announced_lead_through_every_stage_and_out_of_it(one: Case) -> None:
    journey_map = loaded(one.journey_map)
    known: dict[str, Journey] = {}
    ways: dict[str, list[str | None]] = {}
    state = None
    for part in split(one):
        folded = fold("u", part, {"m": journey_map}, as_of=part[-1].at, state=state)
        state = folded.state
        for key, run in folded.journeys.items():
            if known.get(key) == run:
                continue
            way = ways.setdefault(key, [])
            for step in steps_between(known.get(key), run):
                assert step.from_stage == (way[-1] if way else None)
                if step.event is None or step.event == run.ended_event:
                    assert step.to_stage == step.from_stage
                else:
                    way.append(step.to_stage)
            known[key] = run
    for trip in oracle.trips(sorted(one.events, key=oracle.order), one.journey_map, 0):
        stays = [[stay["stage"]] if stay["leftRule"] is None else [stay["stage"], None] for stay in trip["stages"]]
        assert ways[f"u.m.{trip['run']}"] == [place for stay in stays for place in stay]


# ---- mutants ---------------------------------------------------------------------------------------------------------

#: What a mistaken fold would do: name, what stands in gateway/journeys/fold.py, what stands there instead.
FOLD_MUTANTS = {
    "a pause of exactly 30 minutes ends a session": ("<= SESSION_GAP_MS", "< SESSION_GAP_MS"),
    "a pause of a millisecond more does not end a session": ("<= SESSION_GAP_MS", "<= SESSION_GAP_MS + 1"),
    "sessions are not counted": ("    state.sessions += 1\n", ""),
    "an event counts twice": ("state.events += 1", "state.events += 2"),
    "an event counts twice in its stage": ("events=visit.events + 1", "events=visit.events + 2"),
    "a run whose time is up just then goes on": ("run.due_at <= event.at", "run.due_at < event.at"),
    "a run whose time is up at the time of asking is open": ("run.due_at > as_of", "run.due_at >= as_of"),
    "a run ends when it is noticed, not when its time was up": ("ended_at=run.due_at", "ended_at=as_of"),
    "leaving is ignored": ("event) if inside else None", "event) if False else None"),
    "a stage that was left is left again": ("event) if inside else None", "event)"),
    "leaving stands back behind staying": ("if inside and leaving is None and any", "if inside and any"),
    "a stage that was left is still the one it is in": ("inside = visit.left_at is None", "inside = True"),
    "moving on forgets when the stage was left": (
        "gone = replace(visit, left_at=event.at) if inside else visit",
        "gone = visit",
    ),
    "the limit of a stage is ignored": ("if limit is not None and visit", "if False and visit"),
    "the limit of a stage counts after it was left": (
        "if limit is not None and visit.left_at is None",
        "if limit is not None",
    ),
    "the limit of a stage begins anew with each event": ("visit.entered_at + limit", "last_at + limit"),
    "the limit of a stage takes the place of the map's": (
        "due_at = min(due_at, visit.entered_at + limit)",
        "due_at = visit.entered_at + limit",
    ),
    "what enters no stage from here is no sign of life": (
        "    return _continued(run, run.visits, event, journey_map)\n\n\ndef _visit",
        "        return _continued(run, run.visits, event, journey_map)\n    return None\n\n\ndef _visit",
    ),
    "a run may begin anywhere": ("_first_of(entered, journey_map.beginnings)", "(entered or [None])[0]"),
    "of several stages the last is entered": ("return min(possible", "return max(possible"),
    "beginning anew is ignored": ("and again is not None", "and again is None and False"),
    "what begins anew begins nothing": (
        "run = _broken_off(run, again, event)\n        closed.append(run)",
        "return (*closed, _broken_off(run, again, event))",
    ),
    "a run after the first has the first one's number": ("else run.run + 1", "else run.run"),
    "a completed run is open": ("None if target[0].completes else journey_map", "journey_map"),
    "conditions on properties are ignored": ("rule.matches(event.name, event.properties)\n    ]", "True\n    ]"),
}

#: The same for what gateway/contract/journeys.py works out.
MAP_MUTANTS = {
    "branches are ignored": ("here.next or (*later, *earlier)", "(*later, *earlier)"),
    "branches only add": ("here.next or (*later, *earlier)", "(*here.next, *later, *earlier)"),
    "every stage repeats": ("in self.stages[:position] if stage.repeats", "in self.stages[:position]"),
    "no stage repeats": ("in self.stages[:position] if stage.repeats", "in ()"),
    "a stage that was left is never entered again": ("if left and here.repeats", "if False"),
    "a stage that was left is always entered again": ("if left and here.repeats", "if left"),
    "going back comes before going on": ("(*later, *earlier)", "(*earlier, *later)"),
    "a run may begin with its end": ("if not stage.completes or stage is self.stages[0]", "if True"),
}


def mutant(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with one thing in it changed, which the file has exactly once."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert source.count(old) == 1, old
    changed = ModuleType(f"{module.__name__}_mutant")
    monkeypatch.setitem(sys.modules, changed.__name__, changed)
    exec(compile(source.replace(old, new), "mutant", "exec"), changed.__dict__)  # noqa: S102 - its own source
    return changed


@pytest.fixture(scope="module")
def known() -> list[tuple[Case, JourneyMap, Any]]:
    """Many cases with what the oracle says of them; maps with stages that nothing leads to serve here as well."""
    made = [case(Random(number)) for number in range(4_000)]
    return [(one, build_journey(one.journey_map), expected(one)) for one in made]


def is_caught(known: list[tuple[Case, JourneyMap, Any]], find: Callable[[Case, JourneyMap], Any]) -> bool:
    """Whether any of the cases shows that this is not the fold."""
    for one, journey_map, right in known:
        try:
            if find(one, journey_map) != right:
                return True
        except AssertionError:
            return True
    return False


def test_what_is_no_mutant_is_not_caught(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    same = mutant(fold_module, "run.due_at > as_of", "as_of < run.due_at", monkeypatch).fold
    assert not is_caught(known, lambda one, journey_map: found(one, journey_map, same))


@pytest.mark.parametrize("name", FOLD_MUTANTS)
def test_a_mutant_of_the_fold_is_caught(name: str, known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folding = mutant(fold_module, *FOLD_MUTANTS[name], monkeypatch).fold
    assert is_caught(known, lambda one, journey_map: found(one, journey_map, folding))


@pytest.mark.parametrize("name", MAP_MUTANTS)
def test_a_mutant_of_the_maps_ways_is_caught(name: str, known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = mutant(map_module, *MAP_MUTANTS[name], monkeypatch).JourneyMap

    def find(one: Case, journey_map: JourneyMap) -> Any:
        said = {item.name: getattr(journey_map, item.name) for item in fields(journey_map) if item.init}
        return found(one, changed(**said))

    assert is_caught(known, find)


def test_a_fold_without_the_tie_break_is_caught(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Event, "order", property(lambda event: (event.at, 0, event.id)))
    assert is_caught(known, found)
