"""The owner of derivation: holds the lease, follows the change stream of `events`, fences every batch.

One process derives at a time; the others wait for the lease. Every effect of a batch is written in one transaction
that first writes the lease's row, so that a process that lost it cannot commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress

from gateway.clock import Clock, random_id
from gateway.errors import Unavailable
from gateway.model.event import Event
from gateway.pipeline.derive import Batch, Derivation
from gateway.store.database import Database, Document, HistoryLost, Session, Stream, Timestamp
from gateway.store.events import COLLECTION, from_document
from gateway.store.lanes import Lease, LeaseLost

log = logging.getLogger("gateway.pipeline")

BATCH = 500
_SWEEP = 200
_PAUSE_SECONDS = 0.5
_TRIM_SECONDS = 60
_MS_PER_HOUR = 3_600_000


class Deriver:
    """Derives for as long as it holds the lease; waits for it otherwise."""

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
        self._users = derivation.fold.users
        self._events = derivation.fold.events
        self._maps = derivation.fold.contract.journeys_hash
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._keep_ms = int(feed_hours * _MS_PER_HOUR)
        self._owner = random_id()
        self._stopping = asyncio.Event()
        self._last_renewal = 0.0
        self._last_sweep = 0.0
        self._last_trim = 0.0

    def stop(self) -> None:
        """Finish the batch in hand, give the lease back, return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Derive until stopped, through take-overs and outages."""
        lease: Lease | None = None
        while not self._stopping.is_set():
            try:
                lease = await self._lanes.acquire(self._owner, self._lease_seconds)
                if lease is not None:
                    await self._own(lease)
            except HistoryLost:
                log.error("the oplog no longer reaches back to the last position: deriving from stored events")
                if lease is not None:
                    await self._guarded(self._catch_up(lease))
            except Unavailable as reason:
                log.warning("derivation waits", extra={"reason": reason.code, "lost": isinstance(reason, LeaseLost)})
            except Exception:
                # Nothing of the batch was written: it is tried again, and the log says where it fails.
                log.exception("derivation failed; trying again")
            await self._pause(_PAUSE_SECONDS)
        if lease is not None:
            await self._guarded(self._lanes.release(lease))

    async def apply(self, lease: Lease, events: list[Event], *, offset: Timestamp | None = None) -> None:
        """Derive these events, each at most once, in one fenced transaction. Raises LeaseLost or Unavailable."""
        by_workspace: dict[str, list[Event]] = {}
        for event in events:
            by_workspace.setdefault(event.workspace, []).append(event)
        await self._write(lease, by_workspace, {}, offset)

    async def _write(
        self,
        lease: Lease,
        events: Mapping[str, list[Event]],
        due: Mapping[str, list[str]],
        offset: Timestamp | None = None,
    ) -> None:
        """One fenced transaction: derive the events, and bring the users that are due up to now."""

        async def work(session: Session) -> dict[int, int]:
            await self._lanes.renew(lease, self._lease_seconds, offset=offset, session=session)
            now = self._clock.now()
            news: list[tuple[str, Document]] = []
            for workspace in {*events, *due}:
                by_user: dict[str, list[Event]] = {user: [] for user in due.get(workspace, ())}
                batch = Batch(workspace, events.get(workspace, []), now, session, by_user)
                await self._derivation.derive(batch)
                news += batch.news
            return await self._lanes.publish(lease, news, now=now, session=session)

        lease.heads |= await self._database.with_transaction(work)
        self._last_renewal = self._clock.monotonic()

    async def _own(self, lease: Lease) -> None:
        if lease.offset is None:
            await self._catch_up(lease)
        inserts = [{"$match": {"operationType": "insert"}}]
        async with self._database.watch(COLLECTION, inserts, start_at=lease.offset, max_await_ms=200) as stream:
            log.debug("deriving", extra={"epoch": lease.epoch})
            while not self._stopping.is_set():
                await self._next(lease, stream)

    async def _next(self, lease: Lease, stream: Stream) -> None:
        changes = await stream.next_batch(BATCH)
        if changes:
            offset = changes[-1]["clusterTime"]
            await self.apply(lease, [from_document(change["fullDocument"]) for change in changes], offset=offset)
            lease.offset = offset
        now = self._clock.monotonic()
        if now - self._last_sweep > 1:
            self._last_sweep = now
            await self._sweep(lease)
        if now - self._last_renewal > self._lease_seconds / 4:
            await self._lanes.renew(lease, self._lease_seconds)
            self._last_renewal = now
        if now - self._last_trim > _TRIM_SECONDS:
            self._last_trim = now
            await self._trim(lease)

    async def _catch_up(self, lease: Lease) -> None:
        """Derive every stored event that has not been derived, then go on from the time this began."""
        start = await self._database.majority_time()
        async for events in self._events.in_arrival_order(BATCH):
            await self.apply(lease, events)
        await self._lanes.renew(lease, self._lease_seconds, offset=start)
        lease.offset = start

    async def _sweep(self, lease: Lease) -> None:
        """Users whom time alone, or a new version of a map, has changed."""
        due: dict[str, list[str]] = {}
        for workspace, user in await self._users.due(self._clock.now(), self._maps, limit=_SWEEP):
            due.setdefault(workspace, []).append(user)
        if due:
            await self._write(lease, {}, due)

    async def _trim(self, lease: Lease) -> None:
        before = self._clock.now() - self._keep_ms
        last = await self._lanes.expired(before)

        async def work(session: Session) -> None:
            await self._lanes.renew(lease, self._lease_seconds, session=session)
            await self._lanes.trim(last, session)

        if last:
            await self._database.with_transaction(work)
        await self._lanes.forget_work(before)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Unavailable as reason:
            log.warning("derivation waits", extra={"reason": reason.code})
