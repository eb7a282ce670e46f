"""Retention: of those who began, how many came back when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np

from gateway.errors import InvalidInput
from gateway.insights.kernels.calendar import HOUR_MS, Calendar, Interval
from gateway.insights.kernels.events import Events, Flags, Ints, Longs, Packing, changes, distinct
from gateway.insights.kernels.statistics import Share


class Retained(StrEnum):
    """What counts as retained in bucket n: back in n; in n or later; in one of 1 to n; in each of 1 to n; in a bracket
    of buckets."""

    N_DAY = "N_DAY"
    UNBOUNDED = "UNBOUNDED"
    UP_TO = "UP_TO"
    STREAK = "STREAK"
    BRACKET = "BRACKET"


class Clock(StrEnum):
    """Buckets of 24 hours (7, 30 days) from the user's own start, or days (weeks, months) of the calendar after it."""

    ROLLING = "ROLLING"
    CALENDAR = "CALENDAR"


ROLLING_MS = {Interval.DAY: 24 * HOUR_MS, Interval.WEEK: 7 * 24 * HOUR_MS, Interval.MONTH: 30 * 24 * HOUR_MS}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionQuestion:
    """Users begin by an event with one of the `start` codes in [start, end) of `between` (ms), and come back by a later
    event with one of the `back` codes. `first_ever`: their first start of all must lie in the range; otherwise they
    begin again in each interval in which they have a start. A cohort is an interval of the calendar of `zone`.
    Buckets are 0 to `buckets`; `brackets` are pairs (first, last) of them, for BRACKET."""

    start: tuple[int, ...]
    back: tuple[int, ...]
    between: tuple[int, int]
    as_of: int
    zone: ZoneInfo
    interval: Interval = Interval.DAY
    buckets: int = 7
    kind: Retained = Retained.N_DAY
    clock: Clock = Clock.ROLLING
    first_ever: bool = True
    brackets: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.interval not in ROLLING_MS:
            raise InvalidInput("Retention is by day, week or month.", path="interval")
        if self.between[0] >= self.between[1] or self.buckets < 1:
            raise InvalidInput("Retention needs a range and at least one bucket after the first.", path="buckets")
        good = all(0 <= first <= last <= self.buckets for first, last in self.brackets)
        if not good or bool(self.brackets) != (self.kind is Retained.BRACKET):
            raise InvalidInput(
                "Brackets go with BRACKET, each from a bucket to a later one or the same.", path="brackets"
            )

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The first and last bucket of each column of the answer."""
        return list(self.brackets) or [(bucket, bucket) for bucket in range(self.buckets + 1)]


@dataclass(frozen=True, slots=True)
class RetentionCell:
    """`complete`: the bucket is over for whoever may be in the cohort, also late on its last day."""

    share: Share
    complete: bool


@dataclass(frozen=True, slots=True)
class Cohort:
    """Those who began in [start, end) ms."""

    start: int
    end: int
    size: int
    cells: tuple[RetentionCell, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """By cohort, and `average`: all complete cells of a column together, so that large cohorts count for more.

    The arrays have one row per user and cohort: whose it is, the cohort's place, and whether each column holds.
    """

    cohorts: tuple[Cohort, ...]
    average: tuple[Share, ...]
    user: Ints
    cohort: Longs
    retained: Flags

    def people(self, cohort: int | None = None, column: int | None = None, *, back: bool = True) -> Longs:
        """The users of a cohort (None: of all), and of them those who came back (or did not) in a column."""
        which = np.ones(len(self.user), np.bool_) if cohort is None else self.cohort == cohort
        if column is not None:
            which = which & (self.retained[:, column] == back)
        return distinct(self.user[which])


def retention(events: Events, question: RetentionQuestion) -> Retention:
    """The answer: for each user and cohort two look-ups per bucket."""
    first, last = question.between[0], question.between[1] - 1
    calendar = Calendar.covering(question.zone, question.interval, first, last, beyond=question.buckets + 1)
    cohorts = int(calendar.of(np.array([last]))[0]) + 1
    row = _starts(events, question, calendar)
    cohort = calendar.of(events.at[row])
    retained = _retained(events, question, calendar, row, cohort)
    sizes = np.bincount(cohort, minlength=cohorts)
    table, hits, whole = [], np.zeros(len(question.spans), np.int64), np.zeros(len(question.spans), np.int64)
    bounds = calendar.bounds
    for number in range(cohorts):
        back = retained[cohort == number].sum(axis=0)
        ends = [_end(question, bounds, number, last) for _, last in question.spans]
        complete = np.array(ends) <= question.as_of
        hits, whole = hits + back * complete, whole + sizes[number] * complete
        size = int(sizes[number])
        cells = [RetentionCell(Share.of(int(n), size), bool(over)) for n, over in zip(back, complete, strict=True)]
        table.append(Cohort(int(bounds[number]), int(bounds[number + 1]), size, tuple(cells)))
    average = tuple(Share.of(int(n), int(of)) for n, of in zip(hits, whole, strict=True))
    return Retention(tuple(table), average, events.user[row], cohort, retained)


def _end(question: RetentionQuestion, bounds: Longs, cohort: int, bucket: int) -> int:
    """When a bucket is over for the last who may join a cohort."""
    if question.clock is Clock.CALENDAR:
        return int(bounds[cohort + bucket + 1])
    return int(bounds[cohort + 1]) + (bucket + 1) * ROLLING_MS[question.interval]


def _starts(events: Events, question: RetentionQuestion, calendar: Calendar) -> Longs:
    """The rows with which users begin, ascending."""
    row = np.flatnonzero(events.having(question.start))
    if question.first_ever:
        row = row[changes(events.user[row])]
    at = events.at[row]
    row = row[(at >= question.between[0]) & (at < question.between[1])]
    return row if question.first_ever else row[changes(events.user[row], calendar.of(events.at[row]))]


def _retained(events: Events, question: RetentionQuestion, calendar: Calendar, row: Longs, cohort: Longs) -> Flags:
    back = np.flatnonzero(events.having(question.back))
    packing = Packing.of(events.at, events.user)
    key = packing(events.user[back], events.at[back])
    user, start = events.user[row], events.at[row]
    # edge[n]: how many events come before bucket n; those of bucket 0 are after the start itself.
    edge = [np.searchsorted(back, row, side="right")]
    for bucket in range(1, question.buckets + 2):
        if question.clock is Clock.CALENDAR:
            bound = calendar.bounds[cohort + bucket]
        else:
            bound = start + bucket * ROLLING_MS[question.interval]
        edge.append(np.maximum(np.searchsorted(key, packing(user, bound)), edge[0]))
    spans = question.spans
    retained = np.zeros((len(row), len(spans)), np.bool_)
    ever = np.searchsorted(events.user[back], user, side="right")
    streak = np.ones(len(row), np.bool_)
    for column, (first, last) in enumerate(spans):
        inside = edge[last + 1] > edge[first]
        match question.kind:
            case Retained.UNBOUNDED:
                inside = ever > edge[first]
            case Retained.UP_TO if first:
                inside = edge[last + 1] > edge[1]
            case Retained.STREAK if first:
                streak &= inside
                inside = streak.copy()
        retained[:, column] = inside
    return retained
