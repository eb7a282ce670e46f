"""Gathers for the catalogue what intake has stored: counted in memory, written every second.

Events that look alike are counted as one: the same type, sender and property names with the same types of values. So
an event costs intake a microsecond or two, and its properties are looked at once per form and second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.contract.plan import PropertyDefinition
from gateway.contract.validation import NAMELESS
from gateway.errors import Unavailable
from gateway.quality.masking import name_of, sample_of
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
OTHER = "(other)"
#: Forms of events that are told apart until they are written; further ones are counted without their properties.
_MOST_FORMS = 5_000
#: Older events share a day: what is sent may say any time.
_LONGEST_AGO_DAYS = 400
_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
_QUARANTINED = "quarantined"


class _Form:
    """Events that look alike; `row` is one of them."""

    __slots__ = ("count", "first", "last", "row")

    def __init__(self, row: Document) -> None:
        self.row = row
        self.count = 1
        self.first = self.last = row["at"]


class Gathering:
    """One per process."""

    def __init__(self, catalog: Catalog, contract: Callable[[], Contract], clock: Clock) -> None:
        self._catalog = catalog
        self._contract = contract
        self._clock = clock
        self._forms: dict[tuple[Any, ...], _Form] = {}
        self._known: dict[str, dict[Name, Known]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def note(self, stored: Iterable[Document], quarantined: Sequence[Document] = ()) -> None:
        """Count rows of events that were stored just now, and of those that the plan keeps apart."""
        forms = self._forms
        for row in stored:
            kind, client, misfits = row["type"], row["client"], row.get("misfits", ())
            values = row["traits" if kind in NAMELESS else "properties"]
            form = (
                *(row["workspace"], row["source"], kind, row["name"], row["at"] // DAY_MS),
                *(client.get("platform"), client.get("appVersion"), *misfits, *values, *map(type, values.values())),
            )
            if (known := forms.get(form)) is None:
                self._begin(form, row)
                continue
            known.count += 1
            at = row["at"]
            if at < known.first:
                known.first = at
            elif at > known.last:
                known.last = at
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

    def _begin(self, form: tuple[Any, ...], row: Document) -> None:
        if len(self._forms) >= _MOST_FORMS:
            form = (OTHER, row["workspace"], row["source"], row["type"], row["name"], row["at"] // DAY_MS)
            if (known := self._forms.get(form)) is not None or len(self._forms) >= 2 * _MOST_FORMS:
                self._count_on(known, row)
                return
        self._forms[form] = _Form(row)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._tick)

    def _count_on(self, known: _Form | None, row: Document) -> None:
        if known is None:  # names without end within a second: one form for them all
            form = (OTHER, row["workspace"])
            known = self._forms.get(form)
            if known is None:
                self._forms[form] = _Form({**row, "name": OTHER, "properties": {}, "traits": {}})
                return
        known.count += 1
        known.first, known.last = min(known.first, row["at"]), max(known.last, row["at"])

    def _tick(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        forms, self._forms = self._forms, {}
        workspaces: dict[str, list[tuple[tuple[Any, ...], _Form]]] = {}
        for form, seen in forms.items():
            workspaces.setdefault(seen.row["workspace"], []).append((form, seen))
        for workspace, several in workspaces.items():
            try:
                if workspace not in self._known:
                    self._known[workspace] = await self._catalog.known(workspace)
                await self._catalog.add(workspace, self._sightings(self._known[workspace], several))
            except Unavailable:
                log.warning("the catalogue misses a moment: MongoDB did not answer", extra={"forms": len(several)})
            except Exception:
                log.exception("the catalogue misses a moment")

    # -- into sightings -----------------------------------------------------------------------------------------

    def _sightings(
        self, known: dict[Name, Known], forms: Iterable[tuple[tuple[Any, ...], _Form]]
    ) -> dict[int, list[Sightings]]:
        planned = _planned(self._contract())
        oldest = (self._clock.now() // DAY_MS - _LONGEST_AGO_DAYS) * DAY_MS
        found: dict[tuple[int, Name], Sightings] = {}
        for form, seen in forms:
            row = seen.row
            kind = row["type"]
            definitions = planned.get((kind, "" if kind in NAMELESS else row["name"]))
            key: Name = kind, _admitted(row["name"], kind, known, planned=definitions is not None)
            day = max(row["at"] - row["at"] % DAY_MS, oldest)
            one = found.get((day, key))
            if one is None:
                one = found[day, key] = Sightings(*key, seen.first, seen.last)
            _count(one, seen, form[0], known.setdefault(key, Known()), definitions or {})
        days: dict[int, list[Sightings]] = {}
        for (day, _), one in found.items():
            days.setdefault(day, []).append(one)
        return days


def _planned(contract: Contract) -> dict[Name, dict[str, PropertyDefinition]]:
    """Properties by event, those of all its majors together."""
    found: dict[Name, dict[str, PropertyDefinition]] = {}
    for event in contract.events.values():
        place = event.type, "" if event.type in NAMELESS else event.name
        found.setdefault(place, {}).update({one.key: one.definition for one in event.properties})
    return found


def _admitted(name: str, kind: str, known: dict[Name, Known], *, planned: bool) -> str:
    """The name that an event is counted under."""
    if planned or (kind, name) in known or len(known) < MOST_NAMES:
        return name
    return OTHER


def _count(one: Sightings, seen: _Form, mark: Any, known: Known, definitions: dict[str, PropertyDefinition]) -> None:
    row, count = seen.row, seen.count
    one.first_at, one.last_at = min(one.first_at, seen.first), max(one.last_at, seen.last)
    for reason in row.get("misfits", ()):
        one.misfits[reason] += count
    if mark is _QUARANTINED:
        one.quarantined += count
        return
    one.count += count
    client = row["client"]
    one.sources[_bounded(known.sources, row["source"])] += count
    one.platforms[_bounded(known.platforms, client.get("platform", UNKNOWN))] += count
    if (version := client.get("appVersion")) is not None:
        one.versions[_bounded(known.versions, f"{client.get('platform', UNKNOWN)} {version[:40]}")] += count
    if mark is OTHER or one.name == OTHER:
        one.unexamined += count
        return
    values = row["traits" if row["type"] in NAMELESS else "properties"]
    for sent, value in (readable(values) if "escaped" in row else values).items():
        key = name_of(sent) or "(empty)"
        if key not in known.properties:
            if key not in definitions and len(known.properties) >= MOST_PROPERTIES:
                key = OTHER
            known.properties.add(key)
        seen_of = one.property(key)
        seen_of.types[_TYPES[type(value)]] += count
        if key != OTHER and value is not None:
            seen_of.sample = sample_of(value, definitions.get(key))


def _bounded(known: set[str], key: str) -> str:
    """What it is counted under."""
    if key not in known and len(known) >= MOST_VERSIONS:
        return OTHER
    known.add(key)
    return key
