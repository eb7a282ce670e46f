"""What folding a user anew changes in the runs that are stored of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.journeys.changes import steps_between
from gateway.model.journey import Journey, JourneyStep, SegmentStep, UserState
from gateway.model.journey import Session as Visit
from gateway.store.rollups import Cells


@dataclass(slots=True)
class Difference:
    """What a workspace's fold changes: rows to write and to remove, steps and memberships to announce, cells to add to.

    `held` are users that no batch folds, because of their many events.
    """

    states: list[UserState] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    sessions: list[Visit] = field(default_factory=list)
    journeys: list[Journey] = field(default_factory=list)
    removed_sessions: set[str] = field(default_factory=set)
    removed_journeys: set[str] = field(default_factory=set)
    steps: list[JourneyStep] = field(default_factory=list)
    memberships: list[SegmentStep] = field(default_factory=list)
    cells: Cells = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run that is another one now, or new (`old` is None), or gone (`new` is None), and what is told of it."""

    id: str
    old: Journey | None
    new: Journey | None
    steps: list[JourneyStep]

    @property
    def started_at(self) -> int:
        run = self.new or self.old
        assert run is not None
        return run.started_at


def changed_runs(old: Mapping[str, Journey], new: Mapping[str, Journey]) -> Iterator[RunChange]:
    """A run is the same run when it began with the same event, whatever its number or its user's id."""
    begun = {(run.map, run.visits[0].first_event): run for run in old.values()}
    continued = set()
    for key, run in new.items():
        before = old.get(key) or begun.get((run.map, run.visits[0].first_event))
        if before is not None:
            continued.add(before.id)
        if before != run:
            yield RunChange(key, old.get(key), run, steps_between(before, run))
    for key in old.keys() - new.keys():
        yield RunChange(key, old[key], None, [] if key in continued else steps_between(old[key], None))
