"""Three destinations of a run: one is down until the faults are over, one slow until then, one flaps and lies.

The flapping one answers 200 and says inside that some of it failed, answers 503, or breaks the connection before it
has taken anything. What a sink has taken it notes: which event, whose, and when.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import orjson

Manner = Literal["down", "slow", "flapping"]
MANNERS: tuple[Manner, ...] = ("down", "slow", "flapping")
_SLOW_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Taken:
    """One event as a sink took it: the event's id in hexadecimal, and monotonic seconds."""

    key: str
    at: float


@dataclass(slots=True)
class Sink:
    """One destination. `url` is known once it is started."""

    manner: Manner
    seed: int
    taken: list[Taken] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    healthy: bool = False
    port: int = 0
    _server: asyncio.Server | None = None
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(f"sink {self.manner} {self.seed}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def heal(self) -> None:
        """From here on it behaves."""
        self.healthy = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
                keys = orjson.loads(await reader.readexactly(int(length.split(b":")[1])))
                answer = await self._answer(keys)
                if answer is None:
                    writer.transport.abort()
                    return
                status, body = answer
                self.answers[str(status)] += 1
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, keys: list[str]) -> tuple[int, bytes] | None:
        if not self.healthy and self.manner == "down":
            return 503, b""
        if not self.healthy and self.manner == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        lies = not self.healthy and self.manner == "flapping"
        if lies and (mood := self._chance.random()) < 0.2:
            self.answers["broken off"] += mood < 0.1
            return None if mood < 0.1 else (503, b"")
        ends = []
        for key in keys:
            fails = lies and self._chance.random() < 0.05
            ends.append(not fails)
            if not fails:
                self.taken.append(Taken(key, time.monotonic()))
                self.keys.add(key)
        return 200, orjson.dumps(ends)
