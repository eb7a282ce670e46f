"""A thread with an event loop of its own for one instance: where a stranger's code runs.

What blocks there blocks nobody else; what hangs is given up after its deadline; what raises is told to who called. A
thread that its code holds cannot be ended: it is called no more until it answers, and there is never a second one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from gateway.clock import monotonic

log = logging.getLogger("gateway.connectors")

T = TypeVar("T")

#: How long the thread may take to give up a call once it is cancelled.
_GRACE_SECONDS = 1.0
_END_SECONDS = 2.0


class Late(Exception):
    """A call took longer than its deadline and was given up; it may have had its effect."""


class Blocked(Exception):
    """The thread is held by an earlier call that does not wait where it should: nothing was called."""


class ConnectorThread:
    """Runs calls of one instance. Made in any loop, used from one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._held: Future[None] | None = None

    @property
    def blocked(self) -> bool:
        """Whether an earlier call still holds the thread."""
        if self._held is not None and self._held.done():
            self._held = None
        return self._held is not None

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
        """Await what `work` makes, in the thread. Raises Late, Blocked, and whatever it raises."""
        future = self.begin(work)
        waiting = asyncio.wrap_future(future)
        done, _ = await asyncio.wait({waiting}, timeout=seconds)
        if not done:
            # The wait is over for us; whether the thread is free shows in whether it takes another call.
            future.cancel()
            await self.probe()
            waiting.cancel()
            raise Late
        return waiting.result()

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin what `work` makes, in the thread, for callers with a deadline of their own. Cancelling the future
        cancels it there. Raises Blocked."""
        if self.blocked:
            raise Blocked
        return asyncio.run_coroutine_threadsafe(_contained(work), self._running())

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """The same for a plain function."""

        async def called() -> T:
            return work()

        return await self.call(called, seconds)

    async def close(self) -> int:
        """End the thread; how many tasks its code had left behind. A thread that is held is left to itself."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return 0
        self._loop = self._thread = None
        left = 0
        if not self.blocked:
            ending = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_cancel_all(), loop))
            done, _ = await asyncio.wait({ending}, timeout=_END_SECONDS)
            if done and ending.exception() is None:
                left = ending.result()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        deadline = monotonic() + _END_SECONDS
        while thread.is_alive() and monotonic() < deadline and not self.blocked:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.005)
        if left:
            log.warning("a connector left tasks behind", extra={"instance": self._name, "tasks": left})
        return left

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._serve, args=(self._loop,), name=f"connector {self._name}", daemon=True
            )
            self._thread.start()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        # Of tasks that nobody awaits: what went wrong in them is the connector's, its text is nobody's.
        loop.set_exception_handler(self._forgotten)
        try:
            loop.run_forever()
            loop.run_until_complete(_cancel_all())  # a thread that was held got no time for it
        finally:
            loop.close()

    def _forgotten(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        log.warning("a task of a connector failed", extra={"instance": self._name, "error": type(error).__name__})

    async def probe(self) -> None:
        """See whether the thread answers, after a call that was given up: if not, it is held until it does."""
        loop = self._loop
        if loop is None or self.blocked:
            return
        answer: Future[None] = Future()
        loop.call_soon_threadsafe(answer.set_result, None)
        done, _ = await asyncio.wait({asyncio.wrap_future(answer)}, timeout=_GRACE_SECONDS)
        if not done:
            self._held = answer
            log.error(
                "a connector blocks its thread; it is not called until it answers", extra={"instance": self._name}
            )


async def _contained(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What ends a thread or its caller (SystemExit, a CancelledError of its own) is a mistake like any other here."""
    try:
        return await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # by us
        raise RuntimeError("the connector raised CancelledError") from None
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise RuntimeError(f"the connector raised {type(error).__name__}") from None


async def _cancel_all() -> int:
    """Cancel whatever runs besides; how many of them there were."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_END_SECONDS / 2)
    await asyncio.get_running_loop().shutdown_asyncgens()
    return len(others)
