"""Identities: the names under which a person's events arrive, and the user they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

IdentityType = Literal["userId", "anonymousId"]

#: Of an id of any kind, and of an event's name.
MAX_ID_CHARS = 255
#: What JSON can hold and UTF-8 cannot.
SURROGATE = re.compile("[\ud800-\udfff]")
SLOTS = 1024
LANES = 16

#: Values that SDKs and forms send for "nobody in particular": linking through them would merge strangers.
BLOCKED_VALUES = frozenset(
    {
        "",
        "null",
        "none",
        "nil",
        "undefined",
        "nan",
        "anonymous",
        "guest",
        "unknown",
        "not_found",
        "0",
        "-1",
        "true",
        "false",
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One identity as it was sent, for example (userId, "42")."""

    type: IdentityType
    value: str

    @property
    def sk(self) -> str:
        """The identity as one string; `u:` and `a:` keep equal values of the two types apart."""
        return f"{'u' if self.type == 'userId' else 'a'}:{self.value}"

    @property
    def blocked(self) -> bool:
        """Whether the value names nobody, so that no edge may be drawn to it."""
        plain = self.value.strip().lower()
        return plain in BLOCKED_VALUES or not plain.strip("0-")

    @classmethod
    def from_sk(cls, sk: str) -> Identity:
        return cls("userId" if sk[0] == "u" else "anonymousId", sk[2:])


#: An anonymous identity and the userId it was linked to.
Pair = tuple[Identity, Identity]


@dataclass(slots=True)
class Member:
    """One identity in the graph: the order key of the first event that carried it, its group and its user."""

    first: tuple[int, int, bytes]
    group: str
    user: str


@dataclass(slots=True)
class Edge:
    """Two identities an event says belong together: the earliest such event, and why it was refused if it was."""

    order: tuple[int, int, bytes]
    group: str
    refused: str | None = None


@dataclass(slots=True)
class Decision:
    """What an operator decided: that all these are one person (`merge`), or that no identity of `one` is the same
    person as any of `other` (`split`). Both name every identity that the operator saw on either side."""

    kind: Literal["merge", "split"]
    one: frozenset[Identity]
    other: frozenset[Identity]
    order: tuple[int, int, bytes]
    group: str = ""

    @property
    def identities(self) -> frozenset[Identity]:
        return self.one | self.other


def digest(*parts: str | bytes) -> bytes:
    """16-byte BLAKE2b over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
    whole = b""
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole += len(raw).to_bytes(4, "big") + raw
    return blake2b(whole, digest_size=16).digest()


def key_of(workspace: str, sk: str) -> bytes:
    """16 bytes for an identity that do not show it; in hexadecimal the id of the user who is named after it."""
    return digest(workspace, sk)


def user_id_of(workspace: str, first: Identity) -> str:
    """The id of the user whose first identity is `first`: 32 hexadecimal digits."""
    return digest(workspace, first.sk).hex()


@lru_cache(maxsize=1 << 16)
def lane_of(workspace: str, key: str) -> int:
    """The lane (0 … 15) that owns `key`: a range of the 1024 slots its hash falls into."""
    slot = int.from_bytes(digest(workspace, key)[:4], "big") % SLOTS
    return slot * LANES // SLOTS
