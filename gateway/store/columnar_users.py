"""Who is whose, as scans need it: the key of every identity with its user's, and what changes of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.store.database import Database, Document, Stream, Timestamp
from gateway.store.identities import IDENTITIES
from gateway.store.suppressions import COLLECTION as SUPPRESSIONS

_PAGE = 5_000
_DEADLINE_MS = 30_000
#: Whoever asks waits for this, too: long enough to be no busy loop, while what was acknowledged reaches a majority.
_WAIT_MS = 5


@dataclass(frozen=True, slots=True)
class Moved:
    """An identity, by its key, and the user it belongs to from now on; None: it is no more."""

    key: bytes
    user: str | None
    new: bool = False


class IdentityKeys:
    """Reads the keys of a workspace's identities."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    async def now(self) -> Timestamp:
        """A time at which everything acknowledged so far is there."""
        return await self._database.operation_time()

    async def settled(self) -> Timestamp:
        """A time up to which reads show everything."""
        return await self._database.majority_time()

    async def all(self) -> AsyncIterator[list[tuple[bytes, str]]]:
        """Key and user of every identity, page by page in the order of keys."""
        last = b""
        while True:
            wanted = {"workspace": self._workspace, "_id": {"$gt": last}}
            rows = await self._database.find(
                IDENTITIES,
                wanted,
                projection={"user": 1},
                sort=[("_id", 1)],
                limit=_PAGE,
                batch_size=_PAGE,
                max_time_ms=_DEADLINE_MS,
            )
            yield [(bytes(row["_id"]), row["user"]) for row in rows]
            if len(rows) < _PAGE:
                return
            last = bytes(rows[-1]["_id"])

    @asynccontextmanager
    async def changes(self, since: Timestamp) -> AsyncIterator[Stream]:
        """What changes of them from `since` on; `moved` reads it."""
        of = {"operationType": 1, "clusterTime": 1, "documentKey": 1}
        kept = {**of, "fullDocument.user": 1, "fullDocument.workspace": 1, "updateDescription.updatedFields.user": 1}
        pipeline: list[Document] = [
            {
                "$match": {
                    "$or": [
                        {"operationType": {"$in": ["insert", "replace"]}, "fullDocument.workspace": self._workspace},
                        {"operationType": "update", "updateDescription.updatedFields.user": {"$exists": True}},
                        {"operationType": "delete"},
                    ]
                }
            },
            {"$project": kept},
        ]
        async with self._database.watch(IDENTITIES, pipeline, start_at=since, max_await_ms=_WAIT_MS) as stream:
            yield stream

    async def suppressed(self) -> list[bytes]:
        """Keys of the identities that are suppressed."""
        wanted = {"workspace": self._workspace, "lifted": False}
        rows = await self._database.find(SUPPRESSIONS, wanted, projection={"_id": 1}, max_time_ms=_DEADLINE_MS)
        return [bytes(row["_id"]) for row in rows]


def moved(change: Document) -> Moved:
    """What one change says."""
    key = bytes(change["documentKey"]["_id"])
    if change["operationType"] == "delete":
        return Moved(key, None)
    if change["operationType"] == "update":
        return Moved(key, change["updateDescription"]["updatedFields"]["user"])
    return Moved(key, change["fullDocument"]["user"], new=True)
