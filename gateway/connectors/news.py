"""The latest news of one workspace, read from the feed once for all its instances.

Every instance reads with a cursor of its own; those that keep up ask for the same rows at about the same time. So what
one of them has read is kept for the others, a little of each lane. Whoever is further behind reads for itself.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.store.database import Database, Document
from gateway.store.feed import Feed

#: Rows of a lane that are read at a time, and that are kept of it.
AHEAD = 250


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the feed an instance gets: kinds of rows, and of events those with these names (none: all)."""

    kinds: frozenset[str]
    events: frozenset[str] = frozenset()

    def takes(self, row: Document) -> bool:
        """Whether a row of the feed is one of them."""
        return row["kind"] in self.kinds and (row["kind"] != "event" or self.names(row["name"]))

    def names(self, event: str) -> bool:
        """Whether events of this name are among them."""
        return not self.events or event in self.events

    @property
    def filter(self) -> Document:
        """The same, for MongoDB."""
        if not self.events:
            return {"kind": {"$in": sorted(self.kinds)}}
        others = {"kind": {"$in": sorted(self.kinds - {"event"})}}
        return {"$or": [others, {"kind": "event", "name": {"$in": sorted(self.events)}}]}


@dataclass(slots=True)
class _Tail:
    """Rows of one lane behind `after` up to `to`: all that there are, in their order."""

    after: int
    to: int
    rows: list[Document] = field(default_factory=list)

    def behind(self, seq: int) -> list[Document]:
        return self.rows[bisect_right(self.rows, seq, key=lambda row: int(row["seq"])) :]

    def extend(self, rows: list[Document], to: int) -> None:
        self.rows += rows
        self.to = to
        if (more := len(self.rows) - AHEAD) > 0:
            self.after = self.rows[more - 1]["seq"]
            del self.rows[:more]


#: Rows of one lane, and how far they reach.
Read = tuple[list[Document], int]


class News:
    """The feed of one workspace as the instances of this process read it."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._feed = Feed(database)
        self._workspace = workspace
        self._tails: dict[int, _Tail] = {}
        self._reading = asyncio.Lock()

    async def read(self, after: Mapping[int, int], heads: Mapping[int, int], wanted: Wanted) -> dict[int, Read]:
        """Rows of each lane behind `after`, that `wanted` takes, and up to which position these are all: up to the head
        at most, and past `after` at least, where the head is."""
        async with self._reading:  # who comes second finds what the first has read
            fresh = {lane: seq for lane, seq in after.items() if self._is_fresh(lane, seq)}
            own = {lane: seq for lane, seq in fresh.items() if heads[lane] - seq > AHEAD}
            if near := {lane: seq for lane, seq in fresh.items() if lane not in own}:
                await self._go_on(near, heads)
        found: dict[int, Read] = {}
        for lane, seq in after.items():
            tail = self._tails.get(lane)
            if lane not in own and tail is not None and tail.after <= seq < tail.to:
                found[lane] = [row for row in tail.behind(seq) if wanted.takes(row)], tail.to
        left = after.keys() - found.keys()
        read = await asyncio.gather(*(self._behind(lane, after[lane], heads[lane], wanted) for lane in left))
        return found | dict(zip(left, read, strict=True))

    def _is_fresh(self, lane: int, seq: int) -> bool:
        """Whether nobody has read on from here yet."""
        tail = self._tails.get(lane)
        return tail is None or seq >= tail.to

    async def _go_on(self, after: Mapping[int, int], heads: Mapping[int, int]) -> None:
        rows = await self._feed.rows_of_lanes(self._workspace, after, heads)
        for lane, seq in after.items():
            tail = self._tails.get(lane)
            if tail is None or tail.to != seq:
                tail = self._tails[lane] = _Tail(seq, seq)
            tail.extend(rows[lane], heads[lane])

    async def _behind(self, lane: int, seq: int, head: int, wanted: Wanted) -> Read:
        rows = await self._feed.rows(self._workspace, lane, seq, head, limit=AHEAD, wanted=wanted.filter)
        return rows, (rows[-1]["seq"] if len(rows) == AHEAD else head)
