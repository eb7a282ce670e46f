"""What every kernel reads: events as parallel arrays in their order, and the sequences they form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gateway.errors import TooLarge

Ints = npt.NDArray[np.integer[Any]]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NONE = -1  # no name, no session, no value of the breakdown
SESSION_GAP_MS = 30 * 60 * 1000


class Unit(StrEnum):
    """Whose sequence is looked at."""

    USER = "USER"
    SESSION = "SESSION"


@dataclass(frozen=True, slots=True)
class Events:
    """Events in the order (user, at, seq, id), one row each; `of` brings them into it, and no kernel needs the sequence
    afterwards.

    `user`: numbers from 0. `at`: ms. `code`: what happened, an index into the names that the question is about, NONE
    for all else; an event that fits two rules of a question has a code of its own, which both name. `value`: a number
    of the event, NaN where it has none. `session`, `breakdown`: numbers from 0, NONE where it has none. Events later
    than the question's `as_of` are not among them.
    """

    user: Ints
    at: Longs
    code: Ints
    value: Floats | None = None
    session: Ints | None = None
    breakdown: Ints | None = None

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self._columns() if column is not None}
        if len(lengths) > 1:
            raise ValueError(f"The columns of Events have different lengths: {sorted(lengths)}.")

    @classmethod
    def of(
        cls,
        user: Ints,
        at: Longs,
        seq: Longs,
        code: Ints,
        *,
        value: Floats | None = None,
        session: Ints | None = None,
        breakdown: Ints | None = None,
        rank: Ints | None = None,
    ) -> Self:
        """From rows in any order; `rank` is that of the event's id, where (user, at, seq) may be the same."""
        unsorted = cls(user, at, code, value, session, breakdown)
        if len({len(at), len(seq), len(at if rank is None else rank)}) > 1:
            raise ValueError("The sequence or the rank has another length than the events.")
        packing = Packing.of(at, user)
        key = packing(user, at)
        if (key[1:] > key[:-1]).all():
            return unsorted
        if value is None and (found := unsorted._sorted_whole(packing, key, seq, rank)):
            return found
        return unsorted.take(in_order(key, user, at - packing.low, seq, rank))

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: Longs | Flags) -> Self:
        """Some of the rows; their order is the caller's."""
        taken: list[Any] = [None if column is None else column[rows] for column in self._columns()]
        return type(self)(*taken)

    def having(self, codes: Iterable[int]) -> Flags:
        """Which rows have one of the codes."""
        wanted = [code for code in codes if code >= 0]
        if not len(self) or len(wanted) < 4:  # so few are compared faster than looked up
            found = np.zeros(len(self), np.bool_)
            for code in wanted:
                found |= self.code == code
            return found
        table = np.zeros(max(int(self.code.max()), *wanted) + 2, np.bool_)  # the last one is for NONE
        table[wanted] = True
        return table[self.code]

    def _sorted_whole(self, packing: Packing, key: Longs, seq: Longs, rank: Ints | None) -> Self | None:
        """The same, where all columns fit into one int64 with user and time: sorting that spares to gather each of them
        by row. None where they do not fit, or where much ties."""
        columns = [column for column in (self.code, self.session, self.breakdown) if column is not None]
        widths = [(int(column.max()) + 1).bit_length() for column in columns]
        below = sum(widths)
        if int(key.max()).bit_length() + below > 63:
            return None
        packed = key.copy()
        for column, width in zip(columns, widths, strict=True):
            packed <<= width
            packed |= column + 1
        found = np.sort(packed)
        tied = _tied(found >> below)
        if len(tied) > len(found) // 16:
            return None
        if len(tied):
            keys = np.unique(found[tied] >> below)
            rows = np.flatnonzero(keys[np.minimum(np.searchsorted(keys, key), len(keys) - 1)] == key)
            found[tied] = packed[_finer(rows, key, seq, rank)]
        unpacked: list[Ints] = []
        for column, width in zip(reversed(columns), reversed(widths), strict=True):
            unpacked.append(((found & ((1 << width) - 1)) - 1).astype(column.dtype))
            found >>= width
        user, at = (found >> packing.bits).astype(self.user.dtype), (found & ((1 << packing.bits) - 1)) + packing.low
        code = unpacked.pop()
        session = None if self.session is None else unpacked.pop()
        breakdown = None if self.breakdown is None else unpacked.pop()
        return type(self)(user, at, code, None, session, breakdown)

    def _columns(self) -> tuple[Any, ...]:
        return self.user, self.at, self.code, self.value, self.session, self.breakdown


def in_order(key: Longs, user: Ints, offset: Longs, seq: Longs, rank: Ints | None) -> Longs:
    """The rows in the order (user, offset, seq, rank); `key` is (user, offset) packed.

    By time and then by user, each with the row's number below it in one int64, since NumPy sorts numbers far faster
    than it sorts their indexes; only what ties in (user, offset) is compared further.
    """
    rows = _ascending(offset)
    rows = rows[_ascending(user[rows])]
    tied = _tied(key[rows])
    if len(tied):
        rows[tied] = _finer(rows[tied], key, seq, rank)
    return rows


def _tied(key: Longs) -> Longs:
    """The rows of an ascending key that have the same as a neighbour."""
    same = key[1:] == key[:-1]
    return np.flatnonzero(np.append(same, False) | np.insert(same, 0, False)) if same.any() else np.zeros(0, np.int64)


def _finer(rows: Longs, key: Longs, seq: Longs, rank: Ints | None) -> Longs:
    finer = (seq[rows], key[rows]) if rank is None else (rank[rows], seq[rows], key[rows])
    return rows[np.lexsort(finer)]


def _ascending(numbers: Ints) -> Longs:
    """The rows by their numbers (0 or more), those with the same in the order in which they come."""
    bits = len(numbers).bit_length()
    if int(numbers.max()).bit_length() + bits > 63:
        return np.argsort(numbers, kind="stable")
    packed = (numbers.astype(np.int64) << bits) | np.arange(len(numbers))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


@dataclass(frozen=True, slots=True)
class Packing:
    """(group, time) as one int64 that sorts like the pair: the group's number above the ms since `low`."""

    low: int
    span: int
    bits: int

    @classmethod
    def of(cls, at: Longs, group: Ints) -> Self:
        """For these times and groups. Raises TooLarge when they need more than 63 bits."""
        if not len(at):
            return cls(0, 1, 1)
        low = int(at.min())
        span = int(at.max()) - low + 1
        bits = span.bit_length()
        if bits + int(group.max()).bit_length() > 63:
            raise TooLarge(
                f"{int(group.max()) + 1:,} users over {span // 86_400_000:,} days are too many for one question.",
                hint="Ask about a shorter range, or about a segment.",
            )
        return cls(low, span, bits)

    def __call__(self, group: Ints, at: Longs) -> Longs:
        """Times outside of those it was made for count as just before the first, or just after the last, of them."""
        offset = np.clip(at - self.low, 0, self.span)
        packed: Longs = (group.astype(np.int64) << self.bits) | offset
        return packed


@dataclass(frozen=True, slots=True)
class Sequences:
    """Events one sequence after the other, each in order: `unit` is the sequence's number, from 0 and ascending, of
    every row. Of users it is that of the user, and those without events are numbers too."""

    events: Events
    unit: Ints

    @property
    def starts(self) -> Longs:
        """The first row of each sequence."""
        return np.flatnonzero(changes(self.unit))

    def __len__(self) -> int:
        return int(self.unit[-1]) + 1 if len(self.unit) else 0


def changes(*columns: Ints) -> Flags:
    """Where a row differs from the one before in one of the columns; the first row does."""
    changed = np.ones(len(columns[0]), np.bool_)
    if len(changed):
        np.not_equal(columns[0][1:], columns[0][:-1], out=changed[1:])
        for column in columns[1:]:
            changed[1:] |= column[1:] != column[:-1]
    return changed


def by_gap(events: Events, gap_ms: int = SESSION_GAP_MS) -> Longs:
    """The session's number of each event: a pause longer than the gap starts one, exactly the gap does not."""
    begins = changes(events.user)
    if len(events):
        begins[1:] |= np.diff(events.at) > gap_ms
    return np.cumsum(begins) - 1


def sequences(events: Events, unit: Unit, *, constant: Ints | None = None) -> Sequences:
    """By user, or by user and session: that of the events where they carry one (those without are left out), otherwise
    that of the 30-minute rule. `constant`: a sequence is of one value of this column as well.
    """
    columns: list[Ints] = []
    if unit is Unit.SESSION and events.session is None:
        columns.append(by_gap(events))
    elif unit is Unit.SESSION and events.session is not None:
        with_one = events.session >= 0
        if not with_one.all():
            events = events.take(with_one)
            constant = None if constant is None else constant[with_one]
        assert events.session is not None
        columns.append(events.session)
    if constant is not None:
        columns.append(constant)
    if columns and not (len(columns) == 1 and _ascends(events.user, columns[0])):
        rows = np.lexsort((*reversed(columns), events.user))
        events, columns = events.take(rows), [column[rows] for column in columns]
    return Sequences(events, np.cumsum(changes(events.user, *columns)) - 1 if columns else events.user)


def _ascends(user: Ints, column: Ints) -> bool:
    return bool(((user[1:] > user[:-1]) | (column[1:] >= column[:-1])).all())


def distinct(users: Ints) -> Longs:
    """The users of some rows, each once, ascending."""
    return np.unique(users).astype(np.int64)


def top(counts: Ints, most: int) -> list[int]:
    """The indexes of the highest counts above 0, highest first, ties by index."""
    ranked = np.argsort(-counts.astype(np.int64), kind="stable")[: max(most, 0)]
    return [int(index) for index in ranked if counts[index] > 0]


def next_at(which: Flags, floor: Longs) -> Longs:
    """For each row number, the first marked row that is not before it; the number of rows where there is none."""
    rows = np.append(np.flatnonzero(which), len(which))
    if len(floor) < len(which) // 8:
        return rows[np.searchsorted(rows[:-1], floor)]
    before = np.zeros(len(which) + 1, np.int32 if len(which) < 2**31 else np.int64)  # how many are marked before a row
    np.cumsum(which, out=before[1:])
    found: Longs = rows[before[floor]]
    return found


def whole(array: Sequence[Any] | npt.NDArray[Any]) -> list[int]:
    """As Python's own whole numbers."""
    return [int(number) for number in array]
