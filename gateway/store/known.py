"""Which names events and their properties have, as far as stored events say."""

from __future__ import annotations

from typing import Any

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import escaped_path, paths_of, readable

_DEADLINE_MS = 10_000
_GLANCE_MS = 2_000
_LATEST = 200


class Known:
    """Reads of names; the index on (workspace, name, at) answers them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def names(self, workspace: str) -> list[str]:
        """The names of all stored events, sorted."""
        # By the index alone: the gateway's own events are not told apart, and are in no scan.
        pipeline: list[dict[str, Any]] = [{"$match": {"workspace": workspace}}, {"$group": {"_id": "$name"}}]
        rows = await self._database.aggregate(EVENTS, pipeline, max_time_ms=_DEADLINE_MS)
        return sorted(row["_id"] for row in rows)

    async def properties(self, workspace: str, name: str) -> set[str]:
        """Dotted paths of the properties of this event's latest occurrences; not of every one."""
        rows = await self._database.find(
            EVENTS,
            {"workspace": workspace, "name": name},
            projection={"properties": 1, "escaped": 1},
            sort=[("at", -1)],
            limit=_LATEST,
            max_time_ms=_DEADLINE_MS,
        )
        found: set[str] = set()
        for row in rows:
            properties = row.get("properties") or {}
            found |= paths_of(readable(properties) if row.get("escaped") else properties)
        return found

    async def occurs(self, workspace: str, name: str, path: str) -> bool:
        """Whether any such event has the property; True also where there are too many to look at all of them."""
        wanted = {"workspace": workspace, "name": name, f"properties.{escaped_path(path)}": {"$exists": True}}
        try:
            return bool(await self._database.count(EVENTS, wanted, limit=1, max_time_ms=_GLANCE_MS))
        except Unavailable:
            return True
