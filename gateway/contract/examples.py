"""Examples: events as they are sent, with what the plan must say of them. They are the tests of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.contract.finding import NAMELESS
from gateway.contract.plan import EventDefinition
from gateway.contract.validation import EventValidator
from gateway.model.misfit import Misfit


@dataclass(frozen=True, slots=True)
class Example:
    """A message as it is sent, and the key of the planned event it is one of.

    `misfit` None: it must pass; else it must fail for that reason.
    """

    name: str
    event: str
    message: Mapping[str, Any]
    misfit: Misfit | None = None


def misfits(event: EventDefinition, message: Mapping[str, Any]) -> tuple[Misfit, ...]:
    """Where the message does not fit the plan of the event: its properties or, for identify and group, its traits."""
    body = message.get("traits" if event.type in NAMELESS else "properties")
    return EventValidator(event).misfits(body if isinstance(body, dict) else {})


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
