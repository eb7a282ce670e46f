"""What KPIs are computed from: events page by page, the users behind identities, and lengths of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.model.event import JsonObject, OrderKey
from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import OLDEST_FIRST, escaped_path, readable
from gateway.store.identities import IDENTITIES
from gateway.store.users import SESSIONS

PAGE = 20_000
_AT_ONCE = 5_000
_DEADLINE_MS = 10_000


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event, as far as a KPI looks at it. `sk` is its identity as sent, `at` milliseconds."""

    sk: str
    name: str
    at: int
    properties: JsonObject


class Measures:
    """Reads for KPIs; every read is limited to 10 s and raises Unavailable beyond."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: KPIs that are worked out at a time: so many that nobody else waits for them.
        self.turn = asyncio.Semaphore(2)

    async def occurrences(
        self, scope: Scope, names: Collection[str], between: tuple[int, int], properties: Iterable[str]
    ) -> AsyncIterator[list[Occurrence]]:
        """Events with one of the names and `at` in [start, end), in order, page by page.

        They carry only those properties that the dotted paths name.
        """
        projection = {"sk": 1, "name": 1, "at": 1, "seq": 1, "escaped": 1, **_paths(properties)}
        start, end = between
        position: OrderKey | None = None
        while True:
            wanted: Document = {"workspace": scope.workspace, "name": {"$in": sorted(names)}}
            wanted["at"] = {"$gte": start, "$lt": end}
            if position is not None:
                wanted |= _behind(position, end)
            rows = await self._database.find(
                EVENTS, wanted, projection=projection, sort=OLDEST_FIRST, limit=PAGE, max_time_ms=_DEADLINE_MS
            )
            yield [Occurrence(row["sk"], row["name"], row["at"], _properties(row)) for row in rows]
            if len(rows) < PAGE:
                return
            position = (rows[-1]["at"], rows[-1]["seq"], rows[-1]["_id"])

    async def users_of(self, scope: Scope, sks: Collection[str]) -> dict[str, str]:
        """The user of now behind each identity; those without one are left out."""
        keys = list(sks)
        found: dict[str, str] = {}
        for start in range(0, len(keys), _AT_ONCE):
            rows = await self._database.find(
                IDENTITIES,
                {"workspace": scope.workspace, "sk": {"$in": keys[start : start + _AT_ONCE]}},
                projection={"_id": 0, "sk": 1, "user": 1},
                max_time_ms=_DEADLINE_MS,
            )
            found |= {row["sk"]: row["user"] for row in rows}
        return found

    async def session_lengths(self, scope: Scope, bounds: list[int]) -> dict[int, tuple[int, float, float]]:
        """Of the sessions that began between two bounds (rising milliseconds): count, mean and sample deviation of
        their length in milliseconds, by the lower bound. Spans without a session are left out."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"workspace": scope.workspace, "start": {"$gte": bounds[0], "$lt": bounds[-1]}}},
            {
                "$bucket": {
                    "groupBy": "$start",
                    "boundaries": bounds,
                    "output": {
                        "count": {"$sum": 1},
                        "mean": {"$avg": {"$subtract": ["$end", "$start"]}},
                        "deviation": {"$stdDevSamp": {"$subtract": ["$end", "$start"]}},
                    },
                }
            },
        ]
        rows = await self._database.aggregate(SESSIONS, pipeline, max_time_ms=_DEADLINE_MS)
        return {row["_id"]: (row["count"], row["mean"], row["deviation"] or 0.0) for row in rows}


def _paths(properties: Iterable[str]) -> dict[str, int]:
    """A projection of the paths; of two where one contains the other, MongoDB accepts only the outer one."""
    paths = sorted({f"properties.{escaped_path(path)}" for path in properties})
    outer: list[str] = []
    for path in paths:
        if not any(path.startswith(f"{known}.") for known in outer):
            outer.append(path)
    return dict.fromkeys(outer, 1)


def _properties(row: Document) -> JsonObject:
    properties: JsonObject = row.get("properties", {})
    return readable(properties) if row.get("escaped") else properties


def _behind(position: OrderKey, end: int) -> Document:
    at, seq, key = position
    return {
        "at": {"$gte": at, "$lt": end},
        "$or": [
            {"at": {"$gt": at}},
            {"at": at, "seq": {"$gt": seq}},
            {"at": at, "seq": seq, "_id": {"$gt": key}},
        ],
    }
