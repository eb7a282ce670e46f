"""Rollups: counts in cells of 15 minutes UTC, which fits every time zone.

Cells are additive. Each is written by the owner of the lane in its key, so that owners never conflict, and summed over
lanes on read; that one lane takes away what another added is as good. `definition` keeps numbers of different versions
of a map apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from gateway.model.event import Event
from gateway.model.identity import digest
from gateway.model.journey import Journey
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session, UpdateOne

COLLECTION = "rollups"
CELL_MS = 15 * 60 * 1000
HOUR_MS = 4 * CELL_MS

Kind: TypeAlias = Literal["event", "stage"]
#: (kind, key, definition, start of the 15 minutes in ms). The key is an event's name, or map and stage as in
#: `purchase.cart`.
Cell: TypeAlias = tuple[Kind, str, str, int]
Cells: TypeAlias = Counter[Cell]


def event_cells(events: Iterable[Event]) -> Cells:
    """One for each event, by name and time."""
    return Counter(event_cell(event.name, event.at) for event in events)


def event_cell(name: str, at: int) -> Cell:
    """The cell that an event of this name and time (ms) counts in."""
    return ("event", name, "", _start(at))


def stage_cells(journeys: Iterable[Journey], definition: str) -> Cells:
    """One for each time a run entered a stage."""
    return Counter(
        ("stage", f"{run.map}.{visit.stage}", definition, _start(visit.entered_at))
        for run in journeys
        for visit in run.visits
    )


class Rollups:
    """The cells of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, workspace: str, cells: Mapping[Cell, int], *, lane: int, session: Session) -> None:
        """Add to the cells; what stays the same is not written."""
        operations = []
        for (kind, key, definition, start), count in cells.items():
            if count:
                cell = self._database.key(workspace, digest(workspace, kind, key, definition, str(start), str(lane)))
                fixed = {"workspace": workspace, "kind": kind, "key": key, "definition": definition, "start": start}
                fixed["lane"] = lane
                operations.append(UpdateOne(cell, {"$inc": {"count": count}, "$setOnInsert": fixed}, upsert=True))
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)

    async def drop_empty(self, workspace: str, cells: Iterable[Cell], session: Session) -> int:
        """Delete those of these cells that come to nothing over all lanes, names and all; how many rows there were.

        A row of another lane may be among them: whoever adds to it at the same moment conflicts, and comes again.
        """
        wanted = set(cells)
        rows = await self._database.find(
            COLLECTION,
            {
                "workspace": workspace,
                "kind": {"$in": sorted({kind for kind, *_ in wanted})},
                "key": {"$in": sorted({key for _, key, *_ in wanted})},
                "start": {"$in": sorted({start for *_, start in wanted})},
            },
            session=session,
        )
        found: dict[Cell, list[Document]] = {}
        for row in rows:
            found.setdefault((row["kind"], row["key"], row["definition"], row["start"]), []).append(row)
        empty = [
            row["_id"]
            for cell, parts in found.items()
            if cell in wanted and not sum(row["count"] for row in parts)
            for row in parts
        ]
        if not empty:
            return 0
        gone = {"workspace": workspace, "_id": {"$in": empty}}
        return await self._database.delete_many(COLLECTION, gone, session=session)

    async def series(
        self, scope: Scope, kind: Kind, keys: Iterable[str], definition: str, between: tuple[int, int]
    ) -> dict[str, dict[int, int]]:
        """Counts by key and start of cell, of the cells that begin in [from, to) ms."""
        wanted = {
            "workspace": scope.workspace,
            "kind": kind,
            "key": {"$in": list(keys)},
            "definition": definition,
            "start": {"$gte": between[0], "$lt": between[1]},
        }
        rows = await self._database.aggregate(
            COLLECTION,
            [
                {"$match": wanted},
                {"$group": {"_id": {"key": "$key", "start": "$start"}, "count": {"$sum": "$count"}}},
            ],
            max_time_ms=5000,
        )
        found: dict[str, dict[int, int]] = {}
        for row in rows:
            found.setdefault(row["_id"]["key"], {})[row["_id"]["start"]] = row["count"]
        return found

    async def hours(self, scope: Scope, names: Iterable[str], between: tuple[int, int]) -> dict[str, dict[int, int]]:
        """Events by name and by the start of the hour (ms, UTC) that they happened in, in [from, to) ms."""
        hour = {"$subtract": ["$start", {"$mod": ["$start", HOUR_MS]}]}
        rows = await self._database.aggregate(
            COLLECTION,
            [
                {
                    "$match": {
                        "workspace": scope.workspace,
                        "kind": "event",
                        "key": {"$in": sorted(names)},
                        "start": {"$gte": between[0], "$lt": between[1]},
                    }
                },
                {"$group": {"_id": {"key": "$key", "hour": hour}, "count": {"$sum": "$count"}}},
                {"$match": {"count": {"$gt": 0}}},
            ],
            max_time_ms=10_000,
        )
        found: dict[str, dict[int, int]] = {}
        for row in rows:
            found.setdefault(row["_id"]["key"], {})[row["_id"]["hour"]] = row["count"]
        return found


def _start(at: int) -> int:
    return at - at % CELL_MS
