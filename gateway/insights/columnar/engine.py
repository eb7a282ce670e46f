"""DuckDB in worker threads: with a queue, a deadline and a limit of memory, and never on the event loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Lock
from typing import TypeAlias, TypeVar

import duckdb

from gateway.errors import GatewayError, OperatorError, Unavailable
from gateway.insights.columnar.folder import Folder

T = TypeVar("T")
Connection: TypeAlias = duckdb.DuckDBPyConnection


class Stopped(Unavailable):
    """A question took longer than it may."""

    code = "SCAN_DEADLINE"


class Busy(Unavailable):
    """Too many questions wait already."""

    code = "SCAN_QUEUE_FULL"


class MissingPart(GatewayError):
    """A part has gone since the manifest was read: it has been replaced."""


class Queue:
    """`at_once` at a time, `most_waiting` in all: who comes then is told to come again."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, seconds: float | None) -> AsyncIterator[None]:
        """One turn; `seconds` counts from now, waiting included. Raises Busy, and Stopped when time is up."""
        if self.waiting >= self._most_waiting:
            raise Busy("Too many questions wait for their turn.", hint="Ask again in a moment.", retry_after=5)
        self.waiting += 1
        try:
            async with within(seconds), self._turns:
                yield
        finally:
            self.waiting -= 1


@asynccontextmanager
async def within(seconds: float | None) -> AsyncIterator[None]:
    """What a question does, within so many seconds from now. Raises Stopped."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Stopped(
            f"The question took longer than {seconds:g} s.",
            hint="Ask for a shorter range or fewer events, or raise GATEWAY_SCAN_SECONDS.",
        ) from None


class Engine:
    """One DuckDB, in memory, for `at_once` pieces of work at a time and `most_waiting` behind them."""

    def __init__(
        self, folder: Folder | None, *, threads: int, memory_mb: int, at_once: int, most_waiting: int = 64
    ) -> None:
        self._folder = folder
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": f"{tempfile.gettempdir()}/journey-gateway-duckdb",
            "autoinstall_known_extensions": False,
        }
        self._connection: Connection | None = None
        self._opening = Lock()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="columnar")
        self._queue = Queue(at_once, most_waiting)

    @property
    def waiting(self) -> int:
        """How much runs or waits."""
        return self._queue.waiting

    async def run(self, work: Callable[[Connection], T], *, seconds: float | None = None) -> T:
        """`work` in a thread, with a connection of its own; interrupted when the caller goes or time is up.

        `seconds` counts from now, waiting included. Raises Busy, Stopped, MissingPart, or OperatorError when DuckDB
        cannot do it.
        """
        async with self._queue.turn(seconds):
            return await self._run(work)

    async def _run(self, work: Callable[[Connection], T]) -> T:
        cursors: list[Connection] = []
        running = asyncio.get_running_loop().run_in_executor(self._pool, self._work, work, cursors)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Until it has let go of its thread: whoever comes next is not to wait behind it.
            while not running.done():
                for cursor in cursors:
                    cursor.interrupt()
                await asyncio.wait([running], timeout=0.05)
            if not running.cancelled():
                running.exception()
            raise

    def _work(self, work: Callable[[Connection], T], cursors: list[Connection]) -> T:
        with self._opening:
            if self._connection is None:
                self._connection = duckdb.connect(config=self._config)
                if self._folder is not None:
                    self._folder.attach(self._connection)
        cursor = self._connection.cursor()
        cursors.append(cursor)
        try:
            return work(cursor)
        except duckdb.OutOfMemoryException as error:
            raise OperatorError(
                "A question needs more memory than DuckDB may use.", hint="Raise GATEWAY_SCAN_MEMORY_MB."
            ) from error
        except (duckdb.IOException, FileNotFoundError) as error:
            raise MissingPart("A part of the columnar projection cannot be read.") from error
        finally:
            cursor.close()

    def close(self) -> None:
        """Let the threads go; what runs is interrupted."""
        if self._connection is not None:
            self._connection.interrupt()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()
