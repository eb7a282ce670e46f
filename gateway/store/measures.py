"""What KPIs are computed from: events page by page, the users behind identities, and lengths of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from gateway.model.consent import Purpose
from gateway.model.event import JsonObject, OrderKey
from gateway.model.scope import Scope
from gateway.store.consents import COLLECTION as CONSENTS
from gateway.store.consents import Consents, Words, latest
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import OLDEST_FIRST, escaped_path, readable
from gateway.store.identities import IDENTITIES
from gateway.store.users import SESSIONS

PAGE = 20_000
_AT_ONCE = 5_000
_DEADLINE_MS = 10_000
_PURPOSE: Purpose = "analytics"
_NOT_DENIED: Document = {f"consent.{_PURPOSE}": {"$ne": False}}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event, as far as a KPI looks at it. `sk` is its identity as sent, `at` milliseconds."""

    sk: str
    name: str
    at: int
    properties: JsonObject


@dataclass(frozen=True, slots=True)
class Denying:
    """Users who deny now that they are counted, and all of their identities."""

    users: frozenset[str] = frozenset()
    sks: frozenset[str] = frozenset()


class Measures:
    """Reads for KPIs; every read is limited to 10 s and raises Unavailable beyond.

    KPIs are numbers about how the product is used, the purpose `analytics`: what came in while its sender denied that
    is left out, and so is everything of users who deny it now. Of sessions only the latter is known.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._consents = Consents(database)
        #: KPIs that are worked out at a time: so many that nobody else waits for them.
        self.turn = asyncio.Semaphore(2)

    async def occurrences(
        self, scope: Scope, names: Collection[str], between: tuple[int, int], properties: Iterable[str]
    ) -> AsyncIterator[list[Occurrence]]:
        """Events with one of the names and `at` in [start, end), in order, page by page.

        They carry only those properties that the dotted paths name.
        """
        projection = {"sk": 1, "name": 1, "at": 1, "seq": 1, "escaped": 1, **property_projection(properties)}
        start, end = between
        position: OrderKey | None = None
        denying = await self.denying(scope)
        while True:
            wanted: Document = {"workspace": scope.workspace, "name": {"$in": sorted(names)}, **_NOT_DENIED}
            wanted["at"] = {"$gte": start, "$lt": end}
            if position is not None:
                wanted |= _behind(position, end)
            rows = await self._database.find(
                EVENTS, wanted, projection=projection, sort=OLDEST_FIRST, limit=PAGE, max_time_ms=_DEADLINE_MS
            )
            yield [
                Occurrence(row["sk"], row["name"], row["at"], _properties(row))
                for row in rows
                if row["sk"] not in denying.sks
            ]
            if len(rows) < PAGE:
                return
            position = (rows[-1]["at"], rows[-1]["seq"], rows[-1]["_id"])

    async def users_of(self, scope: Scope, sks: Collection[str]) -> dict[str, str]:
        """The user of now behind each identity; those without one are left out."""
        keys = list(sks)
        found: dict[str, str] = {}
        for some in _parts(keys):
            rows = await self._database.find(
                IDENTITIES,
                {"workspace": scope.workspace, "sk": {"$in": some}},
                projection={"_id": 0, "sk": 1, "user": 1},
                max_time_ms=_DEADLINE_MS,
            )
            found |= {row["sk"]: row["user"] for row in rows}
        return found

    async def denying(self, scope: Scope) -> Denying:
        """Who denies `analytics` now: the latest word counts, under whichever identity of the user it was said."""
        denied = {f"purposes.{_PURPOSE}.granted": False, "workspace": scope.workspace}
        keys = await self._database.find(CONSENTS, denied, projection={"_id": 1}, max_time_ms=_DEADLINE_MS)
        users: set[str] = set()
        sks: set[str] = set()
        for some in _parts([row["_id"] for row in keys]):
            found = await self._identities(scope, {"_id": {"$in": some}})
            owners = await self._identities(scope, {"user": {"$in": sorted({row["user"] for row in found})}})
            words = await self._consents.of(scope.workspace, [bytes(row["_id"]) for row in owners])
            said: dict[str, list[Words]] = {}
            for row in owners:
                said.setdefault(row["user"], []).append(words.get(bytes(row["_id"]), {}))
            last = {user: latest(each).get(_PURPOSE) for user, each in said.items()}
            deny = {user for user, word in last.items() if word is not None and not word.granted}
            users |= deny
            sks |= {row["sk"] for row in owners if row["user"] in deny}
        return Denying(frozenset(users), frozenset(sks))

    async def _identities(self, scope: Scope, which: Document) -> list[Document]:
        wanted = {"workspace": scope.workspace, **which}
        return await self._database.find(IDENTITIES, wanted, projection={"sk": 1, "user": 1}, max_time_ms=_DEADLINE_MS)

    async def session_lengths(self, scope: Scope, bounds: list[int]) -> dict[int, tuple[int, float, float]]:
        """Of the sessions that began between two bounds (rising milliseconds): count, mean and sample deviation of
        their length in milliseconds, by the lower bound. Spans without a session are left out."""
        wanted: Document = {"workspace": scope.workspace, "start": {"$gte": bounds[0], "$lt": bounds[-1]}}
        if denying := (await self.denying(scope)).users:
            wanted["user"] = {"$nin": sorted(denying)}
        pipeline: list[dict[str, Any]] = [
            {"$match": wanted},
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


def _parts(keys: list[Any]) -> Iterator[list[Any]]:
    """What one read is asked for at a time."""
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))


def property_projection(properties: Iterable[str]) -> dict[str, int]:
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
