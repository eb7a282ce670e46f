"""Friction: where in a journey people leave, go back, meet errors, repeat themselves and are unhappy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gateway.insights.kernels.events import Events, Flags, Ints, Longs, Packing, changes, distinct
from gateway.insights.kernels.statistics import Share, Spread


class RunStatus(IntEnum):
    """Of the run that a visit belongs to."""

    ACTIVE = 0
    COMPLETED = 1
    ABANDONED = 2


@dataclass(frozen=True, slots=True)
class Visits:
    """Stage visits of one map, one row each, in the order (user, entered, place in the run). `user`, `run`: numbers;
    `stage`: its place in the map; `entered`, `left`: ms, `left` -1 while the visit lasts; `status`: of the run."""

    user: Ints
    run: Ints
    stage: Ints
    entered: Longs
    left: Longs
    status: Ints

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, slots=True)
class StageFriction:
    """One stage. Of `visits` by `users`: `dropped` ended an abandoned run (their share is of the visits that are not
    `open`, the last of a run that is still active); `went_back` to an earlier stage next; `with_error`, `with_repeat`,
    `with_low_score` had one or more of such events, of which there are `errors`, `repeats`, `low_scores`. `lasted` is
    in ms, of the visits that have been left."""

    stage: int
    visits: int
    users: int
    open: int
    dropped: Share
    went_back: Share
    with_error: Share
    with_repeat: Share
    with_low_score: Share
    errors: int
    repeats: int
    low_scores: int
    lasted: Spread


@dataclass(frozen=True, slots=True)
class Friction:
    """By stage of the map. The arrays have one row per visit: what is counted above is read from them."""

    stages: tuple[StageFriction, ...]
    visits: Visits
    open: Flags
    dropped: Flags
    went_back: Flags
    errors: Longs
    repeats: Longs
    low_scores: Longs

    def people(self, stage: int, which: Flags | None = None) -> Longs:
        """The users of a stage, or those of some of its visits, such as `dropped` or `errors > 0`."""
        found = self.visits.stage == stage
        return distinct(self.visits.user[found if which is None else found & which])


def friction(
    events: Events,
    visits: Visits,
    stages: int,
    *,
    errors: tuple[int, ...] = (),
    scores: tuple[int, ...] = (),
    low: float = 0.0,
) -> Friction:
    """An event belongs to the visit in which it falls; at the ms in which one ends and the next begins, to the next.
    A repeat has the same code as the event before it in the visit (events without a name are not looked at). A score is
    low at `low` or below; `Events.value` has it."""
    last = np.append(changes(visits.user, visits.run)[1:], True)[: len(visits)]
    ended = last & (visits.status == RunStatus.ABANDONED)
    still_open = last & (visits.status == RunStatus.ACTIVE)
    went_back = np.zeros(len(visits), np.bool_)
    went_back[:-1] = ~last[:-1] & (visits.stage[1:] < visits.stage[:-1])
    named = events.take(events.code >= 0)
    visit = _visit_of(named, visits)
    named, visit = named.take(visit >= 0), visit[visit >= 0]
    repeated = np.zeros(len(visit), np.bool_)
    repeated[1:] = ~changes(visit, named.code)[1:]
    low_score = named.having(scores)
    if named.value is not None:
        low_score = low_score & (named.value <= low)
    else:
        low_score[:] = False
    counts = [_count(visit[which], visits) for which in (named.having(errors), repeated, low_score)]
    marks = (still_open, ended, went_back)
    table = tuple(_stage(number, visits, marks, counts) for number in range(stages))
    return Friction(table, visits, *marks, *counts)


def _count(visit: Longs, visits: Visits) -> Longs:
    return np.bincount(visit, minlength=len(visits))


def _visit_of(events: Events, visits: Visits) -> Longs:
    """The visit of each event, -1 without one."""
    if not len(visits) or not len(events):
        return np.full(len(events), -1)
    at, user = np.concatenate((visits.entered, events.at)), np.concatenate((visits.user, events.user))
    packing = Packing.of(at, user)
    found = np.searchsorted(packing(visits.user, visits.entered), packing(events.user, events.at), side="right") - 1
    row = np.maximum(found, 0)
    inside = (found >= 0) & (visits.user[row] == events.user)
    inside &= (visits.left[row] < 0) | (events.at <= visits.left[row])
    return np.where(inside, found, -1)


def _stage(number: int, visits: Visits, marks: tuple[Flags, Flags, Flags], counts: list[Longs]) -> StageFriction:
    here = visits.stage == number
    still_open, dropped, went_back = (int(mark[here].sum()) for mark in marks)
    n = int(here.sum())
    left = here & (visits.left >= 0)
    with_error, with_repeat, with_low_score = (Share.of(int((count[here] > 0).sum()), n) for count in counts)
    errors, repeats, low_scores = (int(count[here].sum()) for count in counts)
    return StageFriction(
        number,
        n,
        len(distinct(visits.user[here])),
        still_open,
        Share.of(dropped, n - still_open),
        Share.of(went_back, n - still_open),
        with_error,
        with_repeat,
        with_low_score,
        errors,
        repeats,
        low_scores,
        Spread.of(visits.left[left] - visits.entered[left]),
    )
