"""What HubSpot knows of a user: the properties of their contact, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from gateway.plugin import Answer, Enricher, Found, Health, Manifest, PluginError, PluginFailure
from gateway_hubspot import client

_PATH = "/crm/v3/objects/contacts/batch/read"
_MOST, _MOST_WITH_HISTORY = 100, 50
_DEFAULT = ("firstname", "lastname", "company", "jobtitle", "lifecyclestage", "hs_lead_status", "hubspot_owner_id")


class EnricherConfig(client.HubspotConfig):
    """Which contact belongs to a user, and what is read of it."""

    id_property: str = Field(
        default="email",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="The contact's unique property: `email` is compared with the user's trait, another with userId.",
    )
    trait: str = Field(default="email", description="The trait that holds the mail address.")
    properties: list[str] = Field(
        default=list(_DEFAULT), min_length=1, max_length=100, description="The properties that are read."
    )
    history: bool = Field(
        default=False, description="Also read how each property got its value (twice as many requests)."
    )


class Hubspot(Enricher[EnricherConfig]):
    """Reads contacts, a hundred at a time."""

    manifest: ClassVar[Manifest] = Manifest(
        name="hubspot",
        version=client.VERSION,
        brief="What HubSpot knows of users, as User.hubspotContact.",
        test_level="B",
        docs=client.DOCS,
    )
    Config = EnricherConfig
    batch = _MOST
    fresh_seconds = 300.0
    missing_seconds = 60.0
    deadline_seconds = 2.0

    async def check(self) -> Health:
        """Ask for the account's details."""
        return await client.check(self.context.http, self.config)

    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        """The mail address in small letters, or the userId."""
        if self.config.id_property == "email":
            mail = traits.get(self.config.trait)
            return mail.strip().lower() if isinstance(mail, str) and "@" in mail else None
        return next((value for kind, value in identities if kind == "userId"), None)

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """Contacts by key. Raises PluginError and HttpFailed."""
        found: dict[str, Found] = {}
        most = _MOST_WITH_HISTORY if self.config.history else _MOST
        for start in range(0, len(keys), most):
            found |= dict(await self._read(keys[start : start + most]))
        return found

    async def _read(self, keys: Sequence[str]) -> list[tuple[str, Found]]:
        own = self.config.id_property
        wanted = list(dict.fromkeys([*self.config.properties, own]))
        body = {
            "idProperty": own,
            "properties": wanted,
            "propertiesWithHistory": list(self.config.properties) if self.config.history else [],
            "inputs": [{"id": key} for key in keys],
        }
        answer = await client.ask(self.context.http, self.config, "POST", _PATH, body)
        said = client.read(answer)
        if answer.status not in (200, 207) or not isinstance(said.get("results"), list):
            raise self._failed(answer)
        others = [one for one in said.get("errors") or [] if one.get("category") != "OBJECT_NOT_FOUND"]
        if others and not said["results"]:
            # 207 without a result is a failure that calls itself a success.
            raise self._failed(answer)
        by_key = {key.lower(): key for key in keys}
        return list(self._found(said["results"], by_key))

    def _found(self, results: list[dict[str, Any]], by_key: Mapping[str, str]) -> Iterator[tuple[str, Found]]:
        for contact in results:
            properties = contact.get("properties") or {}
            key = by_key.get(str(properties.get(self.config.id_property, "")).lower())
            if key is not None:
                fields = {name: self._field(contact, name) for name in self.config.properties if properties.get(name)}
                yield key, Found(fields)

    def _field(self, contact: Mapping[str, Any], name: str) -> dict[str, Any]:
        """One property: its value, and where it comes from."""
        made = {
            "value": contact["properties"][name],
            "object": f"contact/{contact.get('id')}",
            "updatedAt": contact.get("updatedAt"),
        }
        history = (contact.get("propertiesWithHistory") or {}).get(name) or []
        if history:
            made |= {"updatedAt": history[0].get("timestamp"), "source": history[0].get("sourceType")}
        return made

    def _failed(self, answer: Answer) -> PluginError:
        category, fix = "remote", "It is asked again by itself."
        if answer.status in (401, 403):
            category, fix = "auth", "Check the token; it needs the scope crm.objects.contacts.read."
        elif answer.status == 429:
            category, fix = "rate_limit", "Other apps use up the account's requests; it is asked again by itself."
        elif answer.status == 400:
            category, fix = "config", "Check id_property and properties: each must be a property of contacts."
        return PluginError(
            PluginFailure(
                plugin="hubspot",
                version=client.VERSION,
                operation="lookup",
                category=category,  # type: ignore[arg-type]
                message=f"HubSpot answers HTTP {answer.status}.",
                fix=fix,
                retryable=category in ("remote", "rate_limit"),
            )
        )
