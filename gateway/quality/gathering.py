"""Gathers for the catalogue what intake has stored: counted in memory, written every second.

Events that look alike are counted as one: the same type, sender and property names with the same types of values, also
inside objects and lists. So an event costs intake a few microseconds, and its properties are looked at once per form
and second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.contract.finding import NAMELESS
from gateway.contract.paths import inside, planned_paths
from gateway.contract.plan import PropertyDefinition
from gateway.errors import Unavailable
from gateway.quality.masking import name_of, sample_of
from gateway.quality.nested import OTHER, TYPES, Sighting, form_within, look_within, short
from gateway.store.catalog import DAY_MS, Catalog, Known, Name, Sightings
from gateway.store.database import Document
from gateway.store.events import readable

log = logging.getLogger("gateway.quality")

WRITE_SECONDS = 1.0
#: Per workspace and process; what goes beyond is counted under OTHER, and so is what goes beyond of the rest.
MOST_NAMES = 1_000
MOST_PROPERTIES = 200
MOST_VERSIONS = 200
UNKNOWN = "unknown"
#: Forms of events that are told apart until they are written; beyond the first number, they are not told apart by what
#: is inside of their objects and lists; beyond the second, they are counted without their properties.
_MOST_NESTED_FORMS = 1_000
_MOST_FORMS = 5_000
#: Older events share a day: what is sent may say any time.
_LONGEST_AGO_DAYS = 400
_QUARANTINED = "quarantined"
#: How long events are looked at until whatever else waits has its turn.
_LONGEST_SECONDS = 0.005


class _Form:
    """Events that look alike; `row` is one of them. `days` has how many, the first and the last (ms), by day. What is
    inside of `flat` ones may differ."""

    __slots__ = ("days", "flat", "row")

    def __init__(self, row: Document, *, flat: bool = False) -> None:
        self.row = row
        self.flat = flat
        self.days: dict[int, list[int]] = {}
        self.add(row["at"])

    def add(self, at: int) -> None:
        day = self.days.get(at // DAY_MS)
        if day is None:
            self.days[at // DAY_MS] = [1, at, at]
            return
        day[0] += 1
        if at < day[1]:
            day[1] = at
        elif at > day[2]:
            day[2] = at


class Gathering:
    """One per process."""

    def __init__(self, catalog: Catalog, contract: Callable[[], Contract], clock: Clock) -> None:
        self._catalog = catalog
        self._contract = contract
        self._clock = clock
        self._forms: dict[tuple[Any, ...], _Form] = {}
        self._known: dict[str, dict[Name, Known]] = {}
        self._plan: tuple[Contract, dict[Name, dict[str, PropertyDefinition]]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()  # what is known is of one write at a time

    def note(self, stored: Iterable[Document], quarantined: Sequence[Document] = ()) -> None:
        """Count rows of events that were stored just now, and of those that the plan keeps apart."""
        forms = self._forms
        for row in stored:
            kind, client, misfits = row["type"], row["client"], row.get("misfits", ())
            values = row["traits" if kind in NAMELESS else "properties"]
            kinds = [*map(type, values.values())]
            form: tuple[Any, ...] = (
                *(row["workspace"], row["source"], kind, row["name"]),
                *(client.get("platform"), client.get("appVersion"), *misfits, *values, *kinds),
            )
            flat = False
            if dict in kinds or list in kinds:
                inner = form_within(values.values()) if len(forms) < _MOST_NESTED_FORMS else None
                form = (*form, inner)
                flat = inner is None
            if (known := forms.get(form)) is None:
                self._begin(form, row, flat=flat)
            else:
                known.add(row["at"])
        for row in quarantined:
            self._begin((_QUARANTINED, row["_id"]), row)

    async def drain(self) -> None:
        """Write what was gathered, as far as MongoDB answers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        await self._write()

    # -- between writes -----------------------------------------------------------------------------------------

    def _begin(self, form: tuple[Any, ...], row: Document, *, flat: bool = False) -> None:
        if len(self._forms) >= _MOST_FORMS:
            form = (OTHER, row["workspace"], row["source"], row["type"], row["name"])
            if (known := self._forms.get(form)) is not None or len(self._forms) >= 2 * _MOST_FORMS:
                self._count_on(known, row)
                return
        self._forms[form] = _Form(row, flat=flat)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._tick)

    def _count_on(self, known: _Form | None, row: Document) -> None:
        if known is None:  # names without end within a second: one form for them all
            form = (OTHER, row["workspace"])
            known = self._forms.get(form)
            if known is None:
                self._forms[form] = _Form({**row, "name": OTHER, "properties": {}, "traits": {}})
                return
        known.add(row["at"])

    def _tick(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        async with self._one:
            await self._write_all()

    async def _write_all(self) -> None:
        forms, self._forms = self._forms, {}
        workspaces: dict[str, list[tuple[tuple[Any, ...], _Form]]] = {}
        for form, seen in forms.items():
            workspaces.setdefault(seen.row["workspace"], []).append((form, seen))
        for workspace, several in workspaces.items():
            try:
                if workspace not in self._known:
                    self._known[workspace] = await self._catalog.known(workspace)
                await self._catalog.add(workspace, await self._sightings(self._known[workspace], several))
            except Unavailable:
                log.warning("the catalogue misses a moment: MongoDB did not answer", extra={"forms": len(several)})
            except Exception:
                log.exception("the catalogue misses a moment")

    # -- into sightings -----------------------------------------------------------------------------------------

    async def _sightings(
        self, known: dict[Name, Known], forms: Iterable[tuple[tuple[Any, ...], _Form]]
    ) -> dict[int, list[Sightings]]:
        planned = self._planned()
        oldest = (self._clock.now() // DAY_MS - _LONGEST_AGO_DAYS) * DAY_MS
        found: dict[tuple[int, Name], Sightings] = {}
        loop = asyncio.get_running_loop()
        rest_at = loop.time() + _LONGEST_SECONDS
        for form, seen in forms:
            if loop.time() >= rest_at:  # events of a thousand names each take milliseconds: others have their turn
                await asyncio.sleep(0)
                rest_at = loop.time() + _LONGEST_SECONDS
            kind, name = seen.row["type"], seen.row["name"]
            definitions = planned.get((kind, "" if kind in NAMELESS else name))
            key: Name = kind, _admitted(name, kind, known, planned=definitions is not None)
            what = _looked_at(seen, form[0], key[1], known.setdefault(key, Known()), definitions or {})
            for number, (count, first, last) in seen.days.items():
                day = max(number * DAY_MS, oldest)
                one = found.get((day, key))
                if one is None:
                    one = found[day, key] = Sightings(*key, first, last)
                one.first_at, one.last_at = min(one.first_at, first), max(one.last_at, last)
                what.count(one, count)
        days: dict[int, list[Sightings]] = {}
        for (day, _), one in found.items():
            days.setdefault(day, []).append(one)
        return days

    def _planned(self) -> dict[Name, dict[str, PropertyDefinition]]:
        """What is planned by event and path, of all its majors together."""
        contract = self._contract()
        if self._plan is None or self._plan[0] is not contract:
            found: dict[Name, dict[str, PropertyDefinition]] = {}
            for event in contract.events.values():
                place = event.type, "" if event.type in NAMELESS else event.name
                found.setdefault(place, {}).update(planned_paths(event.properties))
            self._plan = contract, found
        return self._plan[1]


def _admitted(name: str, kind: str, known: dict[Name, Known], *, planned: bool) -> str:
    """The name that an event is counted under."""
    if planned or (kind, name) in known or len(known) < MOST_NAMES:
        return name
    return OTHER


@dataclass(frozen=True, slots=True)
class _What:
    """What one form of events adds to the catalogue, as often as it came."""

    quarantined: bool = False
    unexamined: bool = False
    source: str = OTHER
    platform: str = OTHER
    version: str | None = None
    misfits: Sequence[str] = ()
    properties: Sequence[Sighting] = ()

    def count(self, one: Sightings, times: int) -> None:
        for reason in self.misfits:
            one.misfits[reason] += times
        if self.quarantined:
            one.quarantined += times
            return
        one.count += times
        one.sources[self.source] += times
        one.platforms[self.platform] += times
        if self.version is not None:
            one.versions[self.version] += times
        if self.unexamined:
            one.unexamined += times
        for key, kind, sample in self.properties:
            seen = one.property(key)
            seen.types[kind] += times
            if sample is not None:
                seen.sample = sample


def _looked_at(seen: _Form, mark: Any, name: str, known: Known, definitions: dict[str, PropertyDefinition]) -> _What:
    row = seen.row
    client, misfits = row["client"], row.get("misfits", ())
    if mark is _QUARANTINED:
        return _What(quarantined=True, misfits=misfits)
    platform, version = client.get("platform", UNKNOWN), client.get("appVersion")
    unexamined = mark is OTHER or name == OTHER
    return _What(
        unexamined=unexamined,
        source=_bounded(known.sources, row["source"]),
        platform=_bounded(known.platforms, platform),
        version=None if version is None else _bounded(known.versions, f"{platform} {version[:40]}"),
        misfits=misfits,
        properties=() if unexamined else [*_properties(seen, known, definitions)],
    )


def _properties(seen: _Form, known: Known, definitions: dict[str, PropertyDefinition]) -> Iterator[Sighting]:
    row = seen.row
    values = row["traits" if row["type"] in NAMELESS else "properties"]
    for sent, value in (readable(values) if "escaped" in row else values).items():
        key = inside(None, name_of(short(sent)) or "(empty)")
        if key not in known.properties:
            if key not in definitions and len(known.properties) >= MOST_PROPERTIES:
                key = OTHER
            known.properties.add(key)
        shown = key != OTHER and value is not None
        yield key, TYPES[type(value)], sample_of(value, definitions.get(key)) if shown else None
        if shown and isinstance(value, dict | list):
            yield from look_within(key, value, known, definitions, seen.flat)


def _bounded(known: set[str], key: str) -> str:
    """What it is counted under."""
    if key not in known and len(known) >= MOST_VERSIONS:
        return OTHER
    known.add(key)
    return key
