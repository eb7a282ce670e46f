"""Discrepancies: numbers that somebody does not believe, with all that is needed to look into them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.actor import Actor
from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.proposals import actor_from, actor_row, older

COLLECTION = "discrepancies"


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One report. The KPI said `value` over [start, end) ms, and `expected` was expected, in the KPI's unit.

    `query` is what was asked, `version` the contract's that counted, `definition` and `hash` the KPI's of then.
    `sample` are ids of events that it counted, the newest first.
    """

    id: str
    workspace: str
    kpi: str
    start: int
    end: int
    value: float | None
    n: int
    expected: float
    note: str
    query: str
    version: int
    definition: str
    hash: str
    sample: tuple[str, ...]
    by: Actor
    at: int


class Discrepancies:
    """Reports of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, discrepancy: Discrepancy) -> None:
        await self._database.insert_many(COLLECTION, [_row(discrepancy)])

    async def get(self, scope: Scope, key: str) -> Discrepancy | None:
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace})
        return None if row is None else _from(row)

    async def page(
        self, scope: Scope, *, kpi: str | None, limit: int, before: tuple[int, str] | None = None
    ) -> list[Discrepancy]:
        """The newest first, older than `before` (at, id)."""
        wanted: Document = {"workspace": scope.workspace, **older("at", before)}
        if kpi is not None:
            wanted["kpi"] = kpi
        rows = await self._database.find(
            COLLECTION, wanted, sort=[("at", -1), ("_id", -1)], limit=limit, max_time_ms=5000
        )
        return [_from(row) for row in rows]


def _row(one: Discrepancy) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "kpi": one.kpi,
        "start": one.start,
        "end": one.end,
        "value": one.value,
        "n": one.n,
        "expected": one.expected,
        "note": one.note,
        "query": one.query,
        "version": one.version,
        "definition": one.definition,
        "hash": one.hash,
        "sample": list(one.sample),
        "by": actor_row(one.by),
        "at": one.at,
    }


def _from(row: Document) -> Discrepancy:
    return Discrepancy(
        id=row["_id"],
        workspace=row["workspace"],
        kpi=row["kpi"],
        start=row["start"],
        end=row["end"],
        value=row["value"],
        n=row["n"],
        expected=row["expected"],
        note=row["note"],
        query=row["query"],
        version=row["version"],
        definition=row["definition"],
        hash=row["hash"],
        sample=tuple(row["sample"]),
        by=actor_from(row["by"]),
        at=row["at"],
    )
