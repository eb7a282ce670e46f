"""What parts are made of, as MongoDB has it: events that the feed announces, or all that are stored.

Events that came in while their sender denied `analytics` are left out, as everywhere where numbers are made; so are the
gateway's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any

from gateway.model.event import OrderKey
from gateway.store.columnar import Positions, Reading
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import OF_USERS, OLDEST_FIRST
from gateway.store.feed import Feed
from gateway.store.lanes import FEED, feed_id
from gateway.store.measures import property_projection

#: A filter: what may be counted.
COUNTED: Document = {"consent.analytics": {"$ne": False}}
_FIELDS = ("sk", "name", "type", "at", "seq", "receivedAt", "client", "properties", "escaped")
_AT_ONCE = 1_000
_PAGE = 5_000
_DEADLINE_MS = 30_000


class ColumnarRows:
    """Reads for the writer of parts, and for the tail that no part has yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feed = Feed(database)

    async def heads_and_floors(self) -> tuple[Positions, Positions]:
        """Of every lane the last position, and the oldest that is kept."""
        heads, floors = await self._feed.heads_and_floors()
        return tuple(heads[lane] for lane in sorted(heads)), tuple(floors[lane] for lane in sorted(floors))

    async def announced(
        self, workspace: str, after: Positions, heads: Positions, *, most: int
    ) -> tuple[list[bytes], Positions]:
        """Events that the feed announces behind `after`, about `most` of them, and where that ends in each lane."""
        found: list[bytes] = []
        ends = list(after)
        behind = [lane for lane, head in enumerate(heads) if head > after[lane]]
        for number, lane in enumerate(behind):
            limit = max(1, (most - len(found)) // (len(behind) - number))
            rows = await self._feed.rows(
                workspace, lane, after[lane], heads[lane], limit=limit, wanted={"kind": "event"}
            )
            found += [bytes(row["event"]) for row in rows]
            ends[lane] = rows[-1]["seq"] if len(rows) == limit else heads[lane]
        return found, tuple(ends)

    async def events(self, workspace: str, ids: Collection[bytes]) -> AsyncIterator[list[Document]]:
        """Those that are still there and may be counted, page by page."""
        for some in _parts(list(ids)):
            wanted = {"workspace": workspace, "_id": {"$in": some}, **COUNTED}
            yield await self._database.find(EVENTS, wanted, projection=_FIELDS, max_time_ms=_DEADLINE_MS)

    async def stored(self, workspace: str, reading: Reading, *, limit: int) -> tuple[list[Document], Reading | None]:
        """Events behind this place in their order, and where that ends; None: there are no more.

        What is stored meanwhile before this place the feed still announces, as it does what is stored behind it.
        """
        found: list[Document] = []
        while len(found) < limit:
            size = min(_AT_ONCE, limit - len(found))
            rows = await self._database.find(
                EVENTS,
                {"workspace": workspace, **OF_USERS, **_behind(reading.at, reading.seq, reading.id)},
                projection=(*_FIELDS, "consent"),
                sort=OLDEST_FIRST,
                limit=size,
                max_time_ms=_DEADLINE_MS,
            )
            found += rows
            if len(rows) < size:
                return _counted(found), None
            reading = Reading(rows[-1]["at"], rows[-1]["seq"], bytes(rows[-1]["_id"]))
        return _counted(found), reading

    async def lag(self, workspace: str, after: Positions, heads: Positions, now: int) -> float:
        """The age in seconds of the oldest event that the feed announces behind `after`; 0: there is none."""
        oldest = now
        for lane, head in enumerate(heads):
            if head > after[lane]:
                rows = await self._feed.rows(workspace, lane, after[lane], head, limit=1, wanted={"kind": "event"})
                oldest = min([oldest, *(row["writtenAt"] for row in rows)])
        return (now - oldest) / 1000

    # -- the tail -----------------------------------------------------------------------------------------------

    async def tail(
        self,
        workspace: str,
        after: Positions,
        heads: Positions,
        names: Collection[str],
        between: tuple[int, int],
        projection: Mapping[str, int],
    ) -> AsyncIterator[list[Document]]:
        """Events that the feed announces behind `after` up to `heads`, page by page, with `projection`."""
        about = {"kind": "event", "name": {"$in": sorted(names)}, "at": {"$gte": between[0], "$lt": between[1]}}
        ids: list[bytes] = []
        for lane, head in enumerate(heads):
            if head > after[lane]:
                keys = {"$gt": feed_id(lane, after[lane]), "$lte": feed_id(lane, head)}
                rows = await self._database.find(
                    FEED,
                    {"workspace": workspace, "_id": keys, **about},
                    projection={"event": 1},
                    max_time_ms=_DEADLINE_MS,
                )
                ids += [row["event"] for row in rows]
        for some in _parts(ids):
            wanted = {"workspace": workspace, "_id": {"$in": some}, **COUNTED}
            yield await self._database.find(EVENTS, wanted, projection=projection, max_time_ms=_DEADLINE_MS)

    async def came(self, workspace: str, after: Positions, heads: Positions, names: Collection[str] | None) -> bool:
        """Whether the feed announces an event of one of these names behind `after` up to `heads`; None: anything."""
        about: Document = {} if names is None else {"kind": "event", "name": {"$in": sorted(names)}}
        spans = [
            {"_id": {"$gt": feed_id(lane, after[lane]), "$lte": feed_id(lane, head)}}
            for lane, head in enumerate(heads)
            if head > after[lane]
        ]
        wanted = {"workspace": workspace, "$or": spans, **about}
        return bool(spans) and bool(await self._database.count(FEED, wanted, limit=1, max_time_ms=_DEADLINE_MS))

    async def count(self, workspace: str, names: Collection[str], between: tuple[int, int], *, at_most: int) -> int:
        """How many stored events have one of these names and times, counted up to `at_most`."""
        wanted = _wanted(workspace, names, between)
        return await self._database.count(EVENTS, wanted, limit=at_most, max_time_ms=_DEADLINE_MS)

    async def all(
        self, workspace: str, names: Collection[str], between: tuple[int, int], projection: Mapping[str, int]
    ) -> AsyncIterator[list[Document]]:
        """The same events, page by page, where there are no parts."""
        position: OrderKey | None = None
        while True:
            wanted = _wanted(workspace, names, between)
            if position is not None:
                wanted |= _behind(*position)
                wanted["at"]["$lt"] = between[1]
            rows = await self._database.find(
                EVENTS, wanted, projection=projection, sort=OLDEST_FIRST, limit=_PAGE, max_time_ms=_DEADLINE_MS
            )
            yield rows
            if len(rows) < _PAGE:
                return
            position = (rows[-1]["at"], rows[-1]["seq"], bytes(rows[-1]["_id"]))


def distance(positions: Positions, heads: Positions) -> int:
    """How many rows of the feed, of every kind, lie behind these positions."""
    return sum(max(0, head - position) for head, position in zip(heads, positions, strict=True))


def projection(paths: Collection[str]) -> dict[str, int]:
    """Of an event what a scan looks at: these dotted paths of its properties only."""
    base = dict.fromkeys(("sk", "name", "type", "at", "seq", "client", "escaped"), 1)
    if any(not name for path in paths for name in path.split(".")):
        return {**base, "properties": 1}  # no path of MongoDB's has an empty name
    return base | property_projection(paths)


def _wanted(workspace: str, names: Collection[str], between: tuple[int, int]) -> Document:
    of = {"name": {"$in": sorted(names)}, "at": {"$gte": between[0], "$lt": between[1]}}
    return {"workspace": workspace, **of, **OF_USERS, **COUNTED}


def _behind(at: int, seq: int, key: bytes) -> Document:
    """Events behind this place in their order."""
    later = [{"at": {"$gt": at}}, {"at": at, "seq": {"$gt": seq}}, {"at": at, "seq": seq, "_id": {"$gt": key}}]
    return {"at": {"$gte": at}, "$or": later}


def _counted(rows: list[Document]) -> list[Document]:
    return [row for row in rows if (row.get("consent") or {}).get("analytics") is not False]


def _parts(keys: list[Any]) -> Iterator[list[Any]]:
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))
