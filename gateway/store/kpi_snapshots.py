"""Snapshots: what a KPI was in a period, written down once that was over and everybody in it could be judged.

The period is in the key: whoever writes it a second time, after a restart or beside another process, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model.identity import digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.proposals import older

COLLECTION = "kpi_snapshots"
_DEADLINE_MS = 5_000


@dataclass(frozen=True, slots=True)
class KpiSnapshot:
    """One KPI over the period [start, end) ms of its cadence, as of `taken_at`. `hash` and `definition` say what was
    counted then; `version` is that of the contract."""

    workspace: str
    kpi: str
    cadence: str
    start: int
    end: int
    taken_at: int
    value: float | None
    n: int
    low: float | None
    high: float | None
    open: int
    hash: str
    definition: str
    version: int

    @property
    def id(self) -> str:
        """The same for every process that takes it."""
        return digest(self.workspace, "kpi snapshot", self.kpi, self.cadence, str(self.start)).hex()


class KpiSnapshots:
    """Snapshots of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, snapshots: Sequence[KpiSnapshot]) -> int:
        """Write down those of periods that nobody has written down yet; how many."""
        if not snapshots:
            return 0
        outcome = await self._database.insert_unordered(COLLECTION, [_row(one) for one in snapshots])
        return len(outcome.inserted)

    async def last(self, workspace: str) -> dict[tuple[str, str], int]:
        """By KPI and cadence where the last period that is written down began."""
        group = {"$group": {"_id": {"kpi": "$kpi", "cadence": "$cadence"}, "start": {"$max": "$start"}}}
        rows = await self._database.aggregate(
            COLLECTION, [{"$match": {"workspace": workspace}}, group], max_time_ms=_DEADLINE_MS
        )
        return {(row["_id"]["kpi"], row["_id"]["cadence"]): row["start"] for row in rows}

    async def newest(self, workspace: str, kpi: str, cadence: str, *, taken: tuple[int, int]) -> KpiSnapshot | None:
        """That of the latest period among those written down in [from, to) ms."""
        row = await self._database.find_one(
            COLLECTION,
            {"workspace": workspace, "kpi": kpi, "cadence": cadence, "takenAt": {"$gte": taken[0], "$lt": taken[1]}},
            sort=[("start", -1)],
        )
        return None if row is None else _from(row)

    async def page(
        self, scope: Scope, kpi: str, *, limit: int, before: tuple[int, str] | None = None
    ) -> list[KpiSnapshot]:
        """Those of a KPI, the newest first, older than `before` (start, id)."""
        wanted = {"workspace": scope.workspace, "kpi": kpi, **older("start", before)}
        rows = await self._database.find(
            COLLECTION, wanted, sort=[("start", -1), ("_id", -1)], limit=limit, max_time_ms=_DEADLINE_MS
        )
        return [_from(row) for row in rows]


def _row(one: KpiSnapshot) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "kpi": one.kpi,
        "cadence": one.cadence,
        "start": one.start,
        "end": one.end,
        "takenAt": one.taken_at,
        "value": one.value,
        "n": one.n,
        "low": one.low,
        "high": one.high,
        "open": one.open,
        "hash": one.hash,
        "definition": one.definition,
        "version": one.version,
    }


def _from(row: Document) -> KpiSnapshot:
    return KpiSnapshot(
        workspace=row["workspace"],
        kpi=row["kpi"],
        cadence=row["cadence"],
        start=row["start"],
        end=row["end"],
        taken_at=row["takenAt"],
        value=row["value"],
        n=row["n"],
        low=row["low"],
        high=row["high"],
        open=row["open"],
        hash=row["hash"],
        definition=row["definition"],
        version=row["version"],
    )
