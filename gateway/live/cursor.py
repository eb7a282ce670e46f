"""Cursors: the position in every lane of the feed, signed so that nobody makes one up."""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from collections.abc import Mapping
from hashlib import sha256

from gateway.errors import InvalidInput
from gateway.model.identity import LANES

_FORMAT = f">{LANES}Q"
_SIGNATURE_BYTES = 12


class Cursors:
    """Writes and reads cursors of one installation."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def write(self, workspace: str, positions: Mapping[int, int]) -> str:
        body = struct.pack(_FORMAT, *(positions.get(lane, 0) for lane in range(LANES)))
        return base64.urlsafe_b64encode(self._sign(workspace, body) + _squeezed(body)).decode().rstrip("=")

    def read(self, workspace: str, cursor: str) -> dict[int, int]:
        """Positions by lane; InvalidInput for a cursor that was not written for this workspace here."""
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            body = _stretched(raw[_SIGNATURE_BYTES:])
            positions = struct.unpack(_FORMAT, body)
        except (binascii.Error, struct.error, ValueError, IndexError):
            raise _bad() from None
        if not hmac.compare_digest(raw[:_SIGNATURE_BYTES], self._sign(workspace, body)):
            raise _bad()
        return dict(enumerate(positions))

    def _sign(self, workspace: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, b"cursor\0" + workspace.encode() + b"\0" + body, sha256)[:_SIGNATURE_BYTES]


def _squeezed(body: bytes) -> bytes:
    """Each 8-byte position as a length and its significant bytes."""
    parts = []
    for start in range(0, len(body), 8):
        digits = body[start : start + 8].lstrip(b"\0")
        parts.append(bytes([len(digits)]) + digits)
    return b"".join(parts)


def _stretched(squeezed: bytes) -> bytes:
    parts, start = [], 0
    while start < len(squeezed):
        length = squeezed[start]
        parts.append(squeezed[start + 1 : start + 1 + length].rjust(8, b"\0"))
        start += 1 + length
    return b"".join(parts)


def _bad() -> InvalidInput:
    return InvalidInput(
        "`after` is not a cursor of this gateway.", hint="Send the cursor of a message as it came.", path="after"
    )
