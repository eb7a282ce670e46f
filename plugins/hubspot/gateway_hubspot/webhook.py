"""What HubSpot reports of contacts, signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.plugin import (
    Config,
    Denied,
    Health,
    JsonObject,
    Manifest,
    RawRequest,
    Response,
    Secret,
    Verified,
    WebhookSource,
)
from gateway_hubspot import client

Version = Literal["v1", "v2", "v3"]

_FIVE_MINUTES = 300_000
#: What HubSpot signs is the address with these signs as they are, whatever the request's line has.
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip


class WebhookConfig(Config):
    """Which app's webhooks, and how they are signed."""

    client_secret: Secret = Field(description="The app's client secret.")
    old_client_secret: Secret | None = Field(default=None, description="The one before, while it is being changed.")
    signatures: list[Version] = Field(
        default=["v3"], min_length=1, description="Versions of the signature that are taken."
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="The address that HubSpot calls, if a proxy makes it look otherwise here.",
    )
    user_id_property: str | None = Field(
        default=None, description="The contact's property that holds the userId: a change of it joins the two."
    )


class HubspotWebhook(WebhookSource[WebhookConfig]):
    """Takes what happens to contacts."""

    manifest: ClassVar[Manifest] = Manifest(
        name="hubspot.webhook",
        version=client.VERSION,
        brief="What happens to contacts in HubSpot, as events.",
        test_level="B",
        docs=client.DOCS,
    )
    Config = WebhookConfig

    async def check(self) -> Health:
        """Nothing is asked of HubSpot: whether the secret is there."""
        self.config.client_secret.reveal()
        return Health(True, "The secret is set; whether it is right shows with the first request.")

    def verify(self, request: RawRequest) -> Verified | Denied:
        """By the newest version that the request carries, so that nobody chooses a weaker one."""
        headers = request.headers
        if "x-hubspot-signature-v3" in headers and "v3" in self.config.signatures:
            return self._v3(request, headers["x-hubspot-signature-v3"])
        version = headers.get("x-hubspot-signature-version", "v1").lower()
        if "x-hubspot-signature" not in headers:
            return Denied("no signature")
        if version not in ("v1", "v2") or version not in self.config.signatures:
            return Denied(f"a signature of a version that `signatures` does not name: {version[:10]}")
        signed = request.body
        if version == "v2":
            signed = request.method.encode() + self._url(request).encode() + signed
        good = any(
            _same(hashlib.sha256(secret.encode() + signed).hexdigest(), headers["x-hubspot-signature"])
            for secret in self._secrets()
        )
        return Verified() if good else Denied(f"wrong signature {version}")

    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        """Events of contacts; those of other objects are left out. ValueError."""
        said = json.loads(request.body)
        if not isinstance(said, list):
            raise ValueError("a list of events is expected")
        for one in said:
            if not isinstance(one, dict):
                raise ValueError("an event is an object")
            if str(one.get("subscriptionType", "")).startswith("contact."):
                try:
                    yield from self._events(one)
                except (KeyError, TypeError, OverflowError) as error:
                    raise ValueError("an event lacks what HubSpot's have") from error

    def _v3(self, request: RawRequest, signature: str) -> Verified | Denied:
        stamp = request.headers.get("x-hubspot-request-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
            return Denied("no time beside the signature")
        if abs(request.received_at - int(stamp)) > _FIVE_MINUTES:
            return Denied("signed more than five minutes ago")
        signed = request.method.encode() + self._url(request).encode() + request.body + stamp.encode()
        for secret in self._secrets():
            made = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
            if _same(made, signature):
                return Verified()
        return Denied("wrong signature v3")

    def _url(self, request: RawRequest) -> str:
        url = request.url
        if self.config.url is not None:
            _, mark, query = url.partition("?")
            url = f"{self.config.url}{mark}{query}"
        for coded, sign in _DECODED.items():
            url = url.replace(coded, sign).replace(coded.lower(), sign)
        return url

    def _secrets(self) -> Iterator[str]:
        yield self.config.client_secret.reveal()
        if self.config.old_client_secret is not None:
            yield self.config.old_client_secret.reveal()

    def _events(self, one: Mapping[str, Any]) -> Iterator[JsonObject]:
        kind = str(one["subscriptionType"]).partition(".")[2]
        at = int(one["occurredAt"])
        contact = f"hubspot:{one['portalId']}:{one['objectId']}"
        # An eventId alone is not unique, says HubSpot; a repeated attempt has all of these alike.
        own = f"{contact}:{one.get('subscriptionId')}:{one['eventId']}:{at}"
        message: JsonObject = {"timestamp": datetime.fromtimestamp(at / 1000, UTC).isoformat(), "anonymousId": contact}
        names = ("portalId", "objectId", "propertyName", "propertyValue", "changeSource", "changeFlag")
        properties = {name: one[name] for name in names if one.get(name) is not None}
        yield {
            **message,
            "type": "track",
            "event": f"HubSpot Contact {_words(kind)}",
            "messageId": own,
            "properties": properties,
        }
        mine = self.config.user_id_property
        if mine is not None and one.get("propertyName") == mine and one.get("propertyValue"):
            user = str(one["propertyValue"])
            yield {**message, "type": "identify", "userId": user, "messageId": f"{own}:user", "traits": {}}


def _words(kind: str) -> str:
    """`propertyChange` to `Property Change`."""
    spaced = "".join(f" {sign}" if sign.isupper() else sign for sign in kind)
    return " ".join(word[:1].upper() + word[1:] for word in spaced.split())


def _same(made: str, given: str) -> bool:
    return hmac.compare_digest(made.encode(), given.encode("utf-8", "surrogateescape"))
