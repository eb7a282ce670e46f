"""Snapshots of KPIs: what they were, period by period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context
from gateway.api.ranges import KPIS
from gateway.api.scalars import Cursor, DateTime
from gateway.plugin import Source, field
from gateway.store.kpi_snapshots import KpiSnapshot as Stored

_KEYSET = Keyset("kpi_snapshot", (int, str))


@dataclass(frozen=True, slots=True)
class _Paired:
    """A snapshot, and the one before it in time."""

    row: Stored
    before: Stored | None


def _source(key: str) -> Source:
    return Source.document("kpi_snapshots", key)


@strawberry.type(description="What a KPI was in one period of its cadence.")
class KpiSnapshot:
    """A snapshot."""

    paired: strawberry.Private[_Paired]

    @field(source=_source("start"), policy=KPIS, description="Where the period begins.")
    def start(self) -> DateTime:
        return DateTime(self.paired.row.start)

    @field(source=_source("end"), policy=KPIS, description="Where it ends; not included.")
    def end(self) -> DateTime:
        return DateTime(self.paired.row.end)

    @field(source=_source("value"), policy=KPIS, description="The value; null when there was nothing to count.")
    def value(self) -> float | None:
        return self.paired.row.value

    @field(source=_source("n"), policy=KPIS, description="From how many observations.")
    def n(self) -> int:
        return self.paired.row.n

    @field(source=_source("low"), policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return self.paired.row.low

    @field(source=_source("high"), policy=KPIS, description="Where the 95 % interval ends.")
    def high(self) -> float | None:
        return self.paired.row.high

    @field(source=_source("takenAt"), policy=KPIS, description="When it was written down.")
    def taken_at(self) -> DateTime:
        return DateTime(self.paired.row.taken_at)

    @field(source=_source("definition"), policy=KPIS, description="What exactly was counted, in words.")
    def definition(self) -> str:
        return self.paired.row.definition

    @field(
        source=_source("hash"),
        policy=KPIS,
        description="That of the definition: numbers under another hash cannot be compared with it.",
        name="definitionHash",
    )
    def definition_hash(self) -> str:
        return self.paired.row.hash

    @field(source=_source("version"), policy=KPIS, description="The number of the contract's version that counted.")
    def version(self) -> int:
        return self.paired.row.version

    @field(
        source=_source("hash"),
        policy=KPIS,
        description="Whether the snapshot before it counted something else: the series is split here.",
    )
    def definition_changed(self) -> bool:
        row, before = self.paired.row, self.paired.before
        return before is not None and before.hash != row.hash


@strawberry.type(description="One page of snapshots, the newest first.")
class KpiSnapshotConnection(Connection[KpiSnapshot]):
    """A page of snapshots."""


async def snapshot_page(context: Context, kpi: str, first: int | None, after: Cursor | None) -> KpiSnapshotConnection:
    """A page of the workspace's snapshots of a KPI."""

    async def read(limit: int, before: Any) -> list[_Paired]:
        rows = await context.services.snapshots.page(context.scope, kpi, limit=limit + 1, before=before)
        return [_Paired(row, rows[place + 1] if place + 1 < len(rows) else None) for place, row in enumerate(rows)][
            :limit
        ]

    edges, page_info = await page(
        _KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.row.start, one.row.id),
        node=lambda one: KpiSnapshot(paired=one),
    )
    return KpiSnapshotConnection(edges=edges, page_info=page_info)
