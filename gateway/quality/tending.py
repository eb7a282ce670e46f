"""What is done by itself: shipped requests are verified, and each week's digest is sent; by one process at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.errors import Unavailable
from gateway.quality.data_requests import DataRequests
from gateway.quality.digest import Digests, week_start

log = logging.getLogger("gateway.quality")

#: How often shipped requests are looked after, and how often it is asked whether a week is over.
LOOK_SECONDS = 5.0
DIGEST_LOOK_SECONDS = 600.0


class Tending:
    """One per process that derives. `owns` says whether something of a workspace is this process's turn: that of the
    lane of derivation; should two take it for a moment, both do the same."""

    def __init__(
        self,
        requests: DataRequests,
        digests: Digests,
        clock: Clock,
        *,
        owns: Callable[[str, str], bool],
        contract: Callable[[], Contract],
        workspaces: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._requests = requests
        self._digests = digests
        self._clock = clock
        self._owns = owns
        self._contract = contract
        self._workspaces = workspaces
        self._digest_at = 0.0
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.verify()
                if self._clock.monotonic() >= self._digest_at:
                    self._digest_at = self._clock.monotonic() + DIGEST_LOOK_SECONDS
                    await self.tell_weekly()
            except Unavailable:
                pass  # the next look may reach it
            except Exception as error:
                log.warning("looking after the contract failed", extra={"error": type(error).__name__})
            await asyncio.sleep(LOOK_SECONDS)

    async def verify(self) -> int:
        """Look for the events of what is shipped; how many were verified."""
        verified = 0
        for request in await self._requests.stored.shipped():
            if not self._owns(request.workspace, "data requests"):
                continue
            with suppress(Unavailable):  # one that takes too long holds up no other
                verified += await self._requests.verify(self._contract(), request) is not None
        return verified

    async def tell_weekly(self) -> int:
        """Send the digests of the week that is over; how many."""
        sent, week = 0, week_start(self._clock.now())
        for workspace in await self._workspaces():
            if self._told.get(workspace) == week or not self._owns(workspace, "contract digest"):
                continue
            sent += await self._digests.send_weekly(workspace)
            self._told[workspace] = week
        return sent
