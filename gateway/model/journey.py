"""Sessions and journeys of one user, as the fold makes them. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.model.event import JsonObject, OrderKey


class JourneyStatus(StrEnum):
    """Where one run of a journey is."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Session:
    """A visit: events with no pause of more than 30 minutes between them."""

    id: str
    user: str
    start: int
    end: int
    events: int
    first_event: bytes
    last_event: bytes
    entry: str
    exit: str


@dataclass(frozen=True, slots=True)
class StageVisit:
    """One stage of one run: when it was entered and left, and the events that prove it (first, last, count)."""

    stage: str
    entered_at: int
    left_at: int | None
    rule: str
    first_event: bytes
    last_event: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Journey:
    """One run of one user through one map. `due_at` is when it turns abandoned if nothing more happens."""

    id: str
    user: str
    map: str
    version: int
    run: int
    status: JourneyStatus
    visits: tuple[StageVisit, ...]
    started_at: int
    last_at: int
    ended_at: int | None
    due_at: int | None

    @property
    def stage(self) -> str:
        """The stage the run is in (of an ended run: where it ended)."""
        return self.visits[-1].stage


@dataclass(slots=True)
class UserState:
    """Enough of a user to fold the next event onto, without the events before it."""

    user: str
    first_seen: int
    last: OrderKey
    events: int = 0
    sessions: int = 0
    traits: JsonObject = field(default_factory=dict)
    session: Session | None = None
    runs: dict[str, Journey] = field(default_factory=dict)

    @property
    def last_seen(self) -> int:
        return self.last[0]

    def due_at(self, as_of: int) -> int | None:
        """When time alone will change something next."""
        due = [run.due_at for run in self.runs.values() if run.due_at is not None and run.due_at > as_of]
        return min(due, default=None)


@dataclass(frozen=True, slots=True)
class JourneyStep:
    """One announced change: from a stage (None: the run began) to a stage, or a new status in the same stage."""

    journey: str
    user: str
    map: str
    run: int
    from_stage: str | None
    to_stage: str | None
    status: JourneyStatus | None
    at: int
    event: bytes | None
