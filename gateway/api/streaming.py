"""An event stream: operations that write to one connection, which takes what it can carry and ends when told.

A stream holds few messages. When the client reads slowly, operations wait, and what happens meanwhile waits in the
feed: nothing is lost, and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from enum import Enum, auto
from typing import Any, TypeAlias

import orjson
from starlette.types import Receive, Send
from starlette.types import Scope as Connection
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from gateway.api.answers import body_of_result
from gateway.api.context import Context
from gateway.api.requests import Operation
from gateway.api.schema import Schema
from gateway.api.served import ServedSchema
from gateway.api.telling import told
from gateway.errors import InvalidInput, NotFound

log = logging.getLogger("gateway.api")

#: Comments at this interval keep proxies from closing a silent stream.
KEEP_ALIVE_SECONDS = 12.0
#: Messages that wait in a stream for the client.
WAITING = 16
MAX_OPERATIONS = 100

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_COMMENT = b":\n\n"
_SILENCE = b""


class Begun(Enum):
    """What became of an operation that nobody refused."""

    RUNNING = auto()
    STOPPED = auto()


_Beginning: TypeAlias = "asyncio.Future[ExecutionResult | Begun]"


class EventStream:
    """An ASGI response. Ends by itself when its one operation has, and without a last word when it is cancelled."""

    def __init__(self, schema: ServedSchema | Schema) -> None:
        self._schema = schema
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._ending = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # those that run, and those that wait to say their last word

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._running

    def run(self, operation: Operation, context: Context, operation_id: str | None = None) -> _Beginning:
        """Begin an operation; without an id the stream ends with it.

        What is awaited comes with the first result: that it is under way, or why it was refused before. With an id a
        refusal is not told in the stream. Raises InvalidInput for one operation too many,
        NotFound for a stream that ends.
        """
        if self._ending.is_set():
            raise NotFound("This stream has ended.", hint="Open another.")
        if len(self._tasks) >= MAX_OPERATIONS:
            raise InvalidInput(f"This stream has {MAX_OPERATIONS} operations.", hint="Complete some, or open another.")
        begun: _Beginning = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(operation, context, operation_id, begun))
        key = operation_id or ""
        self._running[key] = task
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._forget(key, task, begun))
        return begun

    def stop(self, operation_id: str) -> None:
        """End one operation; it says nothing more."""
        task = self._running.pop(operation_id, None)
        if task is not None:
            task.cancel()

    def end(self) -> None:
        """End the stream without completing its operations, so that the client comes again for the rest."""
        self._ending.set()

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(_until_disconnected(receive))
        tasks: list[asyncio.Task[Any]] = [leaving]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            # Some browsers take a stream for open only once it has said something.
            await send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            tasks += [asyncio.create_task(self._write(send)), asyncio.create_task(self._ending.wait())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            gone = leaving.done()
        finally:
            await self.close()
            await _cancelled(tasks)
        if not gone:
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def close(self) -> None:
        """End every operation; returns when they have."""
        self.end()
        self._running.clear()
        await _cancelled(list(self._tasks))

    async def _write(self, send: Send) -> None:
        """Send what operations have to say; returns after the last word of the one that ends the stream."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    message = await self._waiting.get()
            except TimeoutError:
                message = _COMMENT
            if message == _SILENCE:
                return
            await send({"type": "http.response.body", "body": message, "more_body": True})

    async def _run(self, operation: Operation, context: Context, operation_id: str | None, begun: _Beginning) -> None:
        results: Any = await self._schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.operation_name,
            operation_extensions=operation.extensions,
        )
        async with aclosing(results):
            async for result in results:
                first = not begun.done()
                if operation_id is not None and isinstance(result, PreExecutionError):
                    self._running.pop(operation_id, None)
                    begun.set_result(result)
                    return
                if first:
                    begun.set_result(Begun.RUNNING)
                cursor = context.position.cursor
                body = body_of_result(result, executed=not first)
                payload, goes_on = await told(context, operation, body)
                await self._waiting.put(_next(operation_id, payload, cursor if goes_on else None))
                if not goes_on:
                    break
        self._running.pop(operation_id or "", None)  # before it is told: the client may use the id again at once
        await self._waiting.put(_complete(operation_id))
        if operation_id is None:
            await self._waiting.put(_SILENCE)

    def _forget(self, key: str, task: asyncio.Task[None], begun: _Beginning) -> None:
        self._tasks.discard(task)
        if self._running.get(key) is task:
            del self._running[key]
        if not begun.done():
            begun.set_result(Begun.STOPPED)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a stream failed", extra={"error": type(error).__name__})
            self.end()


def _next(operation_id: str | None, payload: Mapping[str, Any], cursor: str | None) -> bytes:
    data = payload if operation_id is None else {"id": operation_id, "payload": payload}
    # With many operations on one stream an id would say nothing of the others: there the cursor is in the payload only.
    resume = b"" if cursor is None or operation_id is not None else b"id: " + cursor.encode() + b"\n"
    return b"event: next\n" + resume + b"data: " + orjson.dumps(data) + b"\n\n"


def _complete(operation_id: str | None) -> bytes:
    # Browsers pass on no event without data.
    data = b"" if operation_id is None else orjson.dumps({"id": operation_id})
    return b"event: complete\ndata: " + data + b"\n\n"


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    # More than once: a driver in the middle of a read may swallow it and go on.
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
    for task in tasks:
        if not task.cancelled() and isinstance(task.exception(), Exception):
            log.info("a stream broke off", extra={"error": type(task.exception()).__name__})
