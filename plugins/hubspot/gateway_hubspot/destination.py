"""Contacts and custom events to HubSpot."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.plugin import (
    Capabilities,
    Delivered,
    Destination,
    Event,
    EventType,
    Health,
    Item,
    ItemResult,
    Manifest,
    Message,
    Rejected,
    Retry,
    Skip,
    Throttled,
)
from gateway_hubspot import client

_UPSERT = "/crm/v3/objects/contacts/batch/upsert"
_EVENTS = "/events/v3/send/batch"
_EXCERPT = 200
#: Errors of single contacts that another time may not have.
_PASSING = frozenset({"CONFLICT", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"})
_TRAITS = {
    "email": "email",
    "firstName": "firstname",
    "lastName": "lastname",
    "phone": "phone",
    "title": "jobtitle",
    "website": "website",
}


class CustomEvent(BaseModel):
    """One of HubSpot's custom events, and which of our properties go where."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, description="Its internal name, such as `pe1234567_product_viewed`.")
    properties: dict[str, str] = Field(default_factory=dict, description="HubSpot's property by ours.")


class DestinationConfig(client.HubspotConfig):
    """What of an event goes where."""

    id_property: str = Field(
        default="email",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="The contact's unique property: `email` is filled from the trait, another from userId.",
    )
    trait: str = Field(default="email", description="The trait that holds the mail address.")
    traits: dict[str, str] = Field(
        default_factory=lambda: dict(_TRAITS), description="The contact's property by the trait that fills it."
    )
    custom_events: dict[str, CustomEvent] = Field(
        default_factory=dict, description="Custom events by the name of the event that makes one."
    )


class HubspotDestination(Destination[DestinationConfig]):
    """An `identify` creates or updates a contact; events that are named become custom events."""

    manifest: ClassVar[Manifest] = Manifest(
        name="hubspot.destination",
        version=client.VERSION,
        brief="Contacts and custom events to HubSpot.",
        test_level="B",
        docs=client.DOCS,
    )
    Config = DestinationConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_items=100,
        max_bytes=1_000_000,
        per_second=1_000,
        concurrency=2,
        partial=True,
        idempotency="a contact is updated to the same; an event is one by its uuid",
    )

    async def check(self) -> Health:
        """Ask for the account's details."""
        return await client.check(self.context.http, self.config)

    def map(self, message: Message) -> dict[str, Any] | Skip:
        """A contact or a custom event."""
        event = message.event
        if event is None:
            return Skip(f"HubSpot gets contacts and events, no {message.kind}")
        if event.type is EventType.IDENTIFY:
            return self._contact(event, message.key)
        custom = self.config.custom_events.get(event.name)
        if event.type is not EventType.TRACK or custom is None:
            return Skip("the event stands not in custom_events")
        return self._event(event, custom, message.key)

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """Contacts first, then events; one contact stands in a request once."""
        results: dict[int, ItemResult] = {}
        contacts = [(at, item.payload["contact"]) for at, item in enumerate(items) if "contact" in item.payload]
        while contacts:
            wave = list({contact["id"]: (at, contact) for at, contact in reversed(contacts)}.values())
            wave.sort(key=lambda one: one[0])
            taken = {at for at, _ in wave}
            contacts = [one for one in contacts if one[0] not in taken]
            told = await self._upsert([contact for _, contact in wave])
            results |= dict(zip((at for at, _ in wave), told, strict=True))
        events = [(at, item.payload["event"]) for at, item in enumerate(items) if "event" in item.payload]
        if events:
            told = await self._send([event for _, event in events])
            results |= dict(zip((at for at, _ in events), told, strict=True))
        return [results[at] for at in range(len(items))]

    # -- mapping --------------------------------------------------------------------------------------------------

    def _contact(self, event: Event, key: str) -> dict[str, Any] | Skip:
        own = self._id_of(event)
        if own is None:
            return Skip(f"nothing for HubSpot's {self.config.id_property}")
        given = {theirs: event.traits[ours] for ours, theirs in self.config.traits.items() if ours in event.traits}
        properties = {**client.strings(given), self.config.id_property: own}
        contact = {
            "idProperty": self.config.id_property,
            "id": own,
            "properties": properties,
            "objectWriteTraceId": key,
        }
        return {"contact": contact}

    def _event(self, event: Event, custom: CustomEvent, key: str) -> dict[str, Any] | Skip:
        mail = self._mail_of(event)
        if mail is None:
            return Skip("no mail address to find HubSpot's contact by")
        given = {theirs: event.properties[our] for our, theirs in custom.properties.items() if our in event.properties}
        made = {
            "eventName": custom.name,
            "email": mail,
            "occurredAt": _iso(event.at),
            "properties": client.strings(given),
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"journey-gateway:{key}")),
        }
        return {"event": made}

    def _id_of(self, event: Event) -> str | None:
        return self._mail_of(event) if self.config.id_property == "email" else event.user_id

    def _mail_of(self, event: Event) -> str | None:
        """From the event's traits, its context's, or its properties."""
        context = event.context.get("traits")
        for place in (event.traits, context if isinstance(context, dict) else {}, event.properties):
            mail = place.get(self.config.trait)
            if isinstance(mail, str) and "@" in mail:
                return mail.strip().lower()
        return None

    # -- sending --------------------------------------------------------------------------------------------------

    async def _upsert(self, contacts: list[dict[str, Any]]) -> list[ItemResult]:
        answer = await client.ask(self.context.http, self.config, "POST", _UPSERT, {"inputs": contacts})
        if answer.status in (400, 409) and len(contacts) > 1:
            # One contact may spoil the request for all: halves find it.
            half = len(contacts) // 2
            return [*await self._upsert(contacts[:half]), *await self._upsert(contacts[half:])]
        if not 200 <= answer.status < 300:
            return [self._whole(client.meaning(answer, self.context.clock.now()), client.read(answer))] * len(contacts)
        return _per_contact(client.read(answer), contacts)

    async def _send(self, events: list[dict[str, Any]]) -> list[ItemResult]:
        """HubSpot takes events all or none."""
        answer = await client.ask(self.context.http, self.config, "POST", _EVENTS, {"inputs": events})
        if answer.status == 400 and len(events) > 1:
            half = len(events) // 2
            return [*await self._send(events[:half]), *await self._send(events[half:])]
        said = client.read(answer)
        if 200 <= answer.status < 300 and (said.get("errors") or said.get("status") == "error"):
            return [_error(said)] * len(events)
        return [self._whole(client.meaning(answer, self.context.clock.now()), said)] * len(events)

    def _whole(self, result: ItemResult, said: Mapping[str, Any]) -> ItemResult:
        if isinstance(result, Rejected) and said.get("message"):
            return Rejected(str(said["message"])[:_EXCERPT], code=str(said.get("category", result.code)).lower())
        return result


def _per_contact(said: Mapping[str, Any], contacts: list[dict[str, Any]]) -> list[ItemResult]:
    """A 2xx is no success by itself: each contact is named, stored or refused; what is not named is tried again."""
    stored = {str(one.get("objectWriteTraceId")): one for one in said.get("results") or []}
    refused: dict[str, ItemResult] = {}
    unnamed: ItemResult | None = None
    for error in said.get("errors") or []:
        named = (error.get("context") or {}).get("objectWriteTraceId") or []
        refused |= dict.fromkeys(map(str, named), _error(error))
        if not named:
            unnamed = _error(error)
    results: list[ItemResult] = []
    for contact in contacts:
        key = contact["objectWriteTraceId"]
        if key in refused:
            results.append(refused[key])
        elif key in stored:
            results.append(Delivered(str(stored[key].get("id") or "") or None))
        else:
            results.append(unnamed or Retry("HubSpot does not say what became of it"))
    return results


def _error(error: Mapping[str, Any]) -> ItemResult:
    category = str(error.get("category") or "error")
    reason = f"{category}: {str(error.get('message', ''))[:_EXCERPT]}"
    if category == "RATE_LIMITS":
        return Throttled(category)
    if category in _PASSING:
        return Retry(reason)
    return Rejected(reason, code=category.lower())


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
