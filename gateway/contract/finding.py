"""Which planned event an event is: by its call, its name, and the major version that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from gateway.contract.plan import EventDefinition

#: Calls without a name of their own: what is planned for one is planned for all of them.
NAMELESS = frozenset({"identify", "group"})
_LONGEST = 9

T = TypeVar("T")


class ByCall(Generic[T]):
    """Finds what belongs to the definition of an event."""

    def __init__(self, given: Iterable[tuple[EventDefinition, T]]) -> None:
        self._newest: dict[tuple[str, str], T] = {}
        self._majors: dict[tuple[str, str, int], T] = {}
        for event, its_own in sorted(given, key=lambda pair: pair[0].major):
            place = (event.type, "" if event.type in NAMELESS else event.name)
            self._newest[place] = self._majors[*place, event.major] = its_own

    def __bool__(self) -> bool:
        return bool(self._newest)

    def find(self, kind: str, name: str, context: Mapping[str, Any]) -> T | None:
        """What is planned for an event of this call and name; None when nothing is.

        Of several majors: the one that `context.protocols.event_version` names, as Segment's Protocols have it, else
        the newest. A major that is not planned is an event that is not planned.
        """
        place = (kind, "" if kind in NAMELESS else name)
        newest = self._newest.get(place)
        if newest is None or "protocols" not in context:  # as mostly
            return newest
        major = version_named(context)
        return newest if major is None else self._majors.get((*place, major))

    def newest(self, kind: str, name: str) -> T | None:
        """What is planned for the newest major of an event of this call and name; None when none is."""
        return self._newest.get((kind, "" if kind in NAMELESS else name))


class PlannedEvents(ByCall[EventDefinition]):
    """Finds the definition of an event."""

    def __init__(self, events: Iterable[EventDefinition]) -> None:
        super().__init__((event, event) for event in events)


def version_named(context: Mapping[str, Any]) -> int | None:
    """The major that an event's context names: 2 of `2`, `"2"` and `"2.1.0"`; None when it names none."""
    protocols = context.get("protocols")
    named = protocols.get("event_version") if isinstance(protocols, Mapping) else None
    if isinstance(named, str):
        first = named.strip().removeprefix("v").partition(".")[0]
        return int(first) if first.isdecimal() and first.isascii() and len(first) <= _LONGEST else None
    if isinstance(named, int | float) and not isinstance(named, bool) and abs(named) < 2**31:
        return int(named)
    return None
