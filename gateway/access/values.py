"""What keys look like, and how a value becomes the hash that is stored and the id that names it."""

from __future__ import annotations

from hashlib import sha256

WRITE_PREFIX = "wk_"
API_PREFIX = "sk_"
USER_HASH_PREFIX = "uh_"

_ID_BYTES = 8
_SHOWN = 8


def hash_of(value: str) -> bytes:
    """What is stored instead of a key. It needs no salt: every value carries 256 random bits."""
    return sha256(value.encode("utf-8", "surrogatepass")).digest()


def id_of(hashed: bytes) -> str:
    """The id of a key: the beginning of its hash, which says nothing about its value."""
    return hashed[:_ID_BYTES].hex()


def bytes_of_id(key_id: str) -> bytes | None:
    """The beginning of the hash that an id stands for; None for what is no id."""
    try:
        start = bytes.fromhex(key_id)
    except ValueError:
        return None
    return start if len(start) == _ID_BYTES else None


def shown_of(value: str) -> str:
    """The part of a key that may be shown so that people recognise it: prefix and eight characters (48 of 256 bits)."""
    prefix, _, rest = value.partition("_")
    return f"{prefix}_{rest[:_SHOWN]}"
