"""Derivation as a process does it: owns lanes, follows the change stream, fences every batch.

Processes share the 16 lanes evenly and take over those of one that falls silent. Every effect of a batch is written in
one transaction that also writes the rows of the lanes it touches, so that a process that lost one cannot commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from gateway.clock import Clock, random_id
from gateway.errors import GatewayError, Unavailable
from gateway.model.event import Event
from gateway.model.identity import LANES
from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch, Refold
from gateway.pipeline.derive import Derivation
from gateway.pipeline.heartbeat import Heartbeat
from gateway.pipeline.refolding import Refolder
from gateway.store import lanes, work
from gateway.store.database import Database, Document, HistoryLost, Session, Stream, Timestamp
from gateway.store.events import COLLECTION, from_document
from gateway.store.lanes import ALL_LANES, Lease, LeaseLost, Standing
from gateway.store.work import Pending

log = logging.getLogger("gateway.pipeline")

BATCH = 500
_SMALLEST_BATCH = 20
_MOST_READS = 8
_PAGE = 2_000
_SWEEP = 200
_PAUSE_SECONDS = 0.1
#: How often the positions of lanes without news are written.
_TELL_SECONDS = 0.75
_TRIM_SECONDS = 60
_ERASE_SECONDS = 0.5
_REFOLD_SECONDS = 0.25
_REFOLD_AGAIN_SECONDS = 5.0
#: An erasure whose event has not come by then is begun without it: who asked for it died in the middle.
_EVENT_LOST_MS = 10_000
_MS_PER_HOUR = 3_600_000
#: How much earlier than a position in the change stream an event may have been received that comes behind it: far more
#: than an insert may take.
_STRAGGLER_MS = 600_000


class Deriver:
    """Derives the lanes it owns; takes its share of them, and whatever a process that died has left."""

    def __init__(
        self,
        database: Database,
        derivation: Derivation,
        clock: Clock,
        *,
        lease_seconds: float = 3.0,
        feed_hours: float = 72.0,
    ) -> None:
        self._database = database
        self._derivation = derivation
        self._lanes = derivation.lanes
        self._work = derivation.work
        self._users = derivation.fold.users
        self._events = derivation.fold.events
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._keep_ms = int(feed_hours * _MS_PER_HOUR)
        self._stopping = asyncio.Event()
        self._session: Session | None = None
        self._standing: Standing | None = None
        self._batch = BATCH
        self._advanced = 0.0
        self._swept = 0.0
        self._trimmed = 0.0
        self._troubled = False
        self._horizon = 0
        self._position = 0.0
        self._erased = 0.0
        self._refolder = Refolder(derivation.fold, clock)
        self._refolded = 0.0
        self._derived_until: int | None = None
        self._lease = Lease(random_id())
        #: When derivation last took a step, or other processes had all lanes (monotonic seconds).
        self.heard_of = 0.0
        #: Called when the feed has grown in our lanes.
        self.told: Callable[[], None] = lambda: None

    @property
    def lease(self) -> Lease | None:
        """The lanes this process owns, while it owns any."""
        return self._lease if self._lease.lanes else None

    def owns(self, workspace: str, key: str) -> bool:
        """Whether what belongs to this key is the turn of this process."""
        return self._lease.owns(workspace, key)

    def stop(self) -> None:
        """Finish the batch in hand, give the lanes back, return from `run`."""
        self._stopping.set()

    def lag_seconds(self) -> float | None:
        """The age of what is not derived yet, while this process derives."""
        if self.lease is None or self._derived_until is None:
            return None
        return max(0.0, (self._clock.now() - self._derived_until) / 1000)

    async def count_behind(self, *, at_most: int) -> int | None:
        """How many events wait to be derived, while this process derives."""
        if self.lease is None or self._derived_until is None:
            return None
        waiting = {"receivedAt": {"$gt": self._derived_until}}
        return await self._database.count(COLLECTION, waiting, limit=at_most, max_time_ms=1000)

    async def run(self) -> None:
        """Derive until stopped, through take-overs and outages."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            async with Heartbeat(
                self._database, self._lease.owner, self._lease_seconds, self._clock, self._session_id
            ).beating():
                while not self._stopping.is_set():
                    await self._run_in_session()
        finally:
            self.stop()
            await self._refolder.drop()
            await looking
        await self._guarded(self._lanes.release(self._lease))

    async def _run_in_session(self) -> None:
        try:
            async with self._database.lasting_session() as session:
                self._session = session
                while not self._stopping.is_set():
                    await self._turn()
        except Unavailable as reason:
            await self._guarded(self._waits(reason))
            await self._pause(_PAUSE_SECONDS)
        finally:
            self._session = None

    async def _turn(self) -> None:
        try:
            await self._share()
            if self._lease.lanes:
                await self._own(self._lease)
                return
            self.heard_of = self._clock.monotonic()  # other processes derive
        except Unavailable as reason:
            self._batch = max(_SMALLEST_BATCH, self._batch // 2)
            await self._guarded(self._waits(reason))
        except Exception:
            # Nothing of the batch was written: it is tried again, and the log says where it fails.
            log.exception("derivation failed; trying again")
            await self._guarded(self._lanes.refresh(self._lease))
        await self._pause(_PAUSE_SECONDS)

    async def _keep_looking(self) -> None:
        """See how the lanes are shared, whatever the batches do meanwhile."""
        while not self._stopping.is_set():
            await self._look()
            await self._pause(min(0.25, self._lease_seconds / 4))

    async def _look(self) -> None:
        with suppress(GatewayError):
            self._standing = await self._lanes.attend(
                self._lease.owner, self._lease_seconds, session=self._session_id()
            )

    def _session_id(self) -> Document | None:
        session = self._session
        return None if session is None else dict(session.session_id)

    # -- one transaction ----------------------------------------------------------------------------------------

    async def apply(
        self,
        lease: Lease,
        events: list[Event],
        *,
        offset: Timestamp | None = None,
        waiting: bool = False,
    ) -> None:
        """Derive those of the events that came in our lanes, each at most once, in one fenced transaction; `waiting`:
        with a batch of what other owners have left there.

        A lane that another process has taken over is dropped, and the rest tried again. Raises LeaseLost when none is
        left, or Unavailable.
        """
        while True:
            # Read anew for each try: what waits in a lane that was dropped is another's.
            left = await self._work.pending(lease.lanes, limit=BATCH) if waiting else None
            by_workspace: dict[str, list[Event]] = {}
            for event in events:
                if lease.owns(event.workspace, event.sk):
                    by_workspace.setdefault(event.workspace, []).append(event)
            try:
                await self._write(lease, events=by_workspace, waiting=left, offset=offset)
                return
            except LeaseLost:
                if not await self._lanes.refresh(lease) or not lease.lanes:
                    raise  # the same again would end the same way

    async def _write(
        self,
        lease: Lease,
        *,
        events: Mapping[str, list[Event]] | None = None,
        waiting: Mapping[str, Pending] | None = None,
        due: Mapping[str, list[str]] | None = None,
        erasures: Mapping[str, list[str]] | None = None,
        refold: Refold | None = None,
        offset: Timestamp | None = None,
    ) -> None:
        """One fenced transaction: derive the events, take what waits, bring the users that are due up to now, begin
        erasures, go on with a refold."""
        events, waiting, due, erasures = events or {}, waiting or {}, due or {}, erasures or {}
        refolds = {} if refold is None else {refold.workspace: refold}
        version = self._derivation.contracts.version
        lease.contract = version.number

        async def transact(session: Session) -> tuple[set[int], dict[int, int]]:
            now = self._clock.now()
            news: list[tuple[str, Document]] = []
            touched: set[int] = set()
            for workspace in {*events, *waiting, *due, *erasures, *refolds}:
                batch = Batch(workspace, version.contract, lease, now, session, self._horizon)
                batch.events = events.get(workspace, [])
                batch.waiting = waiting.get(workspace, batch.waiting).copy()  # it may be tried again
                batch.due = due.get(workspace, [])
                batch.erasures = list(erasures.get(workspace, ()))
                batch.refold = refolds.get(workspace)
                await self._derivation.derive(batch)
                news += batch.news
                touched |= batch.lanes
            heads = self._lanes.heads_after(lease, news)
            if touched:
                await self._lanes.fence(lease, touched, heads=heads, offset=offset, session=session)
            await self._lanes.publish(lease, news, now=now, session=session)
            return touched, heads

        written = await self._database.with_transaction(transact, session=self._session)
        self._lanes.committed(lease, *written, offset)
        if written[1]:
            self.told()
        self._batch = min(BATCH, 2 * self._batch)

    # -- owning lanes -------------------------------------------------------------------------------------------

    async def _share(self) -> bool:
        """Give or take what makes the lanes even, as they were seen last; whether ours have changed."""
        lease, contracts = self._lease, self._derivation.contracts
        standing, self._standing = self._standing, None
        if standing is None:
            return False
        lease.contract = contracts.version.number
        if standing.position is not None:
            self._position = standing.position.time * 1000
            self._horizon = standing.position.time * 1000 - _STRAGGLER_MS
        # A newer contract that this process cannot read: others fold under it.
        share = 0 if contracts.unreadable is not None else -(-LANES // standing.processes)
        if len(lease.lanes) > share:
            await self._lanes.release(lease, sorted(lease.lanes)[share:])
            return True
        return await self._take(lease, standing, share - len(lease.lanes))

    async def _take(self, lease: Lease, standing: Standing, room: int) -> bool:
        if not room or not standing.free:
            return False
        had_none = not lease.lanes
        left_open = [session for session in standing.dead.values() if session is not None]
        with suppress(GatewayError):  # some are not allowed it: then what was left open runs out by itself
            await self._database.end_sessions(left_open)
        taken = await self._lanes.take(lease, sorted(standing.free)[:room], standing)
        if taken:
            if had_none:
                # What is behind is told once it is known.
                self._derived_until = None
            log.info("derivation lanes taken", extra={"lanes": len(taken)})
        self._troubled = False
        return bool(taken)

    async def _waits(self, reason: Unavailable) -> None:
        """Said once, however often it is tried again; what we own, and how far it is, is read anew."""
        if not isinstance(reason, LeaseLost) and not self._troubled:
            self._troubled = True
            log.warning("derivation waits", extra={"reason": reason.code})
        if lost := await self._lanes.refresh(self._lease):
            log.warning("derivation lanes lost", extra={"lanes": len(lost)})

    async def _own(self, lease: Lease) -> None:
        """Derive until the lanes we own change."""
        if lease.start() is None:
            await self._catch_up(lease)
        try:
            async with self._watch(lease) as stream:
                # Behind the opening, so that no row falls between.
                await self.work_off(lease)
                while not self._stopping.is_set():
                    await self._next(lease, stream)
                    if await self._share():
                        return
        except HistoryLost:
            log.error("the oplog no longer reaches back to the last position: deriving from stored events")
            await self._make_up(lease)

    @asynccontextmanager
    async def _watch(self, lease: Lease) -> AsyncIterator[Stream]:
        """New events; and where other processes derive too, rows of work that they leave us, and lanes that they do."""
        collection: str | None = COLLECTION
        wanted: Document = {"operationType": "insert"}
        if lease.lanes.keys() != ALL_LANES:
            collection = None
            waiting = {"fullDocument.pending": True, "fullDocument.lane": {"$in": [*lease.lanes]}}
            given_back = {"updateDescription.updatedFields.owner": {"$type": "null"}}
            wanted = {
                "$or": [
                    {"ns.coll": COLLECTION, "operationType": "insert"},
                    {"ns.coll": work.COLLECTION, "operationType": {"$in": ["insert", "replace"]}} | waiting,
                    {"ns.coll": lanes.COLLECTION, "operationType": "update"} | given_back,
                ]
            }
        async with self._database.watch(
            collection, [{"$match": wanted}], start_at=lease.start(), max_await_ms=200
        ) as stream:
            yield stream

    async def _next(self, lease: Lease, stream: Stream) -> None:
        asked_at, telling = self._clock.now(), self._clock.monotonic() - self._advanced > _TELL_SECONDS
        # Read before the stream is asked: if it has nothing then, we have come so far.
        position = await self._database.majority_time() if telling else None
        changes = await self._read(lease, stream)
        if changes:
            position = changes[-1]["clusterTime"]
            places = {change["ns"]["coll"] for change in changes}
            rows = (change["fullDocument"] for change in changes if change["ns"]["coll"] == COLLECTION)
            if COLLECTION in places:
                events = [from_document(row) for row in rows]
                # Together: most users of a batch have events that others resolve too, and a fold each time costs twice.
                await self.apply(lease, events, offset=position, waiting=work.COLLECTION in places)
                self._derived_until = events[-1].received_at
            if work.COLLECTION in places:
                await self.work_off(lease)
            if lanes.COLLECTION in places:  # somebody has given lanes back: seen now rather than with the next beat
                await self._look()
        else:
            self._derived_until = asked_at
        self.heard_of = now = self._clock.monotonic()
        if telling and position is not None:
            await self._lanes.advance(lease, position)
            self._advanced = now
        if now - self._swept > 1:
            self._swept = now
            if await self._sweep(lease):
                self._swept = 0.0
        if now - self._erased > _ERASE_SECONDS:
            self._erased = now
            await self.work_off(lease)  # what this process itself has left there, such as alerts
            await self.erase_due(lease, self._position)
        if self._refolder.busy or now - self._refolded > _REFOLD_SECONDS:
            self._refolded = now
            await self._go_on_refolding(lease)
        if now - self._trimmed > _TRIM_SECONDS:
            self._trimmed = now
            await self._trim(lease)

    async def _read(self, lease: Lease, stream: Stream) -> list[Document]:
        """What the stream has next: where others derive too, more of it, so that a batch of ours comes together."""
        changes: list[Document] = []
        ours = 0
        for _ in range(_MOST_READS):
            part = await stream.next_batch(self._batch)
            changes += part
            rows = (change["fullDocument"] for change in part if change["ns"]["coll"] == COLLECTION)
            ours += sum(lease.owns(row["workspace"], row["sk"]) for row in rows)
            if len(part) < self._batch or 2 * ours > self._batch:
                break
        return changes

    async def work_off(self, lease: Lease) -> int:
        """Fold what other owners have left in our lanes; how many rows there were."""
        found = 0
        while not self._stopping.is_set() and (waiting := await self._work.pending(lease.lanes, limit=BATCH)):
            found += sum(map(len, waiting.values()))
            await self._write(lease, waiting=waiting)
        return found

    async def refold(self, lease: Lease, *, wait: bool = True) -> bool:
        """Take the fold of a user that no batch can fold a transaction on; whether there is more to do right now."""

        async def write(refold: Refold) -> None:
            await self._write(lease, refold=refold)

        contract = self._derivation.contracts.version.contract
        return await self._refolder.step(lease, contract, self._horizon, write, wait=wait)

    async def _go_on_refolding(self, lease: Lease) -> None:
        """Between two batches, for as long as a batch may take."""
        began, more = self._clock.monotonic(), False
        try:
            while await self.refold(lease, wait=False):
                more = True
                if self._stopping.is_set() or self._clock.monotonic() - began > _REFOLD_SECONDS:
                    break
        except Unavailable:
            raise
        except Exception:
            # One user's trouble is nobody else's.
            log.exception("a user with very many events could not be folded; trying again")
            self._refolded = self._clock.monotonic() + _REFOLD_AGAIN_SECONDS
        if more:  # what waited for such a user is for batches again, and nobody else tells us of it
            await self.work_off(lease)

    async def _catch_up(self, lease: Lease) -> None:
        """Derive every stored event of our lanes that has not been derived, then go on from the time this began.

        One that was broken off goes on where it stood.
        """
        scans = {held.scanned for held in lease.lanes.values()}
        begun = {scan[0] for scan in scans if scan is not None}
        if len(begun) == 1 and None not in scans:
            (start,) = begun
            since = min(scan[1] for scan in scans if scan is not None)
        else:
            start, begin = await self._database.majority_time(), lease.start()
            since = 0 if begin is None else begin.time * 1000 - _STRAGGLER_MS
        async for events in self._events.in_arrival_order(_PAGE, since=since):
            fresh = await self._unresolved(lease, events)
            while fresh:
                part, fresh = fresh[: self._batch], fresh[self._batch :]
                await self.apply(lease, part)
            await self._lanes.advance(lease, None, scanned=(start, events[-1].received_at))
            self._derived_until = events[-1].received_at
            await self.work_off(lease)  # what others leave us does not wait until all that is stored has been read
            self.heard_of = self._clock.monotonic()
            await self._go_on_refolding(lease)
            if self._stopping.is_set():
                return
        await self._lanes.advance(lease, start)

    async def _make_up(self, lease: Lease) -> None:
        """Derive from stored events what the oplog no longer tells, and keep on record that it happened."""
        status = self._derivation.status
        incident = await status.history_lost(lease.start(), lease.lanes, self._clock.now())
        await self._catch_up(lease)
        if not self._stopping.is_set():
            await status.ended(incident, self._clock.now())

    async def _unresolved(self, lease: Lease, events: list[Event]) -> list[Event]:
        """Those of our lanes that still have to be resolved."""
        mine = [event for event in events if lease.owns(event.workspace, event.sk)]
        known: set[bytes] = set()
        for workspace in {event.workspace for event in mine}:
            known |= await self._work.known(workspace, [event.id for event in mine if event.workspace == workspace])
        return [event for event in mine if event.id not in known]

    async def _sweep(self, lease: Lease) -> bool:
        """Users whom time alone, or a new version of a map, has changed; whether there are more of them."""
        due: dict[str, list[str]] = {}
        maps = self._derivation.contracts.current.journeys_hash
        found = await self._users.due(lease.lanes, self._clock.now(), maps, limit=_SWEEP)
        for workspace, user in found:
            due.setdefault(workspace, []).append(user)
        if due:
            await self._write(lease, due=due)
        return len(found) == _SWEEP

    async def erase_due(self, lease: Lease, position: float) -> None:
        """Take erasures of our lanes a step on. All lanes have come to `position` (ms) in the change stream."""
        erasing, now = self._derivation.erasing, self._clock.now()
        for erasure in await erasing.erasures.due(lease.lanes, now, limit=_SWEEP):
            if erasure.round > 1 and position < erasure.due_at:
                continue  # some event that came in before may not have been resolved
            if erasure.begun < erasure.round and (erasure.round > 1 or now - erasure.requested_at > _EVENT_LOST_MS):
                await self._write(lease, erasures={erasure.workspace: [erasure.id]})
                erasure = await erasing.erasures.get(Scope.system(erasure.workspace), erasure.id) or erasure
            await self.work_off(lease)
            if erasure.begun >= erasure.round:
                await erasing.sweep(erasure, now)

    async def _trim(self, lease: Lease) -> None:
        before = self._clock.now() - self._keep_ms
        last = await self._lanes.expired(lease.lanes, before)

        async def transact(session: Session) -> None:
            await self._lanes.fence(lease, last, heads={}, offset=None, session=session)
            await self._lanes.trim(last, session)

        if last:
            await self._database.with_transaction(transact, session=self._session)
        # Not before every lane has come past them: until then their events may be met again.
        await self._work.forget(min(before, self._horizon - self._keep_ms))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _guarded(self, work: Awaitable[object]) -> None:
        try:
            await work
        except Unavailable as reason:
            log.warning("derivation waits", extra={"reason": reason.code})
