"""Dry runs: what folding anew would change, worked out in memory. Nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from gateway.contract import Contract, JourneyMap
from gateway.contract.segments import InJourney, Segments, rules_within
from gateway.journeys.fold import Folded, fold, settled
from gateway.model.event import Event
from gateway.model.journey import Journey, Session, UserState
from gateway.pipeline.people import People, Person
from gateway.store.exports import Selection, patiently
from gateway.store.users import Journeys, Sessions

#: A stage (None: between two) and a status, as `journeys` has them.
Place = tuple[str | None, str]
#: Called with how many users were looked at.
Progress = Callable[[int], None]


@dataclass(slots=True)
class MapTrial:
    """One map under two versions: runs that moved since a time, by stage and status, and what became of users.

    `users` have a run under either version, `changed` of them have other runs; `moves` counts users by where their
    latest run is before and after (None: they have no run).
    """

    before: Counter[Place] = field(default_factory=Counter)
    after: Counter[Place] = field(default_factory=Counter)
    users: int = 0
    changed: int = 0
    moves: Counter[tuple[Place | None, Place | None]] = field(default_factory=Counter)

    def count(self, old: list[Journey], new: list[Journey], since: int) -> None:
        """Add one user's runs, in their order."""
        old, new = ([run for run in runs if run.last_at >= since] for runs in (old, new))
        if not old and not new:
            return
        self.users += 1
        self.before.update(map(_place, old))
        self.after.update(map(_place, new))
        if list(map(_course, old)) != list(map(_course, new)):
            self.changed += 1
        moved = (_place(old[-1]) if old else None, _place(new[-1]) if new else None)
        if moved[0] != moved[1]:
            self.moves[moved] += 1


@dataclass(slots=True)
class SegmentTrial:
    """One segment under two contracts: how many users are in it, and how many enter and leave it by the change."""

    before: int = 0
    after: int = 0
    entered: int = 0
    left: int = 0

    def count(self, was: bool, becomes: bool) -> None:
        """Add one user."""
        self.before += was
        self.after += becomes
        self.entered += becomes and not was
        self.left += was and not becomes


@dataclass(slots=True)
class ContractTrial:
    """The maps and segments that two contracts do not have in common, and the segments that other maps change, tried on
    everybody with events since `since` (ms)."""

    since: int
    as_of: int
    users: int = 0
    not_folding: int = 0
    maps: dict[str, MapTrial] = field(default_factory=dict)
    segments: dict[str, SegmentTrial] = field(default_factory=dict)


@dataclass(slots=True)
class RebuildTrial:
    """How many users, sessions and journeys a rebuild would change, and users whose events do not fold."""

    users: int = 0
    changed_users: int = 0
    changed_sessions: int = 0
    changed_journeys: int = 0
    not_folding: int = 0


async def try_contract(
    people: People,
    workspaces: list[str],
    before: Contract,
    after: Contract,
    *,
    since: int,
    as_of: int,
    progress: Progress,
) -> ContractTrial:
    """What `after` makes of those who have been seen since `since`, beside what `before` makes of them.

    Of each the maps that differ are folded, from the user's first event on; all of them where segments differ, or may
    by what the maps say. What arrives after `as_of` (ms) is left out.
    """
    keys = sorted({*before.journeys, *after.journeys})
    touched = [key for key in keys if before.journeys.get(key) != after.journeys.get(key)]
    moving = _moving(before, after, set(touched))
    trial = ContractTrial(
        since, as_of, maps={key: MapTrial() for key in touched}, segments={key: SegmentTrial() for key in moving}
    )
    sides = tuple(
        _Side({key: one.journeys[key] for key in (keys if moving else touched) if key in one.journeys}, one.grouping)
        for one in (before, after)
    )
    for workspace in workspaces:
        async for person, pages in people.each(Selection(workspace, as_of), seen_since=since):
            try:
                runs, members = await _sides(person.user, pages, sides, as_of)
            except Exception:
                # Derivation would set the user aside; a dry run says how many.
                trial.not_folding += 1
                continue
            trial.users += 1
            for key, counted in trial.maps.items():
                old_runs, new_runs = ([run for run in each if run.map == key] for each in runs)
                counted.count(old_runs, new_runs, since)
            for key, segment in trial.segments.items():
                segment.count(*(key in each for each in members))
            progress(trial.users)
    return trial


@dataclass(frozen=True, slots=True)
class _Side:
    """What one of two contracts folds by."""

    maps: Mapping[str, JourneyMap]
    segments: Segments


def _moving(before: Contract, after: Contract, touched: set[str]) -> list[str]:
    """Segments whose rule is another, or that look at a map that is another."""
    return [
        key
        for key in sorted({*before.segments, *after.segments})
        if _rule_of(before, key) != _rule_of(after, key)
        or any(
            isinstance(rule, InJourney) and rule.map in touched
            for one in (before, after)
            if key in one.segments
            for rule in rules_within(one.segments[key].rule)
        )
    ]


def _rule_of(contract: Contract, key: str) -> str | None:
    return contract.segments[key].hash if key in contract.segments else None


async def _sides(
    user: str, pages: AsyncIterator[list[Event]], sides: tuple[_Side, ...], as_of: int
) -> tuple[list[list[Journey]], list[tuple[str, ...]]]:
    """By each side every run, by number, and the segments that the user is in."""
    states: list[UserState | None] = [None for _ in sides]
    runs: list[dict[str, Journey]] = [{} for _ in sides]
    async for events in pages:
        for index, side in enumerate(sides):
            folded = fold(user, events, side.maps, as_of=as_of, state=states[index], segments=side.segments)
            states[index] = folded.state
            runs[index] |= folded.journeys
    members = [() if state is None else tuple(state.segments) for state in states]
    return [sorted(each.values(), key=lambda run: (run.map, run.run)) for each in runs], members


async def try_rebuild(
    people: AsyncIterator[tuple[Person, AsyncIterator[list[Event]]]],
    sessions: Sessions,
    journeys: Journeys,
    selection: Selection,
    contract: Contract,
    *,
    progress: Progress,
) -> RebuildTrial:
    """Compare what is stored of these people with what their events say.

    Under traffic, what is not derived yet counts as a change.
    """
    trial = RebuildTrial()
    async for person, pages in people:
        trial.users += 1
        progress(trial.users)
        try:
            folded = await _whole(person.user, pages, contract, selection.as_of)
        except Exception:
            trial.not_folding += 1
            continue
        users = [person.user]
        stored_sessions = await patiently(partial(sessions.of_users, selection.workspace, users))
        stored_runs = await patiently(partial(journeys.of_users, selection.workspace, users))
        other_sessions = _differing(stored_sessions, folded.sessions)
        runs = {key: settled(run, selection.as_of) for key, run in stored_runs.items()}
        other_runs = _differing(runs, folded.journeys)
        trial.changed_sessions += other_sessions
        trial.changed_journeys += other_runs
        trial.changed_users += bool(other_sessions or other_runs)
    return trial


async def _whole(user: str, pages: AsyncIterator[list[Event]], contract: Contract, as_of: int) -> Folded:
    state: UserState | None = None
    sessions: dict[str, Session] = {}
    runs: dict[str, Journey] = {}
    async for events in pages:
        folded = fold(user, events, contract.journeys, as_of=as_of, state=state, segments=contract.grouping)
        state = folded.state
        sessions |= folded.sessions
        runs |= folded.journeys
    assert state is not None  # people without events do not come
    return Folded(state, sessions, runs)


def _differing(stored: Mapping[str, object], fresh: Mapping[str, object]) -> int:
    return sum(stored.get(key) != fresh.get(key) for key in {*stored, *fresh})


def _place(run: Journey) -> Place:
    return run.stage, run.status.value


def _course(run: Journey) -> tuple[object, ...]:
    """What a user went through, without what only tells which version said so."""
    visits = tuple((visit.stage, visit.entered_at, visit.left_at, visit.events) for visit in run.visits)
    return run.status, visits, run.started_at, run.ended_at
