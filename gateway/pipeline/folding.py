"""Fold: what the events of a batch change in their users, sessions and journeys, written by difference."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.journeys.changes import steps_between
from gateway.journeys.fold import Folded, fold
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import Journey, JourneyStep, UserState
from gateway.model.journey import Session as Visit
from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.rollups import Cells, stage_cells
from gateway.store.users import Journeys, Sessions, Stored, Users
from gateway.store.work import Work

log = logging.getLogger("gateway.pipeline")


@dataclass(frozen=True, slots=True)
class Fold:
    """The repositories the fold reads and writes."""

    events: Events
    identities: Identities
    work: Work
    users: Users
    sessions: Sessions
    journeys: Journeys


@dataclass(slots=True)
class Difference:
    """What a workspace's fold changes: rows to write and to remove, steps to announce, cells to add to."""

    states: list[UserState] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    sessions: list[Visit] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    removed_sessions: set[str] = field(default_factory=set)
    removed_journeys: set[str] = field(default_factory=set)
    steps: list[JourneyStep] = field(default_factory=list)
    cells: Cells = field(default_factory=Counter)


async def fold_users(tools: Fold, batch: Batch) -> Difference:
    """Fold the users of the batch's task and store the difference, which is returned.

    An event that is earlier than what its user was folded up to, or a user folded under other maps, is folded from
    the first event.
    """
    workspace, task, session = batch.workspace, batch.task, batch.session
    for news in task.events.values():
        news.sort(key=lambda event: event.order)
    stored = await tools.users.states(workspace, {*task.events, *task.again}, session)
    # Who was due, and has become somebody else meanwhile, is no concern of ours any more.
    task.events = {user: news for user, news in task.events.items() if news or user in stored}
    maps = batch.contract.journeys_hash
    from_start = set(task.again)
    for user, news in task.events.items():
        if (known := stored.get(user)) is not None and (
            known.state is None or known.maps != maps or (news and news[0].order <= known.state.last)
        ):
            from_start.add(user)
    changes = Difference()
    counted = {user: known.counted or maps for user, known in stored.items()}
    await _fold_from_start(tools, batch, from_start, counted, changes)
    heirs = {user: task.heirs[user] for user in changes.empty if user in task.heirs}
    await tools.users.redirect(workspace, heirs, session)
    await tools.users.remove(workspace, [user for user in changes.empty if user not in heirs], session)
    onto = {
        user: (news, stored.get(user, Stored()).state) for user, news in task.events.items() if user not in from_start
    }
    await _fold_onto(tools, batch, onto, changes)
    await tools.users.write(workspace, changes.states, maps=maps, as_of=batch.now, session=session)
    await tools.users.set_aside(workspace, changes.failed, now=batch.now, session=session)
    await tools.sessions.write(workspace, changes.sessions, changes.removed_sessions, session)
    await tools.journeys.write(workspace, changes.journeys, changes.removed_journeys, session)
    return changes


async def _fold_onto(
    tools: Fold, batch: Batch, onto: Mapping[str, tuple[list[Event], UserState | None]], changes: Difference
) -> None:
    """Events later than all before: fold them onto the stored state."""
    done = []
    for user, (news, state) in onto.items():
        folded = _fold_one(batch, user, news, state, changes)
        if folded is not None:
            done.append(folded)
            changes.states.append(folded.state)
            changes.sessions.extend(folded.sessions.values())
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


async def _fold_from_start(
    tools: Fold, batch: Batch, users: set[str], counted: Mapping[str, str], changes: Difference
) -> None:
    """Late events, merges, splits and new maps: fold all events of the user again and keep only the difference."""
    if not users:
        return
    workspace, session = batch.workspace, batch.session
    old_sessions = await tools.sessions.of_users(workspace, users, session)
    old_journeys = await tools.journeys.of_users(workspace, users, session)
    new_sessions: dict[str, Visit] = {}
    new_journeys: dict[str, Journey] = {}
    members = await tools.identities.of_users(Scope.system(workspace), users, session=session)
    kept: set[str] = set()
    for user, identities in members.items():
        events = await _resolved_events(tools, batch, identities)
        if not events:
            changes.empty.append(user)
        folded = _fold_one(batch, user, events, None, changes) if events else None
        if folded is None:
            if events:
                kept.add(user)
            continue
        changes.states.append(folded.state)
        new_sessions |= folded.sessions
        new_journeys |= folded.journeys
    changes.sessions.extend(one for key, one in new_sessions.items() if old_sessions.get(key) != one)
    changes.journeys.extend(one for key, one in new_journeys.items() if old_journeys.get(key) != one)
    changes.removed_sessions |= {k for k, one in old_sessions.items() if k not in new_sessions and one.user not in kept}
    changes.removed_journeys |= {k for k, one in old_journeys.items() if k not in new_journeys and one.user not in kept}
    changes.steps.extend(_steps(old_journeys, new_journeys, changes.removed_journeys))
    # What these users added to the cells under the maps of then is taken away, what they add now is added.
    maps = batch.contract.journeys_hash
    changes.cells.update(stage_cells(new_journeys.values(), maps))
    for run in old_journeys.values():
        if run.user not in kept:
            changes.cells.subtract(stage_cells([run], counted.get(run.user, maps)))


def _steps(old: dict[str, Journey], new: dict[str, Journey], removed: set[str]) -> Iterable[JourneyStep]:
    """A run is the same run when it began with the same event, whatever its number or its user's id."""
    begun = {(run.map, run.visits[0].first_event): run for run in old.values()}
    continued = set()
    for run in new.values():
        before = old.get(run.id) or begun.get((run.map, run.visits[0].first_event))
        if before is not None:
            continued.add(before.id)
        if before != run:
            yield from steps_between(before, run)
    for key in removed - continued:
        if key in old:
            yield from steps_between(old[key], None)


async def _resolved_events(tools: Fold, batch: Batch, identities: list[Identity]) -> list[Event]:
    """All events of these identities but those that nobody has resolved yet: their turn is still to come.

    Else they would be folded now, and as late ones once more with every batch that brings some of them.
    """
    sks = [one.sk for one in identities]
    events = await tools.events.of_identities(batch.workspace, sks, session=batch.session)
    recent = [event.id for event in events if event.received_at >= batch.horizon]
    if not recent:
        return events
    known = await tools.work.known(batch.workspace, recent, batch.session)
    return [event for event in events if event.received_at < batch.horizon or event.id in known]


def _fold_one(
    batch: Batch, user: str, events: list[Event], state: UserState | None, changes: Difference
) -> Folded | None:
    try:
        return fold(user, events, batch.contract.journeys, as_of=batch.now, state=state)
    except Exception as error:
        log.error("user set aside: its events do not fold", extra={"user": user, "error": type(error).__name__})
        changes.failed[user] = type(error).__name__
        return None
