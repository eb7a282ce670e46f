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
    """One stay in a stage: when it was entered and left, and the events that prove it (first, last, count).

    `left_rule` and `left_event` say why it was left when no other stage was entered by that; the next visit says it
    otherwise.
    """

    stage: str
    entered_at: int
    left_at: int | None
    rule: str
    first_event: bytes
    last_event: bytes
    events: int
    left_rule: str | None = None
    left_event: bytes | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """One run of one user through one map. `due_at` is when it turns abandoned if nothing more happens.

    `ended_rule` and `ended_event` say why it was abandoned when no time ran out: by which rule of the map's `restart`.
    """

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
    ended_rule: str | None = None
    ended_event: bytes | None = None

    @property
    def stage(self) -> str | None:
        """The stage the run is in (of an ended run: where it ended); None between stages: one left, none entered."""
        last = self.visits[-1]
        return last.stage if last.left_at is None else None


@dataclass(slots=True)
class UserState:
    """Enough of a user to fold the next event onto, without the events before it.

    `did` are the times (ms) of the last events of each event rule of a segment, by the rule's id; `client` is what was
    known last of the clients they used, as far as segments ask. `segments` are those they are in as of the last fold,
    until `segments_until` (ms) if nothing more happens.
    """

    user: str
    first_seen: int
    last: OrderKey
    events: int = 0
    sessions: int = 0
    traits: JsonObject = field(default_factory=dict)
    session: Session | None = None
    runs: dict[str, Journey] = field(default_factory=dict)
    did: dict[str, tuple[int, ...]] = field(default_factory=dict)
    client: dict[str, str] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    segments_until: int | None = None

    @property
    def last_seen(self) -> int:
        return self.last[0]

    def due_at(self, as_of: int) -> int | None:
        """When time alone will change something next."""
        due = [run.due_at for run in self.runs.values() if run.due_at is not None and run.due_at > as_of]
        if self.segments_until is not None and self.segments_until > as_of:
            due.append(self.segments_until)
        return min(due, default=None)


@dataclass(frozen=True, slots=True)
class SegmentStep:
    """A user has entered a segment, or left it, as of a fold at `at` (ms)."""

    user: str
    segment: str
    entered: bool
    at: int


@dataclass(frozen=True, slots=True)
class JourneyStep:
    """One announced change: from a stage (None: the run began, or it was between stages) to a stage (None: it left one
    and entered no other, or is there no longer: without a status), or a new status in the same stage."""

    journey: str
    user: str
    map: str
    run: int
    from_stage: str | None
    to_stage: str | None
    status: JourneyStatus | None
    at: int
    event: bytes | None
