"""The HTTP calls of the Segment specification, as the official Segment and RudderStack SDKs make them."""

from __future__ import annotations

import binascii
from base64 import b64decode
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from gateway.access.keys import KeyRing, WriteKey
from gateway.collect.answers import Post, answer
from gateway.collect.bodies import Bodies, read_object
from gateway.errors import InvalidInput, Unauthenticated
from gateway.model.event import EventType, JsonObject, Problem, Receipt
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.messages import parse_time
from gateway.settings import Settings

_SHARED = ("context", "integrations")
_REFUSED = "Nothing was stored."


def routes(intake: Intake, keyring: KeyRing, settings: Settings) -> list[Route]:
    """POST /v1/batch (also as /v1/import) and one path per call: /v1/track, /v1/identify, …"""
    bodies = Bodies(settings.max_body_bytes)
    types: dict[str, EventType | None] = {"batch": None, "import": None, **{kind.value: kind for kind in EventType}}
    return [
        Route(f"/v1/{path}", Post(bodies, _Call(intake, keyring, kind), refused=_REFUSED), name=f"segment.{path}")
        for path, kind in types.items()
    ]


class _Call:
    """One call: a batch, or for a `kind` one message of that type."""

    def __init__(self, intake: Intake, keyring: KeyRing, kind: EventType | None) -> None:
        self._intake = intake
        self._keyring = keyring
        self._kind = kind

    async def __call__(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        given = basic_key(headers.get("authorization"))
        # Asked before the body is parsed: strangers shall not cost much.
        key = None if given is None else await self._keyring.write_key(given)
        content = read_object(body)
        if key is None:
            key = await self._keyring.write_key(_key_in(content, scope))
        receipt = await self._intake.ingest(self._delivery(key, content, body))
        return answer(_reply(receipt))

    def _delivery(self, key: WriteKey, content: JsonObject, body: bytes) -> Delivery:
        return Delivery(
            key.workspace,
            key.source,
            _batch(content) if self._kind is None else [_message(content, self._kind)],
            sent_at=parse_time(content.get("sentAt")),
            body_digest=blake2b(body, digest_size=16).digest(),
        )


def basic_key(authorization: str | None) -> str | None:
    """The user name of HTTP Basic authentication, with or without the colon behind it; None when there is none."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user = b64decode(encoded.strip()).decode()
    except (binascii.Error, ValueError):
        return None
    return user.split(":", 1)[0] or None


def _key_in(content: JsonObject, scope: Scope) -> str:
    """The write key in the body, else in the address."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("writeKey", [None])
    for key in (content.get("writeKey"), asked[0]):
        if isinstance(key, str) and key:
            return key
    raise Unauthenticated(
        "There is no write key.", hint="Send it as the user name of HTTP Basic authentication, or as `writeKey`."
    )


def _batch(content: JsonObject) -> list[Any]:
    batch = content.get("batch")
    if not isinstance(batch, list):
        raise InvalidInput(
            "`batch` must be a list of messages.",
            hint='Send {"batch": [{"type": "track", "userId": "…", "event": "…"}], "sentAt": "…"}.',
        )
    shared = {key: content[key] for key in _SHARED if content.get(key) is not None}
    return [_with_shared(message, shared) for message in batch] if shared else batch


def _with_shared(message: Any, shared: JsonObject) -> Any:
    """The message with what the batch says for all; where both say something, the message wins."""
    if not isinstance(message, dict):
        return message
    merged = dict(message)
    for key, value in shared.items():
        own = message.get(key)
        if own is None:
            merged[key] = value
        elif isinstance(own, dict) and isinstance(value, dict):
            merged[key] = value | own
    return merged


def _message(content: JsonObject, kind: EventType) -> JsonObject:
    return {key: value for key, value in content.items() if key != "writeKey"} | {"type": kind.value}


def _reply(receipt: Receipt) -> dict[str, Any]:
    reply: dict[str, Any] = {"success": not receipt.problems, **receipt.counts()}
    if receipt.problems:
        reply["problems"] = [_problem(problem) for problem in receipt.problems]
    return reply


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "index": problem.index,
        "messageId": problem.message_id,
        "verdict": problem.verdict.value,
        "code": problem.code,
        "message": problem.message,
    }
