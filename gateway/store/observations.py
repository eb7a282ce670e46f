"""Observations: what people saw and heard of a user, a stage or a KPI, such as notes of an interview.

Of a user they are kept under the key of an identity: so they stay with the person through merges and splits, and go
when that identity is erased.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from gateway.model.actor import Actor
from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.proposals import actor_from, actor_row, older

COLLECTION = "observations"

Kind = Literal["user", "stage", "kpi"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One observation. `key`: of a user the key of their first identity (32 hexadecimal digits), of a stage
    `map.stage`. `at` in ms."""

    id: str
    workspace: str
    kind: Kind
    key: str
    text: str
    link: str | None
    by: Actor
    at: int


class Observations:
    """Observations of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, observation: Observation) -> None:
        await self._database.insert_many(COLLECTION, [_row(observation)])

    async def get(self, scope: Scope, key: str) -> Observation | None:
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace})
        return None if row is None else _from(row)

    async def page(
        self, scope: Scope, kind: Kind, keys: Collection[str], *, limit: int, before: tuple[int, str] | None = None
    ) -> list[Observation]:
        """Those of one object, which may have had several keys; the newest first, older than `before` (at, id)."""
        wanted = {"workspace": scope.workspace, "kind": kind, "key": {"$in": list(keys)}, **older("at", before)}
        rows = await self._database.find(
            COLLECTION, wanted, sort=[("at", -1), ("_id", -1)], limit=limit, max_time_ms=5000
        )
        return [_from(row) for row in rows]

    async def erase(self, workspace: str, users: Collection[str]) -> int:
        """Delete those of these users; how many."""
        return await self._database.delete_many(
            COLLECTION, {"workspace": workspace, "kind": "user", "key": {"$in": list(users)}}
        )


def _row(one: Observation) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "kind": one.kind,
        "key": one.key,
        "text": one.text,
        "link": one.link,
        "by": actor_row(one.by),
        "at": one.at,
    }


def _from(row: Document) -> Observation:
    return Observation(
        id=row["_id"],
        workspace=row["workspace"],
        kind=row["kind"],
        key=row["key"],
        text=row["text"],
        link=row["link"],
        by=actor_from(row["by"]),
        at=row["at"],
    )
