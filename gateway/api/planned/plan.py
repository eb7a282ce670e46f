"""The plan in a schema: which type an event has, what `where` means, what a typed input sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import strawberry

from gateway.api.context import Info
from gateway.api.planned.filters import Wanted, wanted
from gateway.api.planned.sending import sent
from gateway.api.scalars import EventWhere
from gateway.contract import EventDefinition
from gateway.contract.finding import PlannedEvents
from gateway.model.event import Event
from gateway.store.conditions import as_filter

Where = Annotated[
    EventWhere | None,
    strawberry.argument(
        description="Only events of one type of the tracking plan, by what they carry. A page looks at no more than "
        "10,000 events of that name; it may be short and yet have a next one."
    ),
]

#: Where a schema keeps it: among its extensions.
PLAN = "journey-gateway plan"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Events that meet a `where`."""

    found: PlannedEvents
    wanted: Wanted

    @property
    def stored(self) -> dict[str, Any]:
        """The same as a filter on stored events, but for the major version."""
        return {"type": self.wanted.event.type, **as_filter(self.wanted.conditions, self.wanted.carried)}

    def holds(self, event: Event) -> bool:
        """Whether an event is one of them."""
        if self.found.find(event.type, event.name, event.context) is not self.wanted.event:
            return False
        carried = event.traits if self.wanted.carried == "traits" else event.properties
        return all(condition.holds(carried) for condition in self.wanted.conditions)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan as one schema has it: an operation sees that of the schema it began with."""

    found: PlannedEvents
    by_field: Mapping[str, EventDefinition]

    def type_name(self, event: Event) -> str:
        """The GraphQL type of an event."""
        planned = self.found.find(event.type, event.name, event.context)
        return "UntypedEvent" if planned is None else planned.type_name

    def meeting(self, where: Mapping[str, Any] | None) -> Meeting | None:
        """What `where` says; None when it says nothing. Raises InvalidInput."""
        if where is None:
            return None
        ((name, given),) = where.items()  # @oneOf
        return Meeting(self.found, wanted(self.by_field[name], given))

    def message(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The track call that a member of `PlannedEventInput` is."""
        ((name, given),) = event.items()  # @oneOf
        planned = self.by_field[name]
        message: dict[str, Any] = {
            "type": "track",
            "event": planned.name,
            "properties": sent(planned.properties, given),
        }
        if planned.major != 1:
            message["context"] = {"protocols": {"event_version": planned.major}}
        return message


def plan_of(info: Info) -> Plan:
    """The plan in the schema of the operation that asks."""
    found = info._raw_info.schema.extensions[PLAN]
    assert isinstance(found, Plan)
    return found
