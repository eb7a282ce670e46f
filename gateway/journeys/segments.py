"""Who is in which segment, as the fold knows it: a pure function of what is remembered of a user, and of the moment.

Of each event rule the times of its last events are remembered, as many as the rule counts; of clients what was known
last. That is enough for any moment behind the last event: nobody's events are read again when a window runs out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.contract.segments import (
    AllOf,
    AnyOf,
    Did,
    InJourney,
    NotOf,
    OfPersona,
    OfTrait,
    OnClient,
    Rule,
    Segments,
    rules_within,
)
from gateway.model.event import Event
from gateway.model.journey import Journey, JourneyStatus, UserState

#: What came in while its sender denied this counts nowhere.
_PURPOSE = "analytics"


def remember(state: UserState, segments: Segments, event: Event) -> None:
    """Note what the event says for the segments. `state` is changed; what it holds is replaced, never written into."""
    if segments.client and event.client:
        known = {name: value for name, value in event.client.items() if name in segments.client and value}
        if known:
            state.client = {**state.client, **{name: str(value) for name, value in known.items()}}
    counting = segments.counted.get(event.name)
    if counting is None or (event.consent is not None and event.consent.get(_PURPOSE) is False):
        return
    for did in counting:
        if did.rule.matches(event.name, event.properties):
            times = (*state.did.get(did.rule.id, ()), event.at)
            state.did = {**state.did, did.rule.id: times[-did.at_least :]}


def settle(state: UserState, segments: Segments, as_of: int) -> None:
    """Say who the user is at `as_of` (ms), and when time alone will change that."""
    state.segments = members(state, segments, as_of)
    state.segments_until = next_change(state, segments, as_of)


def members(state: UserState, segments: Segments, as_of: int) -> tuple[str, ...]:
    """The keys of the segments that the user is in at `as_of` (ms), in order."""
    return tuple(sorted(key for key, one in segments.all.items() if _holds(one.rule, state, as_of)))


def next_change(state: UserState, segments: Segments, as_of: int) -> int | None:
    """The first moment (ms) behind `as_of` at which the user is in other segments, if nothing more happens."""
    changes = (_next_turn(one.rule, state, as_of) for one in segments.all.values())
    return min((moment for moment in changes if moment is not None), default=None)


def _next_turn(rule: Rule, state: UserState, as_of: int) -> int | None:
    """When the rule holds and did not, or the other way round."""
    moments = {moment for moment in _turns(rule, state) if moment > as_of}
    if not moments:
        return None
    now = _holds(rule, state, as_of)
    return next((moment for moment in sorted(moments) if _holds(rule, state, moment) != now), None)


def _turns(rule: Rule, state: UserState) -> Iterator[int]:
    """Moments at which something in the rule turns."""
    for one in rules_within(rule):
        if isinstance(one, Did) and (lasts := one.lasts_ms) is not None:
            times = state.did.get(one.rule.id, ())
            if len(times) == one.at_least:
                yield times[0] + lasts + 1
        elif isinstance(one, InJourney) and (run := state.runs.get(one.map)) is not None and run.due_at is not None:
            yield run.due_at


def _holds(rule: Rule, state: UserState, as_of: int) -> bool:
    match rule:
        case AllOf(rules):
            return all(_holds(one, state, as_of) for one in rules)
        case AnyOf(rules):
            return any(_holds(one, state, as_of) for one in rules)
        case NotOf(inner):
            return not _holds(inner, state, as_of)
        case Did():
            times = state.did.get(rule.rule.id, ())
            # Times are in order: with the first of so many, all of them are young enough.
            return len(times) == rule.at_least and (rule.lasts_ms is None or times[0] >= as_of - rule.lasts_ms)
        case OfTrait(condition):
            return condition.holds(state.traits)
        case OnClient(condition):
            return condition.holds(state.client)
        case OfPersona(_, traits):
            return all(condition.holds(state.traits) for condition in traits)
        case InJourney():
            run = state.runs.get(rule.map)
            return run is not None and _stands(run, rule, as_of)


def _stands(run: Journey, rule: InJourney, as_of: int) -> bool:
    over = run.due_at is not None and run.due_at <= as_of
    status = JourneyStatus.ABANDONED if over else run.status
    return (rule.stage is None or run.stage == rule.stage) and (rule.status is None or rule.status == status.value)
