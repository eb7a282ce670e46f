"""What a connector is given in tests: a context whose network is shut, and a look at what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from gateway.clock import FrozenClock
from gateway.plugin import Answer, Connector, Context, FlagContext, FlagProvider, FlagResult
from tests.pace import PATIENCE

#: The plugins that are kept here.
OURS = tuple(sorted(path.parent.name for path in Path(__file__).parents[2].glob("plugins/*/README.md")))

T = TypeVar("T", bound=Connector[Any])
_inside: ContextVar[list[asyncio.Task[Any]] | None] = ContextVar("inside", default=None)


class NoHttp:
    """A network that must not be asked."""

    async def request(self, method: str, url: str, **rest: Any) -> Answer:
        raise AssertionError(f"{method} {url}")


class Kept:
    """State in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.values[key] = value


def surroundings(instance: str = "flags", workspace: str = "main") -> Context:
    return Context(instance, workspace, NoHttp(), Kept(), FrozenClock(0), logging.getLogger(f"test.{instance}"))


@asynccontextmanager
async def opened(connector: T) -> AsyncIterator[T]:
    """The connector, open; fails when closing it leaves a thread or a task."""
    await asyncio.to_thread(int)  # so that the loop's own thread for work is counted before
    threads = set(threading.enumerate())
    with _counting() as begun:
        await connector.open()
        try:
            yield connector
        finally:
            await connector.close()
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while left_over := {one for one in threading.enumerate() if one not in threads and not _another(one)}:
        assert asyncio.get_running_loop().time() < deadline, left_over
        await asyncio.sleep(0.05)  # told to end, they end a moment later
    # A fixture is closed by a task of its own.
    left = [task for task in begun if not task.done() and task is not asyncio.current_task()]
    assert not left, left


@contextmanager
def _counting() -> Iterator[list[asyncio.Task[Any]]]:
    """The tasks that whoever is inside begins, and not those of a gateway that another test left running."""
    loop, begun = asyncio.get_running_loop(), list[asyncio.Task[Any]]()
    before = loop.get_task_factory()

    def made(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **more)
        if _inside.get() is begun:
            begun.append(task)
        return task

    loop.set_task_factory(made)
    _inside.set(begun)
    try:
        yield begun
    finally:
        _inside.set(None)
        loop.set_task_factory(before)


def _another(thread: threading.Thread) -> bool:
    """Whether a thread is the loop's own, or of a server that a test runs."""
    return thread.name.startswith("asyncio_") or "process_request" in thread.name


def person(key: str = "u1", /, **attributes: Any) -> FlagContext:
    """A user; `__` in a name stands for a dot."""
    return FlagContext(key, {name.replace("__", "."): value for name, value in attributes.items()})


async def one(provider: FlagProvider[Any], key: str, context: FlagContext) -> FlagResult:
    """One flag."""
    (found,) = await provider.evaluate([key], context)
    return found


async def all_of(provider: FlagProvider[Any], context: FlagContext) -> Mapping[str, FlagResult]:
    """Every flag by key."""
    return {found.key: found for found in await provider.evaluate(None, context)}


async def next_change(changes: AsyncIterator[frozenset[str]]) -> frozenset[str]:
    async with asyncio.timeout(PATIENCE):
        return await anext(changes)


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what comes by itself."""
    async with asyncio.timeout(PATIENCE):
        while not await found():  # noqa: ASYNC110 - vendors have no event for it
            await asyncio.sleep(0.05)


async def held_up(provider: FlagProvider[Any], context: FlagContext) -> float:
    """The longest time, in seconds, that the loop stood still while all flags were evaluated."""
    loop, worst = asyncio.get_running_loop(), 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            worst = max(worst, loop.time() - before)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await provider.evaluate(None, context)
    await asyncio.sleep(0)
    watching.cancel()
    return worst
