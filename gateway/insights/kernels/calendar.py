"""Days, weeks, months and hours of a time zone, and numbers for each of them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from gateway.errors import TooLarge
from gateway.insights.kernels.events import Events, Longs, changes, distinct
from gateway.insights.kernels.statistics import percentile

HOUR_MS = 3_600_000
_MOST = 100_000  # intervals


class Interval(StrEnum):
    """A week begins on Monday (ISO 8601). Hours are counted from the beginning of the local day, so that each hour
    belongs to one day; where the clock moves by half an hour the last of that day is short."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The intervals of a zone: number i is [bounds[i], bounds[i + 1]) in ms. A day has the length that it has there:
    23 or 25 hours in the night in which the clock moves, 24.5 on Lord Howe."""

    bounds: Longs

    @classmethod
    def covering(cls, zone: ZoneInfo, interval: Interval, first: int, last: int, *, beyond: int = 0) -> Calendar:
        """From the interval with `first` to that with `last` (ms), and so many `beyond`. Raises TooLarge."""
        shortest = {Interval.HOUR: 1, Interval.DAY: 23, Interval.WEEK: 160, Interval.MONTH: 670}[interval] * HOUR_MS
        if (last - first) // shortest + beyond > _MOST:
            raise TooLarge(f"More than {_MOST:,} intervals.", hint="Ask for longer ones, or about a shorter range.")
        hours = interval is Interval.HOUR
        day = floor_of(datetime.fromtimestamp(first / 1000, UTC).astimezone(zone).date(), interval)
        found = [begin_of(day, zone)]
        more = beyond // 20 + 1 if hours else beyond
        while more > 0 or found[-1] <= last:
            more -= found[-1] > last
            day = next_of(day, interval)
            found.append(begin_of(day, zone))
        if hours:
            found = [hour for one, end in pairwise(found) for hour in range(one, end, HOUR_MS)]
            found = found[bisect_right(found, first) - 1 : bisect_right(found, last) + 1 + beyond]
        return cls(np.array(found, np.int64))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, at: Longs) -> Longs:
        """The number of the interval of each time; below 0 or beyond the last outside of them."""
        return np.searchsorted(self.bounds, at, side="right") - 1


def floor_of(day: date, interval: Interval) -> date:
    """The first day of the interval that a day belongs to."""
    match interval:
        case Interval.WEEK:
            return day - timedelta(days=day.weekday())
        case Interval.MONTH:
            return day.replace(day=1)
        case _:
            return day


def next_of(day: date, interval: Interval) -> date:
    """The first day of the next interval, from the first of one."""
    match interval:
        case Interval.WEEK:
            return day + timedelta(days=7)
        case Interval.MONTH:
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            return day + timedelta(days=1)


def begin_of(day: date, zone: ZoneInfo) -> int:
    """The first ms of a local day; where its midnight is skipped, the moment of the jump."""
    midnight = datetime.combine(day, time(), zone)
    begin = round(midnight.timestamp() * 1000)
    if datetime.fromtimestamp(begin / 1000, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begin
    low, high = begin - 26 * HOUR_MS, begin  # the day before, and the day itself or a later one
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if datetime.fromtimestamp(middle / 1000, zone).date() >= day else (middle, high)
    return high


class Statistic(StrEnum):
    """What of an interval's events: how many, of how many users, or of their values."""

    COUNT = "COUNT"
    UNIQUES = "UNIQUES"
    SUM = "SUM"
    MEAN = "MEAN"
    PERCENTILE = "PERCENTILE"


@dataclass(frozen=True, slots=True)
class Point:
    """One interval [start, end): `n` is the events counted (of values: those that have one). `complete`: it is over."""

    start: int
    end: int
    value: float | None
    n: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Trend:
    """A number for each interval. `interval` and `user` have one row for each event counted."""

    points: tuple[Point, ...]
    interval: Longs
    user: Longs

    def people(self, interval: int) -> Longs:
        """The users of an interval (its place, from 0), each once."""
        return distinct(self.user[self.interval == interval])


def trend(
    events: Events,
    codes: tuple[int, ...],
    calendar: Calendar,
    as_of: int,
    statistic: Statistic = Statistic.COUNT,
    share: float = 0.5,
) -> Trend:
    """Of the events with one of the codes, each in its interval; `share` is that of PERCENTILE, 0 to 1. Count, uniques
    and sum of nothing are 0, mean and percentile of nothing are None."""
    interval = calendar.of(events.at)
    which = events.having(codes) & (interval >= 0) & (interval < len(calendar))
    of_value = statistic in (Statistic.SUM, Statistic.MEAN, Statistic.PERCENTILE)
    if of_value:
        if events.value is None:
            raise ValueError("Events without a column `value` have no sum, mean or percentile.")
        which &= ~np.isnan(events.value)
    interval, user = interval[which], events.user[which].astype(np.int64)
    counts = np.bincount(interval, minlength=len(calendar))
    values: list[float | None]
    match statistic:
        case Statistic.COUNT:
            values = counts.tolist()
        case Statistic.UNIQUES:
            # In the order of events the interval of a user only grows.
            values = np.bincount(interval[changes(user, interval)], minlength=len(calendar)).tolist()
        case _:
            assert events.value is not None
            values = _of_values(events.value[which], interval, counts, statistic, share)
    bounds = calendar.bounds.tolist()
    points = zip(bounds, bounds[1:], values, counts.tolist(), strict=False)
    return Trend(tuple(Point(*point, complete=point[1] <= as_of) for point in points), interval, user)


def _of_values(
    value: np.typing.NDArray[np.float64], interval: Longs, counts: Longs, statistic: Statistic, share: float
) -> list[float | None]:
    order = np.argsort(interval, kind="stable")
    parts = np.split(value[order], np.cumsum(counts)[:-1])
    match statistic:
        case Statistic.SUM:
            return [float(part.sum()) for part in parts]
        case Statistic.MEAN:
            return [float(part.mean()) if len(part) else None for part in parts]
        case _:
            return [percentile(part, share) for part in parts]
