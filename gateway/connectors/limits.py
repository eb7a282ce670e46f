"""How fast and how often: backoff, the token bucket, and how long something is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gateway.clock import Clock, random_between

#: Of a least and a most milliseconds: one between them.
Chance: TypeAlias = Callable[[int, int], int]


@dataclass(frozen=True, slots=True)
class Patience:
    """When what did not go through is tried again, and when it is given up. Seconds.

    The pause before try n is any time up to `first * 2^(n-1)`, at most `longest` (full jitter), but at least what the
    destination asked for. An item is given up after `attempts` tries, yet not before `hours`; what a connector raises
    after `bugs` tries. A destination that takes nothing is broken after `failures` sends.
    """

    first: float = 1.0
    longest: float = 300.0
    attempts: int = 8
    hours: float = 3.0
    bugs: int = 4
    failures: int = 5
    #: Between two checks of refused credentials, and at least between two probes.
    check_seconds: float = 60.0
    probe_seconds: float = 1.0
    send_seconds: float = 30.0
    map_seconds: float = 10.0
    #: The longest that a destination's own wish is taken for.
    longest_wish: float = 3600.0

    def pause_ms(self, attempt: int, after: float | None, chance: Chance = random_between) -> int:
        """Milliseconds to wait after this many tries, and as `after` (seconds) asks."""
        most = min(self.longest, self.first * 2 ** min(attempt - 1, 30))
        wish = 0.0 if after is None else min(max(0.0, after), self.longest_wish)
        return max(int(wish * 1000), chance(0, int(most * 1000)))


class TokenBucket:
    """At most `per_second` items a second on the average, and never more than a second's worth at once."""

    def __init__(self, per_second: float | None, clock: Clock) -> None:
        self._rate = per_second
        self._clock = clock
        self._share = 1.0
        self._tokens = max(1.0, per_second or 0.0)
        self._at = clock.monotonic()

    def share(self, part: float) -> None:
        """This process has this part of the lanes, and of the rate."""
        self._share = part

    def in_seconds(self, seconds: float) -> int:
        """How many items may go in so many seconds, at least one."""
        return 1_000_000 if self._rate is None else max(1, int(self._rate * self._share * seconds))

    def wait_for(self, count: int) -> float:
        """Take `count` items' worth; the seconds to wait before they may go."""
        if self._rate is None:
            return 0.0
        rate = max(self._rate * self._share, 1e-6)
        now = self._clock.monotonic()
        self._tokens = min(max(1.0, rate), self._tokens + (now - self._at) * rate)
        self._at = now
        self._tokens -= count
        return max(0.0, -self._tokens / rate)
