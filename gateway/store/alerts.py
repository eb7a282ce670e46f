"""Alerts: one open alert per key, written by the owner of the key's lane alone, announced in the feed.

Whoever notices something leaves a row of `work` (kind "alert"); the owner opens the alert, counts on, or resolves it in
the transaction that writes its feed row. So alerts have positions and resume like everything else in the feed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from gateway.clock import Clock
from gateway.model.alert import Alert, Severity
from gateway.model.identity import digest, lane_of
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session
from gateway.store.work import COLLECTION as WORK

COLLECTION = "alerts"


class Alerts:
    """Alerts of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- by whoever notices -------------------------------------------------------------------------------------

    async def raise_alert(
        self,
        workspace: str,
        key: str,
        clock: Clock,
        *,
        severity: Severity,
        title: str,
        text: str,
        hint: str,
        about: tuple[str, str],
        channels: Sequence[str] = (),
        session: Session | None = None,
    ) -> None:
        """Something is wrong, again or still. No personal data and no secret may stand in it."""
        now = clock.now()
        what: Document = {"severity": severity.value, "title": title, "text": text, "hint": hint, "about": list(about)}
        what["channels"] = list(channels)
        changes = {
            "$set": {"what": what, "open": True, "lastAt": now, **_place(workspace, key)},
            "$inc": {"raised": 1},
            "$min": {"firstAt": now},
        }
        await self._database.update_one(WORK, self._row(workspace, key), changes, upsert=True, session=session)

    async def resolve(self, workspace: str, key: str, clock: Clock, session: Session | None = None) -> None:
        """It is well again; nothing happens when no alert is open under this key."""
        changes = {"$set": {"open": False, "lastAt": clock.now(), **_place(workspace, key)}}
        await self._database.update_one(WORK, self._row(workspace, key), changes, upsert=True, session=session)

    def _row(self, workspace: str, key: str) -> Document:
        """By its id alone where that finds it: then MongoDB itself tries again when two begin it at once."""
        return self._database.key(workspace, digest(workspace, "alert", key))

    # -- by the owner of the lane -------------------------------------------------------------------------------

    async def take(self, workspace: str, rows: Collection[bytes], session: Session) -> list[tuple[int, str, Document]]:
        """Do what these rows ask for; the lanes concerned, and for each feed row what it belongs to."""
        wanted = {"workspace": workspace, "_id": {"$in": list(rows)}, "kind": "alert"}
        news: list[tuple[int, str, Document]] = []
        for row in await self._database.find(WORK, wanted, session=session):
            news += [(row["lane"], lane_key(row["key"]), told) for told in await self._apply(workspace, row, session)]
            await self._database.delete_many(WORK, {"_id": row["_id"], "workspace": workspace}, session=session)
        return news

    async def _apply(self, workspace: str, row: Document, session: Session) -> list[Document]:
        told = []
        key, raised = row["key"], row.get("raised", 0)
        wanted = {"workspace": workspace, "key": key, "open": True}
        found = await self._database.find_one(COLLECTION, wanted, session=session)
        if raised and found is None:
            first = row["firstAt"]
            found = {"_id": digest(workspace, "alert", key, str(first)).hex(), **wanted, "firstAt": first}
            found |= {"lastAt": row["lastAt"], "count": raised, "resolvedAt": None, **row["what"]}
            await self._database.insert_many(COLLECTION, [found], session=session)
            told.append(_told(found, row["firstAt"], raised=True))
        elif raised and found is not None:
            grown = {"$set": {**row["what"], "lastAt": row["lastAt"]}, "$inc": {"count": raised}}
            await self._database.update_one(COLLECTION, _of(found), grown, session=session)
        if raised and row["what"]["about"][0] == "request":  # each step is news, and the alert stays the same one
            told.append(_step(workspace, row["what"]["about"][1], row["lastAt"]))
        if not row["open"] and found is not None:
            ended = {"$set": {"open": False, "resolvedAt": row["lastAt"]}}
            await self._database.update_one(COLLECTION, _of(found), ended, session=session)
            told.append(_told(found, row["lastAt"], raised=False))
        return told

    # -- reading ------------------------------------------------------------------------------------------------

    async def get(self, workspace: str, ids: Collection[str]) -> dict[str, Alert]:
        """Alerts by id."""
        rows = await self._database.find(COLLECTION, {"workspace": workspace, "_id": {"$in": list(ids)}})
        return {row["_id"]: alert_from(row) for row in rows}

    async def open_keys(self, workspace: str, prefix: str) -> set[str]:
        """Keys of open alerts that begin so."""
        wanted = {"workspace": workspace, "open": True, "key": {"$gte": prefix, "$lt": prefix + "\U0010ffff"}}
        rows = await self._database.find(COLLECTION, wanted, projection={"key": 1}, max_time_ms=5000)
        return {row["key"] for row in rows}

    async def has(self, workspace: str, key: str) -> bool:
        """Whether an alert was ever raised under this key."""
        return await self._database.find_one(COLLECTION, {"workspace": workspace, "key": key}) is not None

    async def open_about(self, workspace: str, kind: str) -> list[str]:
        """The keys of open alerts about this kind of thing."""
        wanted = {"workspace": workspace, "open": True, "about.0": kind}
        return [row["key"] for row in await self._database.find(COLLECTION, wanted, projection={"key": 1})]

    async def page(
        self, scope: Scope, *, open_: bool | None, limit: int, before: tuple[int, str] | None = None
    ) -> list[Alert]:
        """The newest first (by when it was last met), older than `before` (lastAt, id)."""
        wanted: Document = {"workspace": scope.workspace}
        if open_ is not None:
            wanted["open"] = open_
        if before is not None:
            at, key = before
            wanted["$or"] = [{"lastAt": {"$lt": at}}, {"lastAt": at, "_id": {"$lt": key}}]
        newest: list[tuple[str, Literal[-1]]] = [("lastAt", -1), ("_id", -1)]
        rows = await self._database.find(COLLECTION, wanted, sort=newest, limit=limit, max_time_ms=5000)
        return [alert_from(row) for row in rows]


def lane_key(key: str) -> str:
    """What the lane of an alert's feed rows is worked out from: no id of a user looks like it."""
    return f"alert {key}"


def alert_from(row: Document) -> Alert:
    """A stored alert."""
    kind, named = row["about"]
    return Alert(
        id=row["_id"],
        workspace=row["workspace"],
        key=row["key"],
        severity=Severity(row["severity"]),
        title=row["title"],
        text=row["text"],
        hint=row["hint"],
        about=(kind, named),
        first_at=row["firstAt"],
        last_at=row["lastAt"],
        count=row["count"],
        resolved_at=row["resolvedAt"],
        channels=tuple(row.get("channels", ())),
    )


def _place(workspace: str, key: str) -> Document:
    lane = lane_of(workspace, lane_key(key))
    return {"workspace": workspace, "kind": "alert", "key": key, "lane": lane, "pending": True}


def _of(found: Document) -> Document:
    return {"_id": found["_id"], "workspace": found["workspace"]}


def _told(found: Document, at: int, *, raised: bool) -> Document:
    """The feed row that announces it."""
    return {
        "workspace": found["workspace"],
        "kind": "alert",
        "key": found["key"],
        "alert": found["_id"],
        "raised": raised,
        "at": at,
    }


def _step(workspace: str, request: str, at: int) -> Document:
    """The feed row that announces a step of a data request."""
    return {"workspace": workspace, "kind": "request", "key": request, "at": at}
