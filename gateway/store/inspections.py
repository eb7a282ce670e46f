"""What an audit asks of stored events: the newest of a range, a bounded number of them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION, NEWEST_FIRST, OF_USERS, escaped_key

_TIMEOUT_MS = 10_000
#: What BSON calls the types of JSON.
_TYPES = {
    "string": ("string",),
    "datetime": ("string",),
    "integer": ("int", "long"),
    "number": ("int", "long", "double"),
    "boolean": ("bool",),
    "array": ("array",),
    "object": ("object",),
}


@dataclass(frozen=True, slots=True)
class SentAs:
    """The ids of one event, and what sent it."""

    user_id: str | None
    anonymous_id: str | None
    platform: str | None
    version: str | None


class Inspections:
    """Reads for the audit; each is limited to 10 s and raises Unavailable beyond."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def senders(self, scope: Scope, between: tuple[int, int], *, limit: int) -> list[SentAs]:
        """Who sent the newest events of the range [from, to) ms."""
        rows = await self._database.find(
            COLLECTION,
            {"workspace": scope.workspace, **_within(between), **OF_USERS},
            projection={"userId": 1, "anonymousId": 1, "client.platform": 1, "client.appVersion": 1},
            sort=NEWEST_FIRST,
            limit=limit,
            max_time_ms=_TIMEOUT_MS,
        )
        return [
            SentAs(
                row["userId"],
                row["anonymousId"],
                (row.get("client") or {}).get("platform"),
                (row.get("client") or {}).get("appVersion"),
            )
            for row in rows
        ]

    async def latest(self, scope: Scope, name: str, until: int) -> int | None:
        """When the last event of this name up to a moment (ms) happened; None when there was none."""
        wanted = {"workspace": scope.workspace, "name": name, "at": {"$lte": until}}
        rows = await self._database.find(
            COLLECTION, wanted, projection={"at": 1}, sort=NEWEST_FIRST, limit=1, max_time_ms=_TIMEOUT_MS
        )
        return rows[0]["at"] if rows else None

    async def shares(
        self,
        scope: Scope,
        name: str,
        between: tuple[int, int],
        key: str,
        *,
        rule: str,
        expected: str | None,
        limit: int,
    ) -> dict[tuple[str | None, str | None], int]:
        """By platform and app version: how many of the newest events of this name have a property that broke a rule of
        the plan (also inside of it), or is of another type than `expected`."""
        reason = f"{rule} {key}"
        broken: Document = {
            "$anyElementTrue": {
                "$map": {
                    "input": {"$ifNull": ["$misfits", []]},
                    "in": {"$eq": [{"$indexOfCP": [{"$concat": ["$$this", "."]}, f"{reason}."]}, 0]},
                }
            }
        }
        odd = broken
        if expected is not None:
            usual = [*_TYPES[expected], "null", "missing"]
            types = [{"$type": _value(holder, escaped_key(key))} for holder in ("$properties", "$traits")]
            odd = {"$or": [broken, *({"$not": [{"$in": [one, usual]}]} for one in types)]}
        rows = await self._database.aggregate(
            COLLECTION,
            [
                {"$match": {"workspace": scope.workspace, "name": name, **_within(between)}},
                {"$sort": {"at": -1, "seq": -1, "_id": -1}},
                {"$limit": limit},
                {"$match": {"$expr": odd}},
                {
                    "$group": {
                        "_id": {"platform": "$client.platform", "version": "$client.appVersion"},
                        "count": {"$sum": 1},
                    }
                },
            ],
            max_time_ms=_TIMEOUT_MS,
        )
        return {(row["_id"].get("platform"), row["_id"].get("version")): row["count"] for row in rows}


def _within(between: tuple[int, int]) -> Document:
    return {"at": {"$gte": between[0], "$lt": between[1]}}


def _value(holder: str, key: str) -> Document:
    """The value of a property: its name is taken literally, whatever it is."""
    return {"$getField": {"field": {"$literal": key}, "input": holder}}
