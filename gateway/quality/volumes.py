"""Volumes that are not as usual, and events that have stopped. Robust: medians, which a few odd days do not move.

Outliers by the modified z-score of Iglewicz and Hoaglin 1993: 0.6745 (x - median) / MAD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: Days before a day that it is compared with, and how many there must be.
HISTORY_DAYS = 28
LEAST_DAYS = 7
#: The score beyond which a day is an outlier (3.5 in the source), and how many times more or less it must have too.
_OUTLIER = 5.0
_TIMES = 2.0
#: Fewer events than this are no anomaly.
_FEW = 20
#: An event comes regularly when it came in so many hours of so many days.
_REGULAR_HOURS = 24
_REGULAR_DAYS = 5
#: Silence is longer than this, and than so many times the longest pause before.
SILENT_MS = 3 * HOUR_MS
_PAUSES = 2.0


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A day (its start, ms) with more or fewer events than usual."""

    day: int
    count: int
    usual: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Since when (ms) nothing comes, and the longest pause (ms) before."""

    since: int
    pause: int


def anomalies(hours: Mapping[int, int], between: tuple[int, int]) -> list[Anomaly]:
    """Whole days (UTC) in [from, to) that are not as those before them. `hours`: events by the hour's start (ms)."""
    days: dict[int, int] = {}
    for hour, count in hours.items():
        days[hour - hour % DAY_MS] = days.get(hour - hour % DAY_MS, 0) + count
    if not days:
        return []
    found, first = [], min(days)
    day = between[0] + -between[0] % DAY_MS
    while day + DAY_MS <= between[1]:
        begin = max(first, day - HISTORY_DAYS * DAY_MS)
        before = [days.get(each, 0) for each in range(begin, day, DAY_MS)]
        if len(before) >= LEAST_DAYS and _odd(days.get(day, 0), before):
            found.append(Anomaly(day, days.get(day, 0), median(before)))
        day += DAY_MS
    return found


def silence(hours: Mapping[int, int], now: int) -> Silence | None:
    """Whether an event that came regularly in the last days has stopped."""
    seen = sorted(hour for hour, count in hours.items() if count > 0 and now - HISTORY_DAYS * DAY_MS <= hour < now)
    if len(seen) < _REGULAR_HOURS or len({hour // DAY_MS for hour in seen}) < _REGULAR_DAYS:
        return None
    since = seen[-1] + HOUR_MS
    pause = max(later - earlier for earlier, later in pairwise(seen)) - HOUR_MS
    return Silence(since, pause) if now - since > max(SILENT_MS, _PAUSES * pause) else None


def _odd(count: int, before: list[int]) -> bool:
    usual = median(before)
    if max(count, usual) < _FEW or 1 / _TIMES < (count + 1) / (usual + 1) < _TIMES:
        return False
    # Where most days are alike the deviation is none; that of a Poisson process is the least to expect.
    deviation: float = max(median(abs(one - usual) for one in before), 0.6745 * max(usual, 1.0) ** 0.5)
    return 0.6745 * abs(count - usual) / deviation > _OUTLIER
