"""What a KPI's function observes in the events of a range, or of each of its parts.

`demanded` says which events it has to see, `samples` what it sees in them. Parts are asked about as if each were a
range of its own: who begins in two of them counts in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Funnel,
    Nps,
    PluginFunction,
    PropertyStatistic,
    Quantity,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    Sum,
    TimeBetween,
    UniqueUsers,
    rules_of,
)
from gateway.insights.asking import By, Gathered, Reading
from gateway.insights.kernels.activity import usage_churn
from gateway.insights.kernels.attempts import Counting, Exclusion, FunnelQuestion, Order, ReEntry, Step
from gateway.insights.kernels.calendar import Interval
from gateway.insights.kernels.events import NONE, SESSION_GAP_MS, Events, Floats, Longs, changes
from gateway.insights.kernels.funnel import Breakdown, Outcome, attempts_of
from gateway.insights.kernels.retention import ROLLING_MS, Clock
from gateway.insights.kernels.returns import Period, begins, followed, returned
from gateway.insights.kpis.estimates import Sample

EVER = -62_135_596_800_000  # the year 1
DAY_MS = 86_400_000
#: How far behind the range sessions that began in it are looked for, then ever further.
REACH_MS = DAY_MS
_ORDERS = {"ordered": Order.ORDERED, "strict": Order.STRICT, "any": Order.ANY_ORDER}
_COUNTINGS = {"users": Counting.UNIQUES, "totals": Counting.TOTALS, "sessions": Counting.SESSIONS}
_ATTEMPTS = {"best": ReEntry.BEST_ATTEMPT, "first": ReEntry.FIRST_TOUCH}
_CLOCKS = {"rolling": Clock.ROLLING, "calendar": Clock.CALENDAR}


class Further(Exception):
    """A session that began in the range may go on beyond what was read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a function looks at: events with the codes of its rules, as of a moment (ms); `edge` is the first ms that
    was not read."""

    gathered: Gathered
    as_of: int
    edge: int
    zone: ZoneInfo

    @property
    def events(self) -> Events:
        return self.gathered.events


def milliseconds(time: timedelta) -> int:
    """A duration of the contract."""
    return time // timedelta(milliseconds=1)


def settles_ms(function: Function) -> int:
    """How long after the end of a range everybody in it can be judged; 0 where nothing has to be waited for."""
    match function:
        case Funnel(window=window) if window is not None:
            return milliseconds(window) + 1
        case TimeBetween(within=within) if within is not None:
            return milliseconds(within) + 1
        case Churn():
            return milliseconds(function.quiet) + 1
        case Retention():
            length = ROLLING_MS[Interval(function.period.upper())]
            # A month of the calendar has up to 31 days, and the one of the start is not over with the range.
            return (function.after + 1) * length + (function.bucket == "calendar") * (function.after + 2) * DAY_MS
        case _:
            return 0


def demanded(function: Function, between: tuple[int, int], as_of: int, by: By | None, reach: int) -> Reading:
    """The events that a function has to see for a range. `reach`: so far behind it for sessions."""
    start, end = between
    others = sessions = False
    numbers: tuple[str, ...] = ()
    match function:
        case Funnel():
            start -= function.tolerance_ms
            others, sessions = function.order == "strict", function.counting == "sessions"
            end = as_of + 1 if function.window is None else end + settles_ms(function)
        case TimeBetween():
            start, others = (EVER, True) if function.start is None else (start, False)
            end = as_of + 1 if function.within is None else end + settles_ms(function)
        case Retention():
            start = EVER if function.start is None else start
            others = function.start is None or function.back is None
            end = as_of + 1 if function.kind == "unbounded" else end + settles_ms(function)
        case Churn():
            others, end = function.rule is None, end + settles_ms(function)
        case SessionLength() | EngagementDepth():
            start, end, others, sessions = start - SESSION_GAP_MS, end + reach, True, True
        case Sum() | PropertyStatistic() | Satisfied() | Nps() | Ces():
            numbers = (function.property,)
        case PluginFunction(property=path) if path is not None:
            numbers = (path,)
        case Ratio():
            sides = (function.part, function.whole)
            numbers = tuple(dict.fromkeys(side.property for side in sides if isinstance(side, Sum)))
    return Reading(
        rules=rules_of(function), between=(start, end), others=others, sessions=sessions, numbers=numbers, by=by
    )


def samples(function: Function, seen: Seen, bounds: Sequence[int]) -> list[Sample]:
    """One sample for each part between two bounds (ms, rising). Raises Further."""
    whole = bounds[0], bounds[-1]
    match function:
        case Ratio():
            count = len(rules_of(function.part))
            parts = _quantities(function.part, seen, seen.gathered.codes[:count], bounds)
            wholes = _quantities(function.whole, seen, seen.gathered.codes[count:], bounds)
            return [
                Sample(part.user, part.value, part.open, part.part, None, of)
                for part, of in zip(parts, wholes, strict=True)
            ]
        case Count() | UniqueUsers() | Sum():
            return _quantities(function, seen, seen.gathered.codes, bounds)
        case PropertyStatistic() | Satisfied() | Nps() | Ces():
            return _numbers(function, seen, bounds)
        case SessionLength() | EngagementDepth():
            return _parted(*_sessions(function, seen, whole), bounds)
        case TimeBetween(start=None) | Retention(start=None):
            return _parted(*_from_first(function, seen, seen.events, whole), bounds)
        case TimeBetween() | Retention():
            return [
                _from_first(function, seen, seen.events.take(seen.events.at >= span[0]), span)[1]
                for span in pairwise(bounds)
            ]
        case Churn():
            return [_churn(function, seen, span) for span in pairwise(bounds)]
        case Funnel():
            return [_funnel(function, seen, span) for span in pairwise(bounds)]
        case _:
            raise ValueError(f"{type(function).__name__} is not worked out from events.")


# -- one observation per event --------------------------------------------------------------------------------------


def _parted(at: Longs, sample: Sample, bounds: Sequence[int]) -> list[Sample]:
    """The rows of each part, by the time (ms) to which they belong."""
    place = np.searchsorted(np.array(bounds), at, side="right") - 1
    if len(bounds) == 2:
        return [sample.take(place == 0)]
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(len(bounds)))
    return [sample.take(order[low:high]) for low, high in pairwise(edges.tolist())]


def _rows(seen: Seen, row: Longs, value: Floats, bounds: Sequence[int]) -> list[Sample]:
    events = seen.events
    part = None if events.breakdown is None else events.breakdown[row].astype(np.int64)
    return _parted(events.at[row], Sample.of(events.user[row].astype(np.int64), value, part), bounds)


def _codes(codes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({code for some in codes for code in some}))


def _quantities(
    quantity: Quantity, seen: Seen, codes: Sequence[tuple[int, ...]], bounds: Sequence[int]
) -> list[Sample]:
    row = np.flatnonzero(seen.events.having(_codes(codes)))
    value = np.ones(len(row))
    if isinstance(quantity, Sum):
        value = seen.gathered.numbers[quantity.property][row]
        row, value = row[~np.isnan(value)], value[~np.isnan(value)]
    return _rows(seen, row, value, bounds)


def _numbers(function: PropertyStatistic | Satisfied | Nps | Ces, seen: Seen, bounds: Sequence[int]) -> list[Sample]:
    row = np.flatnonzero(seen.events.having(seen.gathered.codes[0]))
    value = seen.gathered.numbers[function.property][row]
    match function:
        case PropertyStatistic():
            valid = ~np.isnan(value)
        case Nps():
            valid = (value >= 0) & (value <= 10)
        case _:
            valid = (value >= function.lowest) & (value <= function.highest)
    return _rows(seen, row[valid], scored(function, value[valid]), bounds)


def scored(function: PropertyStatistic | Satisfied | Nps | Ces, answers: Floats) -> Floats:
    """What answers on the scale count as; numbers that are no answers count as themselves."""
    match function:
        case Satisfied():
            found: Floats = (answers >= function.at_least).astype(np.float64)
        case Nps():
            found = (answers >= 9).astype(np.float64) - (answers <= 6)
        case Ces() if function.method != "mean":
            width = function.highest - function.lowest
            # How far up the scale, in sixths of its width, so that 1 to 7 come to whole numbers.
            sixths = 6 * (answers - function.lowest)
            if function.direction == "lowIsEasy":
                sixths = 6 * width - sixths
            if function.method == "percentEasy":
                found = (sixths >= 4 * width).astype(np.float64)
            else:
                found = (sixths >= 5 * width).astype(np.float64) - (sixths <= 2 * width)
        case _:
            found = answers
    return found


# -- one observation per session ------------------------------------------------------------------------------------


def _sessions(function: SessionLength | EngagementDepth, seen: Seen, between: tuple[int, int]) -> tuple[Longs, Sample]:
    events = seen.events
    assert events.session is not None
    number = np.cumsum(changes(events.session)) - 1
    first = np.flatnonzero(changes(number))
    last = np.append(first[1:], len(events))[: len(first)] - 1
    began = events.at[first]
    mine = (began >= between[0]) & (began < between[1])
    if seen.edge <= seen.as_of and (events.at[last[mine]] >= seen.edge - SESSION_GAP_MS).any():
        raise Further
    if isinstance(function, SessionLength):
        value = (events.at[last] - began) / 1000
    else:
        value = _depths(function, seen, number, len(first))
    part = None
    if events.breakdown is not None:
        # Of the first event of the session that has one.
        having = np.flatnonzero(events.breakdown >= 0)
        having = having[changes(number[having])]
        part = np.full(len(first), NONE)
        part[number[having]] = events.breakdown[having]
    return began, Sample.of(events.user[first].astype(np.int64), value, part)


def _depths(function: EngagementDepth, seen: Seen, number: Longs, sessions: int) -> Floats:
    """How many of the names each session has; rules of one name are one."""
    names = list(dict.fromkeys(rule.event for rule in function.rules))
    of_code = np.full(len(seen.gathered.names) + 1, NONE)  # the last one is for NONE
    for rule, codes in zip(function.rules, seen.gathered.codes, strict=True):
        of_code[[code for code in codes if code >= 0]] = names.index(rule.event)
    name = of_code[seen.events.code]
    pairs = np.unique(number[name >= 0] * len(names) + name[name >= 0])
    return np.bincount(pairs // len(names), minlength=sessions).astype(np.float64)


# -- one observation per user, or attempt ---------------------------------------------------------------------------


def _from_first(
    function: TimeBetween | Retention, seen: Seen, events: Events, between: tuple[int, int]
) -> tuple[Longs, Sample]:
    codes = list(seen.gathered.codes)
    start = None if function.start is None else codes.pop(0)
    row = begins(events, start, between)
    if isinstance(function, TimeBetween):
        within = None if function.within is None else milliseconds(function.within)
        found = followed(events, row, codes[0], within, seen.as_of)
        counted = (found.took >= 0) | found.open
        row, value, waiting = row[counted], found.took[counted] / 1000, found.open[counted]
    else:
        period = Period(
            Interval(function.period.upper()),
            function.after,
            _CLOCKS[function.bucket],
            seen.zone,
            function.kind == "unbounded",
        )
        again = returned(events, row, None if function.back is None else codes[0], period, seen.as_of)
        value, waiting = again.back.astype(np.float64), again.open
    part = None if events.breakdown is None else events.breakdown[row].astype(np.int64)
    return events.at[row], Sample.of(events.user[row].astype(np.int64), value, part, waiting)


def _churn(function: Churn, seen: Seen, between: tuple[int, int]) -> Sample:
    events = seen.events
    codes = tuple(range(len(seen.gathered.names))) if function.rule is None else seen.gathered.codes[0]
    found = usage_churn(events, codes, between, milliseconds(function.quiet), seen.as_of)
    groups = (found.left, found.stayed, found.waiting)
    user = np.concatenate(groups).astype(np.int64)
    value = np.repeat([1.0, 0.0, 0.0], [len(group) for group in groups])
    waiting = np.repeat([False, False, True], [len(group) for group in groups])
    part = None
    if events.breakdown is not None:
        inside = np.flatnonzero(events.having(codes) & (events.at >= between[0]) & (events.at < between[1]))
        last = inside[np.append(changes(events.user[inside])[1:], True)[: len(inside)]]
        part = events.breakdown[last[np.searchsorted(events.user[last], user)]].astype(np.int64)
    return Sample.of(user, value, part, waiting)


def _funnel(function: Funnel, seen: Seen, between: tuple[int, int]) -> Sample:
    events, codes = seen.events, seen.gathered.codes
    window = None if function.window is None else milliseconds(function.window)
    high = seen.as_of + 1 if window is None else between[1] + window + 1
    events = events.take((events.at >= between[0] - function.tolerance_ms) & (events.at < high))
    steps, last = function.steps, len(function.steps) - 1
    question = FunnelQuestion(
        steps=tuple(Step(codes[place], step.optional) for place, step in enumerate(steps)),
        as_of=seen.as_of,
        window_ms=window,
        order=_ORDERS[function.order],
        re_entry=_ATTEMPTS[function.attempt],
        counting=_COUNTINGS[function.counting],
        exclusions=tuple(Exclusion(some, 0, last) for some in codes[len(steps) :]),
        tolerance_ms=function.tolerance_ms,
        between=between,
    )
    found = attempts_of(events, question, None if events.breakdown is None else Breakdown())
    did = np.zeros((len(found), len(steps)), np.bool_)
    for place, (which, _) in enumerate(found.done):
        did[which, place] = True
    waiting = found.outcome == Outcome.OPEN
    part = None if events.breakdown is None else found.value
    sample = Sample.of(found.user.astype(np.int64), found.outcome == Outcome.CONVERTED, part, waiting)
    return Sample(sample.user, sample.value, sample.open, part, did)
