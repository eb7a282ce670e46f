"""Says that this process lives, from a thread of its own.

An event loop with very much to do answers, but late: each of its calls takes seconds, and it would lose its lanes for
being busy, which makes others do its work again and all of them busier. The thread beats as long as the loop turns at
all: one that hangs loses its lanes as a process that stands still does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.store.database import Database, Document
from gateway.store.lanes import Lanes

log = logging.getLogger("gateway.pipeline")

_END_SECONDS = 1.0
_SHORTEST_SECONDS = 0.02


class Heartbeat:
    """The life of one owner of lanes. `session` tells the session it derives in."""

    def __init__(
        self, database: Database, owner: str, seconds: float, clock: Clock, session: Callable[[], Document | None]
    ) -> None:
        self._database = database
        self._owner = owner
        self._seconds = seconds
        self._clock = clock
        self._session = session
        self._turned = 0.0
        self._asked = False
        self._ended = threading.Event()
        self._wake: Callable[[], object] = lambda: None

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """As long as this is open, and the loop that opened it turns."""
        self._turn()
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._serve, args=(loop,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._wake()
            await asyncio.to_thread(thread.join, _END_SECONDS)

    def _turn(self) -> None:
        self._turned, self._asked = self._clock.monotonic(), False

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            asyncio.run(self._beat(loop))
        except Exception:  # lanes are kept by the looks of the loop itself, as long as they come in time
            log.exception("the heartbeat has ended")

    async def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        database = self._database.beside()  # clients belong to one loop
        lanes, over = Lanes(database), asyncio.Event()
        self._wake = partial(_wake, asyncio.get_running_loop(), over)
        try:
            while not self._ended.is_set():
                if not self._asked:
                    self._asked = True
                    with suppress(RuntimeError):  # the loop is closed
                        loop.call_soon_threadsafe(self._turn)
                if self._clock.monotonic() - self._turned < self._seconds / 2:
                    with suppress(GatewayError):
                        await lanes.live(self._owner, self._seconds, session=self._session())
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), max(_SHORTEST_SECONDS, min(0.25, self._seconds / 4)))
        finally:
            await database.close()


def _wake(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    with suppress(RuntimeError):  # it has ended already
        loop.call_soon_threadsafe(over.set)
