"""Who is active when: stickiness, lifecycle and churn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gateway.errors import InvalidInput
from gateway.insights.kernels.calendar import HOUR_MS, Calendar
from gateway.insights.kernels.events import Events, Longs, changes
from gateway.insights.kernels.statistics import Share

DAY_MS = 24 * HOUR_MS


def _active(events: Events, codes: tuple[int, ...], calendar: Calendar) -> tuple[Longs, Longs]:
    """(user, interval) pairs with an event, each once, ascending."""
    which = np.flatnonzero(events.having(codes))
    interval, user = calendar.of(events.at[which]), events.user[which].astype(np.int64)
    inside = (interval >= 0) & (interval < len(calendar))
    interval, user = interval[inside], user[inside]
    once = changes(user, interval)
    return user[once], interval[once]


@dataclass(frozen=True, slots=True)
class Stickiness:
    """`exactly[k]` users were active in k of the intervals (from 0: nobody is), `at_least[k]` in k or more. `ratio` is
    the mean number of active users of an interval / the active users of all: DAU/MAU over 28 or 30 days. `user` and
    `intervals`: each active user once, and how many."""

    exactly: tuple[int, ...]
    at_least: tuple[int, ...]
    actives: tuple[int, ...]
    ratio: float | None
    user: Longs
    intervals: Longs

    def people(self, intervals: int) -> Longs:
        """The users who were active in exactly so many intervals."""
        users: Longs = self.user[self.intervals == intervals]
        return users


def stickiness(events: Events, codes: tuple[int, ...], calendar: Calendar) -> Stickiness:
    """Over all intervals of the calendar."""
    user, interval = _active(events, codes, calendar)
    actives = np.bincount(interval, minlength=len(calendar))
    users, intervals = np.unique(user, return_counts=True)
    exactly = np.bincount(intervals, minlength=len(calendar) + 1)
    at_least = exactly[::-1].cumsum()[::-1]
    ratio = float(actives.sum()) / len(calendar) / len(users) if len(users) else None
    return Stickiness(
        tuple(exactly.tolist()), tuple(at_least.tolist()), tuple(actives.tolist()), ratio, users, intervals
    )


@dataclass(frozen=True, slots=True)
class LifecyclePoint:
    """One interval [start, end): new + returning + resurrecting are the active ones; `dormant` were active in the one
    before and are not now. `complete`: it is over."""

    start: int
    end: int
    new: int
    returning: int
    resurrecting: int
    dormant: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """From the second interval of the calendar on: the first says who was active before. `new`, `returning`,
    `resurrecting` and `dormant` hold the users of each point, ascending."""

    points: tuple[LifecyclePoint, ...]
    new: tuple[Longs, ...]
    returning: tuple[Longs, ...]
    resurrecting: tuple[Longs, ...]
    dormant: tuple[Longs, ...]


def lifecycle(
    events: Events, codes: tuple[int, ...], calendar: Calendar, as_of: int, first_seen: Longs | None = None
) -> Lifecycle:
    """`first_seen`: ms by user; None takes each user's first event here, whatever its code. Who is active for the first
    time but was seen in an earlier interval is resurrecting."""
    user, interval = _active(events, codes, calendar)
    begins = np.flatnonzero(changes(events.user))
    if first_seen is None:
        first_seen = np.full(int(events.user[-1]) + 1 if len(events) else 0, np.iinfo(np.int64).max)
        first_seen[events.user[begins]] = events.at[begins]
    follows = np.zeros(len(user), np.bool_)
    follows[1:] = (user[1:] == user[:-1]) & (interval[1:] == interval[:-1] + 1)
    leaves = np.append(~follows[1:], True)[: len(user)]
    created = calendar.of(first_seen[user]) == interval
    bounds = calendar.bounds.tolist()
    groups: list[tuple[Longs, ...]] = []
    for which, shift in ((created & ~follows, 0), (follows, 0), (~created & ~follows, 0), (leaves, 1)):
        order = np.argsort(interval[which], kind="stable")
        counts = np.bincount(interval[which] + shift, minlength=len(calendar) + 1)
        parts = np.split(user[which][order], np.cumsum(counts)[:-1])
        groups.append(tuple(parts[1 : len(calendar)]))
    points = tuple(
        LifecyclePoint(start, end, len(new), len(back), len(again), len(gone), end <= as_of)
        for (start, end), new, back, again, gone in zip(pairwise(bounds[1:]), *groups, strict=True)
    )
    return Lifecycle(points, *groups)


@dataclass(frozen=True, slots=True)
class Churn:
    """`churn` is of those who can be judged; `open` are those whose time is not over yet. The users of each."""

    churn: Share
    open: int
    left: Longs
    stayed: Longs
    waiting: Longs


def customer_churn(events: Events, joins: tuple[int, ...], leaves: tuple[int, ...], between: tuple[int, int]) -> Churn:
    """Customers at the start of [start, end) ms who are none at its end / customers at its start. Whoever joined and
    has not left since is a customer."""
    either = np.flatnonzero(events.having((*joins, *leaves)))
    joined = events.having(joins)[either]
    user, at = events.user[either].astype(np.int64), events.at[either]
    customers = _customers(user, joined, at < between[0])
    at_end = _customers(user, joined, at < between[1])
    left, stayed = np.setdiff1d(customers, at_end), np.intersect1d(customers, at_end)
    return Churn(Share.of(len(left), len(customers)), 0, left, stayed, left[:0])


def _customers(user: Longs, joined: np.typing.NDArray[np.bool_], before: np.typing.NDArray[np.bool_]) -> Longs:
    """Those whose last word before a moment is that they join."""
    user, joined = user[before], joined[before]
    last = np.append(changes(user)[1:], True)[: len(user)]
    customers: Longs = user[last & joined]
    return customers


def usage_churn(
    events: Events, codes: tuple[int, ...], between: tuple[int, int], inactive_ms: int, as_of: int
) -> Churn:
    """Of the users active in [start, end) ms, those without an event in the `inactive_ms` after their last one there;
    an event at the very end of that time is in it. Judged only when the time is over at `as_of`, or they came back."""
    if inactive_ms < DAY_MS:
        raise InvalidInput("Whoever pauses for less than a day has not left.", path="inactive")
    which = np.flatnonzero(events.having(codes))
    user, at = events.user[which].astype(np.int64), events.at[which]
    inside = np.flatnonzero((at >= between[0]) & (at < between[1]))
    last = inside[np.append(changes(user[inside])[1:], True)[: len(inside)]]
    following = np.minimum(last + 1, max(len(at) - 1, 0))
    back = (following > last) & (user[following] == user[last]) & (at[following] - at[last] <= inactive_ms)
    over = at[last] + inactive_ms < as_of
    left, stayed, waiting = user[last[~back & over]], user[last[back]], user[last[~back & ~over]]
    return Churn(Share.of(len(left), len(left) + len(stayed)), len(waiting), left, stayed, waiting)
