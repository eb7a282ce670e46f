"""What messages say that is never stored as sent: the sender's IP address, and the proof of a userId.

Both are taken out before anything else looks at a message, so that neither events nor quarantine rows nor content
hashes can tell them.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from gateway.model.event import JsonObject


@dataclass(frozen=True, slots=True)
class Withheld:
    """What was taken out of one message."""

    ip: str | None = None
    user_hash: str | None = None

    def proves(self, user_id: str, secret: str) -> bool:
        """Whether the userHash is the hexadecimal HMAC-SHA256 of the userId under the secret."""
        expected = hmac.new(secret.encode(), user_id.encode(), "sha256").hexdigest()
        given = (self.user_hash or "").strip().lower()
        return given.isascii() and hmac.compare_digest(expected, given)


#: No address is longer, and whatever is remembered of addresses stays small.
MAX_IP = 64
NOTHING = Withheld()
_EMPTY: JsonObject = {}


def withhold(message: Any) -> tuple[Any, Withheld]:
    """The message without `context.ip` and without `userHash` at its top, in its context or in traits; and those."""
    if not isinstance(message, dict):
        return message, NOTHING
    context = message.get("context")
    if not isinstance(context, dict):
        context = _EMPTY
    traits, context_traits = message.get("traits"), context.get("traits")
    if not (
        "userHash" in message
        or "ip" in context
        or "userHash" in context
        or (isinstance(traits, dict) and "userHash" in traits)
        or (isinstance(context_traits, dict) and "userHash" in context_traits)
    ):
        return message, NOTHING
    traits, context_traits = _object(traits), _object(context_traits)
    parts = (message, context, traits, context_traits)
    proofs = (part.get("userHash") for part in parts)
    ip = context.get("ip")
    rest = _without(message, "userHash")
    if context:
        rest["context"] = _without(context, "ip", "userHash")
    if context_traits:
        rest["context"]["traits"] = _without(context_traits, "userHash")
    if traits:
        rest["traits"] = _without(traits, "userHash")
    proof = next((found for found in proofs if isinstance(found, str) and found), None)
    return rest, Withheld(ip if isinstance(ip, str) and len(ip) <= MAX_IP else None, proof)


def with_ip(message: Any, ip: str | None) -> Any:
    """A message that `withhold` gave, with as much of the address as may be stored."""
    if ip is None or not isinstance(message, dict) or not isinstance(message.get("context"), dict):
        return message
    return {**message, "context": {**message["context"], "ip": ip}}


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else _EMPTY


def _without(value: JsonObject, *keys: str) -> JsonObject:
    return {key: item for key, item in value.items() if key not in keys}
