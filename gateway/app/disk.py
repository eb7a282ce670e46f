"""The disk guard: no events are taken while MongoDB's disk is nearly full, because mongod stops when it is full.

Reads go on. Every gateway sees the same disk, so a process that takes no events still says that it is ready: a load
balancer that took them all away would answer worse than they do, and the reads would be gone too.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from gateway.errors import GatewayError
from gateway.pipeline.intake import Intake
from gateway.store.database import Database
from gateway.store.disk import free_percent

log = logging.getLogger("gateway.app")

INTERVAL_SECONDS = 10.0
#: How much more than the limit must be free until events are taken again.
_MARGIN_PERCENT = 0.5


class DiskGuard:
    """Closes an intake below `limit` percent of free disk, and opens it again; with a limit of 0 it does nothing."""

    def __init__(self, database: Database, intake: Intake, limit: float) -> None:
        self._database = database
        self._intake = intake
        self._limit = limit
        self.free_percent: float | None = None
        self.closed = False

    async def run(self) -> None:
        """Look until cancelled."""
        while self._limit:
            await self.look()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Ask MongoDB once. What does not answer leaves all as it is: writes will find out for themselves."""
        if not self._limit:
            return
        with suppress(GatewayError):
            self.free_percent = await free_percent(self._database)
            self._judge(self.free_percent)

    @property
    def reason(self) -> str | None:
        """Why no events are taken."""
        if not self.closed or self.free_percent is None:
            return None
        return f"only {self.free_percent:.1f} % of MongoDB's disk is free"

    def _judge(self, free: float | None) -> None:
        closed = free is not None and free < self._limit + (_MARGIN_PERCENT if self.closed else 0)
        if closed == self.closed:
            return
        self.closed = closed
        told = {"freePercent": None if free is None else round(free, 2), "limit": self._limit}
        if closed:
            log.error("MongoDB's disk is nearly full: no events are taken", extra=told)
            self._intake.close("MongoDB's disk is nearly full.")
        else:
            log.warning("MongoDB's disk has room again: events are taken", extra=told)
            self._intake.close(None)
