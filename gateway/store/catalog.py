"""The catalogue: which events come in and what they carry, whether anybody planned them or not.

One row per event type for all time (kind `entry`) and one per day, by when events happened (kind `day`). Processes add
to the same rows. The numbers are of what intake has seen: those of the last second are lost with a process that is
killed, and may be there twice when MongoDB went away while they were written. Exact volumes are the rollups'.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.contract.paths import holder_of
from gateway.model.identity import digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, UpdateOne
from gateway.store.events import escaped_key, readable

COLLECTION = "catalog"
DAY_MS = 86_400_000
_TIMEOUT_MS = 5_000

#: The call and the event's name.
Name = tuple[str, str]


@dataclass(slots=True)
class PropertySightings:
    """How many events had a property, by type of its value; `sample` is masked. One inside a list (`products[].color`)
    counts once per event and type."""

    types: Counter[str] = field(default_factory=Counter)
    sample: str | None = None

    @property
    def count(self) -> int:
        """How often it had a value."""
        return self.types.total() - self.types["null"]


@dataclass(slots=True)
class Sightings:
    """What was seen of one event type. Times are milliseconds since 1970 UTC.

    `quarantined` are those that the plan kept apart, which are in no other number but `misfits`. `unexamined` came too
    many different at a time: they are counted, and their properties are not. `misfits` count by rule and property.
    """

    type: str
    name: str
    first_at: int
    last_at: int
    count: int = 0
    quarantined: int = 0
    unexamined: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    platforms: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    misfits: Counter[str] = field(default_factory=Counter)
    properties: dict[str, PropertySightings] = field(default_factory=dict)

    @property
    def key(self) -> Name:
        return self.type, self.name

    @property
    def title(self) -> str:
        """Its name; of calls that have none, such as identify, the call."""
        return self.name or self.type

    def property(self, key: str) -> PropertySightings:
        """Those of a property, made when there are none."""
        if (found := self.properties.get(key)) is None:
            found = self.properties[key] = PropertySightings()
        return found


@dataclass(frozen=True, slots=True)
class Known:
    """What an event type has been seen with: its own properties, paths inside of them (`address.city`), sources,
    platforms and versions."""

    properties: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    platforms: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)


_BOUNDED = ("sources", "platforms", "versions")
_COUNTERS = ("sources", "platforms", "versions", "misfits")
_NUMBERS = ("count", "quarantined", "unexamined")


class Catalog:
    """The catalogue of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, workspace: str, sightings: Mapping[int, Iterable[Sightings]]) -> None:
        """Add what was seen, by the day (ms) on which it happened."""
        totals: dict[Name, Sightings] = {}
        operations = []
        for day, several in sightings.items():
            for one in several:
                operations.append(self._addition(workspace, one, day))
                if one.key in totals:
                    merge(totals[one.key], one)
                else:
                    totals[one.key] = merge(Sightings(one.type, one.name, one.first_at, one.last_at), one)
        operations += [self._addition(workspace, one, None) for one in totals.values()]
        await self._database.bulk_write(COLLECTION, operations)

    async def known(self, workspace: str) -> dict[Name, Known]:
        """What every event type has been seen with."""
        rows = await self._database.find(
            COLLECTION,
            {"workspace": workspace, "kind": "entry"},
            projection={"type": 1, "name": 1, "keys": 1, **dict.fromkeys(_BOUNDED, 1)},
            max_time_ms=_TIMEOUT_MS,
        )
        return {
            (row["type"], row["name"]): Known(
                *_parted(row.get("keys", ())), *(set(readable(row.get(name, {}))) for name in _BOUNDED)
            )
            for row in rows
        }

    async def names(self, workspace: str) -> set[str]:
        """Every name that is catalogued; not the empty one."""
        entries = {"workspace": workspace, "kind": "entry"}
        rows = await self._database.find(COLLECTION, entries, projection={"name": 1}, max_time_ms=_TIMEOUT_MS)
        return {row["name"] for row in rows} - {""}

    async def forget(self, workspace: str, names: Collection[str]) -> int:
        """Delete what is catalogued under these names; how many documents there were."""
        if not names:
            return 0
        return await self._database.delete_many(COLLECTION, {"workspace": workspace, "name": {"$in": sorted(names)}})

    async def page(
        self,
        scope: Scope,
        *,
        limit: int = 0,
        after: Name | None = None,
        among: Collection[Name] | None = None,
        but: Collection[Name] | None = None,
        search: str | None = None,
    ) -> list[Sightings]:
        """Event types by name, behind `after` (name, type); only those `among`, or all `but` these. An empty name
        stands for every one of its type. `search` is part of a name, in any case."""
        wanted: list[Document] = []
        if after is not None:
            name, kind = after
            wanted.append({"$or": [{"name": {"$gt": name}}, {"name": name, "type": {"$gt": kind}}]})
        if among is not None:
            wanted.append({"$or": _named(among)} if among else {"type": {"$in": []}})
        if but:
            wanted.append({"$nor": _named(but)})
        if search:
            wanted.append({"name": {"$regex": re.escape(search), "$options": "i"}})
        query: Document = {"workspace": scope.workspace, "kind": "entry"}
        order: list[tuple[str, Literal[1]]] = [("name", 1), ("type", 1)]
        found = {**query, "$and": wanted} if wanted else query
        rows = await self._database.find(COLLECTION, found, sort=order, limit=limit, max_time_ms=_TIMEOUT_MS)
        return [_sightings(row) for row in rows]

    async def days(
        self, scope: Scope, between: tuple[int, int], names: Sequence[Name] | None = None
    ) -> dict[int, list[Sightings]]:
        """What was seen on the days (UTC) that touch [from, to) ms, by the day's start."""
        start = between[0] - between[0] % DAY_MS
        wanted: Document = {"workspace": scope.workspace, "kind": "day", "day": {"$gte": start, "$lt": between[1]}}
        if names is not None:
            wanted["$or"] = _named(names)
        rows = await self._database.find(COLLECTION, wanted, sort=[("day", 1)], max_time_ms=_TIMEOUT_MS)
        found: dict[int, list[Sightings]] = {}
        for row in rows:
            found.setdefault(row["day"], []).append(_sightings(row))
        return found

    def _addition(self, workspace: str, one: Sightings, day: int | None) -> UpdateOne:
        kind = "entry" if day is None else "day"
        place = {"workspace": workspace, "kind": kind, "type": one.type, "name": one.name}
        added = {name: number for name in _NUMBERS if (number := getattr(one, name))}
        for name in _COUNTERS:
            for key, number in getattr(one, name).items():
                added[f"{name}.{escaped_key(key)}"] = number
        samples: Document = {}
        for key, seen in one.properties.items():
            path = f"properties.{escaped_key(key)}"
            added |= {f"{path}.types.{kind}": number for kind, number in seen.types.items()}
            if day is None and seen.sample is not None:
                samples[f"{path}.sample"] = seen.sample
        update: Document = {
            "$inc": added or {"count": 0},
            "$min": {"firstAt": one.first_at},
            "$max": {"lastAt": one.last_at},
            "$setOnInsert": place if day is None else {**place, "day": day},
        }
        if samples:
            update["$set"] = samples
        if day is None and one.properties:
            update["$addToSet"] = {"keys": {"$each": sorted(one.properties)}}
        key = digest(workspace, kind, one.type, one.name, "" if day is None else str(day))
        return UpdateOne(self._database.key(workspace, key), update, upsert=True)


def merge(total: Sightings, one: Sightings) -> Sightings:
    """Add `one` to `total`, and return that."""
    total.first_at, total.last_at = min(total.first_at, one.first_at), max(total.last_at, one.last_at)
    for name in _NUMBERS:
        setattr(total, name, getattr(total, name) + getattr(one, name))
    for name in _COUNTERS:
        getattr(total, name).update(getattr(one, name))
    for key, seen in one.properties.items():
        known = total.property(key)
        known.types.update(seen.types)
        known.sample = seen.sample or known.sample
    return total


def _parted(paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """An event's own properties, and paths inside of them."""
    own: set[str] = set()
    nested: set[str] = set()
    for path in paths:
        (own if holder_of(path) is None else nested).add(path)
    return own, nested


def _named(names: Iterable[Name]) -> list[Document]:
    """Conditions for these; an empty name stands for every one of its type."""
    by_type: dict[str, list[str]] = {}
    for kind, name in names:
        by_type.setdefault(kind, []).append(name)
    return [
        {"type": kind} if "" in several else {"type": kind, "name": {"$in": sorted(several)}}
        for kind, several in by_type.items()
    ] or [{"type": {"$in": []}}]


def _sightings(row: Document) -> Sightings:
    counters: dict[str, Any] = {name: Counter(readable(row.get(name, {}))) for name in _COUNTERS}
    numbers = {name: row.get(name, 0) for name in _NUMBERS}
    properties = {
        key: PropertySightings(Counter(seen.get("types", {})), seen.get("sample"))
        for key, seen in readable(row.get("properties", {})).items()
    }
    found: dict[str, Any] = {**numbers, **counters, "properties": properties}
    return Sightings(row["type"], row["name"], first_at=row["firstAt"], last_at=row["lastAt"], **found)
