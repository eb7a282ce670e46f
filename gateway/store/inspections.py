"""What an audit asks of stored events: the newest of a range, a bounded number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract.paths import ITEMS, parts_of, without_places
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
        path: str,
        *,
        rule: str,
        expected: str | None,
        limit: int,
    ) -> dict[tuple[str | None, str | None], int]:
        """By platform and app version: how many of the newest events of this name have a property that broke a rule of
        the plan, or is of another type than `expected`. `path` is as the catalogue has it: `products[].color`."""
        reason = {"$literal": f"{rule} {without_places(path)}"}
        odd: Document = {"$in": [reason, {"$ifNull": ["$misfits", []]}]}
        if expected is not None:
            usual = [*_TYPES[expected], "null", "missing"]
            parts = parts_of(path)
            odd = {"$or": [odd, *(_odd(holder, parts, usual) for holder in ("$properties", "$traits"))]}
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


def _odd(value: Any, parts: Sequence[str], usual: Sequence[str]) -> Document:
    """Whether what the parts lead to, from a value on, is of another type; in lists, whether anything is."""
    if not parts:
        return {"$not": [{"$in": [{"$type": value}, list(usual)]}]}
    name, *rest = parts
    if name == ITEMS:
        item = f"item{len(rest)}"
        items = {"$cond": [{"$isArray": [value]}, value, []]}
        return {"$anyElementTrue": {"$map": {"input": items, "as": item, "in": _odd(f"$${item}", rest, usual)}}}
    # A name is taken literally, whatever it is; what is no object has none.
    field = {"$getField": {"field": {"$literal": escaped_key(name)}, "input": value}}
    return _odd({"$cond": [{"$eq": [{"$type": value}, "object"]}, field, "$$REMOVE"]}, rest, usual)
