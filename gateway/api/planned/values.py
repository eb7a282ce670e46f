"""Stored values as the types of the plan have them. What does not fit is None: it stays in `properties`."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

from graphql import GraphQLError

from gateway.api.scalars import is_long, read_time
from gateway.contract import PropertyDefinition

Reader = Callable[[object], object]

_INT = (-(2**31), 2**31 - 1)


def is_int(definition: PropertyDefinition) -> bool:
    """Whether the plan bounds a whole number to the 32 bits of GraphQL's Int."""
    low, high = definition.minimum, definition.maximum
    return low is not None and high is not None and low >= _INT[0] and high <= _INT[1]


def reader_of(definition: PropertyDefinition) -> Reader:
    """Reads a value of this property: what GraphQL shows of it, or None.

    Its type and its enumeration have to fit; `minimum`, `pattern` and the like are intake's to tell of.
    """
    read = _READERS.get(definition.type, _as_is)
    if definition.type == "integer":
        read = _read_int if is_int(definition) else _read_long
    elif definition.type == "array":
        return _list_reader(definition.items)
    elif definition.type == "object" and definition.properties:
        read = _read_object
    if not definition.enum:
        return read
    allowed = frozenset(definition.enum)
    return lambda value: found if (found := read(value)) is not None and found in allowed else None


def _list_reader(items: PropertyDefinition | None) -> Reader:
    read = _as_is if items is None else reader_of(items)
    return lambda value: [read(one) for one in value] if isinstance(value, list) else None


def _as_is(value: object) -> object:
    return value


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _read_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _read_long(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():  # 3.0 is a whole number to JSON Schema, too
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and is_long(value) else None


def _read_int(value: object) -> int | None:
    found = _read_long(value)
    return found if found is not None and _INT[0] <= found <= _INT[1] else None


def _read_boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _read_moment(value: object) -> int | None:
    with suppress(GraphQLError):
        return read_time(value)
    return None


def _read_object(value: object) -> dict[str, object] | None:
    return value if isinstance(value, dict) else None


_READERS: dict[str, Reader] = {
    "string": _read_text,
    "number": _read_number,
    "boolean": _read_boolean,
    "datetime": _read_moment,
}
