"""Which time is asked about: so long up to now, or between two moments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import InvalidInput

#: The cells of rollups: long ranges begin with one.
QUARTER_MS = 15 * 60 * 1000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Up to now for `last_ms`, which was written as `last`; or [start, end) ms."""

    last: str | None = None
    last_ms: int = 0
    start: int = 0
    end: int = 0

    def at(self, now: int) -> tuple[int, int]:
        """[start, end) ms as of a moment. What is a day long or more begins at a full quarter of an hour of UTC, at
        most 15 minutes earlier, so that sums by quarters answer it. Raises InvalidInput for a range in the future."""
        if self.last is None:
            if self.start > now:
                raise InvalidInput(
                    "The range lies in the future.", hint="Ask about time that has passed.", path="range.between"
                )
            return self.start, self.end
        start = now - self.last_ms
        return (start - start % QUARTER_MS if self.last_ms >= DAY_MS else start), now

    @property
    def words(self) -> str:
        """`in the last 28d`, `from … to …`."""
        if self.last is not None:
            return f"in the last {self.last}"
        start, end = (_iso(at) for at in (self.start, self.end))
        return f"from {start} to {end}"

    @property
    def said(self) -> list[object]:
        """For a hash."""
        return [self.last] if self.last is not None else [self.start, self.end]


def _iso(at: int) -> str:
    try:
        moment = datetime.fromtimestamp(at / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
