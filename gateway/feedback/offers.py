"""Offers: that this survey was offered to this person, signed, so that nobody answers what they were not asked.

An offer is the same until it is taken: it is made of the person, the survey and when that survey was last heard of.
With its id as the id of the response there is one response to each, however often it is sent.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from gateway.errors import InvalidInput
from gateway.model.identity import digest

_LONGEST = 2_000
_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Offer:
    """What was offered: to the user with the id `user`, as the survey then was (`asks_hash`), in a variant, after it
    was last heard of at `after` (ms; 0: never)."""

    workspace: str
    survey: str
    user: str
    asks_hash: str
    variant: str | None
    after: int

    @property
    def id(self) -> str:
        """32 hexadecimal digits: the id of the response."""
        return digest("offer", self.workspace, self.survey, self.user, str(self.after)).hex()


class Offers:
    """Signs offers and reads them; every process of a gateway with the same secret reads them all."""

    def __init__(self, secret: str) -> None:
        self._key = blake2b(secret.encode(), digest_size=32, person=b"survey offers").digest()

    def sealed(self, offer: Offer) -> str:
        """The offer as a text for whoever is asked."""
        said = [offer.survey, offer.user, offer.asks_hash, offer.variant, offer.after]
        body = orjson.dumps(said)
        return _text(body) + "." + _text(self._signature(offer.workspace, body))

    def opened(self, text: str, workspace: str) -> Offer:
        """The offer in a text. Raises InvalidInput for one that this gateway did not make for the workspace."""
        body, signature = _parts(text)
        if not hmac.compare_digest(signature, self._signature(workspace, body)):
            raise _no_offer()
        survey, user, asks, variant, after = orjson.loads(body)
        return Offer(workspace, survey, user, asks, variant, after)

    def _signature(self, workspace: str, body: bytes) -> bytes:
        named = len(workspace.encode()).to_bytes(4, "big") + workspace.encode() + body
        return blake2b(named, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _parts(text: str) -> tuple[bytes, bytes]:
    try:
        if len(text) > _LONGEST:
            raise ValueError
        body, signature = (base64.b64decode(part + "=" * (-len(part) % 4), b"-_", True) for part in text.split("."))
    except ValueError:
        raise _no_offer() from None
    return body, signature


def _no_offer() -> InvalidInput:
    return InvalidInput(
        "This is no offer of a survey.", hint="Send `offer` as `nextSurvey` gave it.", path="input.offer"
    )
