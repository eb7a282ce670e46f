"""How many bytes of events one process holds at a time, over all its doors."""

from __future__ import annotations

from gateway.clock import random_between
from gateway.errors import Unavailable

#: Those who are turned away come again spread over so many seconds.
SPREAD_SECONDS = 4


class Budget:
    """Bytes of bodies that are on their way or being stored: `held` of at most `most`."""

    def __init__(self, most: int = 64_000_000) -> None:
        self.most = most
        self.held = 0

    def check(self, more: int) -> None:
        """Raise Unavailable unless there is room for so many bytes more."""
        if self.held + more > self.most:
            raise Unavailable("The gateway has as much to do as it can take.", retry_after=jittered())

    def take(self, size: int) -> None:
        """Hold so many bytes. Raises Unavailable, and holds nothing, when there is no room."""
        self.check(size)
        self.held += size

    def give(self, size: int) -> None:
        """Give bytes back that were taken."""
        self.held -= size


def jittered() -> int:
    """Seconds after which to come again: whole ones, as SDKs read no others, and not the same for all."""
    return random_between(1, SPREAD_SECONDS)
