"""How far each attempt at a funnel gets: where it enters, which events do its steps, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from gateway.errors import InvalidInput
from gateway.insights.kernels.events import Events, Flags, Ints, Longs, Packing, Sequences, changes, next_at


class Order(StrEnum):
    """Of the steps: with anything in between, with nothing in between, or in any order."""

    ORDERED = "ORDERED"
    STRICT = "STRICT"
    ANY_ORDER = "ANY_ORDER"


class ReEntry(StrEnum):
    """What another first step does: it may make a better attempt, or nothing."""

    BEST_ATTEMPT = "BEST_ATTEMPT"
    FIRST_TOUCH = "FIRST_TOUCH"


class Counting(StrEnum):
    """One attempt of each user, one after the other, or one of each session."""

    UNIQUES = "UNIQUES"
    TOTALS = "TOTALS"
    SESSIONS = "SESSIONS"


@dataclass(frozen=True, slots=True)
class Step:
    """A step is an event with one of the codes. An optional one is counted and hinders nobody."""

    codes: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An event that ends an attempt which has done the step `after` and not yet the step `before` (from 0)."""

    codes: tuple[int, ...]
    after: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelQuestion:
    """A funnel, asked as of `as_of` ms. `window_ms` is counted from an attempt's first step and includes its end; None
    is no limit. `between` limits, as [start, end) ms, where attempts begin. `tolerance_ms`: a step may be so much
    before the step before it. Raises InvalidInput where the options contradict each other.
    """

    steps: tuple[Step, ...]
    as_of: int
    window_ms: int | None = None
    order: Order = Order.ORDERED
    re_entry: ReEntry = ReEntry.BEST_ATTEMPT
    counting: Counting = Counting.UNIQUES
    exclusions: tuple[Exclusion, ...] = ()
    tolerance_ms: int = 0
    between: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        last = len(self.steps) - 1
        if not self.steps or self.steps[0].optional or self.steps[last].optional:
            raise InvalidInput("A funnel begins and ends with a step that is not optional.", path="steps")
        if self.window_ms is not None and self.window_ms <= 0:
            raise InvalidInput("The window of a funnel is longer than nothing.", path="window")
        if self.tolerance_ms < 0 or (self.tolerance_ms and self.order is Order.STRICT):
            raise InvalidInput("The tolerance is not below 0, and 0 where nothing may stand between.", path="tolerance")
        if self.order is Order.STRICT and self.exclusions:
            raise InvalidInput("In strict order any other event ends an attempt already.", path="exclusions")
        if self.order is Order.ANY_ORDER and any(step.optional for step in self.steps):
            raise InvalidInput("In any order no step is optional.", path="steps")
        for one in self.exclusions:
            whole = (one.after, one.before) == (0, last) or self.order is not Order.ANY_ORDER
            if not 0 <= one.after < one.before <= last or not whole:
                raise InvalidInput(
                    "An exclusion is after one step and before a later one; in any order after the first and before "
                    "the last.",
                    path="exclusions",
                )
            if self.steps[one.after].optional or self.steps[one.before].optional:
                raise InvalidInput("An exclusion is between steps that are not optional.", path="exclusions")

    @property
    def required(self) -> list[int]:
        """The steps that an attempt must do."""
        return [number for number, step in enumerate(self.steps) if not step.optional]


FOREVER = np.iinfo(np.int64).max


@dataclass(slots=True)
class Entries:
    """Every event at which an attempt may begin: `row`, ascending, and what becomes of the attempt.

    `latest` is the last ms of its window. `depth` counts required steps, `last` is the row of the latest of them.
    `excluded_at` is the row that ended the attempt, or the number of rows. `done[step]` is (entries that did it,
    ascending; the rows that did it).
    """

    row: Longs
    latest: Longs
    depth: Longs
    last: Longs
    excluded_at: Longs
    done: dict[int, tuple[Longs, Longs]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What walking through the events needs at every step."""

    question: FunnelQuestion
    sequences: Sequences
    unit: Ints  # of each entry
    latest: Longs
    units: Ints  # of each row, and of none after the last
    times: Longs

    @classmethod
    def through(cls, question: FunnelQuestion, sequences: Sequences, row: Longs, latest: Longs) -> _Walk:
        units = np.append(sequences.unit, sequences.unit.dtype.type(-1))
        times = np.append(sequences.events.at, np.int64(0))
        return cls(question, sequences, units[row], latest, units, times)

    @property
    def events(self) -> Events:
        return self.sequences.events

    def within(self, entry: Longs, row: Longs) -> Flags:
        """Whether rows are there, in the sequence of these entries and in their window."""
        inside: Flags = self.units[row] == self.unit[entry]
        inside &= self.times[row] <= self.latest[entry]
        return inside

    def following(self, codes: Sequence[int], floor: Longs) -> Longs:
        """The first row with one of the codes that is not before a floor."""
        return next_at(self.events.having(codes), floor)


def attempts_at(question: FunnelQuestion, sequences: Sequences) -> Entries:
    """How far an attempt would get from every event that can begin one. Each step takes the first event that fits."""
    events = sequences.events
    first = question.steps if question.order is Order.ANY_ORDER else question.steps[:1]
    begins = events.having({code for step in first for code in step.codes})
    if question.between is not None:
        begins &= (events.at >= question.between[0]) & (events.at < question.between[1])
    row = np.flatnonzero(begins)
    if question.order is Order.ORDERED and question.counting is not Counting.TOTALS and not question.tolerance_ms:
        row = row[~_superseded(question, sequences, begins, row)]
    if question.re_entry is ReEntry.FIRST_TOUCH and question.counting is not Counting.TOTALS:
        row = row[changes(sequences.unit[row])]
    never = np.full(len(row), len(events))
    everybody = np.arange(len(row))
    window = question.window_ms
    latest = np.full(len(row), FOREVER) if window is None else events.at[row] + window
    entries = Entries(row, latest, np.ones(len(row), np.int64), row.copy(), never, {0: (everybody, row)})
    walk = _Walk.through(question, sequences, row, latest)
    match question.order:
        case Order.ORDERED:
            _in_order(walk, entries)
        case Order.STRICT:
            _with_nothing_between(walk, entries)
        case Order.ANY_ORDER:
            _in_any_order(walk, entries)
    return entries


def _superseded(question: FunnelQuestion, sequences: Sequences, begins: Flags, row: Longs) -> Flags:
    """Entries that are followed by one with which the same events come later in the window: they need no attempt of
    their own. The first of a sequence stays: it is that of those who get no further, and the first touch."""
    if not len(row) or len(question.required) == 1:
        return np.zeros(len(row), np.bool_)
    following = np.minimum(row + 1, len(begins) - 1)
    replaced = begins[following] & (following > row)
    second = question.steps[question.required[1]]
    if not set(second.codes).isdisjoint(question.steps[0].codes):
        replaced &= ~sequences.events.having(second.codes)[following]
    replaced &= ~changes(sequences.unit[row])
    replaced &= sequences.unit[following] == sequences.unit[row]
    return replaced


def _in_order(walk: _Walk, entries: Entries) -> None:
    floors = _Floors(walk)
    alive, done = entries.done[0]
    for step in walk.question.required[1:]:
        row = walk.following(walk.question.steps[step].codes, floors.of(step, done))
        reached = walk.within(alive, row)
        for one in walk.question.exclusions:
            if one.after < step <= one.before:
                stop = walk.following(one.codes, done + 1)
                hit = walk.within(alive, stop) & (~reached | (stop < row))
                entries.excluded_at[alive[hit]] = np.minimum(entries.excluded_at[alive[hit]], stop[hit])
        reached &= entries.excluded_at[alive] == len(walk.events)
        floors.keep(reached)
        alive, done = alive[reached], row[reached]
        entries.depth[alive] += 1
        entries.last[alive] = done
        entries.done[step] = alive, done


class _Floors:
    """The first row that may do the next step: after the one before, or up to the tolerance earlier, but then after
    every step that the same event could have done, so that no event does two."""

    def __init__(self, walk: _Walk) -> None:
        self.question = walk.question
        self.used: dict[int, Longs] = {}
        if walk.question.tolerance_ms:
            unit, at = walk.sequences.unit, walk.events.at
            packing = Packing.of(at, unit)
            early = packing(unit, at - walk.question.tolerance_ms)
            self.earliest = np.searchsorted(packing(unit, at), early)

    def of(self, step: int, done: Longs) -> Longs:
        if not self.question.tolerance_ms:
            return done + 1
        floor = self.earliest[done]
        before = max(earlier for earlier in self.question.required if earlier < step)
        if any(self._alike(before, later) for later in self.question.required if later >= step):
            self.used[before] = done
        for earlier, rows in self.used.items():
            if self._alike(earlier, step):
                floor = np.maximum(floor, rows + 1)
        return floor

    def _alike(self, one: int, other: int) -> bool:
        return not set(self.question.steps[one].codes).isdisjoint(self.question.steps[other].codes)

    def keep(self, reached: Flags) -> None:
        if self.question.tolerance_ms:
            self.used = {step: rows[reached] for step, rows in self.used.items()}


def _with_nothing_between(walk: _Walk, entries: Entries) -> None:
    alive, done = entries.done[0]
    for step, kind in enumerate(walk.question.steps[1:], 1):
        fits = walk.events.having(kind.codes)
        following = done + 1
        reached = walk.within(alive, following) & np.append(fits, False)[following]
        if kind.optional:
            done = np.where(reached, following, done)
            entries.done[step] = alive[reached], done[reached]
        else:
            alive, done = alive[reached], following[reached]
            entries.depth[alive] += 1
            entries.last[alive] = done
            entries.done[step] = alive, done


def _in_any_order(walk: _Walk, entries: Entries) -> None:
    """An event counts for every step that it fits. Step k of the result is the k-th of the steps that was done."""
    everybody, row = entries.done.pop(0)
    end = len(walk.events)
    for one in walk.question.exclusions:
        stop = walk.following(one.codes, row + 1)
        stop[~walk.within(everybody, stop)] = end
        np.minimum(entries.excluded_at, stop, out=entries.excluded_at)
    entries.depth[:] = 0
    for step in walk.question.steps:
        found = walk.following(step.codes, row)
        reached = walk.within(everybody, found) & (found < entries.excluded_at)
        entries.depth += reached
        np.maximum(entries.last, found, out=entries.last, where=reached)
    # Whoever has all steps was not stopped any more.
    entries.excluded_at[entries.depth == len(walk.question.steps)] = end


# -- which attempts count -------------------------------------------------------------------------------------------


def chosen(question: FunnelQuestion, sequences: Sequences, entries: Entries) -> Longs:
    """The entries that count, ascending: one of each sequence, or with TOTALS one after the other."""
    if question.counting is Counting.TOTALS:
        return _one_after_the_other(question, sequences, entries)
    return best(sequences.unit[entries.row], entries, len(sequences.events))


def best(unit: Ints, entries: Entries, rows: int) -> Longs:
    """Of each sequence the deepest attempt; of several that which got there first, and began last."""
    if not len(unit):
        return np.zeros(0, np.int64)
    score = entries.depth * (rows + 1) + (rows - entries.last)
    starts = np.flatnonzero(changes(unit))
    highest = np.maximum.reduceat(score, starts)
    winners = np.flatnonzero(score == np.repeat(highest, np.diff(np.append(starts, len(unit)))))
    last = np.append(changes(unit[winners])[1:], True)
    return np.compress(last, winners)


def _one_after_the_other(question: FunnelQuestion, sequences: Sequences, entries: Entries) -> Longs:
    """An attempt runs until it converts, is excluded or times out; the next begins after that."""
    rows, unit = len(sequences.events), sequences.unit
    converted = entries.depth == len(question.required)
    excluded = entries.excluded_at < rows
    # When nothing ends it, no other attempt of the sequence begins.
    following = np.searchsorted(unit[entries.row], unit[entries.row], side="right")
    if question.window_ms is not None and len(entries.row):
        at = sequences.events.at[entries.row]
        packing = Packing.of(at, unit)
        key = packing(unit[entries.row], at)
        following = np.searchsorted(key, packing(unit[entries.row], at + question.window_ms + 1))
    # By the tolerance a step, and what excludes after it, may be before the first step.
    ended = np.maximum(np.where(converted, entries.last, entries.excluded_at), entries.row)
    closed = converted | excluded
    following = np.where(closed, np.searchsorted(entries.row, ended, side="right"), following).tolist()
    counted, entry = [], 0
    while entry < len(following):
        counted.append(entry)
        entry = following[entry]
    return np.array(counted, np.int64)
