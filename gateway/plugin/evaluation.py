"""What a provider of feature flags is asked, and what it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FlagReason(StrEnum):
    """Why a flag has its value, in the words of OpenFeature."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class FlagContext:
    """Whom flags are evaluated for: a stable key, and what the gateway knows (JSON values)."""

    targeting_key: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagResult:
    """One flag's value. `error` is OpenFeature's code (FLAG_NOT_FOUND, TYPE_MISMATCH …) and leaves `value` None."""

    key: str
    value: Any = None
    variant: str | None = None
    reason: FlagReason = FlagReason.UNKNOWN
    error: str | None = None
    message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class FlagChanges:
    """Carries the keys of changed flags from an SDK's own threads to `FlagProvider.changes`.

    What is told while nobody listens is kept, together: nothing piles up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._any = False
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def tell(self, keys: Iterable[str] = ()) -> None:
        """These flags have changed; none named: any may have. From any thread."""
        named = frozenset(keys)
        with self._lock:
            self._keys |= named
            self._any = self._any or not named
            waiting = self._waiting
        if waiting is not None:
            loop, awake = waiting
            with suppress(RuntimeError):  # the loop has ended, and nobody listens any more
                loop.call_soon_threadsafe(awake.set)

    async def listen(self) -> AsyncIterator[frozenset[str]]:
        """What `changes` gives: keys, or an empty set when any flag may have changed. For one listener."""
        awake = asyncio.Event()
        with self._lock:
            self._waiting = asyncio.get_running_loop(), awake
        try:
            while True:
                awake.clear()
                with self._lock:
                    keys, unsure = frozenset(self._keys), self._any
                    self._keys.clear()
                    self._any = False
                if unsure or keys:
                    yield frozenset() if unsure else keys
                else:
                    await awake.wait()
        finally:
            with self._lock:
                self._waiting = None
