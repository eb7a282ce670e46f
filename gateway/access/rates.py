"""How fast a write key may send: a bucket of events per key, in this process."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from gateway.clock import Clock
from gateway.errors import RateLimited

#: The burst of a key that names none, in seconds of its rate.
BURST_SECONDS = 10.0
_BUCKETS = 10_000
#: One event, less what sums of times and rates may be off: who waited as told must not be sent away again.
_ONE = 1 - 1e-6


class Rates:
    """Buckets that fill at `rate` events a second up to `burst`.

    As long as there is one event in it, a bucket takes a batch of any size and owes the rest: a batch beyond the
    burst passes, and over time no more than the rate does.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, key: str, events: int, rate: float, burst: float | None = None) -> None:
        """Take events out of the key's bucket. Raises RateLimited with the seconds until there are some in it."""
        full = max(1.0, rate * BURST_SECONDS if burst is None else burst)
        now = self._clock.monotonic()
        level, at = self._levels.get(key, (full, now))
        level = min(full, level + (now - at) * rate)
        if level < _ONE and events > 0:
            self._levels[key] = level, now
            raise RateLimited(
                f"This write key may send {rate:g} events a second.",
                hint="Send again later, or give the key a higher rate.",
                retry_after=max(1, ceil((1 - level) / rate)),
            )
        self._levels[key] = level - events, now
        self._levels.move_to_end(key)
        if len(self._levels) > _BUCKETS:
            self._levels.popitem(last=False)
