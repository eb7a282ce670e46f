"""Tables whose keys the settings do not know: read as they are, with the place of each key, for others to check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

#: Where a key was given, by its path below the setting.
Places = Mapping[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class Tables:
    """Named tables, such as `[connectors.crm]`, or `GATEWAY_CONNECTORS__CRM__REGION=eu`, which wins key by key."""

    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    places: Places = field(default_factory=dict)

    def place(self, *path: str) -> str:
        """Where the key was given, or the nearest one above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "")

    def with_texts(self, texts: Mapping[tuple[str, ...], tuple[str, str]]) -> Tables:
        """These with values that came as text, by path: (text, place). JSON is taken as such, all else as text."""
        values: dict[str, dict[str, Any]] = {name: dict(table) for name, table in self.values.items()}
        places = dict(self.places)
        for path, (text, place) in texts.items():
            table: dict[str, Any] = values.setdefault(path[0], {})
            for key in path[1:-1]:
                inner = table.get(key)
                table[key] = dict(inner) if isinstance(inner, dict) else {}
                table = table[key]
            table[path[-1]] = _value(text)
            places[path] = place
        return Tables(values, places)

    def paths(self) -> Iterator[str]:
        """What is set, as `name.key`."""
        yield from (".".join((name, key)) for name, table in self.values.items() for key in table)


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
