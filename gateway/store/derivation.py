"""How derivation stands: how far it is behind, whose events do not fold, and what has befallen it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.model.identity import LANES
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Timestamp
from gateway.store.lanes import COLLECTION as LANES_COLLECTION
from gateway.store.users import USERS

COLLECTION = "incidents"
#: Incidents are kept so long: as long as anybody looks into them.
KEEP_MS = 400 * 86_400_000
_LOST = "history_lost"
#: Only rows that have it are in the index of users that are set aside.
_SET_ASIDE: Mapping[str, object] = {"setAside.at": {"$exists": True}, "movedTo": None}


@dataclass(frozen=True, slots=True)
class SetAside:
    """A user whose events did not fold when they were tried last (ms); `error` is the kind of exception."""

    user: str
    at: int
    error: str


@dataclass(frozen=True, slots=True)
class Incident:
    """Derivation lost its place in the oplog: everything received since `since` (ms) was derived from stored events.

    `ended_at` is None while that goes on; `tries` counts processes and starts that took part.
    """

    id: str
    kind: str
    since: int | None
    started_at: int
    ended_at: int | None
    lanes: tuple[int, ...]
    tries: int


class DerivationStatus:
    """What operators see of derivation. Incidents belong to the installation, users to a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lag_ms(self, now: int) -> int | None:
        """How far the lane that is furthest behind has come, as an age, to a second; None before all have a place."""
        rows = await self._database.find(
            LANES_COLLECTION, {"_id": {"$in": list(range(LANES))}}, projection={"offset": 1}
        )
        offsets = [row["offset"] for row in rows]
        if not offsets or None in offsets:
            return None
        return max(0, now - int(min(offsets).time) * 1000)

    # -- users --------------------------------------------------------------------------------------------------

    async def set_aside(self, scope: Scope, *, limit: int, before: tuple[int, str] | None = None) -> list[SetAside]:
        """Users whose events do not fold, those found last first."""
        wanted: Document = {"workspace": scope.workspace, **_SET_ASIDE}
        if before is not None:
            at, user = before
            wanted["$or"] = [{"setAside.at": {"$lt": at}}, {"setAside.at": at, "_id": {"$lt": user}}]
        rows = await self._database.find(
            USERS,
            wanted,
            projection={"setAside": 1},
            sort=[("setAside.at", -1), ("_id", -1)],
            limit=limit,
            max_time_ms=5000,
        )
        return [SetAside(row["_id"], row["setAside"]["at"], row["setAside"]["error"]) for row in rows]

    async def count_set_aside(self, *, at_most: int) -> int:
        """How many there are in all workspaces."""
        return await self._database.count(USERS, dict(_SET_ASIDE), limit=at_most, max_time_ms=1000)

    # -- incidents ----------------------------------------------------------------------------------------------

    async def history_lost(self, position: Timestamp | None, lanes: Collection[int], now: int) -> str:
        """Put on record that the oplog no longer reaches back to `position`; the incident's id.

        Whoever meets the same again, after a restart or in another process, adds to the same incident.
        """
        key = f"{_LOST}-{position.time}-{position.inc}" if position is not None else f"{_LOST}-{now}"
        await self._database.update_one(
            COLLECTION,
            {"_id": key},
            {
                "$setOnInsert": {
                    "kind": _LOST,
                    "since": None if position is None else position.time * 1000,
                    "startedAt": now,
                },
                "$set": {"endedAt": None},
                "$inc": {"tries": 1},
                "$addToSet": {"lanes": {"$each": sorted(lanes)}},
            },
            upsert=True,
        )
        await self._database.delete_many(COLLECTION, {"startedAt": {"$lt": now - KEEP_MS}})
        return key

    async def ended(self, incident: str, now: int) -> None:
        """All that was lost has been derived."""
        await self._database.update_one(COLLECTION, {"_id": incident}, {"$set": {"endedAt": now}})

    async def incidents(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Incident]:
        """The newest first."""
        wanted: Document = {}
        if before is not None:
            at, key = before
            wanted["$or"] = [{"startedAt": {"$lt": at}}, {"startedAt": at, "_id": {"$lt": key}}]
        rows = await self._database.find(COLLECTION, wanted, sort=[("startedAt", -1), ("_id", -1)], limit=limit)
        return [_incident(row) for row in rows]

    async def count_open(self) -> int:
        """How many incidents have not ended."""
        return await self._database.count(COLLECTION, {"endedAt": None}, limit=1000, max_time_ms=1000)


def _incident(row: Document) -> Incident:
    return Incident(
        id=row["_id"],
        kind=row["kind"],
        since=row["since"],
        started_at=row["startedAt"],
        ended_at=row["endedAt"],
        lanes=tuple(sorted(row["lanes"])),
        tries=row["tries"],
    )
