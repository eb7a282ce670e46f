"""Takes what Segment's Webhooks destination sends.

Of a batch Segment signs the first message alone: what it computes is the HMAC of `JSON.stringify` of element 0. The raw
bytes of that element are cut out and checked; they are never written anew, because no two writers of JSON agree. The
messages behind it are not authenticated by the signature: hence `token`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field

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
from gateway_segment.destination import VERSION

_BLANKS = " \t\r\n"


class Settings(Config):
    """What Segment's Webhooks destination is set up with."""

    shared_secret: Secret = Field(description="the destination's shared secret")
    previous_secret: Secret | None = Field(None, description="is good too, while Segment changes to `shared_secret`")
    token: Secret | None = Field(None, description="must come as `Authorization: Bearer …`, a header set up in Segment")


class SegmentWebhook(WebhookSource[Settings]):
    """Messages as Segment's own pipeline has them."""

    manifest = Manifest(
        name="segment.webhook", version=VERSION, brief="Takes what Segment's Webhooks destination sends.",
        test_level="C", docs="https://segment.com/docs/connections/destinations/catalog/webhooks/",
    )  # fmt: skip
    Config: ClassVar[type[Config]] = Settings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self._secrets: list[bytes] = []
        self._authorization: bytes | None = None

    async def open(self) -> None:
        """Read the secrets."""
        given = (self.config.shared_secret, self.config.previous_secret)
        self._secrets = [one.reveal().encode() for one in given if one is not None]
        if self.config.token is not None:
            self._authorization = f"Bearer {self.config.token.reveal()}".encode()

    async def check(self) -> Health:
        """There is nothing to ask: Segment calls us."""
        return Health(bool(self._secrets), "waits for requests")

    def verify(self, request: RawRequest) -> Verified | Denied:
        """By `X-Signature` over the first message's bytes, and by `token` if there is one."""
        came = request.headers.get("authorization", "").encode()
        if self._authorization is not None and not hmac.compare_digest(came, self._authorization):
            return Denied("the token is missing or wrong")
        given = request.headers.get("x-signature", "").strip().lower().encode()
        try:
            signed = first_of(request.body)
        except ValueError:
            return Denied("the body is neither a message nor a list of them")
        wanted = [hmac.new(secret, signed, hashlib.sha1).hexdigest().encode() for secret in self._secrets]
        held = [hmac.compare_digest(given, one) for one in wanted]
        return Verified() if any(held) else Denied("the signature does not match")

    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        """The messages, with the ids that Segment gave them."""
        try:
            found: Any = json.loads(request.body)
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
        messages = [found] if isinstance(found, dict) else found
        if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
            raise ValueError("the body is neither a message nor a list of them")
        return messages


def first_of(body: bytes) -> bytes:
    """The bytes that are signed: those of a list's first element, else the whole body. Raises ValueError."""
    text = body.decode()
    start = len(text) - len(text.lstrip(_BLANKS))
    if not text.startswith("[", start):
        return body
    inner = text[start + 1 :].lstrip(_BLANKS)
    try:
        _, end = json.JSONDecoder().raw_decode(inner)
    except RecursionError:
        raise ValueError("the first message is nested too deeply") from None
    return inner[:end].encode()
