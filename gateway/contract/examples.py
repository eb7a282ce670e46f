"""Examples: events as they are sent, with what the plan must say of them. They are the tests of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jsonschema_rs

from gateway.contract.plan import EventDefinition

#: The rules of JSON Schema that a plan makes use of.
Rule = Literal["required", "type", "format", "enum", "pattern", "minimum", "maximum", "maxLength"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where an event does not fit its plan: the property, dotted, and the rule that it breaks."""

    property: str
    rule: str

    def __str__(self) -> str:
        return f"{self.property}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Example:
    """A message as it is sent, and the key of the planned event it is one of.

    `misfit` None: it must pass; else it must fail for that reason.
    """

    name: str
    event: str
    message: Mapping[str, Any]
    misfit: Misfit | None = None


def misfits(event: EventDefinition, message: Mapping[str, Any]) -> list[Misfit]:
    """Where the message does not fit the plan of the event: its properties or, for identify and group, its traits."""
    body = message.get("traits" if event.type in ("identify", "group") else "properties")
    validator = jsonschema_rs.validator_for(event.json_schema(), validate_formats=True)
    found: list[Misfit] = []
    for error in validator.iter_errors(body if isinstance(body, dict) else {}):
        path = [*map(str, error.instance_path)]
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
            path.append(error.kind.property)
        found.append(Misfit(".".join(path), error.kind.name))
    return found


def fault_of(example: Example, event: EventDefinition) -> str | None:
    """What the plan says of the example otherwise than it should, in words; None when it says the same."""
    found = misfits(event, example.message)
    sent_as = (example.message.get("type", "track"), example.message.get("event") or example.message.get("name"))
    named = event.name if event.type in ("track", "page", "screen") else None
    if sent_as[0] != event.type or (named is not None and sent_as[1] != named):
        return f"it is no {event.type} {event.name!r}"
    said = ", ".join(map(str, found)) or "nothing"
    if example.misfit is None:
        return f"it should pass, but does not fit: {said}" if found else None
    return None if example.misfit in found else f"it should fail for {example.misfit}, but what does not fit is: {said}"
