"""An HTTP server for tests that answers as it is told: any status, and what goes wrong between machines."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

from gateway.clock import monotonic

#: `reset`: half of the answer, then the connection is reset. `close`: it ends without an answer. `hang`: no answer.
Fault: TypeAlias = Literal["", "reset", "close", "hang"]

#: Where requests were meant to go that were led here (see `WiredHttp`).
ASKED_URL = "x-asked-url"

_START_SECONDS = 30.0
_TURNS = 10


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came. `url` is the one that was asked for; names of headers are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; ValueError when it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. `body` is bytes, or a value that goes as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault = ""

    def content(self) -> bytes:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps({} if self.body is None else self.body).encode()


class FaultServer:
    """Serves on 127.0.0.1 in a thread of its own while it is entered. Set `answer`; read `requests` and `open`."""

    def __init__(self) -> None:
        self.answer: Callable[[Received], Reply] = lambda request: Reply()
        self.requests: list[Received] = []
        self.port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fault server", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        assert self._ready.wait(_START_SECONDS), "the fault server does not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await _turns()  # whoever was let in just now begins
        left = list(self._connections)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await _turns()  # sockets are closed a turn later

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        request = await _read(reader)
        self.requests.append(request)
        reply = self.answer(request)
        if reply.fault == "close" or (reply.fault == "reset" and request.method == "HEAD"):
            return False  # (an answer without a body has no half)
        if reply.fault == "hang":
            await reader.read(1)  # until the other side gives up
            return False
        content = b"" if request.method == "HEAD" else reply.content()
        lines = [f"HTTP/1.1 {reply.status} Told", f"content-length: {len(content)}"]
        headers = {"content-type": "application/json", **reply.headers}
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
        if reply.fault == "reset":
            writer.write(head.replace(b"content-length: ", b"content-length: 9") + content[: len(content) // 2])
            await writer.drain()
            # Without lingering, closing sends RST.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        writer.write(head + content)
        await writer.drain()
        return True


async def _turns() -> None:
    """Let the loop do what it has scheduled, however slow the machine is."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif length := int(headers.get("content-length", "0")):
        body = await reader.readexactly(length)
    url = unquote(headers.pop(ASKED_URL, "")) or f"http://{headers.get('host', '')}{target}"
    return Received(method, url, headers, body)


async def idle(server: FaultServer, seconds: float) -> bool:
    """Wait until no connection to the server is open; whether that came true."""
    until = monotonic() + seconds
    while server.open and monotonic() < until:  # noqa: ASYNC110 - another thread's connections tell nobody
        await asyncio.sleep(0.01)
    return not server.open
