"""Write keys (`wk_…`, public, they only send), API keys (`sk_…`, secret) and one-time codes for the web page.

Only hashes are stored. They need no salt: every value carries 256 random bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gateway.clock import Clock, random_secret
from gateway.errors import InvalidInput, Unauthenticated
from gateway.model.scope import PERMISSIONS, Scope
from gateway.store.keys import Keys

WRITE_PREFIX = "wk_"
API_PREFIX = "sk_"

#: How long a revoked key may go on to open, and how long an unknown one is not looked up again.
KNOWN_SECONDS = 5.0
UNKNOWN_SECONDS = 1.0
CACHED_KEYS = 10_000

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteKey:
    """What a write key stands for. Several keys may belong to one source; its name is part of every event's id."""

    workspace: str
    source: str


class KeyRing:
    """Makes credentials and recognises them; one per process."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._cached: OrderedDict[bytes, tuple[float, _Row | None]] = OrderedDict()

    async def create_write_key(self, workspace: str, source: str) -> str:
        """A new write key for a source; its value cannot be shown again."""
        return await self._create(WRITE_PREFIX, {"kind": "write", "workspace": workspace, "source": source})

    async def create_api_key(self, workspace: str, permissions: frozenset[str]) -> str:
        """A new API key; its value cannot be shown again. InvalidInput for a permission that does not exist."""
        unknown = permissions - PERMISSIONS.keys()
        if unknown:
            raise InvalidInput(
                f"There is no permission {', '.join(sorted(unknown))}.", hint=f"Use some of: {', '.join(PERMISSIONS)}."
            )
        return await self._create(
            API_PREFIX, {"kind": "api", "workspace": workspace, "permissions": sorted(permissions)}
        )

    async def create_page_code(self, workspace: str, minutes: int) -> str:
        """A code that one browser can exchange once for a page token, within `minutes`."""
        expires = self._clock.now() + minutes * 60_000
        return await self._create("", {"kind": "code", "workspace": workspace, "expiresAt": expires, "taken": False})

    async def take_page_code(self, code: str) -> str:
        """The workspace a one-time code opens; from now on the code opens nothing. Raises Unauthenticated."""
        row = await self._keys.take(_hash(code))
        if row is None or row["expiresAt"] <= self._clock.now():
            raise Unauthenticated(
                "The code is unknown, expired or used.", hint="`journey-gateway page` prints a new one."
            )
        return str(row["workspace"])

    async def write_key(self, value: str) -> WriteKey:
        """What a write key stands for; raises Unauthenticated."""
        row = await self._find(value, WRITE_PREFIX)
        if row is None:
            raise Unauthenticated(
                "The write key is not known.", hint="Check it; `journey-gateway init` makes a workspace with keys."
            )
        return WriteKey(row["workspace"], row["source"])

    async def api_key(self, value: str) -> Scope:
        """What an API key opens; raises Unauthenticated."""
        row = await self._find(value, API_PREFIX)
        if row is None:
            raise Unauthenticated(
                "The API key is not known.", hint="Check it; `journey-gateway init` makes a workspace with keys."
            )
        return Scope(row["workspace"], permissions=PERMISSIONS.keys() & row["permissions"])

    async def workspaces(self) -> list[str]:
        """Every workspace that has a key."""
        return await self._keys.workspaces()

    async def _create(self, prefix: str, row: dict[str, Any]) -> str:
        value = prefix + random_secret()
        await self._keys.add(_hash(value), {**row, "createdAt": self._clock.now()})
        return value

    async def _find(self, value: str, prefix: str) -> _Row | None:
        """The row of a key of this kind, at most 5 s old; None when there is none."""
        if not value.startswith(prefix):
            return None
        key, now = _hash(value), self._clock.monotonic()
        until, row = self._cached.get(key, (0.0, None))
        if now < until:
            self._cached.move_to_end(key)
            return row
        row = await self._keys.find(key)
        self._cached[key] = (now + (UNKNOWN_SECONDS if row is None else KNOWN_SECONDS), row)
        self._cached.move_to_end(key)
        if len(self._cached) > CACHED_KEYS:
            self._cached.popitem(last=False)
        return row


def _hash(value: str) -> bytes:
    return sha256(value.encode("utf-8", "surrogatepass")).digest()
