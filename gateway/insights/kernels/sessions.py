"""Sessions: how many, how long, how engaged; and the time on pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gateway.insights.kernels.events import Events, Flags, Ints, Longs, Sequences, Unit, changes, distinct, sequences
from gateway.insights.kernels.statistics import Share, Spread

ENGAGED_MS = 10_000
ENGAGED_VIEWS = 2


@dataclass(frozen=True, slots=True)
class SessionStats:
    """`duration` (ms, last event - first) is of all sessions, where one of a single event has 0;
    `duration_of_several` is without those. `engaged` by the rule of GA4, `bounce` is 1 - that; `single_event` is the
    older bounce. The arrays have one row per session, in the order of users and time."""

    sessions: int
    users: int
    events: Spread
    duration: Spread
    duration_of_several: Spread
    engaged: Share
    bounce: Share
    single_event: Share
    user: Ints
    start: Longs
    end: Longs
    count: Longs
    is_engaged: Flags

    def people(self, sessions: Flags) -> Longs:
        """The users of some sessions, each once."""
        return distinct(self.user[sessions])


def session_stats(events: Events, views: tuple[int, ...], key_events: tuple[int, ...] = ()) -> SessionStats:
    """Of the sessions that the events carry, or of those by the 30-minute rule; all events count. A session is engaged
    when it is longer than 10 s, or has a key event, or two views of pages or screens."""
    found = sequences(events, Unit.SESSION)
    starts = found.starts
    count = np.diff(np.append(starts, len(found.events)))
    start = found.events.at[starts]
    end = found.events.at[starts + count - 1]
    engaged = end - start > ENGAGED_MS
    engaged |= _per_sequence(found, found.events.having(key_events)) >= 1
    engaged |= _per_sequence(found, found.events.having(views)) >= ENGAGED_VIEWS
    hits, n, several = int(engaged.sum()), len(starts), count > 1
    user = found.events.user[starts]
    return SessionStats(
        n,
        len(distinct(user)),
        Spread.of(count),
        Spread.of(end - start),
        Spread.of((end - start)[several]),
        Share.of(hits, n),
        Share.of(n - hits, n),
        Share.of(int((~several).sum()), n),
        user,
        start,
        end,
        count,
        engaged,
    )


def _per_sequence(found: Sequences, which: Flags) -> Longs:
    return np.bincount(found.unit[which], minlength=len(found))


class TimeOnPage(StrEnum):
    """To the next view; to the last sign of life on the page; or by heartbeats."""

    NEXT_VIEW = "NEXT_VIEW"
    ABSOLUTE = "ABSOLUTE"
    ENGAGED = "ENGAGED"


@dataclass(frozen=True, slots=True)
class PageTime:
    """The time on one page (ms): of `views` views `time.n` have one."""

    page: int
    views: int
    time: Spread


@dataclass(frozen=True, slots=True)
class PageTimes:
    """By page, most viewed first. The arrays have one row per view; `time` is -1 where a view has none."""

    pages: tuple[PageTime, ...]
    page: Longs
    time: Longs
    user: Ints


def time_on_page(
    events: Events,
    views: tuple[int, ...],
    method: TimeOnPage = TimeOnPage.NEXT_VIEW,
    *,
    pings: tuple[int, ...] = (),
    heartbeat_ms: int = 10_000,
    least_ms: int = 5_000,
) -> PageTimes:
    """The page is `Events.breakdown` of the view (NONE without). `pings` are heartbeats and the event of leaving; they
    belong to the latest view before them in the session. NEXT_VIEW: the next view of the session - this one, the last
    has no time. ABSOLUTE: the last ping - the view, none without a ping. ENGAGED: heartbeat * (different heartbeats
    with a ping - 1) + `least_ms`, 0 without a ping (Snowplow's unified model)."""
    found = sequences(events, Unit.SESSION)
    row = np.flatnonzero(found.events.having(views))
    at, unit = found.events.at[row], found.unit[row]
    time = np.full(len(row), -1)
    if method is TimeOnPage.NEXT_VIEW:
        followed = np.flatnonzero(unit[1:] == unit[:-1])
        time[followed] = at[followed + 1] - at[followed]
    else:
        ping = np.flatnonzero(found.events.having(pings))
        view = np.searchsorted(row, ping, side="right") - 1
        with_view = view >= 0
        with_view &= unit[np.maximum(view, 0)] == found.unit[ping] if len(row) else False
        ping, view = ping[with_view], view[with_view]
        if method is TimeOnPage.ABSOLUTE:
            time[view] = found.events.at[ping] - at[view]  # the last one stays
        else:
            beats = changes(view, found.events.at[ping] // heartbeat_ms)
            number = np.bincount(view[beats], minlength=len(row))
            time = np.where(number > 0, heartbeat_ms * (number - 1) + least_ms, 0)
    breakdown = found.events.breakdown
    page = np.full(len(row), -1) if breakdown is None else breakdown[row].astype(np.int64)
    return PageTimes(_by_page(page, time), page, time, found.events.user[row])


def _by_page(page: Longs, time: Longs) -> tuple[PageTime, ...]:
    order = np.argsort(page, kind="stable")
    starts = np.flatnonzero(changes(page[order]))
    parts = zip(page[order][starts].tolist(), np.split(time[order], starts[1:]), strict=True) if len(page) else ()
    pages = [PageTime(one, len(part), Spread.of(part[part >= 0])) for one, part in parts]
    return tuple(sorted(pages, key=lambda page: (-page.views, page.page)))
