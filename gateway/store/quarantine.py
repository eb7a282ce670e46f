"""Events that could not be accepted, kept as they came with the reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import pymongo

from gateway.errors import StoreError, Unavailable
from gateway.model.event import Problem
from gateway.model.misfit import Misfit
from gateway.model.scope import Scope
from gateway.store.database import INSERT_SECONDS, Database, DeleteOne, Document, UpdateOne

COLLECTION = "quarantine"
#: Newest first; a row seen again keeps its place.
NEWEST_FIRST = [("receivedAt", -1), ("_id", -1)]
_OLDEST_FIRST = [("receivedAt", 1), ("_id", 1)]
#: A row that a replay takes away while it is seen again is kept anew: that hardly ever happens twice in a row.
_TRIES = 5
#: What the newest sighting says of a row.
_RENEWED = ("code", "reason", "stage", "misfits")


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which rows; what is None does not filter. Times are milliseconds of the first sighting, `to` excluded."""

    codes: Sequence[str] | None = None
    source: str | None = None
    from_: int | None = None
    to: int | None = None
    message_id: str | None = None
    ids: Sequence[bytes] | None = None

    def query(self, workspace: str) -> Document:
        wanted: Document = {"workspace": workspace}
        if self.codes is not None:
            wanted["code"] = {"$in": list(self.codes)}
        if self.source is not None:
            wanted["source"] = self.source
        if self.message_id is not None:
            wanted["messageId"] = self.message_id
        if self.ids is not None:
            wanted["_id"] = {"$in": list(self.ids)}
        bounds = {"$gte": self.from_, "$lt": self.to}
        if bounded := {name: value for name, value in bounds.items() if value is not None}:
            wanted["receivedAt"] = bounded
        return wanted


def misfits_row(problem: Problem) -> Document:
    """What a row says of the plan: nothing where that is not the problem."""
    return {"misfits": [asdict(one) for one in problem.misfits]} if problem.misfits else {}


def as_misfits(row: Document) -> list[Misfit]:
    """Where a quarantined message is not what the plan says."""
    return [Misfit(**one) for one in row.get("misfits", ())]


class Quarantine:
    """Kept until somebody mends and replays them.

    A row: `_id` (16 bytes, a hash of source and content, and of `fallbackId` where there is no messageId), `workspace`,
    `source`, `messageId` (as sent, None without), `fallbackId` (the id it gets if it has none), `code`, `reason`,
    `stage`, `receivedAt` and `lastSeen` (ms, first and last sighting), `count` (sightings), `sentAt` (ms, of the
    request), `proven` (False: a userId in it lacks the proof its write key asks for), `who` (keys of the identities it
    names), `original` (bytes, JSON). With the code `misfit` also `misfits`, as `as_misfits` reads them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rows: Sequence[Document]) -> None:
        """Durably keep rows; the same one again is counted. Raises Unavailable: nothing may be acknowledged."""
        waiting = list(rows)
        for _ in range(_TRIES):
            if not waiting:
                return
            outcome = await self._database.insert_unordered(COLLECTION, waiting)
            if outcome.failed:
                raise StoreError("MongoDB refused a quarantined event.", number=next(iter(outcome.failed.values())))
            again = [waiting[index] for index in sorted(outcome.duplicates)]
            if not again or await self._seen_again(again) == len(again):
                return
            waiting = again
        raise Unavailable("What is quarantined changes too quickly.", hint="Send it again.")

    async def _seen_again(self, rows: Sequence[Document]) -> int:
        """How many of them are still there, now with one more sighting."""
        with pymongo.timeout(INSERT_SECONDS):
            done = await self._database.bulk_write(
                COLLECTION,
                [
                    UpdateOne(
                        {"_id": row["_id"], "workspace": row["workspace"]},
                        {
                            "$inc": {"count": 1},
                            "$max": {"lastSeen": row["lastSeen"]},
                            "$set": {name: row[name] for name in _RENEWED if name in row},
                        },
                    )
                    for row in rows
                ],
            )
        return done.matched

    async def erase(self, workspace: str, keys: Collection[bytes]) -> int:
        """Delete what came from identities with these keys, or names them."""
        return await self._database.delete_many(COLLECTION, {"workspace": workspace, "who": {"$in": list(keys)}})

    async def page(
        self, scope: Scope, wanted: QuarantineFilter, *, limit: int, before: tuple[int, bytes] | None = None
    ) -> list[Document]:
        """Rows that were first seen before `before` (receivedAt, _id), the newest first."""
        return await self._rows(scope, wanted, limit, before, newest_first=True)

    async def next(
        self, scope: Scope, wanted: QuarantineFilter, *, limit: int, after: tuple[int, bytes] | None = None
    ) -> list[Document]:
        """Rows that were first seen after `after` (receivedAt, _id), the oldest first."""
        return await self._rows(scope, wanted, limit, after, newest_first=False)

    async def _rows(
        self,
        scope: Scope,
        wanted: QuarantineFilter,
        limit: int,
        behind: tuple[int, bytes] | None,
        *,
        newest_first: bool,
    ) -> list[Document]:
        query = wanted.query(scope.workspace)
        if behind is not None:
            beyond = "$lt" if newest_first else "$gt"
            at, key = behind
            query = {
                "workspace": scope.workspace,
                "$and": [query, {"$or": [{"receivedAt": {beyond: at}}, {"receivedAt": at, "_id": {beyond: key}}]}],
            }
        order = NEWEST_FIRST if newest_first else _OLDEST_FIRST
        return await self._database.find(COLLECTION, query, sort=order, limit=limit, max_time_ms=5000)

    async def release(self, workspace: str, rows: Sequence[Document]) -> None:
        """Take away rows that have become events, but none that was seen again since it was read."""
        await self._database.bulk_write(
            COLLECTION,
            [DeleteOne({"_id": row["_id"], "workspace": workspace, "count": row.get("count")}) for row in rows],
        )

    async def explain(self, workspace: str, reasons: Sequence[tuple[Document, Problem]], at: int) -> None:
        """Write to rows that a replay could not mend what it found, and when (ms)."""
        await self._database.bulk_write(
            COLLECTION,
            [
                UpdateOne(
                    {"_id": row["_id"], "workspace": workspace},
                    {
                        "$set": {
                            "code": problem.code,
                            "reason": problem.message,
                            "replayedAt": at,
                            **misfits_row(problem),
                        }
                    },
                )
                for row, problem in reasons
            ],
        )
