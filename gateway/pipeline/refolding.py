"""Refold: users with too many events for a transaction, folded from the start beside the batches.

A batch that would have to do it leaves a held row in the user's lane instead, and a mark on the user; from then on
nobody folds anything into the user, and its new events wait as held rows. The owner of the lane reads the events in
pages outside of any transaction, one user at a time, and then writes the difference in fenced transactions:

1. journeys that count under other maps are counted under those of now, so many at a time;
2. the difference in sessions and runs, so many at a time, each with its rollup cells and steps: whoever reads in
   between sees some runs as they were and some as they are, and never a count of something else;
3. the user itself, and the events that waited and are in it, so many at a time, each announced as it is marked done;
4. with the last of them the mark and the held row go, and what came meanwhile is left to the batches.

Each of these compares what it finds with what was there when the fold began: the epoch of the lane, the revision of the
user, and how often the fold was asked for, which whoever merges, splits or erases something of the user writes.
Identities that the user has lost meanwhile, other maps or another owner make it void, and it begins anew; what was
written of it stays true, because each transaction is a difference to what is stored. Identities that it got meanwhile
only make it be folded once more: so that a user that is merged all the time comes on all the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.errors import GatewayError, Unavailable
from gateway.journeys.changes import memberships_between
from gateway.journeys.fold import fold
from gateway.model.event import OrderKey
from gateway.model.identity import lane_of
from gateway.model.journey import Journey, UserState
from gateway.model.journey import Session as Visit
from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch, Part, Refold
from gateway.pipeline.difference import RunChange, changed_runs
from gateway.pipeline.folding import Fold, resolved, tell_set_aside, worth_keeping
from gateway.store.lanes import Lease, event_row, journey_step_row, segment_step_row
from gateway.store.rollups import Cells, Rollups, stage_cells
from gateway.store.users import Stored
from gateway.store.work import Again, Held

#: Events read and folded at a time: about 20 ms in which the process does nothing else.
PAGE = 500
#: Rows of sessions and journeys, and events announced, that one transaction writes: a fraction of a second.
ROWS = 1_000
EVENTS = 500
_LOOK = 20


class Moved(Unavailable):
    """What a fold outside of transactions was based on is not so any more: nothing was written."""


# -- outside ----------------------------------------------------------------------------------------------------------


async def prepare(tools: Fold, refold: Refold, contract: Contract) -> None:
    """Fold the user's events, page by page, and work out what that changes. Raises Unavailable."""
    workspace, user = refold.workspace, refold.user
    identities = (await tools.identities.of_users(Scope.system(workspace), [user]))[user]
    refold.sks = frozenset(one.sk for one in identities)
    refold.start = refold.state = await _checkpoint(tools, refold)
    sessions: dict[str, Visit] = {}
    journeys: dict[str, Journey] = {}
    try:
        await _fold_pages(tools, refold, contract, sessions, journeys)
    except GatewayError:
        raise
    except Exception as error:
        tell_set_aside(user, error)
        refold.failed = type(error).__name__
    if refold.failed is None:
        if refold.start is None:
            old_sessions = await tools.sessions.of_users(workspace, [user])
            old_journeys = await tools.journeys.of_users(workspace, [user])
        else:
            old_sessions = await tools.sessions.since(workspace, refold.start)
            old_journeys = await tools.journeys.since(workspace, refold.start)
        refold.parts = list(_parts(old_sessions, sessions, changed_runs(old_journeys, journeys)))
    refold.waiting = await tools.work.held_events(workspace, user)
    refold.ready = True


async def _checkpoint(tools: Fold, refold: Refold) -> UserState | None:
    """The state before all events that wait, if there is one and nothing but them is new."""
    if refold.full:
        return None
    waiting = await tools.work.held_events(refold.workspace, refold.user)
    first = await tools.events.earliest(refold.workspace, waiting)
    return first and await tools.checkpoints.before(refold.workspace, refold.user, refold.maps, first)


async def _fold_pages(
    tools: Fold, refold: Refold, contract: Contract, sessions: dict[str, Visit], journeys: dict[str, Journey]
) -> None:
    after: OrderKey | None = None
    kept = 0
    if refold.start is not None:
        # What it says itself is stored again, should nothing follow.
        begun = fold(
            refold.user, [], contract.journeys, as_of=refold.as_of, state=refold.start, segments=contract.grouping
        )
        refold.state = begun.state
        after, kept = refold.start.last, refold.start.events
        journeys |= begun.journeys
        if refold.start.session is not None:
            sessions[refold.start.session.id] = refold.start.session
    while True:
        page = await tools.events.of_identities(refold.workspace, sorted(refold.sks), after=after, limit=PAGE)
        if page:
            after = page[-1].order
            events = await resolved(tools.work, page, refold.horizon)
            refold.recent.update(event.id for event in events if event.received_at >= refold.horizon)
            if events:
                folded = fold(
                    refold.user,
                    events,
                    contract.journeys,
                    as_of=refold.as_of,
                    state=refold.state,
                    segments=contract.grouping,
                )
                refold.state = folded.state
                sessions |= folded.sessions
                journeys |= folded.journeys
                if worth_keeping(kept, folded.state.events):
                    kept = folded.state.events
                    refold.checkpoints.append(folded.state)
        if len(page) < PAGE:
            return
        await asyncio.sleep(0)


def _parts(old: Mapping[str, Visit], new: Mapping[str, Visit], runs: Iterable[RunChange]) -> Iterator[Part]:
    """The difference in parts, by time: what replaces something is mostly written with its removal."""
    written = [(one.start, key, one) for key, one in new.items() if old.get(key) != one]
    removed = [(one.start, key, None) for key, one in old.items() if key not in new]
    visits = sorted([*written, *removed], key=lambda change: change[:2])
    changes = sorted(runs, key=lambda change: (change.started_at, change.id))
    while visits or changes:
        some, visits = visits[:ROWS], visits[ROWS:]
        yield Part(
            sessions=[one for _, _, one in some if one is not None],
            removed_sessions=[key for _, key, one in some if one is None],
            runs=changes[: ROWS - len(some)],
        )
        changes = changes[ROWS - len(some) :]


# -- inside a transaction ---------------------------------------------------------------------------------------------


async def write_refold(tools: Fold, rollups: Rollups, batch: Batch) -> None:
    """Write one more part of the batch's refold. Raises Moved."""
    refold = batch.refold
    if refold is None:
        return
    batch.lanes.add(refold.lane)
    stored = (await tools.users.states(refold.workspace, [refold.user], batch.session)).get(refold.user)
    if stored is None or not stored.refolding:  # its row was lost: marked anew, and begun anew
        await tools.users.begin_refold(refold.workspace, {refold.user: refold.maps}, batch.session)
        refold.then = partial(setattr, refold, "whole", True)
        return
    held = await _unmoved(tools, batch, refold, stored)
    if refold.counted != batch.contract.journeys_hash:
        await _recount(tools, rollups, batch, refold, stored)
    elif refold.parts:
        await _write_part(tools, rollups, batch, refold.parts[0])
        await tools.users.go_on_refolding(refold.workspace, refold.user, batch.session)
        refold.then = partial(refold.parts.__delitem__, 0)
    else:
        await _write_user(tools, batch, refold, None if held is None else held.again)
        _tell_segments(batch, refold, stored)


async def _unmoved(tools: Fold, batch: Batch, refold: Refold, stored: Stored) -> Held | None:
    """The row as it is now, if nothing has been asked for since; None: it is to be folded once more. Raises Moved if
    the fold is of no use."""
    workspace, user, session = refold.workspace, refold.user, batch.session
    owned = batch.lease.lanes.get(refold.lane)
    held = await tools.work.touch_held(workspace, user, session)
    members = await tools.identities.of_users(Scope.system(workspace), [user], session=session)
    if (
        owned is None
        or owned.epoch != refold.epoch
        or refold.maps != batch.contract.journeys_hash
        or stored.maps not in (refold.found, refold.maps)
        or held is None
        or stored.counted != refold.counted
        or not refold.sks <= {one.sk for one in members[user]}
    ):
        raise Moved("A user has changed while it was folded.")
    return held if (held.asked, stored.revision) == (refold.held.asked, refold.revision) else None


def _tell_segments(batch: Batch, refold: Refold, stored: Stored) -> None:
    """What the user has entered and left; written more than once, the user is in them already by then."""
    if refold.failed is None:
        told = memberships_between(refold.user, stored.state, refold.state, refold.as_of)
        batch.news += [(refold.user, segment_step_row(refold.workspace, step)) for step in told]


async def _recount(tools: Fold, rollups: Rollups, batch: Batch, refold: Refold, stored: Stored) -> None:
    """Count journeys that are stored under the maps of now instead of those of then; one that was begun for yet other
    maps is finished first."""
    workspace, user, session = refold.workspace, refold.user, batch.session
    to, upto = stored.recounted or (refold.maps, "")
    runs = await tools.journeys.after(workspace, user, upto, limit=ROWS, session=session)
    cells: Cells = Counter()
    cells.update(stage_cells(runs, to))
    cells.subtract(stage_cells(runs, refold.counted))
    await rollups.add(workspace, cells, lane=min(batch.lanes), session=session)
    whole = len(runs) < ROWS
    recounted = None if whole else (to, runs[-1].id)
    counted = to if whole else refold.counted
    await tools.users.go_on_refolding(workspace, user, session, counted=counted, recounted=recounted)
    refold.then = partial(setattr, refold, "counted", counted)


async def _write_part(tools: Fold, rollups: Rollups, batch: Batch, part: Part) -> None:
    workspace, session, maps = batch.workspace, batch.session, batch.contract.journeys_hash
    new = [change.new for change in part.runs if change.new is not None]
    gone = [change.id for change in part.runs if change.new is None]
    cells: Cells = Counter()
    cells.update(stage_cells(new, maps))
    cells.subtract(stage_cells((change.old for change in part.runs if change.old is not None), maps))
    await tools.sessions.write(workspace, part.sessions, part.removed_sessions, session)
    await tools.journeys.write(workspace, new, gone, session)
    await rollups.add(workspace, cells, lane=min(batch.lanes), session=session)
    steps = [step for change in part.runs for step in change.steps]
    batch.news += [(step.user, journey_step_row(workspace, step)) for step in steps]


async def _write_user(tools: Fold, batch: Batch, refold: Refold, again: Again | None) -> None:
    """The user, and some of the events that waited for it. `again`: why it was folded, if that is all there is."""
    workspace, user, session = refold.workspace, refold.user, batch.session
    some = refold.waiting[:EVENTS]
    await _take_events(tools, batch, refold, some)
    await _write_checkpoints(tools, batch, refold)
    last = len(some) == len(refold.waiting) and len(refold.checkpoints) <= ROWS
    if refold.failed is not None:
        await tools.users.set_aside(workspace, {user: refold.failed}, now=batch.now, session=session)
    elif refold.state is not None:
        await tools.users.write(
            workspace, [refold.state], maps=refold.maps, as_of=refold.as_of, session=session, bump=False
        )
    done = last and again is not None
    await tools.users.go_on_refolding(workspace, user, session, whole=done)
    if done and again is not None:
        if refold.state is None and refold.failed is None:
            await _leave(tools, batch, user, again.heir)
        await tools.work.release(workspace, user, session)
        await tools.work.ask_again(workspace, [Again(other) for other in again.to], session)

    def then() -> None:
        refold.waiting, refold.checkpoints = refold.waiting[EVENTS:], refold.checkpoints[ROWS:]
        refold.whole, refold.written = last, True

    refold.then = then


async def _write_checkpoints(tools: Fold, batch: Batch, refold: Refold) -> None:
    """Keep those that the fold has come past, instead of those that lack what it has folded."""
    if refold.written:
        pass
    elif refold.start is None:
        await tools.checkpoints.drop(batch.workspace, [refold.user], batch.session)
    else:
        await tools.checkpoints.drop_behind(batch.workspace, refold.start, batch.session)
    if refold.failed is None:
        await tools.checkpoints.add(batch.workspace, refold.checkpoints[:ROWS], refold.maps, batch.session)


async def _leave(tools: Fold, batch: Batch, user: str, heir: str | None) -> None:
    """The user has no events any more."""
    if heir is not None:
        await tools.users.redirect(batch.workspace, {user: heir}, batch.session)
    else:
        await tools.users.remove(batch.workspace, [user], batch.session)


async def _take_events(tools: Fold, batch: Batch, refold: Refold, waiting: list[bytes]) -> None:
    """Events that waited: those that are in the fold are done, those of others by now go to their lanes."""
    workspace, session = batch.workspace, batch.session
    still = await tools.work.still_held(workspace, refold.user, waiting, session)
    found = await tools.events.get(Scope.system(workspace), still, session=session)
    identities = {event.identity for event in found.values()}
    members = await tools.identities.members(workspace, identities, session=session)
    gone = [key for key in still if key not in found or found[key].identity not in members]
    users = {key: members[found[key].identity].user for key in still if key not in gone}
    others = {key: user for key, user in users.items() if user != refold.user}
    done = [
        found[key] for key in users.keys() - others.keys() if refold.failed is not None or refold.includes(found[key])
    ]
    finished = dict.fromkeys([*gone, *(event.id for event in done)], refold.user)
    await tools.work.finish(workspace, finished, (), now=batch.now, session=session)
    await tools.work.forward(workspace, others, session)
    done.sort(key=lambda event: event.order)
    batch.news += [(refold.user, event_row(event, refold.user)) for event in done]


# -- one after the other ----------------------------------------------------------------------------------------------


class Refolder:
    """Folds what is held in a process's lanes: reads one user beside the batches, writes between them."""

    def __init__(self, tools: Fold, clock: Clock) -> None:
        self._tools = tools
        self._clock = clock
        self._refold: Refold | None = None
        self._reading: asyncio.Task[None] | None = None
        self._last: tuple[str, str] = ("", "")

    @property
    def busy(self) -> bool:
        """Whether a fold is under way."""
        return self._refold is not None

    async def step(
        self,
        lease: Lease,
        contract: Contract,
        horizon: int,
        write: Callable[[Refold], Awaitable[None]],
        *,
        wait: bool = False,
    ) -> bool:
        """Go on with at most one transaction, which `write` runs; whether there is more to do right now.

        Does not wait until a user has been read, unless told to. Raises Unavailable.
        """
        refold = self._refold = self._still_good(lease, contract) or await self._next(lease, contract, horizon)
        if refold is None:
            return False
        try:
            if not refold.ready and refold.counted == refold.maps:
                if self._reading is None:
                    self._reading = asyncio.create_task(prepare(self._tools, refold, contract))
                if not wait and not self._reading.done():
                    return False
                await self._reading
                self._reading = None
            await write(refold)
        except Moved:
            await self.drop()
            return True
        except BaseException:
            await self.drop()
            raise
        refold.revision += 1
        refold.then()
        if refold.whole:
            await self.drop()
        return True

    async def drop(self) -> None:
        """Forget the fold under way: its row stays, for whoever comes to it next."""
        if self._refold is not None:
            self._last = (self._refold.workspace, self._refold.user)
        reading, self._refold, self._reading = self._reading, None, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError, GatewayError):
                await reading

    def _still_good(self, lease: Lease, contract: Contract) -> Refold | None:
        if (refold := self._refold) is None:
            return None
        owned = lease.lanes.get(refold.lane)
        if owned is not None and owned.epoch == refold.epoch and refold.maps == contract.journeys_hash:
            return refold
        if self._reading is not None:
            self._reading.cancel()
        self._reading = None
        return None

    async def _next(self, lease: Lease, contract: Contract, horizon: int) -> Refold | None:
        """Whose turn it is: first who lost identities, then who got them; and nobody twice while others wait."""
        rows = await self._tools.work.held_users(lease.lanes, limit=_LOOK)
        if not rows:
            return None
        held = min(rows, key=self._turn)
        workspace, user = held.workspace, held.again.user
        lane = lane_of(workspace, user)
        if lane not in lease.lanes:
            return None  # lost a moment ago
        # Read behind the row: what changes the user later is seen to have done so.
        stored = (await self._tools.users.states(workspace, [user])).get(user, Stored())
        maps = contract.journeys_hash
        return Refold(
            held,
            lane,
            lease.lanes[lane].epoch,
            stored.revision,
            maps,
            stored.counted or maps,
            full=held.full or stored.state is None or stored.maps != maps,
            found=stored.maps,
            as_of=self._clock.now(),
            horizon=horizon,
        )

    def _turn(self, held: Held) -> tuple[bool, bool, str, str]:
        mine = (held.workspace, held.again.user)
        return mine == self._last, not held.again.to, *mine
