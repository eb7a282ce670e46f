"""The only source of time, sequence numbers and random ids.

Time is mongod's, not the machine's: `anchor` ties the monotonic clock to the server's `localTime`, so that
gateways agree to a fraction of a millisecond and a machine with a wrong wall clock does no harm.
"""

from __future__ import annotations

import secrets
import time
from contextvars import ContextVar
from typing import Protocol

#: The id of the request that is being served, for logs and for errors that name it.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


class Clock(Protocol):
    """What the rooms ask of a clock. Times are milliseconds since 1970 UTC."""

    def now(self) -> int: ...

    def sequence(self, count: int = 1) -> int: ...

    def monotonic(self) -> float: ...


class ServerClock:
    """mongod's time plus the monotonic clock; never goes backwards."""

    def __init__(self) -> None:
        self._offset = time.time() * 1000 - time.monotonic() * 1000
        self._latest = 0
        self._counter = 0

    def anchor(self, server_ms: float, asked: float, answered: float) -> None:
        """Tie to a server time that was read between `asked` and `answered` (monotonic seconds)."""
        self._offset = server_ms - (asked + answered) / 2 * 1000

    def now(self) -> int:
        """Server time, never less than what was returned before."""
        self._latest = max(self._latest, int(time.monotonic() * 1000 + self._offset))
        return self._latest

    def sequence(self, count: int = 1) -> int:
        """The first of `count` consecutive numbers: (ms << 12) | counter, increasing within this process."""
        first = max(self.now() << 12, self._counter)
        self._counter = first + count
        return first

    def monotonic(self) -> float:
        return time.monotonic()


class FrozenClock:
    """A clock that stands still until told to move: for tests."""

    def __init__(self, at: int) -> None:
        self.at = at
        self._counter = 0

    def now(self) -> int:
        return self.at

    def sequence(self, count: int = 1) -> int:
        first = max(self.at << 12, self._counter)
        self._counter = first + count
        return first

    def monotonic(self) -> float:
        return self.at / 1000

    def advance(self, milliseconds: int) -> None:
        self.at += milliseconds


def monotonic() -> float:
    """Seconds that only ever grow, for durations and deadlines."""
    return time.monotonic()


def random_id() -> str:
    """32 random hexadecimal digits."""
    return secrets.token_hex(16)


def random_between(least: int, most: int) -> int:
    """A whole number from `least` to `most`, for spreading what would come at once."""
    return least + secrets.randbelow(most - least + 1)


def random_secret() -> str:
    """256 random bits for keys and codes, URL-safe."""
    return secrets.token_urlsafe(32)
