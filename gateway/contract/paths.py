"""Where a property stands in an event: `total`, inside an object `address.city`, inside what a list holds
`products[].color`; the items of a list themselves are `tags[]`.

A dot, a backslash and `[]` in a name as it was sent stand behind a backslash, so that no name reads as a way inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from gateway.contract.plan import PlannedProperty, PrivacyClass, PropertyDefinition

#: What stands behind a list's name for what it holds.
ITEMS = "[]"
#: How many levels of objects and lists are looked into, the event's own properties being the first.
DEEPEST = 5

_STEP = re.compile(r"\[\]|\.|(?:\\.|(?!\[\])[^.\\])+", re.DOTALL)
_ORDER: tuple[PrivacyClass, ...] = ("none", "personal", "sensitive")


def inside(holder: str | None, name: str) -> str:
    """The path of a name, as it was sent, within a holder; without one, of an event's own property."""
    if "." in name or "\\" in name or ITEMS in name:
        name = name.replace("\\", "\\\\").replace(".", "\\.").replace(ITEMS, "\\[]")
    return name if holder is None else f"{holder}.{name}"


def parts_of(path: str) -> list[str]:
    """The names and ITEMS that a path leads through, the names as they were sent."""
    steps = [one for one in _STEP.findall(path) if one != "."]
    return [one if one == ITEMS else re.sub(r"\\(.)", r"\1", one, flags=re.DOTALL) for one in steps]


def holder_of(path: str) -> str | None:
    """The path of what holds it; None for an event's own property."""
    *before, last = _STEP.finditer(path)
    if not before:
        return None
    return path[: last.start() if last[0] == ITEMS else before[-1].start()]


def without_places(path: str) -> str:
    """As reasons of misfits name it: lists and what they hold alike, names as they were sent."""
    return ".".join(one for one in parts_of(path) if one != ITEMS and not one.isdecimal())


def planned_paths(properties: Iterable[PlannedProperty]) -> Iterator[tuple[str, PropertyDefinition]]:
    """Every path that is planned with what is planned there. What a personal object or list holds is personal too."""
    for one in properties:
        yield from _within(inside(None, one.key), one.definition, "none")


def _within(
    path: str, definition: PropertyDefinition, around: PrivacyClass
) -> Iterator[tuple[str, PropertyDefinition]]:
    privacy = max(definition.privacy, around, key=_ORDER.index)
    yield path, definition if privacy == definition.privacy else replace(definition, privacy=privacy)
    for one in definition.properties:
        yield from _within(inside(path, one.key), one.definition, privacy)
    if definition.items is not None:
        yield from _within(path + ITEMS, definition.items, privacy)
