"""Funnels: how many get how far, how fast, and who."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np

from gateway.errors import InvalidInput
from gateway.insights.kernels.attempts import (
    Counting,
    Entries,
    FunnelQuestion,
    Order,
    attempts_at,
    chosen,
)
from gateway.insights.kernels.events import (
    NONE,
    Events,
    Flags,
    Ints,
    Longs,
    Sequences,
    Unit,
    distinct,
    next_at,
    sequences,
    top,
)
from gateway.insights.kernels.statistics import Share, Spread

OTHER = -2  # values of a breakdown beyond the most frequent ones


class Outcome(IntEnum):
    """How an attempt ended; OPEN has still time to convert."""

    CONVERTED = 0
    DROPPED = 1
    OPEN = 2
    EXCLUDED = 3


class Attribution(StrEnum):
    """Whose value of a breakdown an attempt has: of the first or the last of its steps that has one, of one step, or
    of all (every value is asked for apart, with the events that have it)."""

    FIRST = "FIRST"
    LAST = "LAST"
    STEP = "STEP"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """By `Events.breakdown`; `step` (from 0) goes with STEP. Values beyond the `most` frequent ones are one, OTHER."""

    attribution: Attribution = Attribution.FIRST
    step: int = 0
    most: int = 25


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts that count, ascending by user: everything that a funnel says is read from here.

    `depth` counts required steps. `done[k]` are the attempts (as indexes, ascending) that did step k, with the ms at
    which they did. `value` is that of the breakdown, NONE without one.
    """

    user: Ints
    depth: Longs
    outcome: Ints
    began: Longs
    done: tuple[tuple[Longs, Longs], ...]
    value: Longs

    def __len__(self) -> int:
        return len(self.user)

    def reached(self, step: int) -> Longs:
        """The attempts that did a step (from 0)."""
        return self.done[step][0]

    def ended(self, outcome: Outcome, depth: int | None = None) -> Longs:
        """The attempts that ended so; with `depth` those that had done just so many required steps."""
        found = self.outcome == outcome
        return np.flatnonzero(found if depth is None else found & (self.depth == depth))

    def people(self, attempts: Longs) -> Longs:
        """The users behind attempts, each once, ascending."""
        return distinct(self.user[attempts])

    def only(self, which: Flags) -> Attempts:
        """Some of the attempts."""
        number = np.cumsum(which) - 1
        done = tuple((number[one[which[one]]], at[which[one]]) for one, at in self.done)
        return Attempts(
            self.user[which], self.depth[which], self.outcome[which], self.began[which], done, self.value[which]
        )


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One step. `of_first` is of those who entered, `of_previous` of those who did the required step before; neither
    counts who still has time. `dropped`, `open` and `excluded` stopped here; None of all three at an optional step."""

    reached: int
    of_first: Share
    of_previous: Share
    since_previous: Spread
    dropped: int | None
    open: int | None
    excluded: int | None


@dataclass(frozen=True, slots=True)
class Funnel:
    """`entered` = converted + dropped + open + excluded. `conversion` is of those without `open`. `to_convert` is
    in ms, of the converted; `open` are its censored observations. With ANY_ORDER step k stands for any k steps."""

    entered: int
    converted: int
    dropped: int
    open: int
    excluded: int
    conversion: Share
    to_convert: Spread
    steps: tuple[FunnelStep, ...]


@dataclass(frozen=True, slots=True)
class FunnelAnswer:
    """The funnel, the same by value of the breakdown (most frequent first, then OTHER), and who is behind it.

    With the attribution ALL the values do not add up: `funnel` and `attempts` do not ask for one value, `by_value` and
    `attempts_by_value` do.
    """

    funnel: Funnel
    attempts: Attempts
    by_value: tuple[tuple[int, Funnel], ...] = ()
    attempts_by_value: Attempts | None = None


def funnel(events: Events, question: FunnelQuestion, breakdown: Breakdown | None = None) -> FunnelAnswer:
    """The answer. Linear: each step looks at the events of that step only."""
    if breakdown is None:
        attempts = attempts_of(events, question)
        return FunnelAnswer(summary(attempts, question), attempts)
    if events.breakdown is None:
        raise ValueError("Events without a column `breakdown` cannot be broken down.")
    if not 0 <= breakdown.step < len(question.steps):
        raise InvalidInput("The breakdown names a step that the funnel does not have.", path="breakdown.step")
    attempts = attempts_of(events, question, breakdown)
    apart = attempts
    if breakdown.attribution is Attribution.ALL:
        apart = attempts_of(events, question, breakdown, constant=True)
    apart = _most_frequent(apart, breakdown.most)
    values = [value for value in _by_frequency(apart) if value != OTHER]
    if (apart.value == OTHER).any():
        values.append(OTHER)
    by_value = tuple((value, summary(apart.only(apart.value == value), question)) for value in values)
    return FunnelAnswer(summary(attempts, question), attempts, by_value, apart)


def attempts_of(
    events: Events, question: FunnelQuestion, breakdown: Breakdown | None = None, *, constant: bool = False
) -> Attempts:
    """The attempts that count; `constant`: one value of the breakdown in all events of an attempt."""
    unit = Unit.SESSION if question.counting is Counting.SESSIONS else Unit.USER
    found = sequences(events, unit, constant=events.breakdown if constant else None)
    entries = attempts_at(question, found)
    counted = chosen(question, found, entries)
    rows = _rows_done(question, found, entries, counted)
    outcome = _outcomes(question, found, entries, counted)
    row = entries.row[counted]
    value = np.full(len(counted), NONE)
    if constant and found.events.breakdown is not None:
        value = found.events.breakdown[row].astype(np.int64)
    elif breakdown is not None and found.events.breakdown is not None:
        value = _attributed(found.events.breakdown, rows, len(counted), breakdown)
    done = tuple((one, found.events.at[at]) for one, at in rows)
    return Attempts(found.events.user[row], entries.depth[counted], outcome, found.events.at[row], done, value)


def _outcomes(question: FunnelQuestion, found: Sequences, entries: Entries, counted: Longs) -> Ints:
    """A user (or session) is open as long as any attempt that may still convert is, not only the best so far."""
    goal, rows = len(question.required), len(found.events)
    outcome = np.full(len(counted), Outcome.DROPPED, np.int8)
    outcome[entries.excluded_at[counted] < rows] = Outcome.EXCLUDED
    young = (entries.latest >= question.as_of) & (entries.excluded_at == rows) & (entries.depth < goal)
    if question.window_ms is not None and young.any():
        if question.counting is Counting.TOTALS:
            still = young[counted]
        else:
            waiting = np.zeros(len(found), np.bool_)
            waiting[found.unit[entries.row[young]]] = True
            still = waiting[found.unit[entries.row[counted]]]
        outcome[still] = Outcome.OPEN
    outcome[entries.depth[counted] == goal] = Outcome.CONVERTED
    return outcome


def _rows_done(
    question: FunnelQuestion, found: Sequences, entries: Entries, counted: Longs
) -> list[tuple[Longs, Longs]]:
    """By step: the counted attempts that did it, and the rows that did."""
    if question.order is Order.ANY_ORDER:
        return _rows_done_in_any_order(question, found, entries, counted)
    number = np.full(len(entries.row), -1)
    number[counted] = np.arange(len(counted))
    done: dict[int, tuple[Longs, Longs]] = {0: (np.arange(len(counted)), entries.row[counted])}
    for step, (entry, row) in list(entries.done.items())[1:]:
        which = number[entry] >= 0
        done[step] = number[entry[which]], row[which]
    if question.order is Order.ORDERED:
        _add_optional(question, found, entries, counted, done)
    return [done[step] for step in range(len(question.steps))]


def _add_optional(
    question: FunnelQuestion,
    found: Sequences,
    entries: Entries,
    counted: Longs,
    done: dict[int, tuple[Longs, Longs]],
) -> None:
    """An optional step is done by the first event after the step before it, if that is before the next required one."""
    events = found.events
    began = entries.row[counted]
    for step, kind in enumerate(question.steps):
        if not kind.optional:
            continue
        before = max(number for number in question.required if number < step)
        after = min(number for number in question.required if number > step)
        attempt, row = done[before]
        limit = entries.excluded_at[counted].copy()
        limit[done[after][0]] = done[after][1]
        for other in range(before + 1, step):  # optional steps between, which some attempts did
            latest = np.zeros(len(counted), np.int64)
            latest[attempt] = row
            latest[done[other][0]] = done[other][1]
            row = latest[attempt]
        next_row = next_at(events.having(kind.codes), row + 1)
        there = np.where(next_row < limit[attempt], next_row, 0)
        did = (next_row < limit[attempt]) & (found.unit[there] == found.unit[began[attempt]])
        if question.window_ms is not None:
            did &= events.at[there] - events.at[began[attempt]] <= question.window_ms
        done[step] = attempt[did], next_row[did]


def _rows_done_in_any_order(
    question: FunnelQuestion, found: Sequences, entries: Entries, counted: Longs
) -> list[tuple[Longs, Longs]]:
    began, events = entries.row[counted], found.events
    # The last row of an attempt is one of a step: nothing after it was counted, and nothing of another sequence.
    rows = np.empty((len(counted), len(question.steps)), np.int64)
    for step, kind in enumerate(question.steps):
        rows[:, step] = next_at(events.having(kind.codes), began)
    rows.sort(axis=1)
    depth = entries.depth[counted]
    return [(np.flatnonzero(depth > k), rows[depth > k, k]) for k in range(len(question.steps))]


def _attributed(value: Ints, rows: list[tuple[Longs, Longs]], attempts: int, breakdown: Breakdown) -> Longs:
    found = np.full(attempts, NONE)
    if breakdown.attribution is Attribution.STEP:
        attempt, row = rows[breakdown.step]
        found[attempt] = value[row]
        return found
    in_turn = rows if breakdown.attribution is Attribution.LAST else rows[::-1]
    for attempt, row in in_turn:
        has_one = value[row] >= 0
        found[attempt[has_one]] = value[row[has_one]]
    return found


def _by_frequency(attempts: Attempts) -> list[int]:
    """The values of the breakdown, most frequent first; NONE is one of them."""
    counts = np.bincount(attempts.value - OTHER, minlength=0)
    return [index + OTHER for index in top(counts, len(counts))]


def _most_frequent(attempts: Attempts, most: int) -> Attempts:
    kept = _by_frequency(attempts)[:most]
    value = np.where(np.isin(attempts.value, kept), attempts.value, OTHER)
    return Attempts(attempts.user, attempts.depth, attempts.outcome, attempts.began, attempts.done, value)


# -- the numbers ----------------------------------------------------------------------------------------------------


def summary(attempts: Attempts, question: FunnelQuestion) -> Funnel:
    """The numbers of some attempts."""
    ended = {outcome: len(attempts.ended(outcome)) for outcome in Outcome}
    entered, converted = len(attempts), ended[Outcome.CONVERTED]
    _, last = attempts.done[-1]
    which = attempts.done[-1][0]
    return Funnel(
        entered,
        converted,
        ended[Outcome.DROPPED],
        ended[Outcome.OPEN],
        ended[Outcome.EXCLUDED],
        Share.of(converted, entered - ended[Outcome.OPEN]),
        Spread.of(np.maximum(last - attempts.began[which], 0)),
        _steps(attempts, question),
    )


def _steps(attempts: Attempts, question: FunnelQuestion) -> tuple[FunnelStep, ...]:
    steps = []
    open_before = open_at_previous = depth = 0  # `depth` counts the required steps so far
    previous_reached = len(attempts)
    previous_at = attempts.began.copy()
    for number, kind in enumerate(question.steps):
        which, at = attempts.done[number]
        reached = len(which)
        took = np.zeros(0, np.int64) if number == 0 else np.maximum(at - previous_at[which], 0)
        stopped: list[int | None] = [None, None, None]
        of_first = Share.of(reached, len(attempts) - open_before)
        of_previous = Share.of(reached, previous_reached - open_at_previous)
        if not kind.optional:
            depth += 1
            stopped = [len(attempts.ended(one, depth)) for one in (Outcome.DROPPED, Outcome.OPEN, Outcome.EXCLUDED)]
            open_at_previous = stopped[1] or 0
            open_before += open_at_previous
            previous_reached = reached
            previous_at[which] = at
        steps.append(FunnelStep(reached, of_first, of_previous, Spread.of(took), *stopped))
    return tuple(steps)
