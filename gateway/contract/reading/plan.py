"""`properties.yaml` and `events/<name>.<major>.yaml`: the tracking plan, which only stands together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from gateway.contract.plan import (
    RESERVED_FIELDS,
    RESERVED_TYPES,
    EventDefinition,
    PlannedProperty,
    PropertyDefinition,
    camel,
)
from gateway.contract.reading.checks import check_keys, check_known, check_limits, mappings, reported
from gateway.contract.sources import Place, Source, shown

#: Which keys belong to properties of which type.
_BELONGS: dict[str, frozenset[str]] = {
    "enum": frozenset({"string", "integer", "number"}),
    "pattern": frozenset({"string"}),
    "maxLength": frozenset({"string"}),
    "minimum": frozenset({"integer", "number"}),
    "maximum": frozenset({"integer", "number"}),
    "unit": frozenset({"integer", "number"}),
    "items": frozenset({"array"}),
    "properties": frozenset({"object"}),
}
_VALUES: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float)}
#: How deep properties may lie in each other: typed queries and the validator walk all of it.
DEEPEST_PROPERTY = 6
#: How many properties one may hold, and an event carry, with all that those hold: a few lines could name millions.
MOST_WITHIN = 2_000


def check_properties(source: Source) -> None:
    """Report what does not fit together in the properties: keys, types, references, cycles."""
    entries = mappings(source.value.get("properties")) if isinstance(source.value, dict) else []
    _check_defined_twice(source, entries)
    if reported(source, ("properties",)):
        return  # more than are allowed: comparing them all would take long
    known = {entry["key"]: None for _, entry in entries if isinstance(entry.get("key"), str)}
    for index, entry in entries:
        place: Place = ("properties", index)
        _check_name(source, (*place, "key"), entry.get("key"))
        _check_facets(source, place, entry)
        items = entry.get("items")
        if entry.get("type") == "array" and "items" not in entry:
            source.report(place, "does not say what the list holds", "add items: the key of a property, or its type")
        elif isinstance(items, dict):
            _check_facets(source, (*place, "items"), items)
        elif isinstance(items, str):
            check_known(source, (*place, "items"), items, known, "property")
        if entry.get("type") == "object":
            _check_references(source, (*place, "properties"), entry.get("properties"), known)
    _check_cycles(source, entries)


def check_event(source: Source) -> None:
    """Report an event whose file is not named after it, and names of which GraphQL can make nothing."""
    value = source.value
    name, major = (value.get("name"), value.get("major")) if isinstance(value, dict) else (None, None)
    if not isinstance(name, str) or not _check_name(source, ("name",), name):
        return
    event = _named(name, major if isinstance(major, int) else 1)
    if isinstance(major, int) and not reported(source, ("major",)) and event.key != source.stem:
        what = f"the file of {shown(name)} in major version {major} has another name"
        source.report(("name",), what, f"rename the file to {event.key}.yaml")
    if event.field_name in RESERVED_FIELDS or event.type_name in RESERVED_TYPES:
        what = f"{shown(name)} is a name that the API needs for itself"
        source.report(("name",), what, f"call it otherwise, for example {name} Happened")


def check_plan(properties: Source | None, events: Iterable[Source]) -> None:
    """Report what events and properties say of each other: unknown properties, names that meet."""
    known = dict.fromkeys(_keys(properties)) if properties is not None else {}
    held = _sizes(properties)
    first: dict[str, Source] = {}
    for source in events:
        if not isinstance(source.value, dict):
            continue
        # When the properties cannot be read, what they hold is not known, and every reference would be a problem.
        if properties is None or isinstance(properties.value, dict):
            _check_references(source, ("properties",), source.value.get("properties"), known)
            _check_carried(source, held)
        name, major = source.value.get("name"), source.value.get("major")
        if isinstance(name, str) and isinstance(major, int) and nameable(name):
            _check_type_name(source, name, major, first)


def nameable(name: str) -> bool:
    """Whether a name in the API can be made of it: letters and digits of ASCII, a letter first."""
    foreign = re.sub(r"[ -~]", "", name)
    return re.fullmatch(r"[a-z][a-zA-Z0-9]*", camel(name)) is not None and not re.search(r"[^\W_]", foreign)


def build_properties(content: dict[str, Any]) -> dict[str, PropertyDefinition]:
    """What a file without a problem says, by key."""
    entries: dict[str, dict[str, Any]] = {entry["key"]: entry for entry in content["properties"]}
    built: dict[str, PropertyDefinition] = {}

    def define(key: str) -> PropertyDefinition:
        if key not in built:
            entry = entries[key]
            items = entry.get("items")
            built[key] = _property(
                entry,
                items=define(items) if isinstance(items, str) else _item(entry, items),
                properties=tuple(
                    PlannedProperty(define(one["property"]), one.get("required", False))
                    for one in entry.get("properties", ())
                ),
            )
        return built[key]

    return {key: define(key) for key in entries}


def build_event(content: dict[str, Any], properties: Mapping[str, PropertyDefinition]) -> EventDefinition:
    """What a file without a problem says, with the properties it names."""
    return EventDefinition(
        name=content["name"],
        major=int(content["major"]),
        brief=content["brief"].strip(),
        owners=tuple(content["owners"]),
        properties=tuple(
            PlannedProperty(properties[one["property"]], one.get("required", False))
            for one in content.get("properties", ())
        ),
        type=content.get("type", "track"),
        mode=content.get("mode"),
        term=content.get("term"),
        deprecated=content.get("deprecated"),
    )


# -- checks -------------------------------------------------------------------------------------------------------


def _check_defined_twice(source: Source, entries: list[tuple[int, dict[str, Any]]]) -> None:
    types: dict[str, tuple[int, object]] = {}
    for index, entry in entries:
        key, kind = entry.get("key"), entry.get("type")
        if not isinstance(key, str):
            continue
        before, as_what = types.setdefault(key, (index, kind))
        if as_what != kind:
            line = source.lines[("properties", before)]
            what = f"the property {shown(key)} has two types: {shown(as_what)} in line {line}, here {shown(kind)}"
            source.report(("properties", index, "key"), what, "keep one of them, or give each its own key")
    check_keys(source, ("properties",), [one for one in entries if not _clashes(types, one)], "property")


def _clashes(types: Mapping[str, tuple[int, object]], one: tuple[int, dict[str, Any]]) -> bool:
    key = one[1].get("key")
    return isinstance(key, str) and types[key][1] != one[1].get("type")


def _check_name(source: Source, place: Place, name: object) -> bool:
    """Whether the API can call it something: letters and digits of ASCII, a letter first."""
    if not isinstance(name, str) or reported(source, place):
        return False
    if nameable(name):
        return True
    what = f"no name of GraphQL can be made of {shown(name)}"
    source.report(place, what, "begin with a letter from a to z, and use no other letters than these and digits")
    return False


def _check_facets(source: Source, place: Place, entry: Mapping[str, Any]) -> None:
    kind = entry.get("type")
    for name, fitting in _BELONGS.items():
        if name in entry and isinstance(kind, str) and kind not in fitting and not reported(source, (*place, "type")):
            what = f"{name} says nothing about the type {kind}"
            source.report((*place, name), what, f"remove it, or write type: {' or '.join(sorted(fitting))}")
    check_limits(source, place, entry)
    pattern, enum = entry.get("pattern"), entry.get("enum")
    if isinstance(pattern, str) and not reported(source, (*place, "pattern")):
        try:
            jsonschema_rs.validator_for({"pattern": pattern})
        except ValueError:
            source.report((*place, "pattern"), f"{shown(pattern)} is no regular expression", "look for a missing )")
    if isinstance(enum, list) and isinstance(kind, str) and kind in _VALUES:
        for index, value in enumerate(enum):
            if not isinstance(value, _VALUES[kind]) and isinstance(value, str | int | float):
                what = f"{shown(value)} is no value of the type {kind}"
                source.report(
                    (*place, "enum", index), what, "write text in quotes" if kind == "string" else "remove it"
                )


def _check_references(source: Source, place: Place, value: object, known: Collection[str]) -> None:
    """The list of properties of an event or an object: known, once each, also as the API writes them."""
    if reported(source, place):
        return
    first: dict[str, str] = {}
    met: set[str] = set()
    for index, entry in mappings(value):
        here: Place = (*place, index, "property")
        key = entry.get("property")
        if not check_known(source, here, key, known, "property") or not isinstance(key, str):
            continue
        before = first.setdefault(camel(key), key)
        if before == key and key in met:
            source.report(here, f"the property {shown(key)} stands twice", "remove one of them")
        elif before != key:
            what = f"{shown(before)} and {shown(key)} are both {camel(key)} in the API"
            source.report(here, what, "keep one of them, or give it another name")
        met.add(key)


def _check_carried(source: Source, held: Mapping[str, int]) -> None:
    """Report an event that carries too many properties with all that they hold; none of them alone does."""
    assert isinstance(source.value, dict)
    sizes = [held.get(str(entry.get("property")), 0) for _, entry in mappings(source.value.get("properties"))]
    if sum(sizes) > MOST_WITHIN >= max(sizes):
        what = f"it carries {sum(sizes):,} properties with all that they hold"
        source.report(
            ("properties",), what, f"carry at most {MOST_WITHIN:,}: split the event, or flatten what it carries"
        )


def _check_cycles(source: Source, entries: list[tuple[int, dict[str, Any]]]) -> None:
    """Report properties that hold themselves, and those that lie too deep."""
    inner = _inners(entries)
    depths: dict[str, int] = {}
    sizes: dict[str, int] = {}
    cyclic: set[str] = set()
    for index, entry in entries:
        key = entry.get("key")
        if not isinstance(key, str) or key in depths or key in cyclic:
            continue
        found = _walk(key, inner, depths, sizes)
        if found:
            cyclic |= set(found)
            way = " > ".join([*found, found[0]])
            fix = "leave one of them out: a property cannot hold itself"
            source.report(("properties", index), f"the properties {way[:200]} go in a circle", fix)
        elif depths[key] > DEEPEST_PROPERTY:
            what = f"{shown(key)} holds properties {depths[key]} levels deep"
            source.report(("properties", index), what, f"flatten it to at most {DEEPEST_PROPERTY}")
        elif sizes[key] > MOST_WITHIN:
            what = f"{shown(key)} holds more than {MOST_WITHIN:,} properties with all that those hold"
            source.report(("properties", index), what, "leave some out, or plan them apart")


def _sizes(properties: Source | None) -> dict[str, int]:
    """How many properties each is with all that it holds; those in a circle are left out."""
    value = properties.value if properties is not None else None
    inner = _inners(mappings(value.get("properties") if isinstance(value, dict) else None))
    depths: dict[str, int] = {}
    sizes: dict[str, int] = {}
    if properties is not None and not properties.problems:
        for key in inner:
            _walk(key, inner, depths, sizes)
    return sizes


def _inners(entries: Iterable[tuple[int, dict[str, Any]]]) -> dict[str, list[str]]:
    """What each property holds; of two with one key, the first counts."""
    inner: dict[str, list[str]] = {}
    for _, entry in entries:
        if isinstance(entry.get("key"), str):
            inner.setdefault(entry["key"], list(_inner(entry)))
    return inner


def _walk(start: str, inner: Mapping[str, list[str]], depths: dict[str, int], sizes: dict[str, int]) -> list[str]:
    """Note the depth and the size of `start` and of all it holds, without recursion; the circle when there is one."""
    if start in depths:
        return []
    path: list[str] = [start]
    waiting: list[Iterator[str]] = [iter(inner.get(start, ()))]
    while path:
        key = next(waiting[-1], None)
        if key is None:
            done = path.pop()
            waiting.pop()
            depths[done] = 1 + max((depths.get(one, 0) for one in inner.get(done, ())), default=0)
            size = 1 + sum(sizes.get(one, 1) for one in inner.get(done, ()))
            sizes[done] = min(size, MOST_WITHIN + 1)  # enough to know, and never a number of many digits
        elif key in path:
            return path[path.index(key) :]
        elif key not in depths:
            path.append(key)
            waiting.append(iter(inner.get(key, ())))
    return []


def _inner(entry: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(entry.get("items"), str):
        yield entry["items"]
    for _, one in mappings(entry.get("properties")):
        if isinstance(one.get("property"), str):
            yield one["property"]


def _check_type_name(source: Source, name: str, major: int, first: dict[str, Source]) -> None:
    event = _named(name, major)
    other = first.setdefault(event.type_name, source)
    if other is source:
        return
    assert isinstance(other.value, dict)
    if (other.value["name"], other.value["major"]) == (name, major):
        what, fix = f"major version {major} of {shown(name)} is already that of {other.file}", "raise major by one"
    else:
        what = f"{shown(name)} and {shown(other.value['name'])} of {other.file} are both {event.type_name} in the API"
        fix = "give one of them another name"
    source.report(("name",), what, fix)


def _keys(properties: Source) -> Iterator[str]:
    value = properties.value
    for _, entry in mappings(value.get("properties") if isinstance(value, dict) else None):
        if isinstance(entry.get("key"), str):
            yield entry["key"]


# -- building -----------------------------------------------------------------------------------------------------


def _named(name: str, major: int) -> EventDefinition:
    return EventDefinition(name, major, "", ())


def _item(entry: Mapping[str, Any], items: Mapping[str, Any] | None) -> PropertyDefinition | None:
    """What a list holds, where the list itself says it: it goes by the list's name."""
    if items is None:
        return None
    return _property({"key": entry["key"], "brief": entry["brief"], "privacy": entry.get("privacy", "none"), **items})


def _property(
    entry: Mapping[str, Any],
    items: PropertyDefinition | None = None,
    properties: tuple[PlannedProperty, ...] = (),
) -> PropertyDefinition:
    return PropertyDefinition(
        key=entry["key"],
        type=entry["type"],
        brief=entry["brief"].strip(),
        privacy=entry.get("privacy", "none"),
        enum=tuple(entry.get("enum", ())),
        pattern=entry.get("pattern"),
        minimum=entry.get("minimum"),
        maximum=entry.get("maximum"),
        max_length=entry.get("maxLength"),
        items=items,
        properties=properties,
        unit=entry.get("unit"),
        term=entry.get("term"),
    )
