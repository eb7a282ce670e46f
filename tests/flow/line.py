"""The line between a client and a gateway: a TCP relay that can be cut and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Line:
    """Listens on a port of its own and passes everything on, in both directions, as long as it is whole."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._whole = True
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection, and new ones as soon as they are made."""
        self._whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        if not self._whole:
            writer.transport.abort()
            return
        self.connections += 1
        with suppress(OSError):
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
            ends = {writer, back}
            self._open |= ends
            await asyncio.gather(_pass(reader, back), _pass(onward, writer))
            self._open -= ends


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def open_line(target: int) -> AsyncIterator[Line]:
    """A line to a port of this machine."""
    line = Line(target)
    server = await asyncio.start_server(line.take, "127.0.0.1", 0)
    line.port = int(server.sockets[0].getsockname()[1])
    try:
        yield line
    finally:
        line.cut()
        server.close()
        await server.wait_closed()
