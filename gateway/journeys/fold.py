"""fold(events, as_of): what one user's events say, in order. Pure: same events and maps, same result.

The state keeps a run as its events left it; that time has run out for it is applied on the way out (`settled`),
so that an event that arrives late but in order continues the run it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.contract import EventRule, JourneyMap, Stage
from gateway.model.event import Event, EventType
from gateway.model.journey import Journey, JourneyStatus, Session, StageVisit, UserState

SESSION_GAP_MS = 30 * 60 * 1000


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
) -> Folded:
    """Fold events, sorted by their order, onto `state` (None: from the start).

    With a state, every event must be later than `state.last`. Raises ValueError when there is nothing to fold.
    """
    sessions: dict[str, Session] = {}
    journeys: dict[str, Journey] = {}
    for event in events:
        if state is None:
            state = UserState(user=user, first_seen=event.at, last=event.order)
        state.last = event.order
        state.events += 1
        if event.type is EventType.IDENTIFY and event.traits:
            state.traits = {**state.traits, **event.traits}
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
    return Folded(state, sessions, {key: settled(run, as_of) for key, run in journeys.items()})


def settled(run: Journey, as_of: int) -> Journey:
    """The run as it stands at `as_of`: abandoned once its time is up."""
    if run.due_at is None or run.due_at > as_of:
        return run
    return replace(run, status=JourneyStatus.ABANDONED, ended_at=run.due_at, due_at=None)


def _session(state: UserState, event: Event) -> Session:
    current = state.session
    if current is not None and event.at - current.end <= SESSION_GAP_MS:
        return replace(current, end=event.at, events=current.events + 1, last_event=event.id, exit=event.name)
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


def _advance(run: Journey | None, journey_map: JourneyMap, user: str, event: Event) -> Iterable[Journey]:
    """The runs that this event changes: an open one whose time was up is closed, then one goes on or starts."""
    if run is not None and run.due_at is not None and run.due_at <= event.at:
        run = settled(run, event.at)
        yield run
    entered = [
        (stage, rule) for stage, rule in journey_map.entering(event.name) if rule.matches(event.name, event.properties)
    ]
    if not entered:
        return
    if run is None or run.status is not JourneyStatus.ACTIVE:
        first = _first_of(entered, _beginnings(journey_map))
        if first is not None:
            yield _begin(journey_map, user, event, *first, number=1 if run is None else run.run + 1)
        return
    yield _step(run, journey_map, event, entered)


def _beginnings(journey_map: JourneyMap) -> list[Stage]:
    """Where a run may begin: people arrive in the middle too, but what completes a run alone is no journey."""
    return [stage for stage in journey_map.stages if not stage.completes or stage is journey_map.stages[0]]


def _begin(journey_map: JourneyMap, user: str, event: Event, stage: Stage, rule: EventRule, *, number: int) -> Journey:
    run = Journey(
        id=f"{user}.{journey_map.key}.{number}",
        user=user,
        map=journey_map.key,
        version=journey_map.version,
        run=number,
        status=JourneyStatus.ACTIVE,
        visits=(_visit(event, stage, rule),),
        started_at=event.at,
        last_at=event.at,
        ended_at=None,
        due_at=event.at + _limit(journey_map),
    )
    return _completed(run, event) if stage.completes else run


def _step(run: Journey, journey_map: JourneyMap, event: Event, entered: list[tuple[Stage, EventRule]]) -> Journey:
    """An event of an open run: on in its stage, forward to a later one, or only a sign of life."""
    run = replace(run, last_at=event.at, due_at=event.at + _limit(journey_map))
    keys = [stage.key for stage in journey_map.stages]
    here = keys.index(run.stage)
    if any(stage.key == run.stage for stage, _ in entered):
        *before, current = run.visits
        return replace(run, visits=(*before, replace(current, last_event=event.id, events=current.events + 1)))
    forward = _first_of(entered, journey_map.stages[here + 1 :])
    if forward is None:
        return run
    *before, current = run.visits
    visits = (*before, replace(current, left_at=event.at), _visit(event, *forward))
    run = replace(run, visits=visits)
    return _completed(run, event) if forward[0].completes else run


def _visit(event: Event, stage: Stage, rule: EventRule) -> StageVisit:
    return StageVisit(stage.key, event.at, None, rule.id, event.id, event.id, 1)


def _completed(run: Journey, event: Event) -> Journey:
    return replace(run, status=JourneyStatus.COMPLETED, ended_at=event.at, due_at=None)


def _limit(journey_map: JourneyMap) -> int:
    return int(journey_map.abandoned_after.total_seconds() * 1000)


def _first_of(entered: list[tuple[Stage, EventRule]], allowed: Iterable[Stage]) -> tuple[Stage, EventRule] | None:
    keys = {stage.key for stage in allowed}
    return next(((stage, rule) for stage, rule in entered if stage.key in keys), None)
