"""Consistency tokens: how far derivation must have come for a query to see what its sender was told is stored."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

from gateway.errors import InvalidInput
from gateway.model.identity import LANES

#: A version, MongoDB's cluster time (seconds since 1970, and a counter within the second), and one bit for each lane.
_FORM = struct.Struct(">BIIH")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """Events of these lanes are stored at this cluster time or before it.

    `time` and `increment` are those of the insert's operationTime; `lanes` are the lanes of the events' `sk`.
    """

    time: int
    increment: int
    lanes: frozenset[int]

    def encode(self) -> str:
        """15 characters that are safe in an address; they say when and which sixteenth of all identities, not who."""
        bits = sum(1 << lane for lane in self.lanes)
        return base64.urlsafe_b64encode(_FORM.pack(_VERSION, self.time, self.increment, bits)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> ConsistencyToken:
        """The token that `encode` wrote. Raises InvalidInput for any other text."""
        try:
            packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
            version, time, increment, bits = _FORM.unpack(packed)
        except (binascii.Error, ValueError, struct.error):
            raise _not_one() from None
        token = cls(time, increment, frozenset(lane for lane in range(LANES) if bits >> lane & 1))
        if version != _VERSION or not bits or token.encode() != text:
            raise _not_one()
        return token


def _not_one() -> InvalidInput:
    return InvalidInput(
        "This is not a consistency token.", hint="Pass `consistencyToken` of an answer as it came.", path="atLeast"
    )
