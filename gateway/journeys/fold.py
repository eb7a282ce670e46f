"""fold(events, as_of): what one user's events say, in order. Pure: same events, maps and segments, same result.

The state keeps a run as its events left it; that time has run out for it is applied on the way out (`settled`),
so that an event that arrives late but in order continues the run it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.contract import EventRule, JourneyMap, Segments, Stage
from gateway.contract.segments import NO_SEGMENTS
from gateway.journeys.segments import remember, settle
from gateway.model.event import Event, EventType, JsonObject
from gateway.model.journey import Journey, JourneyStatus, Session, StageVisit, UserState

SESSION_GAP_MS = 30 * 60 * 1000
#: A run that has visited so many stages goes forward only: a robot must not make a run that no document can hold.
MOST_VISITS = 100


@dataclass(frozen=True, slots=True)
class Folded:
    """The state after the events, and every session and journey they touched (settled at `as_of`)."""

    state: UserState
    sessions: Mapping[str, Session]
    journeys: Mapping[str, Journey]


def fold(
    user: str,
    events: Iterable[Event],
    maps: Mapping[str, JourneyMap],
    *,
    as_of: int,
    state: UserState | None = None,
    segments: Segments = NO_SEGMENTS,
) -> Folded:
    """Fold events, sorted by their order, onto `state` (None: from the start).

    With a state, which stays as it is, every event must be later than `state.last`. Raises ValueError when there is
    nothing to fold.
    """
    if state is not None:
        state = replace(state, runs=dict(state.runs))
    sessions: dict[str, Session] = {}
    journeys: dict[str, Journey] = {}
    for event in events:
        if state is None:
            state = UserState(user=user, first_seen=event.at, last=event.order)
        state.last = event.order
        state.events += 1
        if event.type is not EventType.GROUP:  # its traits are the group's
            state.traits = _traits(state.traits, event)
        remember(state, segments, event)
        state.session = _session(state, event)
        sessions[state.session.id] = state.session
        for journey_map in maps.values():
            for run in _advance(state.runs.get(journey_map.key), journey_map, user, event):
                state.runs[journey_map.key] = run
                journeys[run.id] = run
    if state is None:
        raise ValueError("nothing to fold")
    for run in state.runs.values():
        journeys[run.id] = run
    settle(state, segments, as_of)
    return Folded(state, sessions, {key: settled(run, as_of) for key, run in journeys.items()})


def settled(run: Journey, as_of: int) -> Journey:
    """The run as it stands at `as_of`: abandoned once its time is up."""
    if run.due_at is None or run.due_at > as_of:
        return run
    return replace(run, status=JourneyStatus.ABANDONED, ended_at=run.due_at, due_at=None)


def _traits(known: JsonObject, event: Event) -> JsonObject:
    """What is known about the user after the event. `traitsOnce` count only where nothing was known."""
    once = event.extra.get("traitsOnce")
    if not event.traits and not isinstance(once, dict):
        return known
    if not isinstance(once, dict):
        return {**known, **event.traits}
    return {**known, **{key: value for key, value in once.items() if known.get(key) is None}, **event.traits}


def _session(state: UserState, event: Event) -> Session:
    current = state.session
    if current is not None and event.at - current.end <= SESSION_GAP_MS:
        # Spelled out, as below: `replace` looks at every field of the class and costs several times as much.
        return Session(
            current.id,
            current.user,
            current.start,
            event.at,
            current.events + 1,
            current.first_event,
            event.id,
            current.entry,
            event.name,
        )
    state.sessions += 1
    return Session(
        id=f"{state.user}.{event.id.hex()}",
        user=state.user,
        start=event.at,
        end=event.at,
        events=1,
        first_event=event.id,
        last_event=event.id,
        entry=event.name,
        exit=event.name,
    )


def _advance(run: Journey | None, journey_map: JourneyMap, user: str, event: Event) -> Sequence[Journey]:
    """The runs that this event changes: an open one whose time is up or that begins anew is closed, then one goes on
    or starts."""
    overdue = run is not None and run.due_at is not None and run.due_at <= event.at
    if not overdue and event.name not in journey_map.event_names:
        return ()
    closed: list[Journey] = []
    if run is not None and overdue:
        run = settled(run, event.at)
        closed.append(run)
    again = _first_match(journey_map.restart, event)
    if run is not None and run.status is JourneyStatus.ACTIVE and again is not None:
        run = _broken_off(run, again, event)
        closed.append(run)
    entered = [
        (stage, rule) for stage, rule in journey_map.entering(event.name) if rule.matches(event.name, event.properties)
    ]
    if run is None or run.status is not JourneyStatus.ACTIVE:
        first = _first_of(entered, journey_map.beginnings)
        if first is None:
            return closed
        return (*closed, _begin(journey_map, user, event, *first, number=1 if run is None else run.run + 1))
    stepped = _step(run, journey_map, event, entered)
    return closed if stepped is None else (*closed, stepped)


def _begin(journey_map: JourneyMap, user: str, event: Event, stage: Stage, rule: EventRule, *, number: int) -> Journey:
    visits = (_visit(event, stage, rule),)
    return Journey(
        id=f"{user}.{journey_map.key}.{number}",
        user=user,
        map=journey_map.key,
        version=journey_map.version,
        run=number,
        status=JourneyStatus.COMPLETED if stage.completes else JourneyStatus.ACTIVE,
        visits=visits,
        started_at=event.at,
        last_at=event.at,
        ended_at=event.at if stage.completes else None,
        due_at=None if stage.completes else _due_at(visits[-1], event.at, journey_map),
    )


def _step(
    run: Journey, journey_map: JourneyMap, event: Event, entered: list[tuple[Stage, EventRule]]
) -> Journey | None:
    """An event of an open run: on in its stage, into another one, out of it, or only a sign of life. None: neither."""
    *before, visit = run.visits
    inside = visit.left_at is None
    leaving = _first_match(journey_map.stage(visit.stage).leave, event) if inside else None
    if not entered and leaving is None:
        return None
    if inside and leaving is None and any(stage.key == visit.stage for stage, _ in entered):
        return _continued(run, (*before, _stayed(visit, event)), event, journey_map)
    back = len(run.visits) < MOST_VISITS
    target = _first_of(entered, journey_map.moves(visit.stage, left=not inside, back=back))
    if target is not None:
        gone = replace(visit, left_at=event.at) if inside else visit
        visits = (*before, gone, _visit(event, *target))
        return _continued(run, visits, event, None if target[0].completes else journey_map)
    if leaving is not None:
        gone = replace(visit, left_at=event.at, left_rule=leaving.id, left_event=event.id)
        return _continued(run, (*before, gone), event, journey_map)
    return _continued(run, run.visits, event, journey_map)


def _visit(event: Event, stage: Stage, rule: EventRule) -> StageVisit:
    return StageVisit(stage.key, event.at, None, rule.id, event.id, event.id, 1)


def _stayed(visit: StageVisit, event: Event) -> StageVisit:
    return StageVisit(
        visit.stage,
        visit.entered_at,
        left_at=None,
        rule=visit.rule,
        first_event=visit.first_event,
        last_event=event.id,
        events=visit.events + 1,
    )


def _continued(run: Journey, visits: tuple[StageVisit, ...], event: Event, journey_map: JourneyMap | None) -> Journey:
    """The open run after an event: still open, or completed when there is no map to wait by."""
    completed = journey_map is None
    return Journey(
        run.id,
        run.user,
        run.map,
        run.version,
        run.run,
        JourneyStatus.COMPLETED if completed else run.status,
        visits,
        run.started_at,
        event.at,
        event.at if completed else None,
        None if journey_map is None else _due_at(visits[-1], event.at, journey_map),
        run.ended_rule,
        run.ended_event,
    )


def _broken_off(run: Journey, rule: EventRule, event: Event) -> Journey:
    return replace(
        run,
        status=JourneyStatus.ABANDONED,
        ended_at=event.at,
        due_at=None,
        ended_rule=rule.id,
        ended_event=event.id,
    )


def _due_at(visit: StageVisit, last_at: int, journey_map: JourneyMap) -> int:
    """When an open run is given up: by the time of the map, or earlier by that of the stage it is in."""
    due_at = last_at + journey_map.patience
    limit = journey_map.limit(visit.stage)
    if limit is not None and visit.left_at is None:
        due_at = min(due_at, visit.entered_at + limit)
    return due_at


def _first_match(rules: tuple[EventRule, ...], event: Event) -> EventRule | None:
    return next((rule for rule in rules if rule.matches(event.name, event.properties)), None)


def _first_of(entered: list[tuple[Stage, EventRule]], ranks: Mapping[str, int]) -> tuple[Stage, EventRule] | None:
    """Of the stages that the event enters and that are ranked, the first, with its first rule that matches."""
    possible = [one for one in entered if one[0].key in ranks]
    return min(possible, key=lambda one: ranks[one[0].key], default=None)
