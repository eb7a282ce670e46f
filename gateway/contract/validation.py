"""Whether events are what the plan says: validators compiled once per planned event, quick where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind

from gateway.contract.finding import ByCall
from gateway.contract.plan import EventDefinition
from gateway.contract.shape import closest
from gateway.model.misfit import Misfit

#: More than this is not told of one event.
MOST_MISFITS = 10
# A pattern is UX's and backend's, the text anybody's: it may not cost more than a moment.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000)
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class EventValidator:
    """What one planned event carries, compiled. Its values are properties; of identify and group, traits."""

    __slots__ = ("_validator", "definition", "fits")

    def __init__(self, definition: EventDefinition) -> None:
        self.definition = definition
        self._validator = jsonschema_rs.validator_for(
            definition.json_schema(), validate_formats=True, pattern_options=_PATTERNS
        )
        #: Whether values are what is planned: a microsecond or so.
        self.fits: Callable[[Any], bool] = self._validator.is_valid

    def misfits(self, values: Mapping[str, Any]) -> tuple[Misfit, ...]:
        """Where values are not what is planned, at most MOST_MISFITS; empty where they are."""
        return tuple(self._told(error, values) for error in islice(self._validator.iter_errors(values), MOST_MISFITS))

    def _told(self, error: ValidationError, values: Mapping[str, Any]) -> Misfit:
        path, kind = [*map(str, error.instance_path)], error.kind
        match kind:
            case ValidationErrorKind.Required():
                holder = error.instance if isinstance(error.instance, dict) else {}
                return Misfit(
                    ".".join([*path, kind.property]), "required", "is missing", _missing(kind.property, holder)
                )
            case ValidationErrorKind.Type():
                wanted = " or ".join(_TYPES.get(one, one) for one in kind.types if one != "null")
                what, fix = f"is {_type_of(error.instance)}, not {wanted}", f"send {wanted}"
            case ValidationErrorKind.Enum():
                options = [str(one) for one in kind.options if one is not None]
                shown = ", ".join(options[:8]) + (", …" if len(options) > 8 else "")
                what, fix = "is none of the values that are planned", f"send one of {shown}"
            case ValidationErrorKind.Format():
                what, fix = "is no time of ISO 8601 with its zone", "send it such as 2026-11-21T10:00:00Z"
            case ValidationErrorKind.Minimum():
                what, fix = f"is less than {kind.limit}", f"send at least {kind.limit}"
            case ValidationErrorKind.Maximum():
                what, fix = f"is more than {kind.limit}", f"send at most {kind.limit}"
            case ValidationErrorKind.MaxLength():
                what, fix = f"has more than {kind.limit} characters", "shorten it"
            case ValidationErrorKind.Pattern():
                what, fix = "is not of the planned form", f"send what matches {kind.pattern}"
            case _:  # a pattern that takes too long for this text
                return Misfit(".".join(path), "pattern", "cannot be compared with the planned form", "shorten it")
        return Misfit(".".join(path), kind.name, what, fix)


class Plan(ByCall[EventValidator]):
    """The tracking plan, compiled: finds what is planned for an event.

    What `before` has compiled of the same definitions is taken over, so that a change costs what has changed.
    """

    def __init__(self, events: Iterable[EventDefinition], before: Plan | None = None) -> None:
        known: dict[EventDefinition, EventValidator] = {} if before is None else before._compiled
        self._compiled: dict[EventDefinition, EventValidator] = {
            one: known.get(one) or EventValidator(one) for one in events
        }
        super().__init__(self._compiled.items())


def _missing(key: str, holder: Mapping[str, Any]) -> str:
    if key in holder:  # as null
        return "send a value, not null"
    other = closest(key, list(holder), cutoff=0.85)
    return f"send it; did you mean it by {other!r}?" if other is not None else "send it"


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return _TYPES["boolean"]
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
    return _TYPES[kinds[type(value)]]
