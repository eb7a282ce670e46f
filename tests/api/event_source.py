"""A client of an event stream without a socket: reads the raw protocol as it arrives, and can hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import ASGIApp

from tests.pace import PATIENCE


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream."""

    event: str
    data: Any
    id: str | None = None


class EventSource:
    """The client's end. `slow`: takes nothing until told."""

    def __init__(self, app: ASGIApp, *, slow: bool = False) -> None:
        self.comments = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self._app = app
        self._text = b""
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._taking = asyncio.Event()
        if not slow:
            self._taking.set()
        self._task: asyncio.Task[None] | None = None

    async def open(self, method: str, path: str, body: object = None, **headers: str) -> None:
        """Send a request and read the head of its answer."""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        bodies = [{"type": "http.request", "body": b"" if body is None else orjson.dumps(body), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if bodies:
                return bodies.pop()
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await self._taking.wait()
            if not self._gone.is_set():
                await self._from_app.put(message)

        self._task = asyncio.ensure_future(self._app(scope, receive, send))
        start = await self._next()
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}

    async def read(self) -> Message | None:
        """The next event; None at the end of the stream."""
        while True:
            part, found, rest = self._text.partition(b"\n\n")
            if not found:
                message = await self._next()
                self._text += message["body"]
                if not message.get("more_body") and not self._text:
                    return None
                continue
            self._text = rest
            fields = dict(line.split(":", 1) for line in part.decode().split("\n"))
            if list(fields) == [""]:
                self.comments += 1
                continue
            data = fields["data"].strip()
            id = fields.get("id")
            return Message(fields["event"].strip(), orjson.loads(data) if data else None, id and id.strip())

    async def told(self) -> Message:
        """The next event of a stream that has not ended."""
        message = await self.read()
        assert message is not None
        return message

    async def body(self) -> Any:
        """The whole of an answer that is no stream."""
        whole = b""
        while True:
            message = await self._next()
            whole += message["body"]
            if not message.get("more_body"):
                return orjson.loads(whole) if whole else None

    async def data(self) -> Any:
        """The data of the next result, which has no errors."""
        message = await self.told()
        assert message.event == "next", message
        assert "errors" not in message.data, message
        return message.data["data"]

    def go_on(self) -> None:
        """Take what comes, from here on."""
        self._taking.set()

    async def hang_up(self) -> None:
        self._gone.set()
        self._taking.set()
        if self._task is not None:
            async with asyncio.timeout(PATIENCE):
                await self._task

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self._from_app.get()


def streaming(
    app: ASGIApp, method: str, path: str, body: object = None, **headers: str
) -> AbstractAsyncContextManager[EventSource]:
    """An answer of the application, hung up on at the end."""
    return opened(EventSource(app), method, path, body, **headers)


@asynccontextmanager
async def opened(
    source: EventSource, method: str, path: str, body: object = None, **headers: str
) -> AsyncIterator[EventSource]:
    """The same with a client made before."""
    await source.open(method, path, body, **headers)
    try:
        yield source
    finally:
        await source.hang_up()
