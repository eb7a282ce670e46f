"""Rollups: counts in cells of 15 minutes UTC, which fits every time zone; of events by days of UTC as well.

Cells are additive. Each is written by the owner of the lane in its key, so that owners never conflict, and summed over
lanes on read; that one lane takes away what another added is as good. `definition` keeps numbers of different versions
of a map apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

from gateway.model.consent import Consent
from gateway.model.event import Event
from gateway.model.identity import digest
from gateway.model.journey import Journey
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session, UpdateOne

COLLECTION = "rollups"
CELL_MS = 15 * 60 * 1000
HOUR_MS = 4 * CELL_MS
DAY_MS = 24 * HOUR_MS
#: Days that are read by quarters, each for itself; of more, all of the time is.
_MOST_SPANS = 32

#: `denied` are those of the events that came in while their sender denied `analytics`. Those of days are written with
#: those of quarters.
Kind: TypeAlias = Literal["event", "stage", "denied", "event day", "denied day"]
#: (kind, key, definition, start of the 15 minutes in ms). The key is an event's name, or map and stage as in
#: `purchase.cart`.
Cell: TypeAlias = tuple[Kind, str, str, int]
Cells: TypeAlias = Counter[Cell]


def event_cells(events: Iterable[Event]) -> Cells:
    """Those of each event, by name and time."""
    return Counter(cell for event in events for cell in cells_of_event(event.name, event.at, event.consent))


def cells_of_event(name: str, at: int, consent: Consent | None) -> list[Cell]:
    """The cells that an event of this name and time (ms) counts in."""
    kinds: tuple[Kind, ...] = ("event",)
    if consent is not None and consent.get("analytics") is False:
        kinds = ("event", "denied")
    return [(kind, name, "", _start(at)) for kind in kinds]


def with_days(cells: Mapping[Cell, int]) -> Cells:
    """The cells, and those of the days that events are in."""
    found = Counter(cells)
    for (kind, key, definition, start), count in cells.items():
        if kind in ("event", "denied"):
            day: Kind = "event day" if kind == "event" else "denied day"
            found[(day, key, definition, start - start % DAY_MS)] += count
    return found


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
        for (kind, key, definition, start), count in with_days(cells).items():
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
        wanted = set(with_days(dict.fromkeys(cells, 1)))
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

    async def totals(
        self, scope: Scope, names: Collection[str], low: int, edges: Sequence[int]
    ) -> dict[str, list[int]]:
        """By name, and for each of the rising `edges`, how many events are in the cells of 15 minutes from `low` (the
        start of one) up to that with the edge, which is not included; without those under a denial.

        Reads the cells of days, and those of quarters only of days that an edge lies in.
        """
        ends = [_start(edge) for edge in edges]
        days = {low - low % DAY_MS, *(end - end % DAY_MS for end in ends)}
        found = await self._sums(scope, ("event day", "denied day"), names, [(min(days), ends[-1])])
        for cells in found.values():
            for start in [start for start in cells if start in days]:
                del cells[start]
        spans = [(max(low, day), day + DAY_MS) for day in sorted(days)]
        if len(spans) > _MOST_SPANS:
            spans = [(low, ends[-1])]
            found = {}
        for key, quarters in (await self._sums(scope, ("event", "denied"), names, spans)).items():
            found.setdefault(key, {}).update(quarters)
        return {name: _running(found.get(name, {}), ends) for name in names}

    async def cell(self, scope: Scope, names: Collection[str], start: int) -> dict[str, int]:
        """By name how many events one cell of 15 minutes has, without those under a denial."""
        found = await self._sums(scope, ("event", "denied"), names, [(start, start + 1)])
        return {name: cells.get(start, 0) for name, cells in found.items()}

    async def _sums(
        self, scope: Scope, kinds: tuple[Kind, Kind], names: Collection[str], spans: Sequence[tuple[int, int]]
    ) -> dict[str, dict[int, int]]:
        """By name and start the cells of the first kind less those of the second, that begin in one of the spans."""
        wanted: Document = {"workspace": scope.workspace, "kind": {"$in": list(kinds)}, "key": {"$in": sorted(names)}}
        wanted["$or"] = [{"start": {"$gte": start, "$lt": end}} for start, end in spans]
        signed = {"$cond": [{"$eq": ["$kind", kinds[1]]}, {"$multiply": [-1, "$count"]}, "$count"]}
        group = {"_id": {"key": "$key", "start": "$start"}, "count": {"$sum": signed}}
        rows = await self._database.aggregate(COLLECTION, [{"$match": wanted}, {"$group": group}], max_time_ms=5000)
        found: dict[str, dict[int, int]] = {}
        for row in rows:
            found.setdefault(row["_id"]["key"], {})[row["_id"]["start"]] = row["count"]
        return found


def _running(cells: Mapping[int, int], ends: Sequence[int]) -> list[int]:
    """How much the cells before each end come to."""
    starts = sorted(cells)
    sums = list(accumulate((cells[start] for start in starts), initial=0))
    return [sums[bisect_left(starts, end)] for end in ends]


def _start(at: int) -> int:
    return at - at % CELL_MS
