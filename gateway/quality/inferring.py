"""A first tracking plan out of what is sent: types, what is always there, the few values that some texts have.

It accepts everything that it was made from. Where a property means two things, or has no name that the API could give
it, the plan leaves it out and says so: what is not planned is no misfit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from gateway.contract.finding import NAMELESS
from gateway.contract.plan import (
    RESERVED_FIELDS,
    RESERVED_TYPES,
    EventDefinition,
    PlannedProperty,
    PropertyDefinition,
    PropertyType,
    camel,
    words_of,
)
from gateway.contract.reading.plan import nameable
from gateway.quality.masking import looks_personal
from gateway.quality.names import near_duplicates

#: A rule about values needs so many of them, and a list of values so many of each on the average.
LEAST = 5
MOST_VALUES = 12
_LONGEST_VALUE = 60
_LONGEST_NAME = 200
#: Objects deeper than this are objects of anything.
_DEEPEST = 3
_MOST_OF_EVENT = 500
_MOST_PROPERTIES = 2_000
_PLANNED = ("track", "page", "screen", "identify", "group")
TODO = "TODO: what it means."
_WHOLE, _NUMBER = r"^-?[0-9]+$", r"^-?[0-9]+(\.[0-9]+)?$"
_TIME = jsonschema_rs.validator_for({"format": "date-time"}, validate_formats=True)
# fmt: off
_PERSONAL = frozenset({
    "email", "mail", "phone", "telephone", "mobile", "birthday", "birthdate", "birth", "address", "street", "city",
    "zip", "zipcode", "postcode", "ip", "ipaddress", "latitude", "longitude", "fingerprint", "gender", "age",
    "name", "full name", "first name", "last name", "firstname", "lastname", "surname", "user name", "username",
    "user", "user id", "userid",
})
# fmt: on
#: These only where nothing else stands in the name: a product has one, too.
_WHOLE_NAMES = frozenset({"name", "user"})
_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


@dataclass(slots=True)
class _Seen:
    """All values of one property, wherever it stands."""

    types: Counter[str] = field(default_factory=Counter)
    values: Counter[str] | None = field(default_factory=Counter)  # None: too many to list
    forms: set[str] = field(default_factory=lambda: {_WHOLE, _NUMBER})
    times: bool = True
    mail: bool = False
    items: Counter[str] = field(default_factory=Counter)
    inner: Counter[str] = field(default_factory=Counter)
    opaque: bool = False  # some of its objects lie too deep to be looked into

    def see(self, value: Any) -> None:
        self.types[_TYPES[type(value)]] += 1
        if isinstance(value, str):
            self._see_text(value)
        elif isinstance(value, list):
            self.items.update(_TYPES.get(type(item), "null") for item in value)

    def _see_text(self, text: str) -> None:
        self.mail = self.mail or "@" in text
        self.times = self.times and len(text) < 40 and _TIME.is_valid(text)
        self.forms = {form for form in self.forms if re.fullmatch(form, text)}
        if self.values is not None:
            self.values[text] += 1
            if len(self.values) > MOST_VALUES or len(text) > _LONGEST_VALUE or looks_personal(text):
                self.values = None

    @property
    def type(self) -> PropertyType | None:
        """The one type of all values; None when there is none."""
        kinds = {*self.types}
        if kinds == {"integer", "number"}:
            return "number"
        if len(kinds) != 1:
            return None
        (kind,) = kinds
        return "datetime" if kind == "string" and self.times else kind  # type: ignore[return-value]


@dataclass(slots=True)
class _SeenEvent:
    count: int = 0
    keys: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Draft:
    """An inferred plan: `notes` say what was left out and what looks doubtful, by the event or property it is about."""

    events: tuple[EventDefinition, ...]
    properties: tuple[PropertyDefinition, ...]
    notes: Mapping[str, tuple[str, ...]]
    owner: str


class Inference:
    """Takes events one by one, then drafts the plan."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], _SeenEvent] = {}
        self._properties: dict[str, _Seen] = {}
        self._notes: dict[str, list[str]] = {}

    def add(self, kind: str, name: str, values: Mapping[str, Any]) -> None:
        """One event: its call, its name, and its properties (of identify and group: its traits)."""
        if kind in NAMELESS:
            name = kind  # one plan is for all of them
        seen = self._events.setdefault((kind, name), _SeenEvent())
        seen.count += 1
        seen.keys.update(key for key, value in values.items() if value is not None)
        self._walk(values, 1)

    def draft(self, owner: str) -> Draft:
        """The plan of what was taken so far. `owner` is to own every event until somebody does."""
        self._notes = {}
        properties = self._definitions()
        events: dict[str, EventDefinition] = {}
        frequent = sorted(self._events.items(), key=lambda pair: (-pair[1].count, pair[0]))
        for (kind, name), seen in frequent:
            event = self._event(kind, name, seen, properties, owner)
            if event is None:
                continue
            first = events.setdefault(event.type_name, event)
            if first is not event:
                self._note(
                    first.name, f"{name!r} ({kind}, {seen.count:,} times) has the same name in the API: left out"
                )
        by_call: dict[str, list[str]] = {}
        for (kind, name), _ in frequent:
            by_call.setdefault(kind, []).append(name)
        for names in by_call.values():
            for name, meant in near_duplicates(names, []):
                self._note(name, f"probably {meant!r}")
        used = _used(events.values())
        kept = tuple(sorted((one for key, one in properties.items() if key in used), key=lambda one: one.key))
        notes = {key: tuple(several) for key, several in self._notes.items()}
        return Draft(tuple(sorted(events.values(), key=lambda one: one.key)), kept, notes, owner)

    # -- seeing -------------------------------------------------------------------------------------------------

    def _walk(self, values: Mapping[str, Any], depth: int) -> None:
        for key, value in values.items():
            if value is None:
                continue
            seen = self._properties.setdefault(key, _Seen())
            seen.see(value)
            if isinstance(value, dict):
                seen.opaque = seen.opaque or depth == _DEEPEST
                if depth < _DEEPEST:
                    seen.inner.update(inner for inner, item in value.items() if item is not None)
                    self._walk(value, depth + 1)
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, dict):
                        self._walk({_item(key): item}, depth)

    def _note(self, subject: str, text: str) -> None:
        if text not in self._notes.setdefault(subject, []):
            self._notes[subject].append(text)

    # -- drafting -----------------------------------------------------------------------------------------------

    def _definitions(self) -> dict[str, PropertyDefinition]:
        built: dict[str, PropertyDefinition | None] = {}
        frequent = sorted(self._properties.items(), key=lambda pair: (-pair[1].types.total(), pair[0]))
        for key, _ in frequent[:_MOST_PROPERTIES]:
            self._define(key, built, ())
        return {key: one for key, one in built.items() if one is not None}

    def _define(
        self, key: str, built: dict[str, PropertyDefinition | None], around: tuple[str, ...]
    ) -> PropertyDefinition | None:
        """The definition of a property; None where none can be planned."""
        if key in built:
            return built[key]
        if key in around:
            return None  # an object that holds itself
        seen = self._properties[key]
        kind = seen.type
        if kind is None:
            told = ", ".join(f"{count:,} {one}" for one, count in seen.types.most_common())
            self._note(of_property(key), f"left out: it came as {told}")
        elif not _usable(key):
            self._note(of_property(key), "left out: the API can give it no name")
            kind = None
        if kind is None:
            built[key] = None
            return None
        items: PropertyDefinition | None = None
        inner: tuple[PlannedProperty, ...] = ()
        if kind == "array":
            items = self._items(key, seen, built, (*around, key))
            if items is None:
                self._note(of_property(key), "left out: its lists hold nothing, or values of several types")
                built[key] = None
                return None
        elif kind == "object":
            inner = self._inner(seen, built, (*around, key))
        definition = built[key] = self._property(key, kind, seen, items, inner)
        return definition

    def _property(
        self,
        key: str,
        kind: PropertyType,
        seen: _Seen,
        items: PropertyDefinition | None,
        inner: tuple[PlannedProperty, ...],
    ) -> PropertyDefinition:
        words = [word.lower() for word in words_of(key)]
        personal = seen.mail or " ".join(words) in _PERSONAL or not (_PERSONAL - _WHOLE_NAMES).isdisjoint(words)
        count, pattern = seen.types.total(), None
        enum: tuple[str, ...] = ()
        if kind == "string" and not personal and count >= LEAST:
            if seen.values is not None and count >= LEAST * len(seen.values):
                enum = tuple(sorted(seen.values))
            elif seen.forms:
                pattern = _WHOLE if _WHOLE in seen.forms else _NUMBER
        return PropertyDefinition(
            key,
            kind,
            TODO,
            privacy="personal" if personal else "none",
            enum=enum,
            pattern=pattern,
            items=items,
            properties=inner,
        )

    def _items(
        self, key: str, seen: _Seen, built: dict[str, PropertyDefinition | None], around: tuple[str, ...]
    ) -> PropertyDefinition | None:
        kinds = {*seen.items}
        if kinds == {"object"}:
            item = _item(key)
            return self._define(item, built, around) if item in self._properties else None
        if kinds == {"integer", "number"}:
            kinds = {"number"}
        if len(kinds) != 1 or kinds & {"null", "array"}:
            return None
        (kind,) = kinds
        return PropertyDefinition(key, kind, TODO)  # type: ignore[arg-type]

    def _inner(
        self, seen: _Seen, built: dict[str, PropertyDefinition | None], around: tuple[str, ...]
    ) -> tuple[PlannedProperty, ...]:
        count = seen.types["object"]
        if seen.opaque:
            return ()
        keys = [key for key in seen.inner if key in self._properties]
        return self._planned(
            {key: seen.inner[key] for key in keys}, count, "", lambda key: self._define(key, built, around)
        )

    def _planned(self, keys: Mapping[str, int], count: int, subject: str, define: Any) -> tuple[PlannedProperty, ...]:
        found: dict[str, PlannedProperty] = {}
        for key, times in sorted(keys.items(), key=lambda pair: (-pair[1], pair[0])):
            definition = define(key)
            if definition is None or len(found) == _MOST_OF_EVENT:
                continue
            one = PlannedProperty(definition, required=times == count >= LEAST)
            first = found.setdefault(camel(key), one)
            if first is not one:
                self._note(
                    subject or of_property(key),
                    f"{key!r} is left out: beside {first.key!r} it has the same name in the API",
                )
        return tuple(found.values())

    def _event(
        self, kind: str, name: str, seen: _SeenEvent, properties: Mapping[str, PropertyDefinition], owner: str
    ) -> EventDefinition | None:
        if kind not in _PLANNED:
            return None
        planned = self._planned(seen.keys, seen.count, name, properties.get)
        for one, other in near_duplicates(sorted(seen.keys, key=lambda key: (-seen.keys[key], key)), [], slips=False):
            self._note(name, f"{one!r} is probably {other!r}")
        event = EventDefinition(name, 1, f"TODO: when it is sent. Seen {seen.count:,} times.", (owner,), planned, kind)  # type: ignore[arg-type]
        reserved = event.field_name in RESERVED_FIELDS or event.type_name in RESERVED_TYPES
        if reserved or not _usable(name) or not name.isprintable():
            self._note(name, f"left out ({kind}, {seen.count:,} times): the API can give it no name")
            return None
        return event


def of_property(key: str) -> str:
    """What notes about a property stand under; an event may be called the same."""
    return f"property {key}"


def _item(key: str) -> str:
    """What the objects in a list go by."""
    return f"{key}_item"


def _usable(name: str) -> bool:
    return (
        nameable(name)
        and "." not in name
        and name == name.strip()
        and len(name) <= _LONGEST_NAME
        and name.isprintable()
    )


def _used(events: Iterable[EventDefinition]) -> set[str]:
    """Every property that is reached from an event."""
    used: set[str] = set()
    waiting = [one.definition for event in events for one in event.properties]
    while waiting:
        one = waiting.pop()
        if one.key in used:
            continue
        used.add(one.key)
        waiting += [inner.definition for inner in one.properties]
        if one.items is not None and one.items.type == "object":
            waiting.append(one.items)
    return used
