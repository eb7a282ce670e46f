"""What stands inside the objects and lists of events, for the catalogue: as deep and as much as is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from gateway.contract.paths import DEEPEST, ITEMS, inside
from gateway.contract.plan import PropertyDefinition
from gateway.quality.masking import name_of, sample_of
from gateway.store.catalog import Known

#: What goes beyond the bounds stands under it.
OTHER = "(other)"
#: Of one object; of one list; of one event, all paths together.
MOST_KEYS = 50
MOST_ITEMS = 20
MOST_OF_EVENT = 200
#: Paths inside objects and lists that are kept of one event type, beside those that are planned.
MOST_NESTED = 300
#: Objects and lists of one event that its form tells apart, and names that are refused until nothing more is looked at.
MOST_HOLDERS = 100
_MOST_REFUSED = 50
#: The longest name of a property, and the longest path inside, in characters.
LONGEST_NAME = 200
LONGEST_PATH = 400
TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}

_OBJECTS = {dict}

#: Path, type of the value, masked sample.
Sighting = tuple[str, str, str | None]


def form_within(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """The form of the objects and lists among values, in their order: equal for values that hold equal names with equal
    types, whatever the values are. Lists are equal that hold the same forms, in any order and number. None for more
    than MOST_HOLDERS objects and lists."""
    left = [MOST_HOLDERS]
    found = _forms(values, 1, left)
    return None if left[0] < 0 else found


def _forms(values: Iterable[Any], depth: int, left: list[int]) -> tuple[Any, ...]:
    return tuple([_form_of(one, depth, left) for one in values if type(one) is dict or type(one) is list])


def _form_of(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth >= DEEPEST or left[0] < 0:
        return type(value)
    if type(value) is dict:
        if len(value) > MOST_KEYS:
            value = dict(islice(value.items(), MOST_KEYS))
        of = [*map(type, value.values())]
        if dict in of or list in of:
            return (*value, *of, _forms(value.values(), depth + 1, left))
        return (*value, *of)
    looked_at = value[:MOST_ITEMS]
    kinds: set[type] = {*map(type, looked_at)}
    if kinds == _OBJECTS and depth + 1 < DEEPEST:  # as lists of products are: quick where they hold plain values
        forms = {(*one, *map(type, one.values())) for one in looked_at}
        for form in forms:
            if len(form) > 2 * MOST_KEYS or dict in form or list in form:
                break
        else:
            return frozenset(forms)
    if dict in kinds or list in kinds:
        return frozenset((*kinds, *_forms(looked_at, depth + 1, left)))
    return frozenset(kinds)


def look_within(
    path: str, value: Any, known: Known, definitions: Mapping[str, PropertyDefinition], flat: bool
) -> Iterable[Sighting]:
    """What stands inside the value of an event's own property, each path and type once. `flat`: it is only said that
    something does."""
    if flat:
        return [(inside(path, OTHER), TYPES[type(value)], None)] if value else []
    look = _Look(known, definitions)
    look.into(path, value, 1)
    if look.over():
        look.found[inside(path, OTHER), TYPES[type(value)]] = None
    return [(path, kind, sample) for (path, kind), sample in look.found.items()]


class _Look:
    def __init__(self, known: Known, definitions: Mapping[str, PropertyDefinition]) -> None:
        self._known = known
        self._definitions = definitions
        self._refused = 0
        self.found: dict[tuple[str, str], str | None] = {}

    def over(self) -> bool:
        """Whether enough was looked at; what follows is not."""
        return len(self.found) >= MOST_OF_EVENT or self._refused >= _MOST_REFUSED

    def into(self, path: str, value: Any, depth: int) -> None:
        """Look at what an object or a list holds."""
        if not value:
            return
        if isinstance(value, list):
            path, most = path + ITEMS, MOST_ITEMS
            keyed: list[tuple[str | None, Any]] = [(None, item) for item in value[:MOST_ITEMS]]
        else:
            keyed, most = [*islice(value.items(), MOST_KEYS)], MOST_KEYS
        if depth >= DEEPEST or len(value) > most:
            self._beyond(path, value)
        if depth >= DEEPEST:
            return
        for key, item in keyed:
            if self.over():
                return
            here = path if key is None else inside(path, name_of(short(key)) or "(empty)")
            if not self._admitted(here):
                self._refused += 1
                self._beyond(path, item)
                continue
            kind = TYPES[type(item)]
            shown = None if item is None else sample_of(item, self._definitions.get(here))
            self.found[here, kind] = shown or self.found.get((here, kind))
            if isinstance(item, dict | list):
                self.into(here, item, depth + 1)

    def _admitted(self, path: str) -> bool:
        nested = self._known.nested
        if path not in nested:
            if path not in self._definitions and (len(nested) >= MOST_NESTED or len(path) > LONGEST_PATH):
                return False
            nested.add(path)
        return True

    def _beyond(self, path: str, value: Any) -> None:
        self.found[inside(path, OTHER), TYPES[type(value)]] = None


def short(name: str) -> str:
    """A name of a bounded length."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
