"""Recognises write keys (`wk_…`, public, they only send), API keys (`sk_…`, secret) and one-time codes for the page.

Only hashes are stored, and no value is ever compared with another: it is looked up by its hash, so that the time an
answer takes says nothing about values that exist.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.access.grant import Bell, Grant
from gateway.access.keybook import KeyBook
from gateway.access.rates import Rates
from gateway.access.uses import Uses
from gateway.access.values import API_PREFIX, WRITE_PREFIX, bytes_of_id, hash_of, id_of
from gateway.clock import Clock, random_secret
from gateway.configuration.origins import is_listed
from gateway.errors import Forbidden, Unauthenticated, Unavailable
from gateway.model.scope import PERMISSIONS, Scope
from gateway.store.keys import Keys

__all__ = ["API_PREFIX", "WRITE_PREFIX", "KeyRing", "WriteKey"]

log = logging.getLogger("gateway.access")

#: How long what was read of a key is believed, and how long an unknown one is not looked up again. While `following`
#: runs, everything is forgotten NOTICE_SECONDS after a key was changed by whichever process.
KNOWN_SECONDS = 5.0
UNKNOWN_SECONDS = 1.0
NOTICE_SECONDS = 1.0
USES_SECONDS = 60.0
CACHED_KEYS = 10_000

_NEW = "`journey-gateway keys create` makes a new one."

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteKey:
    """What a write key stands for. Several keys may belong to one source; its name is part of every event's id.

    `origins`: the web origins that may use it (empty: all, and whoever sends no Origin). `rate`: events a second
    (None: no limit), `burst`: how many at once. `user_hash_secret`: when set, events that carry a userId must prove
    it with a `userHash`. `expires_at`: milliseconds. `id` names the key.
    """

    workspace: str
    source: str
    origins: tuple[str, ...] = ()
    rate: float | None = None
    user_hash_secret: str | None = field(default=None, repr=False)
    burst: float | None = None
    expires_at: int | None = None
    id: str = field(default="", compare=False)

    def check_origin(self, origin: str | None) -> None:
        """Raise Forbidden when a browser on this origin may not use the key."""
        if origin is not None and self.origins and not is_listed(origin, self.origins):
            raise Forbidden(
                "This write key is not for this origin.",
                hint="Use one that lists it: `journey-gateway keys create write --origin …`.",
            )


class KeyRing:
    """Recognises credentials; one per process."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self.book = KeyBook(keys, clock)
        self._keys = keys
        self._clock = clock
        self._rates = Rates(clock)
        self._uses = Uses(keys)
        self._cached: OrderedDict[bytes, tuple[float, _Row | None]] = OrderedDict()
        self._reading: dict[bytes, asyncio.Task[_Row | None]] = {}
        self._bells: set[Bell] = set()
        self._changes: int | None = None

    async def create_write_key(self, workspace: str, source: str) -> str:
        """A new write key for a source, without limits; its value cannot be shown again."""
        return (await self.book.create_write_key(workspace, source)).value

    async def create_api_key(self, workspace: str, permissions: frozenset[str]) -> str:
        """A new API key without end; its value cannot be shown again. InvalidInput for an unknown permission."""
        return (await self.book.create_api_key(workspace, permissions)).value

    async def create_page_code(self, workspace: str, minutes: int) -> str:
        """A code that one browser can exchange once for a page token, within `minutes`."""
        value, now = random_secret(), self._clock.now()
        row = {"kind": "code", "workspace": workspace, "expiresAt": now + minutes * 60_000, "taken": False}
        await self._keys.add(hash_of(value), {**row, "createdAt": now})
        return value

    async def take_page_code(self, code: str) -> str:
        """The workspace a one-time code opens; from now on the code opens nothing. Raises Unauthenticated."""
        row = await self._keys.take(hash_of(code))
        if row is None or row["expiresAt"] <= self._clock.now():
            raise Unauthenticated(
                "The code is unknown, expired or used.", hint="`journey-gateway page` prints a new one."
            )
        return str(row["workspace"])

    # -- recognising ------------------------------------------------------------------------------------------------

    async def write_key(self, value: str) -> WriteKey:
        """What a write key stands for; raises Unauthenticated."""
        row = await self._open(value, WRITE_PREFIX, "write key")
        return WriteKey(
            row["workspace"],
            row["source"],
            origins=tuple(row.get("origins") or ()),
            rate=row.get("rate"),
            user_hash_secret=row.get("userHashSecret"),
            burst=row.get("burst"),
            expires_at=row.get("expiresAt"),
            id=id_of(bytes(row["_id"])),
        )

    def spend(self, key: WriteKey, events: int) -> None:
        """Count events against the key's rate. Raises RateLimited with the seconds until more may come."""
        if key.rate is not None:
            self._rates.spend(key.id, events, key.rate, key.burst)

    async def api_key(self, value: str) -> Scope:
        """What an API key opens; raises Unauthenticated."""
        return (await self.api_grant(value)).scope

    async def api_grant(self, value: str) -> Grant:
        """The same, with its end and the key's id."""
        row = await self._open(value, API_PREFIX, "API key")
        scope = Scope(row["workspace"], permissions=frozenset(PERMISSIONS).intersection(row["permissions"]))
        return Grant(scope, row.get("expiresAt"), id_of(bytes(row["_id"])), tuple(row.get("teams") or ()))

    async def check_minter(self, workspace: str, key_id: str) -> None:
        """Raise Unauthenticated when the key that minted a token no longer opens."""
        start = bytes_of_id(key_id) or b""
        row = await self._row(start, lambda: self._keys.find_by_id(workspace, start)) if start else None
        if row is None or row["workspace"] != workspace or self._ended(row):
            raise Unauthenticated(
                "The key that minted this token no longer opens anything.", hint="Mint a token with another key."
            )

    async def workspaces(self) -> list[str]:
        """Every workspace that has a key."""
        return await self._keys.workspaces()

    # -- what other processes change ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """As long as this is open: notice changes of keys within a second, and write down when keys are used."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    @contextmanager
    def bell(self) -> Iterator[Bell]:
        """A bell that rings when some key has changed."""
        bell = Bell()
        self._bells.add(bell)
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    async def _follow(self, stop: asyncio.Event) -> None:
        write_at = self._clock.monotonic() + USES_SECONDS
        while not stop.is_set():
            try:
                await self._notice()
                if self._clock.monotonic() >= write_at:
                    write_at = self._clock.monotonic() + USES_SECONDS
                    await self._uses.write()
            except Unavailable:
                pass  # what is remembered runs out by itself
            except Exception as error:
                log.warning("changes of keys cannot be read", extra={"error": type(error).__name__})
            with suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_SECONDS):
                    await stop.wait()
        with suppress(Unavailable):
            await self._uses.write()

    async def _notice(self) -> None:
        changes = await self._keys.changes()
        if changes != self._changes:
            self._changes = changes
            self._cached.clear()
            self._reading.clear()  # what is being read may be from before the change
            for bell in self._bells:
                bell.ring()

    # -- looking up ---------------------------------------------------------------------------------------------------

    async def _open(self, value: str, prefix: str, kind: str) -> _Row:
        key = hash_of(value)
        row = await self._row(key, lambda: self._keys.find(key)) if value.startswith(prefix) else None
        if row is None:
            raise Unauthenticated(
                f"The {kind} is not known.", hint="Check it; `journey-gateway init` makes a workspace with keys."
            )
        if (ended := self._ended(row)) is not None:
            raise Unauthenticated(f"The {kind} {ended}.", hint=_NEW)
        self._uses.note(row["workspace"], key, self._clock.now())
        return row

    def _ended(self, row: _Row) -> str | None:
        """Why the key of this row opens nothing, in words."""
        if row.get("revokedAt") is not None:
            return "was revoked"
        expires_at = row.get("expiresAt")
        return "has expired" if expires_at is not None and expires_at <= self._clock.now() else None

    async def _row(self, key: bytes, read: Callable[[], Awaitable[_Row | None]]) -> _Row | None:
        """A row that is remembered, else what `read` finds; several who ask for the same wait for one reading."""
        until, row = self._cached.get(key, (0.0, None))
        if self._clock.monotonic() < until:
            self._cached.move_to_end(key)
            return row
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.create_task(self._read(key, read))
            # Should all who wait have gone, nobody asks for the error.
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(reading)

    async def _read(self, key: bytes, read: Callable[[], Awaitable[_Row | None]]) -> _Row | None:
        asked = self._clock.monotonic()
        try:
            row = await read()
            if self._is_current(key):
                self._cached[key] = (asked + (UNKNOWN_SECONDS if row is None else KNOWN_SECONDS), row)
                self._cached.move_to_end(key)
                if len(self._cached) > CACHED_KEYS:
                    self._cached.popitem(last=False)
            return row
        finally:
            if self._is_current(key):
                del self._reading[key]

    def _is_current(self, key: bytes) -> bool:
        """Whether the running task is the reading that others wait for: none that a change has overtaken."""
        return self._reading.get(key) is asyncio.current_task()
