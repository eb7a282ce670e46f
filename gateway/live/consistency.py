"""Waits until what a sender was told is stored has been derived, so that a page sees its own event."""

from __future__ import annotations

import asyncio

from gateway.clock import Clock
from gateway.model.consistency import ConsistencyToken
from gateway.store.database import Timestamp
from gateway.store.feed import Feed
from gateway.store.work import Work

#: How long somebody waits at most.
WAIT_SECONDS = 2.0
_FIRST_LOOK, _LATER_LOOKS = 0.005, 0.025


class Consistency:
    """One per process."""

    def __init__(self, feed: Feed, work: Work, clock: Clock) -> None:
        self._feed = feed
        self._work = work
        self._clock = clock

    async def reached(self, workspace: str, token: ConsistencyToken, *, seconds: float = WAIT_SECONDS) -> bool:
        """Whether all events stored by then in the token's lanes have been resolved and folded, waiting a while."""
        end = self._clock.monotonic() + seconds
        at, pause = Timestamp(token.time, token.increment), _FIRST_LOOK
        waiting: list[bytes] | None = None
        while True:
            if waiting is None and await self._feed.resolved(token.lanes, at):
                # What other owners have yet to fold of it is there as rows by now; later ones are not waited for.
                waiting = await self._work.pending_in(workspace)
            elif waiting:
                waiting = await self._work.pending_in(workspace, waiting)
            if waiting is not None and not waiting:
                return True
            if self._clock.monotonic() + pause >= end:
                return False
            await asyncio.sleep(pause)
            pause = _LATER_LOOKS
