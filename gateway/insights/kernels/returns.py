"""From the first event of each user to what follows it: how long it takes, and whether they are back."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from gateway.insights.kernels.calendar import Calendar, Interval
from gateway.insights.kernels.events import Events, Flags, Longs, Packing, changes, next_at
from gateway.insights.kernels.retention import ROLLING_MS, Clock


@dataclass(frozen=True, slots=True)
class Followed:
    """One row per user who begins: `row` is the first event, `took` ms to what follows it (-1: it has not come).
    `open`: it has not, and there is still time."""

    row: Longs
    took: Longs
    open: Flags


@dataclass(frozen=True, slots=True)
class Returned:
    """One row per user who begins: `row` is the first event. `open`: the period is not over."""

    row: Longs
    back: Flags
    open: Flags


def begins(events: Events, start: tuple[int, ...] | None, between: tuple[int, int]) -> Longs:
    """The first event of each user with one of the codes (None: of all), where that is in [start, end) ms."""
    row = np.arange(len(events)) if start is None else np.flatnonzero(events.having(start))
    row = row[changes(events.user[row])]
    return row[(events.at[row] >= between[0]) & (events.at[row] < between[1])]


def followed(events: Events, row: Longs, end: tuple[int, ...], within_ms: int | None, as_of: int) -> Followed:
    """The first event with one of the codes behind each row, at most `within_ms` later (the end included)."""
    following = next_at(events.having(end), row + 1)
    there = np.minimum(following, max(len(events) - 1, 0))
    took = events.at[there] - events.at[row]
    came = (following < len(events)) & (events.user[there] == events.user[row])
    waiting = np.ones(len(row), np.bool_)
    if within_ms is not None:
        came &= took <= within_ms
        waiting = events.at[row] + within_ms >= as_of
    return Followed(row, np.where(came, took, -1), waiting & ~came)


@dataclass(frozen=True, slots=True)
class Period:
    """Which period after the start is looked at: number `after`, or with `later` that and every one behind it."""

    interval: Interval
    after: int
    clock: Clock
    zone: ZoneInfo
    later: bool = False


def returned(events: Events, row: Longs, back: tuple[int, ...] | None, period: Period, as_of: int) -> Returned:
    """Who has an event with one of the codes (None: any) in a period after their row. A period is over at its end."""
    low, high = _bounds(events.at[row], period)
    which = np.arange(len(events)) if back is None else np.flatnonzero(events.having(back))
    packing, user = Packing.of(events.at, events.user), events.user[row]
    key = packing(events.user[which], events.at[which])
    first = np.searchsorted(key, packing(user, low))
    if period.later:
        last = np.searchsorted(events.user[which], user, side="right")
    else:
        last = np.searchsorted(key, packing(user, high))
    return Returned(row, last > first, high > as_of)


def _bounds(at: Longs, period: Period) -> tuple[Longs, Longs]:
    if period.clock is Clock.ROLLING:
        length = ROLLING_MS[period.interval]
        return at + period.after * length, at + (period.after + 1) * length
    if not len(at):
        return at, at
    calendar = Calendar.covering(period.zone, period.interval, int(at.min()), int(at.max()), beyond=period.after + 1)
    place = calendar.of(at) + period.after
    return calendar.bounds[place], calendar.bounds[place + 1]
