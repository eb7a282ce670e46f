"""Rules: which events count, by name and by conditions on their properties."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast, get_args

Operator = Literal["equals", "in", "gt", "gte", "lt", "lte", "exists"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

_MISSING = object()


def property_at(properties: Mapping[str, Any], path: tuple[str, ...]) -> object:
    """The value that `path` leads to through nested objects, or a marker that no condition matches."""
    found: object = properties
    for name in path:
        # `type(…) is dict` first: the usual case, and several times cheaper than the check against Mapping.
        if type(found) is not dict and not isinstance(found, Mapping):
            return _MISSING
        found = cast("Mapping[str, object]", found).get(name, _MISSING)
    return found


def kind_of(value: object) -> str | None:
    """The JSON kind of a scalar; None for lists, objects and what is missing. A boolean is not a number."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else None


def _equals(found: object, wanted: object) -> bool:
    kind = kind_of(found)
    return kind is not None and kind == kind_of(wanted) and found == wanted


def _is_among(found: object, wanted: object) -> bool:
    kind = kind_of(found)
    return kind is not None and (kind, found) in cast("frozenset[tuple[str | None, object]]", wanted)


def _ordered(compare: Callable[[Any, Any], bool], found: object, wanted: object) -> bool:
    kind = kind_of(found)
    return kind in ("number", "string") and kind == kind_of(wanted) and compare(found, wanted)


def _exists(found: object, wanted: object) -> bool:
    return (found is not _MISSING) is wanted


_TESTS: dict[Operator, Callable[[object, object], bool]] = {
    "equals": _equals,
    "in": _is_among,
    "gt": partial(_ordered, operator.gt),
    "gte": partial(_ordered, operator.ge),
    "lt": partial(_ordered, operator.lt),
    "lte": partial(_ordered, operator.le),
    "exists": _exists,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on the properties of an event.

    `property` is a dotted path into nested objects. `value` is a scalar; for `in` a tuple of scalars, for
    `exists` a boolean. What is missing matches `exists: false` only; unlike kinds never match.
    """

    property: str
    op: Operator
    value: object
    _path: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _test: Callable[[object, object], bool] = field(init=False, repr=False, compare=False)
    _wanted: object = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_path", tuple(self.property.split(".")))
        object.__setattr__(self, "_test", _TESTS[self.op])
        wanted = self.value
        if self.op == "in":
            # With the kind beside the value, so that True does not pass for 1.
            wanted = frozenset((kind_of(value), value) for value in cast("tuple[object, ...]", self.value))
        object.__setattr__(self, "_wanted", wanted)

    def holds(self, properties: Mapping[str, Any]) -> bool:
        """Whether the properties meet the condition; never raises, whatever JSON they are."""
        return self._test(property_at(properties, self._path), self._wanted)


@dataclass(frozen=True, slots=True)
class EventRule:
    """Events of one name whose properties meet all conditions. `id` says where in the contract it stands."""

    id: str
    event: str
    where: tuple[Condition, ...] = ()

    def matches(self, name: str, properties: Mapping[str, Any]) -> bool:
        """Whether an event of this name with these properties counts; never raises."""
        if name != self.event:
            return False
        return not self.where or all(condition.holds(properties) for condition in self.where)
