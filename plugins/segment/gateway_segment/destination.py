"""Sends events on to Segment's tracking API, in batches as its own libraries send them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.plugin import (
    Capabilities,
    Config,
    Destination,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    Manifest,
    Message,
    Rejected,
    Secret,
    Skip,
    TooLarge,
    message_of,
    result_of,
    wire_time,
)

VERSION = "0.1.0"
#: Segment's own limit of a request. Above it, it answers 200 and keeps nothing.
MOST_BYTES = 500_000
_HOSTS: Mapping[str, str] = {"us": "api.segment.io", "eu": "events.eu1.segmentapis.com"}
#: Stamps of intake: `timestamp` is the corrected time, so that Segment has nothing to correct.
_OURS = ("originalTimestamp", "receivedAt", "sentAt")


class Settings(Config):
    """Which source of a Segment workspace gets the events."""

    write_key: Secret = Field(description="the source's write key")
    region: Literal["us", "eu"] = Field("us", description="where the workspace is")


class Segment(Destination[Settings]):
    """All six calls, as they came."""

    manifest = Manifest(
        name="segment", version=VERSION, brief="Sends events on to a Segment source.",
        test_level="B", docs="https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/",
    )  # fmt: skip
    Config: ClassVar[type[Config]] = Settings
    capabilities = Capabilities(
        max_items=2_500,
        max_bytes=490_000,
        max_item_bytes=32_000,
        concurrency=4,
        idempotency="Segment drops a `messageId` that it has had lately",
    )

    async def check(self) -> Health:
        """Whether the host answers. Segment has no question that a write key could be checked by without an event."""
        try:
            answer = await self.context.http.request("GET", f"https://{_HOSTS[self.config.region]}/")
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check `region`, and the way out to the internet.")
        if answer.status >= 500 or answer.status in (401, 403):
            return Health(False, f"HTTP {answer.status}", "Check `write_key` and `region`; see Segment's status page.")
        return Health(True, "it answers; the write key is not checked")

    def map(self, message: Message) -> dict[str, Any] | Skip:
        """The message as it came. `messageId` is the gateway's key: two of its sources may use one id."""
        if message.event is None:
            return Skip("Segment takes events only")
        call = message_of(message.event)
        for name in _OURS:
            call.pop(name, None)
        context = call.get("context")
        return {"integrations": {}, **call, "messageId": message.key, "context": context or {}}

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """One batch. It is taken or refused as a whole."""
        now = self.context.clock.now()
        key = self.config.write_key.reveal()
        content = {"batch": [item.payload for item in items], "sentAt": wire_time(now), "writeKey": key}
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) > MOST_BYTES:
            return [TooLarge(f"a batch of {len(body):,} bytes")] * len(items)
        authorization = base64.b64encode(f"{key}:".encode()).decode()
        answer = await self.context.http.request(
            "POST",
            f"https://{_HOSTS[self.config.region]}/v1/batch",
            headers={"authorization": f"Basic {authorization}", "content-type": "application/json"},
            content=body,
        )
        result = result_of(answer, now)
        if 200 <= answer.status < 300 and _refuses(answer.body):
            result = Rejected("Segment answered 200 with success: false", code="not_taken")
        return [result] * len(items)


def _refuses(body: bytes) -> bool:
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("success") is False
