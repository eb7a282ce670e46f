"""Fold: what the events of a batch change in their users, sessions and journeys, written by difference."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.contract import Contract
from gateway.journeys.changes import steps_between
from gateway.journeys.fold import Folded, fold
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import Journey, JourneyStep, UserState
from gateway.model.journey import Session as Visit
from gateway.model.scope import Scope
from gateway.store.database import Session
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.users import Journeys, Sessions, Users

log = logging.getLogger("gateway.pipeline")


@dataclass(frozen=True, slots=True)
class Fold:
    """The repositories the fold writes, and the maps it folds under."""

    events: Events
    identities: Identities
    users: Users
    sessions: Sessions
    journeys: Journeys
    contract: Contract


@dataclass(slots=True)
class _Difference:
    """What a workspace's fold changes."""

    states: list[UserState] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    sessions: list[Visit] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    removed_sessions: set[str] = field(default_factory=set)
    removed_journeys: set[str] = field(default_factory=set)
    steps: list[JourneyStep] = field(default_factory=list)


async def fold_users(
    tools: Fold,
    workspace: str,
    events: Mapping[str, list[Event]],
    *,
    again: Iterable[str],
    gone: Mapping[str, str],
    as_of: int,
    session: Session,
) -> list[JourneyStep]:
    """Fold the events (by user, sorted) and store the difference; returns the journeys' steps.

    Users in `again` are folded from their first event; those in `gone` live on under another id. A user without
    events in the mapping's list is only brought to `as_of`.
    """
    await tools.users.redirect(workspace, dict(gone), session)
    stored = await tools.users.states(workspace, {*events, *again}, session)
    from_start = set(again)
    for user, news in events.items():
        state, maps = stored.get(user, (None, None))
        unfit = user in stored and (state is None or maps != tools.contract.journeys_hash)
        if unfit or (state is not None and news and news[0].order <= state.last):
            from_start.add(user)
    changes = _Difference()
    await _fold_from_start(tools, workspace, from_start, gone, as_of, changes, session)
    onto = {user: (news, stored.get(user, (None, None))[0]) for user, news in events.items() if user not in from_start}
    await _fold_onto(tools, workspace, onto, as_of, changes, session)
    maps = tools.contract.journeys_hash
    await tools.users.write(workspace, changes.states, maps=maps, as_of=as_of, session=session)
    await tools.users.set_aside(workspace, changes.failed, session)
    await tools.sessions.write(workspace, changes.sessions, changes.removed_sessions, session)
    await tools.journeys.write(workspace, changes.journeys, changes.removed_journeys, session)
    return changes.steps


async def _fold_onto(
    tools: Fold,
    workspace: str,
    onto: Mapping[str, tuple[list[Event], UserState | None]],
    as_of: int,
    changes: _Difference,
    session: Session,
) -> None:
    """Events later than all before: fold them onto the stored state."""
    done = []
    for user, (news, state) in onto.items():
        folded = _fold_one(tools, user, news, as_of, state, changes)
        if folded is not None:
            done.append(folded)
            changes.states.append(folded.state)
            changes.sessions.extend(folded.sessions.values())
    touched = [key for folded in done for key in folded.journeys]
    if touched:
        before = await tools.journeys.get(Scope.system(workspace), touched, session=session)
        for folded in done:
            for key, journey in folded.journeys.items():
                if before.get(key) != journey:
                    changes.journeys.append(journey)
                    changes.steps.extend(steps_between(before.get(key), journey))


async def _fold_from_start(
    tools: Fold,
    workspace: str,
    users: set[str],
    gone: Mapping[str, str],
    as_of: int,
    changes: _Difference,
    session: Session,
) -> None:
    """Late events, merges and new maps: fold all events of the user again and keep only the difference."""
    if not users and not gone:
        return
    owners = {*users, *gone}
    old_sessions = await tools.sessions.of_users(workspace, owners, session)
    old_journeys = await tools.journeys.of_users(workspace, owners, session)
    new_sessions: dict[str, Visit] = {}
    new_journeys: dict[str, Journey] = {}
    members = await tools.identities.of_users(Scope.system(workspace), users, session=session)
    kept: set[str] = set()
    for user, identities in members.items():
        events = await _all_events(tools, workspace, identities, session)
        folded = _fold_one(tools, user, events, as_of, None, changes) if events else None
        if folded is None:
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


async def _all_events(tools: Fold, workspace: str, identities: list[Identity], session: Session) -> list[Event]:
    return await tools.events.of_identities(workspace, [one.sk for one in identities], session=session)


def _fold_one(
    tools: Fold, user: str, events: list[Event], as_of: int, state: UserState | None, changes: _Difference
) -> Folded | None:
    try:
        return fold(user, events, tools.contract.journeys, as_of=as_of, state=state)
    except Exception as error:
        log.error("user set aside: its events do not fold", extra={"user": user, "error": type(error).__name__})
        changes.failed.append(user)
        return None
