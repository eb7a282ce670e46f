"""Takes signed requests (Standard Webhooks) with messages in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field
from standardwebhooks.webhooks import Webhook as Signer

from gateway.plugin import (
    Config,
    Context,
    Denied,
    Health,
    JsonObject,
    Manifest,
    RawRequest,
    Secret,
    Verified,
    WebhookSource,
)
from gateway_webhook.destination import VERSION
from gateway_webhook.signing import refusal, signers


class Settings(Config):
    """The secrets that senders sign with."""

    secret: Secret = Field(description="what the sender signs with: `whsec_` and base64")
    previous_secret: Secret | None = Field(None, description="is good too, while the sender changes to `secret`")


class WebhookIn(WebhookSource[Settings]):
    """Messages in the form of `/v1/batch`: one, a list, or `{"batch": […]}`."""

    manifest = Manifest(
        name="webhook.source", version=VERSION, brief="Takes signed messages (Standard Webhooks).",
        test_level="B", docs="https://www.standardwebhooks.com",
    )  # fmt: skip
    Config: ClassVar[type[Config]] = Settings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self._signers: list[Signer] = []

    async def open(self) -> None:
        """Read the secrets."""
        self._signers = signers((self.config.secret, self.config.previous_secret), self.manifest.name, VERSION)

    async def check(self) -> Health:
        """There is nothing to ask: others call us."""
        return Health(bool(self._signers), "waits for requests")

    def verify(self, request: RawRequest) -> Verified | Denied:
        """By the signature over id, time and body; `webhook-id` makes the request one."""
        reason = refusal(self._signers, request.headers, request.body, request.received_at)
        return Denied(reason) if reason is not None else Verified(request.headers["webhook-id"])

    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        """The messages. What another gateway's `webhook` sends is taken out of its envelope."""
        try:
            found: Any = json.loads(request.body)
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
        if isinstance(found, dict) and isinstance(found.get("batch"), list):
            found = found["batch"]
        if isinstance(found, dict):
            found = [found]
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError('the body is neither a message, nor a list of them, nor {"batch": […]}')
        return [_unpacked(one) for one in found if one.get("type") != "journey.changed"]


def _unpacked(message: JsonObject) -> JsonObject:
    data = message.get("data")
    return data if message.get("type") == "event.stored" and isinstance(data, dict) else message
