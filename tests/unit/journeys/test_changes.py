"""What subscribers hear when a run leaves a stage, comes back, begins anew or turns out shorter."""

from __future__ import annotations

from typing import Any

from gateway.contract import JourneyMap
from gateway.contract.reading.journeys import build_journey
from gateway.journeys.changes import steps_between
from gateway.journeys.fold import fold
from gateway.model.journey import Journey, JourneyStatus
from tests.unit.journeys.cases import HALF_HOUR, START, to_event

MAP = {
    "key": "m",
    "version": 1,
    "name": "M",
    "persona": "P",
    "goal": "G",
    "owners": ["ux"],
    "abandonedAfter": "1d",
    "restart": [{"event": "Restart"}],
    "stages": [
        {"key": "a", "label": "A", "repeats": True, "enter": [{"event": "A"}, {"event": "Restart"}]},
        {"key": "b", "label": "B", "leave": [{"event": "Out"}], "limit": "1h", "enter": [{"event": "B"}]},
        {"key": "c", "label": "C", "completes": True, "enter": [{"event": "C"}]},
    ],
}


def runs(*names: str, as_of: int = START) -> list[Journey]:
    """The runs after events of these names, a minute apart."""
    events: list[dict[str, Any]] = [
        {"id": bytes([number]) * 16, "name": name, "at": START + number * 60_000, "seq": 0, "properties": {}}
        for number, name in enumerate(names)
    ]
    one: JourneyMap = build_journey(MAP)
    return list(fold("u", map(to_event, events), {"m": one}, as_of=as_of).journeys.values())


def told(old: Journey | None, new: Journey | None) -> list[tuple[str | None, str | None, str | None]]:
    steps = steps_between(old, new)
    return [(step.from_stage, step.to_stage, None if step.status is None else step.status.value) for step in steps]


def test_leaving_and_coming_back_are_steps_of_their_own() -> None:
    (begun,), (left,), (back,) = runs("A", "B"), runs("A", "B", "Out"), runs("A", "B", "Out", "A")
    assert told(begun, left) == [("b", None, "active")]
    assert told(left, back) == [(None, "a", "active")]
    assert told(None, back) == [
        (None, "a", "active"),
        ("a", "b", "active"),
        ("b", None, "active"),
        (None, "a", "active"),
    ]
    (step,) = steps_between(begun, left)
    assert (step.at, step.event) == (START + 120_000, bytes([2]) * 16)


def test_going_back_at_once_does_not_pass_through_nothing() -> None:
    (there,), (back,) = runs("A", "B"), runs("A", "B", "A")
    assert told(there, back) == [("b", "a", "active")]


def test_the_same_place_again_is_no_step() -> None:
    (once,), (twice,) = runs("A", "B"), runs("A", "B", "B")
    assert told(once, twice) == []


def test_a_run_that_is_begun_anew_is_abandoned_by_that_event() -> None:
    (old,) = runs("A", "B")
    ended, anew = runs("A", "B", "Restart")
    (step,) = steps_between(old, ended)
    assert (step.from_stage, step.to_stage, step.status) == ("b", "b", JourneyStatus.ABANDONED)
    assert (step.at, step.event) == (START + 120_000, bytes([2]) * 16)
    assert (ended.ended_rule, anew.run, told(None, anew)) == ("m.restart[0]", 2, [(None, "a", "active")])


def test_time_ends_a_run_between_stages_too() -> None:
    (left,) = runs("A", "B", "Out")
    (given_up,) = runs("A", "B", "Out", as_of=START + 60 * HALF_HOUR)
    assert told(left, given_up) == [(None, None, "abandoned")]
    assert left.due_at == given_up.ended_at == START + 120_000 + 24 * 2 * HALF_HOUR


def test_the_limit_of_a_stage_ends_a_run_earlier_than_the_map() -> None:
    (staying,) = runs("A", "B", "B")
    assert staying.due_at == START + 60_000 + 2 * HALF_HOUR


def test_a_late_event_that_shortens_a_run_says_where_it_is_now() -> None:
    (longer,), (shorter,) = runs("A", "B", "Out"), runs("A", "B")
    assert told(longer, shorter) == [(None, "b", "active")]
    assert told(longer, None) == [(None, None, None)]
