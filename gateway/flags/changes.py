"""What has changed in the rules of flags, as this process heard of it.

Each process hears from its own providers, at its own time, and tells of a change once it decides by it. So the news of
one process mean nothing in another: a cursor names the process, and any other one, or the same after a restart, says
that it cannot go on from there. Whoever is told so asks for the flags anew.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from gateway.clock import random_id
from gateway.errors import InvalidInput

#: Changes that can be resumed behind.
KEPT = 1_000
_CURSOR = re.compile(r"flags-([0-9a-f]{32})-(\d{1,15})\Z")


@dataclass(frozen=True, slots=True)
class Lost:
    """Changes that cannot be told any more: of another process (`missed` is unknown), or more than are kept."""

    reason: Literal["EXPIRED", "OTHER_PROCESS"]
    missed: int | None


@dataclass(frozen=True, slots=True)
class FlagChange:
    """One message: the keys whose rules changed (None: any may have; empty: none, only a cursor), or what was lost."""

    cursor: str
    keys: frozenset[str] | None = frozenset()
    lost: Lost | None = None


class Changes:
    """The last changes of all workspaces, in the order in which they were heard."""

    def __init__(self) -> None:
        self._process = random_id()
        self._last = 0
        self._kept: deque[tuple[int, str, frozenset[str] | None]] = deque(maxlen=KEPT)
        self._more = asyncio.Event()

    def tell(self, workspace: str, keys: frozenset[str] | None) -> None:
        """Rules have changed; None: nobody knows which."""
        self._last += 1
        self._kept.append((self._last, workspace, keys))
        self._more.set()
        self._more = asyncio.Event()

    async def listen(self, workspace: str, after: str | None = None) -> AsyncIterator[FlagChange]:
        """At once one message with a cursor, then every change from now on, or behind `after`. Raises InvalidInput."""
        position, lost = (self._last, None) if after is None else self._read(after)
        yield FlagChange(self._write(position), lost=lost)
        while True:
            more = self._more
            oldest = self._kept[0][0] if self._kept else self._last + 1
            if position < oldest - 1:
                missed, position = oldest - 1 - position, oldest - 1
                yield FlagChange(self._write(position), lost=Lost("EXPIRED", missed))
                continue
            for number, place, keys in [one for one in self._kept if one[0] > position]:
                if position != number - 1:
                    break  # overtaken while the listener was busy
                position = number
                if place == workspace:
                    yield FlagChange(self._write(number), keys)
            if position == self._last:
                await more.wait()

    def _write(self, position: int) -> str:
        return f"flags-{self._process}-{position}"

    def _read(self, cursor: str) -> tuple[int, Lost | None]:
        found = _CURSOR.match(cursor)
        if found is None:
            raise InvalidInput(
                "`after` is not a cursor of `flagChanged`.",
                hint="Send the cursor of a message as it came.",
                path="after",
            )
        position = int(found[2])
        if found[1] != self._process or position > self._last:
            return self._last, Lost("OTHER_PROCESS", None)
        return position, None
