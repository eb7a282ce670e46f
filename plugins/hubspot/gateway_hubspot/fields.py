"""`User.hubspotContact`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from gateway.plugin import DateTime, Policy, Source, attribute, enriched, field, user_of

_SOURCE = Source.loader("hubspot")
#: What a CRM says of people is not for them to read by themselves: no user's own token opens it.
_POLICY = Policy("journeys:read", pii=True)


@strawberry.enum(description="How good what is known of a contact is.")
class HubspotStatus(Enum):
    """The statuses of gateway.plugin.Enriched."""

    FRESH = strawberry.enum_value("fresh", description="Fetched within the last minutes.")
    STALE = strawberry.enum_value("stale", description="Older: HubSpot does not answer.")
    MISSING = strawberry.enum_value("missing", description="HubSpot has no such contact.")
    UNAVAILABLE = strawberry.enum_value("unavailable", description="HubSpot does not answer, and nothing is known.")


@strawberry.type(description="A property of a HubSpot contact, and where its value comes from.")
class HubspotField:
    """One property."""

    name: str = attribute(source=_SOURCE, policy=_POLICY, description="Its name in HubSpot.")
    value: str = attribute(source=_SOURCE, policy=_POLICY, description="Its value, as HubSpot has it.")
    object: str = attribute(source=_SOURCE, policy=_POLICY, description="The object it stands in, such as contact/7.")
    origin: str | None = attribute(
        source=_SOURCE, policy=_POLICY, description="How it got its value, such as FORM; null unless `history` is set."
    )
    updated_at: DateTime | None = attribute(
        source=_SOURCE,
        policy=_POLICY,
        description="When it got its value if `history` is set, else when the contact changed last.",
    )


@strawberry.type(description="What HubSpot knows of a user.")
class HubspotContact:
    """One contact."""

    status: HubspotStatus = attribute(source=_SOURCE, policy=_POLICY, description="How good it is.")
    fetched_at: DateTime | None = attribute(
        source=_SOURCE, policy=_POLICY, description="When HubSpot was asked; null if it has never answered."
    )
    fields: list[HubspotField] = attribute(
        source=_SOURCE, policy=_POLICY, size=10, description="The properties that have a value, by their name."
    )


class UserFields:
    """Fields of `User`."""

    @field(
        source=_SOURCE,
        policy=_POLICY,
        description="Their contact in HubSpot; null unless a `hubspot` connector is configured.",
    )
    async def hubspot_contact(self, info: strawberry.Info) -> HubspotContact | None:
        found = await enriched(info, "hubspot", user_of(self))
        if found is None:
            return None
        return HubspotContact(
            status=HubspotStatus(found.status),
            fetched_at=None if found.fetched_at is None else DateTime(found.fetched_at),
            fields=[_field(name, found.fields[name]) for name in sorted(found.fields)],
        )


def _field(name: str, known: Mapping[str, Any]) -> HubspotField:
    return HubspotField(
        name=name,
        value=str(known["value"]),
        object=str(known["object"]),
        origin=known.get("source"),
        updated_at=_moment(known.get("updatedAt")),
    )


def _moment(text: Any) -> DateTime | None:
    try:
        return DateTime(round(datetime.fromisoformat(str(text)).timestamp() * 1000))
    except ValueError:
        return None
