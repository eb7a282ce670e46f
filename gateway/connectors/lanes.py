"""The lanes of one instance as this process reads them: a little of the feed ahead of each cursor, and no more.

What lies behind the feed's floor is read from the stored events instead, in the order they arrived: those received
since ten minutes before the last row that is done, up to the first row that the feed still has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

from gateway.clock import Clock
from gateway.connectors.news import News, Wanted
from gateway.connectors.pieces import Loader, Piece, of_feed, of_log, told_in_feed
from gateway.model.event import Event
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries, Position
from gateway.store.events import Events
from gateway.store.feed import Feed

_LOG_PAGE = 500
#: How much earlier than its feed row an event may have been received.
_STRAGGLER_MS = 600_000
_FLOOR_SECONDS = 5.0
#: How often in one turn more is read where nothing of what was read is wanted.
_ROUNDS = 8


@dataclass(slots=True)
class Lane:
    """One lane: its cursor, what was read ahead of it, and how far that reaches."""

    position: Position
    read_to: int
    told: int
    """The position that is written. Behind it nothing was sent that is not: to read it again does no harm."""
    ahead: deque[Piece] = field(default_factory=deque)
    rows: bool = True
    """Whether something may have rows here: what comes later may have to wait behind it."""

    @property
    def done_to(self) -> Position:
        """Where the cursor is, with what came by that is not wanted."""
        return self.position if self.ahead else replace(self.position, seq=max(self.position.seq, self.read_to))

    def moved(self, count: int) -> Position:
        """Where the cursor is once so many of what was read ahead are done."""
        done = [self.ahead[at] for at in range(count)]
        # Not when rows were written: derivation may have been late, and the log goes by what was received.
        received = [one.message.event.received_at for one in done if one.message is not None and one.message.event]
        seq = self.read_to if count == len(self.ahead) else done[-1].item.seq if done else self.position.seq
        return replace(self.position, seq=seq, at=max(received, default=self.position.at))


class LanesOf:
    """The lanes of one instance that this process owns."""

    def __init__(
        self,
        database: Database,
        workspace: str,
        instance: str,
        wanted: Wanted,
        news: News,
        loader: Loader,
        clock: Clock,
    ) -> None:
        self._workspace = workspace
        self._instance = instance
        self._wanted = wanted
        self._news = news
        self._deliveries = Deliveries(database)
        self._feed = Feed(database)
        self._events = Events(database)
        self._loader = loader
        self._clock = clock
        self._log: AsyncGenerator[list[Event], None] | None = None
        self._log_ahead: list[Piece] = []
        self._log_at = 0
        self._floors_at = 0.0
        self.lanes: dict[int, Lane] = {}
        self.ordered = True

    async def own(self, epochs: Mapping[int, int]) -> bool:
        """Own these lanes and no others; whether anything has changed."""
        gone = {lane for lane, held in self.lanes.items() if epochs.get(lane) != held.position.epoch}
        for lane in gone:
            del self.lanes[lane]
        new = {lane: epoch for lane, epoch in epochs.items() if lane not in self.lanes}
        if new:
            claimed = await self._deliveries.claim(self._workspace, self._instance, new)
            self.lanes |= {lane: Lane(position, position.seq, position.seq) for lane, position in claimed.items()}
            self._floors_at = 0.0
        if new or gone:
            await self.forget_log()
        return bool(new or gone)

    async def forget(self) -> None:
        """Somebody else has written a cursor, or a write has an unknown end: everything is read anew."""
        self.lanes.clear()
        await self.forget_log()

    # -- the feed -----------------------------------------------------------------------------------------------

    async def read(self, heads: Mapping[int, int]) -> None:
        """Read ahead where nothing is left, up to these heads or what is wanted, but no longer than a turn may last."""
        for _ in range(_ROUNDS):
            if not (behind := self._behind(heads)):
                return
            await self._look_at_floors(behind)
            after = {lane: held.read_to for lane, held in behind.items() if held.position.log is None}
            for lane, (rows, read_to) in (await self._news.read(after, heads, self._wanted)).items():
                held = self.lanes[lane]
                # `since` is when the row was written: from then on it is owed.
                held.ahead.extend(of_feed(row, ordered=self.ordered, now=row["writtenAt"]) for row in rows)
                held.read_to = read_to

    def is_behind(self, heads: Mapping[int, int]) -> bool:
        """Whether `read` has left anything unread for now."""
        return bool(self._behind(heads))

    def _behind(self, heads: Mapping[int, int]) -> dict[int, Lane]:
        return {
            lane: held
            for lane, held in self.lanes.items()
            if not held.ahead and held.read_to < heads.get(lane, 0) and held.position.log is None
        }

    async def _look_at_floors(self, behind: Mapping[int, Lane]) -> None:
        now = self._clock.monotonic()
        if self._floors_at and now - self._floors_at < _FLOOR_SECONDS:
            return
        self._floors_at = now
        floors = await self._deliveries.floors(behind)
        for lane, held in behind.items():
            floor = floors[lane]
            if floor - 1 > held.read_to:
                # The first row that is kept is as new as can be told here: none, if it is not to be had.
                first = await self._feed.rows(self._workspace, lane, floor - 1, floor, limit=1, wanted={})
                until = first[0]["writtenAt"] if first else self._clock.now()
                since = max(0, held.position.at - _STRAGGLER_MS)
                held.position = replace(held.position, seq=floor - 1, log=since, log_until=until)
                held.read_to = floor - 1

    def take(self, most: int) -> dict[int, list[Piece]]:
        """What comes next of each lane, so many in all; it stays until `settled` says that it is done."""
        found: dict[int, list[Piece]] = {}
        full = [lane for lane, held in self.lanes.items() if held.ahead and held.position.log is None]
        left = most
        for number, lane in enumerate(sorted(full, key=lambda one: self.lanes[one].ahead[0].item.since)):
            share = -(-left // (len(full) - number))
            if not share:
                break
            ahead = self.lanes[lane].ahead
            found[lane] = [ahead[at] for at in range(min(share, len(ahead)))]
            left -= len(found[lane])
        return found

    # -- the log ------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> dict[int, Lane]:
        """Lanes whose feed rows are gone, with what is read instead."""
        return {lane: held for lane, held in self.lanes.items() if held.position.log is not None}

    async def read_log(self, most: int) -> list[Piece]:
        """What comes next of the stored events for those lanes; it stays until `settled_log`. Nothing: it is over."""
        lost = self.lost
        while not self._log_ahead and lost:
            if self._log is None:
                since = min(held.position.log or 0 for held in lost.values())
                self._log = cast(
                    "AsyncGenerator[list[Event], None]", self._events.in_arrival_order(_LOG_PAGE, since=since)
                )
            page = await anext(self._log, None)
            if page is None or page[0].received_at >= max(held.position.log_until for held in lost.values()):
                await self.forget_log()
                return []
            self._log_at = page[-1].received_at
            await self._note_log(page, lost)
        return self._log_ahead[:most]

    async def _note_log(self, page: list[Event], lost: Mapping[int, Lane]) -> None:
        mine = [one for one in page if one.workspace == self._workspace and told_in_feed(one)]
        mine = [one for one in mine if self._wanted.names(one.name)]
        if not mine or "event" not in self._wanted.kinds:
            return
        for event, user in zip(mine, await self._loader.users_of(mine), strict=True):
            piece = of_log(event, user, ordered=self.ordered, now=self._clock.now())
            held = lost.get(piece.item.lane)
            if held is not None and (held.position.log or 0) <= event.received_at < held.position.log_until:
                self._log_ahead.append(piece)

    def log_positions(self, over: bool, left: int) -> dict[int, Position]:
        """Where the reading of the log has come; `left` pieces of what was read are still open."""
        if over:
            return {lane: replace(held.position, log=None) for lane, held in self.lost.items()}
        if left:
            return {}
        return {
            lane: replace(held.position, log=max(held.position.log or 0, self._log_at))
            for lane, held in self.lost.items()
        }

    def settled_log(self, done: Collection[int]) -> None:
        """Those of what was read (by their place) are done."""
        gone = set(done)
        self._log_ahead = [one for at, one in enumerate(self._log_ahead) if at not in gone]

    @property
    def log_left(self) -> int:
        return len(self._log_ahead)

    async def forget_log(self) -> None:
        self._log_ahead = []
        if self._log is not None:
            log, self._log = self._log, None
            async with aclosing(log):
                pass
