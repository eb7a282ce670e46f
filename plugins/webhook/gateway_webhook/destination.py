"""Posts what happened to an address of yours, signed as Standard Webhooks say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator
from standardwebhooks.webhooks import Webhook as Signer

from gateway.plugin import (
    AuthFailed,
    Capabilities,
    Config,
    Context,
    Destination,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    Manifest,
    Message,
    Retry,
    Secret,
    Skip,
    message_of,
    result_of,
    wire_time,
)
from gateway_webhook.signing import signed, signers

VERSION = "0.1.0"
_GONE = 410
_URL = re.compile(r"https?://[^\s/?#@]+([/?]\S*)?\Z")


class Settings(Config):
    """Where to, and the secrets."""

    url: str = Field(description="the address that is posted to")
    secret: Secret = Field(description="signs what is sent: `whsec_` and base64")
    previous_secret: Secret | None = Field(None, description="signs too, while the receiver changes to `secret`")
    journeys: bool = Field(True, description="whether steps of journeys are sent beside events")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not _URL.match(value):
            raise ValueError("an address begins with https:// (or http://) and has no blank and no credentials")
        return value


class Webhook(Destination[Settings]):
    """One request for each event and each step of a journey."""

    manifest = Manifest(
        name="webhook", version=VERSION, brief="Posts events and journey steps, signed (Standard Webhooks).",
        test_level="B", docs="https://www.standardwebhooks.com",
    )  # fmt: skip
    Config: ClassVar[type[Config]] = Settings
    capabilities = Capabilities(
        max_items=20,
        max_bytes=20 * 256_000,
        max_item_bytes=256_000,
        concurrency=2,
        kinds=frozenset({"event", "journey"}),
        partial=True,
        idempotency="`webhook-id` is the same on every try; the receiver drops the ids it has had",
    )

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self._signers: list[Signer] = []

    async def open(self) -> None:
        """Read the secrets."""
        self._signers = signers((self.config.secret, self.config.previous_secret), self.manifest.name, VERSION)

    async def check(self) -> Health:
        """Whether the address answers a HEAD at all, and does not refuse it for its credentials."""
        try:
            answer = await self.context.http.request("HEAD", self.config.url)
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check `url`, and whether the receiver runs.")
        if answer.status in (401, 403, _GONE) or answer.status >= 500:
            return Health(False, f"HTTP {answer.status}", "Look at the receiver's own log.")
        return Health(True, f"HTTP {answer.status} to a HEAD")

    def map(self, message: Message) -> dict[str, Any] | Skip:
        """`type`, `timestamp` and `data`, as Standard Webhooks advise; `user` is the gateway's id of the person."""
        envelope = {"timestamp": wire_time(message.at), "user": message.user}
        if message.event is not None:
            return {"type": "event.stored", **envelope, "data": message_of(message.event)}
        if message.journey is None or not self.config.journeys:
            return Skip("steps of journeys are switched off")
        step = message.journey
        data = {
            "journey": step.journey,
            "map": step.map,
            "run": step.run,
            "from": step.from_stage,
            "to": step.to_stage,
            "status": None if step.status is None else step.status.value,
        }
        return {"type": "journey.changed", **envelope, "data": data}

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """All at a time: they are of different users."""
        return await asyncio.gather(*(self._post(item) for item in items))

    async def _post(self, item: Item) -> ItemResult:
        now = self.context.clock.now()
        body = json.dumps(item.payload, ensure_ascii=False, separators=(",", ":"))
        headers = {"content-type": "application/json", **signed(self._signers, item.key, now, body)}
        try:
            answer = await self.context.http.request("POST", self.config.url, headers=headers, content=body.encode())
        except HttpFailed as failed:
            return Retry(failed.reason)
        # Standard Webhooks: who answers 410 wants no more. That stops the destination, so that nothing is lost.
        return result_of(answer, now, overrides={_GONE: AuthFailed("HTTP 410: the receiver wants no more")})
