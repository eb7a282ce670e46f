"""A TCP proxy on a loopback port that can cut, hold and slow what passes through it."""

from __future__ import annotations

import asyncio
from typing import cast

#: Of a slow line: bytes a second, and what each piece waits besides.
SLOW_BYTES = 200_000
SLOW_SECONDS = 0.03
_HIGH_WATER = 1 << 20


class Proxy:
    """Forwards one port to another, as it is until told otherwise; `heal` ends whatever was told."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.refuses = False
        self.holds: frozenset[str] = frozenset()
        self.slow = False
        self._server: asyncio.Server | None = None
        self._sides: set[_Side] = set()
        self._dialling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free loopback port, from then on `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self, "out"), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        await asyncio.sleep(0)

    def reset(self) -> None:
        """Break every connection; new ones are welcome."""
        for side in list(self._sides):
            side.transport.abort()

    def cut(self) -> None:
        """Break every connection, and each new one at once."""
        self.refuses = True
        self.reset()

    def hold(self, *directions: str) -> None:
        """Half-open: connections stay, new ones are taken, and nothing arrives in these directions (out, back)."""
        self.holds = frozenset(directions)
        self._look()

    def slow_down(self) -> None:
        """Let little through, late."""
        self.slow = True

    def heal(self, *, broken: bool = False) -> None:
        """Forward again; `broken`: what was held or slowed is lost with its connections."""
        self.refuses, self.holds, self.slow = False, frozenset(), False
        if broken:
            self.reset()
        self._look()

    def dial(self, side: _Side) -> None:
        """Connect an accepted side to the target."""
        task = asyncio.get_running_loop().create_task(self._dial(side))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, side: _Side) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: _Side(self, "back", side), "127.0.0.1", self.target
            )
        except OSError:
            side.transport.abort()

    def _look(self) -> None:
        for side in self._sides:
            side.because("held", side.direction in self.holds)

    def add(self, side: _Side) -> None:
        self._sides.add(side)

    def remove(self, side: _Side) -> None:
        self._sides.discard(side)


class _Side(asyncio.Protocol):
    """One end of a forwarded connection; what it reads goes `out` to the target, or `back` from it."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy, direction: str, other: _Side | None = None) -> None:
        self.proxy = proxy
        self.direction = direction
        self.other = other
        self._reasons: set[str] = set()
        self._kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_HIGH_WATER)
        if self.proxy.refuses:
            self.transport.abort()
            return
        self.proxy.add(self)
        if self.direction == "out":
            self._reasons.add("not connected")
            self.proxy.dial(self)
        # Not at once: uvloop begins to read only after this method, whatever is said in it.
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self.because("held", self.direction in self.proxy.holds)
        if self.direction == "out":
            return
        if self.other is None or self.other.transport.is_closing():
            self.transport.abort()
        else:
            self.other.other = self
            self.other.because("not connected", False)

    def because(self, reason: str, holds: bool) -> None:
        """Pass nothing on while any reason holds."""
        (self._reasons.add if holds else self._reasons.discard)(reason)
        if self.transport.is_closing():
            return
        if self._reasons:
            self.transport.pause_reading()
            return
        self.transport.resume_reading()
        kept, self._kept = self._kept, []
        for data in kept:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self._reasons:
            self._kept.append(data)
        elif self.proxy.slow:
            self.because("slow", True)
            delay = SLOW_SECONDS + len(data) / SLOW_BYTES
            asyncio.get_running_loop().call_later(delay, self._pass_on, data)
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)
        self.because("slow", False)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.because("full", True)

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.because("full", False)

    def connection_lost(self, error: Exception | None) -> None:
        self.proxy.remove(self)
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.close()
