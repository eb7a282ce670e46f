"""Data requests: what UX asks backend to send, and how far each has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.model.actor import Actor
from gateway.model.identity import digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, UpdateOne
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import escaped_path, readable
from gateway.store.proposals import Remark, actor_from, actor_row, older, remark_from, remark_row

COLLECTION = "requests"

Status = Literal["requested", "agreed", "shipped", "verified", "refused"]

#: How many of the newest events of a name one look goes through.
NEWEST = 1_000
_LONGEST_LOOK_MS = 2_000


@dataclass(frozen=True, slots=True)
class Step:
    """A status that a request came to."""

    status: Status
    said: Remark


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `key` is its name in the workspace; `filed`: it stands in a file of the contract. Times in ms.

    `event` and `properties` (dotted paths) are what is wanted; `verified_by` is the first event that had them all.
    """

    id: str
    workspace: str
    key: str
    title: str
    what: str
    why: str
    asked_by: str
    event: str | None
    properties: tuple[str, ...]
    status: Status
    by: Actor | None
    filed: bool
    created_at: int
    steps: tuple[Step, ...] = ()
    shipped_at: int | None = None
    verified_by: str | None = None
    revision: int = 0


class Requests:
    """A row per request, changed only as somebody has seen it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, request: Request) -> bool:
        """Add a new one; False when its key is taken."""
        outcome = await self._database.insert_unordered(COLLECTION, [_row(request)])
        return bool(outcome.inserted)

    async def file(self, requests: Sequence[Request]) -> list[Request]:
        """Those that stand in files: new ones are added, what the others say is brought up to date. The new ones."""
        if not requests:
            return []
        known = await self._database.find(
            COLLECTION,
            {"workspace": requests[0].workspace, "_id": {"$in": [one.id for one in requests]}},
            projection={"_id": 1},
        )
        ids = {row["_id"] for row in known}
        operations = []
        for one in requests:
            row = _row(one)
            said = {key: row.pop(key) for key in _SAID}
            if one.id in ids:  # who ships may have said more exactly what is sent
                said = {key: value for key, value in said.items() if key not in ("event", "properties")}
            operations.append(
                UpdateOne(
                    {"_id": row.pop("_id"), "workspace": one.workspace},
                    {"$set": said, "$setOnInsert": {key: value for key, value in row.items() if key != "workspace"}},
                    upsert=True,
                )
            )
        await self._database.bulk_write(COLLECTION, operations)
        return [one for one in requests if one.id not in ids]

    async def get(self, scope: Scope, key: str) -> Request | None:
        """By its id."""
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace})
        return None if row is None else _from(row)

    async def change(self, request: Request) -> Request | None:
        """Write it in place of the revision it was made from; None when somebody else was faster."""
        fresh = replace(request, revision=request.revision + 1)
        wanted = {"_id": request.id, "workspace": request.workspace, "revision": request.revision}
        said = {key: value for key, value in _row(fresh).items() if key not in ("_id", "workspace", "createdAt")}
        done = await self._database.update_one(COLLECTION, wanted, {"$set": said})
        return fresh if done.matched else None

    async def count(self, scope: Scope, *, at_most: int) -> int:
        return await self._database.count(COLLECTION, {"workspace": scope.workspace}, limit=at_most)

    async def page(
        self, scope: Scope, *, status: Status | None, limit: int, before: tuple[int, str] | None = None
    ) -> list[Request]:
        """The newest first, older than `before` (createdAt, id)."""
        wanted: Document = {"workspace": scope.workspace}
        if status is not None:
            wanted["status"] = status
        rows = await self._database.find(
            COLLECTION,
            {**wanted, **older("createdAt", before)},
            sort=[("createdAt", -1), ("_id", -1)],
            limit=limit,
            max_time_ms=5000,
        )
        return [_from(row) for row in rows]

    async def shipped(self) -> list[Request]:
        """Those of all workspaces that wait for their first event."""
        return [_from(row) for row in await self._database.find(COLLECTION, {"status": "shipped"})]

    async def stepped(self, workspace: str, since: int, until: int, *, limit: int) -> list[Request]:
        """Those that came to another status in [since, until) ms."""
        wanted = {"workspace": workspace, "steps": {"$elemMatch": {"said.at": {"$gte": since, "$lt": until}}}}
        rows = await self._database.find(COLLECTION, wanted, sort=[("createdAt", -1), ("_id", -1)], limit=limit)
        return [_from(row) for row in rows]

    async def candidates(self, request: Request, *, limit: int) -> list[tuple[str, Document]]:
        """The newest events that could verify the request, of the newest NEWEST of that name: id and what was sent."""
        wanted: Document = {f"properties.{escaped_path(path)}": {"$ne": None} for path in request.properties}
        wanted["receivedAt"] = {"$gte": request.shipped_at or 0}
        pipeline: list[Document] = [
            {"$match": {"workspace": request.workspace, "name": request.event}},
            {"$sort": {"at": -1, "seq": -1, "_id": -1}},
            {"$limit": NEWEST},
            {"$match": wanted},
            {"$limit": limit},
            {"$project": {"type": 1, "properties": 1, "traits": 1}},
        ]
        rows = await self._database.aggregate(EVENTS, pipeline, max_time_ms=_LONGEST_LOOK_MS)
        return [
            (bytes(row["_id"]).hex(), {"type": row["type"], "properties": readable(row.get("properties") or {})})
            for row in rows
        ]


def request_id(workspace: str, key: str) -> str:
    """One key is one request, whether it stands in a file or was asked for over the API."""
    return digest(workspace, "request", key).hex()


#: What a file says; the rest is how far it has come.
_SAID = ("key", "title", "what", "why", "askedBy", "event", "properties", "filed")


def _row(one: Request) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "key": one.key,
        "title": one.title,
        "what": one.what,
        "why": one.why,
        "askedBy": one.asked_by,
        "event": one.event,
        "properties": list(one.properties),
        "status": one.status,
        "by": None if one.by is None else actor_row(one.by),
        "filed": one.filed,
        "createdAt": one.created_at,
        "steps": [{"status": step.status, "said": remark_row(step.said)} for step in one.steps],
        "shippedAt": one.shipped_at,
        "verifiedBy": one.verified_by,
        "revision": one.revision,
    }


def _from(row: Document) -> Request:
    return Request(
        id=row["_id"],
        workspace=row["workspace"],
        key=row["key"],
        title=row["title"],
        what=row["what"],
        why=row["why"],
        asked_by=row["askedBy"],
        event=row["event"],
        properties=tuple(row["properties"]),
        status=row["status"],
        by=None if row["by"] is None else actor_from(row["by"]),
        filed=row["filed"],
        created_at=row["createdAt"],
        steps=tuple(Step(step["status"], remark_from(step["said"])) for step in row["steps"]),
        shipped_at=row["shippedAt"],
        verified_by=row["verifiedBy"],
        revision=row["revision"],
    )
