"""The feed as subscribers read it: dense positions per lane, a floor below which rows are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from gateway.model.identity import LANES, lane_of
from gateway.store.database import Database, Document, Sort, Stream, Timestamp
from gateway.store.lanes import COLLECTION, FEED, feed_id

Positions = dict[int, int]
#: How long a read waits for the majority view to come to what this process has seen.
_WAIT_MS = 5_000


class Feed:
    """Reads what `Lanes` published, and empties what is erased."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: Timestamp | None = None

    def saw(self, at: Timestamp) -> None:
        """Reads from now on show at least what was there at this cluster time."""
        self._seen = at if self._seen is None else max(self._seen, at)

    @property
    def seen(self) -> Timestamp | None:
        """The latest cluster time that this process has read the feed at."""
        return self._seen

    @asynccontextmanager
    async def tail(self) -> AsyncIterator[Stream]:
        """Rows of all workspaces as they are written: every one that `heads_and_floors` does not show yet."""
        start = await self._database.majority_time()
        self.saw(start)
        inserts = [{"$match": {"operationType": "insert"}}]
        async with self._database.watch(FEED, inserts, start_at=start, max_await_ms=250) as stream:
            yield stream

    async def heads_and_floors(self) -> tuple[Positions, Positions]:
        """The last written position and the oldest kept position of each lane: of all that was acknowledged to any
        process before, and of all that this one has seen."""
        # The primary's own time, which is at or past all that was ever committed, as long as it is the primary.
        self.saw(await self._database.operation_time())
        rows = await self._find(COLLECTION, {"_id": {"$in": list(range(LANES))}})
        return {row["_id"]: row["seq"] for row in rows}, {row["_id"]: row["floor"] for row in rows}

    async def resolved(self, lanes: Collection[int], at: Timestamp) -> bool:
        """Whether the owners of these lanes have come past this time in the change stream."""
        rows = await self._database.find(COLLECTION, {"_id": {"$in": list(lanes)}}, projection={"offset": 1})
        return all(row["offset"] is not None and row["offset"] >= at for row in rows)

    async def empty(self, workspace: str, users: Collection[str], told: Collection[tuple[str, bytes]]) -> int:
        """Empty the rows of these users, and the announcements `told` (user, event); lane and number stay.

        Rows never change otherwise, so that this needs no fence; it is for users that get no more of them.
        """
        lanes: dict[int, list[Document]] = {}
        for user in users:
            lanes.setdefault(lane_of(workspace, user), []).append({"user": user})
        for user, event in told:
            lanes.setdefault(lane_of(workspace, user), []).append({"user": user, "event": event})
        emptied = 0
        for lane, which in lanes.items():
            wanted = {"_id": {"$gte": feed_id(lane, 0), "$lt": feed_id(lane + 1, 0)}, "workspace": workspace}
            kept = {name: f"${name}" for name in ("_id", "lane", "seq", "writtenAt", "workspace")}
            done = await self._database.update_many(
                FEED, {**wanted, "$or": which}, [{"$replaceWith": {**kept, "kind": "erased"}}]
            )
            emptied += done.modified
        return emptied

    async def rows(
        self, workspace: str, lane: int, after: int, up_to: int, *, limit: int, wanted: Mapping[str, object]
    ) -> list[Document]:
        """Rows of one lane behind `after` up to and including `up_to`, that match `wanted`."""
        found: Document = {
            "workspace": workspace,
            "_id": {"$gt": feed_id(lane, after), "$lte": feed_id(lane, up_to)},
            **wanted,
        }
        return await self._find(FEED, found, sort=[("_id", 1)], limit=limit)

    async def rows_of_lanes(
        self, workspace: str, after: Mapping[int, int], up_to: Mapping[int, int]
    ) -> dict[int, list[Document]]:
        """All rows of these lanes behind `after` up to and including `up_to`, by lane in their order: one question."""
        ranges: list[Document] = [
            {"workspace": workspace, "_id": {"$gt": feed_id(lane, seq), "$lte": feed_id(lane, up_to[lane])}}
            for lane, seq in after.items()
        ]
        found: dict[int, list[Document]] = {lane: [] for lane in after}
        # Not sorted by the server: so each range is read off the index of `_id` by itself.
        for row in sorted(await self._find(FEED, {"$or": ranges}), key=lambda one: int(one["_id"])):
            found[row["lane"]].append(row)
        return found

    async def _find(
        self, collection: str, wanted: Document, *, sort: Sort | None = None, limit: int = 0
    ) -> list[Document]:
        async with self._database.reading_after(self._seen) as session:
            return await self._database.find(
                collection, wanted, sort=sort, limit=limit, session=session, max_time_ms=_WAIT_MS
            )
