"""One change stream on the feed per process, shared by every subscription.

A subscription sees each matching feed row exactly once, in order per lane. With `after` it first reads what it
missed from the feed (the shared stream is joined before, so that nothing falls between), then goes on live. A
subscriber that reads too slowly is not cut off and loses nothing: what its buffer cannot hold it reads from the feed
again. What is no longer in the feed is told as a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.errors import Unavailable
from gateway.live.cursor import Cursors
from gateway.model.event import Event
from gateway.store.events import Events
from gateway.store.feed import Feed, Positions

log = logging.getLogger("gateway.live")

Row = dict[str, Any]

_STORED = "stored"
BUFFER = 1_000
_PAGE = 500
_SETTLE_SECONDS = 5.0
_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Watch:
    """What a subscription wants to hear of; None means all."""

    workspace: str
    kind: Literal["event", "journey", "segment", "alert", "request"]
    users: frozenset[str] | None = None
    names: frozenset[str] | None = None
    map: str | None = None
    stage: str | None = None
    segment: str | None = None

    def wants(self, row: Row) -> bool:
        return (
            (self.users is None or row["user"] in self.users)
            and (self.names is None or row["name"] in self.names)
            and (self.map is None or row["map"] == self.map)
            and (self.segment is None or row["segment"] == self.segment)
            and (self.stage is None or self.stage in (row["from"], row["to"]))
        )

    def stored(self) -> Mapping[str, object]:
        """The same as a filter on the feed; `stage` is left to `wants`."""
        found: dict[str, object] = {"kind": self.kind}
        if self.users is not None:
            found["user"] = {"$in": sorted(self.users)}
        if self.names is not None:
            found["name"] = {"$in": sorted(self.names)}
        if self.map is not None:
            found["map"] = self.map
        if self.segment is not None:
            found["segment"] = self.segment
        return found


@dataclass(frozen=True, slots=True)
class Gap:
    """News that can no longer be had: how many feed rows, and where it goes on."""

    reason: str
    missed: int | None
    resume_from: str


@dataclass(frozen=True, slots=True)
class News:
    """One message to a subscriber: a feed row, or a gap, or only a newer cursor."""

    cursor: str
    gap: Gap | None = None
    row: Row | None = None

    @property
    def event(self) -> Event | None:
        """The event a row announces, read already for all who hear of it."""
        return None if self.row is None else self.row.get(_STORED)


@dataclass(eq=False, slots=True)
class _Subscriber:
    watch: Watch
    rows: deque[Row] = field(default_factory=deque)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    behind: bool = False
    closed: bool = False

    def offer(self, row: Row) -> None:
        if len(self.rows) >= BUFFER:
            self.rows.clear()
            self.behind = True
        elif not self.behind:
            self.rows.append(row)
        self.awake.set()


class Hub:
    """Joins subscriptions to the feed."""

    def __init__(self, feed: Feed, events: Events, secret: str) -> None:
        self._feed = feed
        self._events = events
        self._cursors = Cursors(secret)
        self._subscribers: dict[tuple[str, str], set[_Subscriber]] = {}
        self._open = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the feed."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End every subscription and stop following."""
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.closed = True
                subscriber.awake.set()
        if self._task is not None:
            # Not by cancelling: a driver in the middle of a read may swallow that and go on.
            self._stopping.set()
            await self._task
            self._task = None

    @property
    def following(self) -> bool:
        """Whether the feed is followed now."""
        return self._open.is_set()

    async def subscribe(self, watch: Watch, after: str | None = None) -> AsyncIterator[News]:
        """News from now on, or from behind the cursor `after`. Raises InvalidInput for a bad cursor."""
        positions = None if after is None else self._cursors.read(watch.workspace, after)
        subscriber = _Subscriber(watch)
        await self._join(subscriber)
        try:
            heads, floors = await self._heads_at_or_past(positions or {})
            if positions is None:
                positions = heads
                yield News(self._cursors.write(watch.workspace, positions))
            else:
                gap = self._gap(watch.workspace, positions, floors)
                if gap is not None:
                    yield News(gap.resume_from, gap)
                async for news in self._replay(watch, positions, heads):
                    yield news
            async for news in self._live(subscriber, positions):
                yield news
        finally:
            self._leave(subscriber)

    # -- one subscription ---------------------------------------------------------------------------------------

    async def _live(self, subscriber: _Subscriber, positions: Positions) -> AsyncIterator[News]:
        watch = subscriber.watch
        while not subscriber.closed:
            await subscriber.awake.wait()
            subscriber.awake.clear()
            while subscriber.rows:
                row = subscriber.rows.popleft()
                if row["seq"] > positions[row["lane"]]:
                    positions[row["lane"]] = row["seq"]
                    yield News(self._cursors.write(watch.workspace, positions), row=row)
            if subscriber.behind:
                subscriber.behind = False
                heads, floors = await self._heads_at_or_past(positions)
                gap = self._gap(watch.workspace, positions, floors)
                if gap is not None:
                    yield News(gap.resume_from, gap)
                async for news in self._replay(watch, positions, heads):
                    yield news
                subscriber.awake.set()

    async def _heads_at_or_past(self, positions: Positions) -> tuple[Positions, Positions]:
        """Heads and floors that are not behind these positions. Raises Unavailable when none come in a while.

        A position that was told is committed: a head below it is a view of the past (a member that was cut off and
        still believes it is the primary). To go on from there would repeat what comes, or leave it out.
        """
        ends = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while True:
            heads, floors = await self._feed.heads_and_floors()
            if all(position <= heads.get(lane, 0) for lane, position in positions.items()):
                return heads, floors
            if asyncio.get_running_loop().time() >= ends:
                raise Unavailable(
                    "MongoDB shows less of the feed than `after` has seen already.",
                    hint="Try again in a moment. Where an older backup was restored, subscribe without `after`.",
                )
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _replay(self, watch: Watch, positions: Positions, heads: Positions) -> AsyncIterator[News]:
        """Stored rows behind `positions` up to `heads`; `positions` moves along."""
        for lane, head in heads.items():
            while positions[lane] < head:
                rows = await self._feed.rows(
                    watch.workspace, lane, positions[lane], head, limit=_PAGE, wanted=watch.stored()
                )
                await self._read_events([row for row in rows if watch.wants(row)])
                for row in rows:
                    positions[lane] = row["seq"]
                    if watch.wants(row):
                        yield News(self._cursors.write(watch.workspace, positions), row=row)
                if len(rows) < _PAGE:
                    positions[lane] = head
        yield News(self._cursors.write(watch.workspace, positions))

    def _gap(self, workspace: str, positions: Positions, floors: Positions) -> Gap | None:
        """Move positions up to the floors; say how much was lost by it."""
        missed = 0
        for lane, floor in floors.items():
            lost = floor - 1 - positions[lane]
            if lost > 0:
                missed += lost
                positions[lane] = floor - 1
        return Gap("EXPIRED", missed, self._cursors.write(workspace, positions)) if missed else None

    async def _join(self, subscriber: _Subscriber) -> None:
        watch = subscriber.watch
        self._subscribers.setdefault((watch.workspace, watch.kind), set()).add(subscriber)
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._open.wait()
        except TimeoutError:
            self._leave(subscriber)
            raise Unavailable("Live updates are not available while MongoDB is away.", hint="Try again.") from None
        subscriber.behind = False  # what was missed until now, it reads from the feed in any case

    def _leave(self, subscriber: _Subscriber) -> None:
        key = (subscriber.watch.workspace, subscriber.watch.kind)
        self._subscribers.get(key, set()).discard(subscriber)

    # -- the shared stream --------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                async with self._feed.tail() as stream:
                    self._catch_up_all()
                    self._open.set()
                    while not self._stopping.is_set():
                        changes = await stream.next_batch(1000)
                        if changes:
                            self._feed.saw(changes[-1]["clusterTime"])
                        await self._deliver([change["fullDocument"] for change in changes])
            except Exception as error:
                if self._open.is_set():  # said once, however often it is tried again
                    log.warning("the feed is followed anew", extra={"error": type(error).__name__})
                self._open.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_SECONDS):
                        await self._stopping.wait()

    def _catch_up_all(self) -> None:
        """The stream was away: everyone reads what it missed from the feed."""
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.rows.clear()
                subscriber.behind = True
                subscriber.awake.set()

    async def _deliver(self, rows: list[Row]) -> None:
        heard = [(row, who) for row in rows if (who := self._hearers(row))]
        await self._read_events([row for row, _ in heard])
        for row, subscribers in heard:
            for subscriber in subscribers:
                subscriber.offer(row)

    def _hearers(self, row: Row) -> list[_Subscriber]:
        subscribers = self._subscribers.get((row["workspace"], row["kind"]), ())
        return [subscriber for subscriber in subscribers if subscriber.watch.wants(row)]

    async def _read_events(self, rows: list[Row]) -> None:
        """Read the events that rows announce: once for a batch of rows and all who hear of it."""
        wanted: dict[str, list[Row]] = {}
        for row in rows:
            if row["kind"] == "event":
                wanted.setdefault(row["workspace"], []).append(row)
        for workspace, mine in wanted.items():
            ids = [bytes(row["event"]) for row in mine]
            found = await self._events.announced(workspace, ids, after=self._feed.seen)
            for row in mine:
                row[_STORED] = found.get(bytes(row["event"]))
