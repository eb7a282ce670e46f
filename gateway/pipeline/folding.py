"""Fold: what the events of a batch change in their users, sessions and journeys, written by difference."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.journeys.changes import memberships_between, steps_between
from gateway.journeys.fold import Folded, fold
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import Journey, UserState
from gateway.model.journey import Session as Visit
from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch
from gateway.pipeline.difference import Difference, changed_runs
from gateway.store.checkpoints import Checkpoints
from gateway.store.database import Session
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.rollups import stage_cells
from gateway.store.users import Journeys, Sessions, Stored, Users
from gateway.store.work import Again, Work

log = logging.getLogger("gateway.pipeline")

#: Events that one user, and all users of a batch together, may have to be folded anew inside its transaction. Reading
#: and folding a thousand takes some 40 ms, in which the process derives nothing else, and MongoDB ends transactions
#: after a minute.
MOST_EVENTS = 2_000
MOST_OF_A_BATCH = 10_000
#: Of users with more events than `MOST_EVENTS`, the state after every so many is kept, so that a late event is folded
#: from there.
CHECKPOINT_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Fold:
    """The repositories the fold reads and writes."""

    events: Events
    identities: Identities
    work: Work
    users: Users
    sessions: Sessions
    journeys: Journeys
    checkpoints: Checkpoints


async def fold_users(tools: Fold, batch: Batch) -> Difference:
    """Fold the users of the batch's task and store the difference, which is returned.

    A user folded under other maps is folded from the first event, and so is one with an event that is earlier than what
    it was folded up to, unless there is a checkpoint before that. Where there are too many events for a transaction,
    the user is left to `refolding`, and its events wait.
    """
    workspace, task, session = batch.workspace, batch.task, batch.session
    for news in task.events.values():
        news.sort(key=lambda event: event.order)
    stored = await tools.users.states(workspace, {*task.events, *task.again}, session)
    # Who was due, and has become somebody else meanwhile, is no concern of ours any more.
    task.events = {user: news for user, news in task.events.items() if news or user in stored}
    maps = batch.contract.journeys_hash
    changes = Difference(held={user for user, known in stored.items() if known.refolding})
    from_start = set(task.again) - changes.held
    for user, news in task.events.items():
        if (known := stored.get(user)) is not None and (
            known.state is None or known.maps != maps or (news and news[0].order <= known.state.last)
        ):
            from_start.add(user)
    await _fold_anew(tools, batch, from_start - changes.held, stored, changes)
    await _hold(tools, batch, stored, changes.held)
    heirs = {user: task.heirs[user] for user in changes.empty if user in task.heirs}
    await tools.users.redirect(workspace, heirs, session)
    await tools.users.remove(workspace, [user for user in changes.empty if user not in heirs], session)
    onto = {
        user: (news, stored.get(user, Stored()).state) for user, news in task.events.items() if user not in from_start
    }
    await _fold_onto(tools, batch, onto, changes)
    for state in changes.states:
        old = stored.get(state.user, Stored()).state
        changes.memberships += memberships_between(state.user, old, state, batch.now)
    for user in changes.empty:
        changes.memberships += memberships_between(user, stored.get(user, Stored()).state, None, batch.now)
    await tools.users.write(workspace, changes.states, maps=maps, as_of=batch.now, session=session)
    await tools.users.set_aside(workspace, changes.failed, now=batch.now, session=session)
    await tools.sessions.write(workspace, changes.sessions, changes.removed_sessions, session)
    await tools.journeys.write(workspace, changes.journeys, changes.removed_journeys, session)
    return changes


async def _hold(tools: Fold, batch: Batch, stored: Mapping[str, Stored], held: set[str]) -> None:
    """Leave users to `refolding`, those that it has already only if there are new reasons, and have their events
    wait."""
    workspace, task, session = batch.workspace, batch.task, batch.session
    asked = {user for user in held if user in task.again or not stored.get(user, Stored()).refolding}
    counted = {user: stored.get(user, Stored()).counted or batch.contract.journeys_hash for user in asked}
    await tools.users.begin_refold(workspace, counted, session)
    again = [batch.again.get(user, Again(user)) for user in asked & task.again]
    await tools.work.ask_again(workspace, again, session, held=True)
    await tools.work.ask_again(workspace, map(Again, asked - task.again), session, held=True, full=False)
    waiting = {event.id: user for user in held for event in task.events.pop(user, ())}
    await tools.work.hold(workspace, waiting, session)


async def _fold_onto(
    tools: Fold, batch: Batch, onto: Mapping[str, tuple[list[Event], UserState | None]], changes: Difference
) -> None:
    """Events later than all before: fold them onto the stored state."""
    done = []
    checkpoints = []
    for user, (news, state) in onto.items():
        folded = _fold_one(batch, user, news, state, changes)
        if folded is not None:
            done.append(folded)
            changes.states.append(folded.state)
            changes.sessions.extend(folded.sessions.values())
            if state is not None and worth_keeping(state.events, folded.state.events):
                checkpoints.append(folded.state)
    await tools.checkpoints.add(batch.workspace, checkpoints, batch.contract.journeys_hash, batch.session)
    touched = [key for folded in done for key in folded.journeys]
    if touched:
        before = await tools.journeys.get(Scope.system(batch.workspace), touched, session=batch.session)
        changed = [run for folded in done for key, run in folded.journeys.items() if before.get(key) != run]
        changes.journeys.extend(changed)
        for run in changed:
            changes.steps.extend(steps_between(before.get(run.id), run))
        maps = batch.contract.journeys_hash
        changes.cells.update(stage_cells(changed, maps))
        changes.cells.subtract(stage_cells((before[run.id] for run in changed if run.id in before), maps))


@dataclass(slots=True)
class _Anew:
    """Users folded anew: what is to be stored of them, and from which state they were folded, if not from the start."""

    sessions: dict[str, Visit] = field(default_factory=dict)
    journeys: dict[str, Journey] = field(default_factory=dict)
    starts: dict[str, UserState] = field(default_factory=dict)
    checkpoints: list[UserState] = field(default_factory=list)
    room: int = MOST_OF_A_BATCH


async def _fold_anew(
    tools: Fold, batch: Batch, users: set[str], stored: Mapping[str, Stored], changes: Difference
) -> None:
    """Late events, merges, splits and new maps: fold the user's events again and keep only the difference."""
    if not users:
        return
    workspace, session = batch.workspace, batch.session
    members = await tools.identities.of_users(Scope.system(workspace), users, session=session)
    anew = _Anew(room=MOST_OF_A_BATCH)
    for user in sorted(users):
        await _fold_one_anew(tools, batch, user, members[user], stored.get(user, Stored()), changes, anew)
    done = users - changes.held - set(changes.failed)
    whole = done - anew.starts.keys()
    old_sessions = await tools.sessions.of_users(workspace, whole, session)
    old_journeys = await tools.journeys.of_users(workspace, whole, session)
    await tools.checkpoints.drop(workspace, whole, session)
    for user in done & anew.starts.keys():
        old_sessions |= await tools.sessions.since(workspace, anew.starts[user], session)
        old_journeys |= await tools.journeys.since(workspace, anew.starts[user], session)
        await tools.checkpoints.drop_behind(workspace, anew.starts[user], session)
    await tools.checkpoints.add(workspace, anew.checkpoints, batch.contract.journeys_hash, session)
    changes.sessions.extend(one for key, one in anew.sessions.items() if old_sessions.get(key) != one)
    changes.removed_sessions |= old_sessions.keys() - anew.sessions.keys()
    for change in changed_runs(old_journeys, anew.journeys):
        changes.steps.extend(change.steps)
        if change.new is not None:
            changes.journeys.append(change.new)
        else:
            changes.removed_journeys.add(change.id)
    # What these users added to the cells under the maps of then is taken away, what they add now is added.
    maps = batch.contract.journeys_hash
    changes.cells.update(stage_cells(anew.journeys.values(), maps))
    for run in old_journeys.values():
        changes.cells.subtract(stage_cells([run], stored.get(run.user, Stored()).counted or maps))


async def _fold_one_anew(
    tools: Fold,
    batch: Batch,
    user: str,
    identities: list[Identity],
    stored: Stored,
    changes: Difference,
    anew: _Anew,
) -> None:
    many = stored.state is not None and stored.state.events > MOST_EVENTS
    start = await _checkpoint(tools, batch, user, stored) if many else None
    # What is to be taken away counts too, of users without an event.
    held = many and start is None
    events = None if held else await _resolved_events(tools, batch, identities, min(anew.room, MOST_EVENTS), start)
    if events is None:
        changes.held.add(user)
        return
    anew.room -= len(events)
    if not events and start is None:
        changes.empty.append(user)
        return
    if start is None:
        folded = _fold_one(batch, user, events, None, changes)
    else:
        folded = _fold_on(batch, events, start, changes, anew)
    if folded is not None:
        changes.states.append(folded.state)
        anew.sessions |= folded.sessions
        anew.journeys |= folded.journeys


def _fold_on(batch: Batch, events: list[Event], start: UserState, changes: Difference, anew: _Anew) -> Folded | None:
    """Fold events onto a checkpoint, and keep others on the way."""
    sessions = {} if start.session is None else {start.session.id: start.session}
    journeys: dict[str, Journey] = {}
    checkpoints = []
    state = start
    for first in range(0, max(1, len(events)), CHECKPOINT_EVENTS):
        folded = _fold_one(batch, start.user, events[first : first + CHECKPOINT_EVENTS], state, changes)
        if folded is None:
            return None
        if worth_keeping(state.events, folded.state.events):
            checkpoints.append(folded.state)
        state = folded.state
        sessions |= folded.sessions
        journeys |= folded.journeys
    anew.starts[start.user] = start
    anew.checkpoints += checkpoints
    return Folded(state, sessions, journeys)


async def _checkpoint(tools: Fold, batch: Batch, user: str, stored: Stored) -> UserState | None:
    """From where the user can be folded, if nothing but late events is new."""
    news = batch.task.events.get(user)
    maps = batch.contract.journeys_hash
    if user in batch.task.again or stored.state is None or stored.maps != maps or not news:
        return None
    return await tools.checkpoints.before(batch.workspace, user, maps, news[0].order, batch.session)


async def _resolved_events(
    tools: Fold, batch: Batch, identities: list[Identity], most: int, start: UserState | None
) -> list[Event] | None:
    """All events of these identities, behind `start` if given, but those that nobody has resolved yet: their turn is
    still to come. None if there are more than `most`.

    Else they would be folded now, and as late ones once more with every batch that brings some of them.
    """
    sks = [one.sk for one in identities]
    after = None if start is None else start.last
    events = await tools.events.of_identities(batch.workspace, sks, after=after, limit=most + 1, session=batch.session)
    return None if len(events) > most else await resolved(tools.work, events, batch.horizon, batch.session)


async def resolved(work: Work, events: list[Event], horizon: int, session: Session | None = None) -> list[Event]:
    """Those of the events that have been resolved; those received at `horizon` (ms) or later may not have been."""
    recent = [event.id for event in events if event.received_at >= horizon]
    if not recent:
        return events
    known = await work.known(events[0].workspace, recent, session)
    return [event for event in events if event.received_at < horizon or event.id in known]


def worth_keeping(before: int, after: int) -> bool:
    """Whether a state after so many events is kept as a checkpoint, the last one looked at being `before`."""
    return after > MOST_EVENTS and after // CHECKPOINT_EVENTS > before // CHECKPOINT_EVENTS


def _fold_one(
    batch: Batch, user: str, events: list[Event], state: UserState | None, changes: Difference
) -> Folded | None:
    try:
        contract = batch.contract
        return fold(user, events, contract.journeys, as_of=batch.now, state=state, segments=contract.grouping)
    except Exception as error:
        tell_set_aside(user, error)
        changes.failed[user] = type(error).__name__
        return None


def tell_set_aside(user: str, error: Exception) -> None:
    """A user whose events do not fold waits for `rebuild`, or for its next event; everybody else goes on."""
    log.error("user set aside: its events do not fold", extra={"user": user, "error": type(error).__name__})
