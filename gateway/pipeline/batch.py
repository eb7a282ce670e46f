"""What one transaction of derivation works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.contract import Contract
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import Session as Visit
from gateway.model.journey import UserState
from gateway.pipeline.difference import RunChange
from gateway.store.database import Document, Session
from gateway.store.lanes import Lease
from gateway.store.work import Again, Held, Pending


@dataclass(slots=True)
class Task:
    """What to fold: new events by user (of users without any only time is looked at), users to fold from their first
    event, and under which id those live on who have none left."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    heirs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """As much of what a fold changes as one transaction writes: sessions and runs, old ones with what replaces them."""

    sessions: list[Visit] = field(default_factory=list)
    removed_sessions: list[str] = field(default_factory=list)
    runs: list[RunChange] = field(default_factory=list)


@dataclass(slots=True)
class Refold:
    """A user that is folded outside of transactions, and how far that is.

    The fold is `ready` once all events up to now are folded, from the first one on or from `start`, a checkpoint; then
    `parts` of the difference are written, then the user itself (`state`; None if it has no events any more, or has
    `failed`) and its `checkpoints`, with the events of `waiting` that it includes, a few at a time.

    What was asked for when it began: `held`, at the user's `revision`, under `epoch` of the lane; `full` if there is
    more to it than late events. The user was stored under the maps `found` then; its journeys count under `counted`.
    """

    held: Held
    lane: int
    epoch: int
    revision: int
    maps: str
    counted: str
    full: bool = True
    found: str | None = None
    as_of: int = 0
    horizon: int = 0
    ready: bool = False
    #: The kind of error with which its events do not fold.
    failed: str | None = None
    sks: frozenset[str] = frozenset()
    recent: set[bytes] = field(default_factory=set)
    start: UserState | None = None
    state: UserState | None = None
    checkpoints: list[UserState] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    written: bool = False
    whole: bool = False
    #: What is true once the transaction in hand is committed.
    then: Callable[[], None] = lambda: None

    @property
    def workspace(self) -> str:
        return self.held.workspace

    @property
    def user(self) -> str:
        return self.held.again.user

    def includes(self, event: Event) -> bool:
        """Whether the fold has seen the event."""
        if event.identity.sk not in self.sks or (self.start is not None and event.order <= self.start.last):
            return False
        return event.received_at < self.horizon or event.id in self.recent


@dataclass(slots=True)
class Batch:
    """What one transaction derives of one workspace, under one contract, as things stand at `now` (ms).

    Events received at `horizon` (ms) or later may not have been resolved yet.
    `events` are to be resolved, `waiting` are rows of `work`, `due` users that time has changed. `news` are feed rows
    with the user they belong to, `lanes` those that are written to. Of `suppressed` identities nothing is noted;
    `erasures` are to begin; of `refold` one more part is written.
    """

    workspace: str
    contract: Contract
    lease: Lease
    now: int
    session: Session
    horizon: int = 0
    events: list[Event] = field(default_factory=list)
    waiting: Pending = field(default_factory=lambda: Pending([], []))
    due: list[str] = field(default_factory=list)
    task: Task = field(default_factory=Task)
    again: dict[str, Again] = field(default_factory=dict)
    news: list[tuple[str, Document]] = field(default_factory=list)
    lanes: set[int] = field(default_factory=set)
    suppressed: set[Identity] = field(default_factory=set)
    erasures: list[str] = field(default_factory=list)
    refold: Refold | None = None

    def ask_again(self, one: Again) -> None:
        """Have a user folded again, for whatever reasons there are already too."""
        known = self.again.get(one.user, one)
        self.again[one.user] = Again(one.user, one.to | known.to, known.heir or one.heir)

    def owns(self, user: str) -> bool:
        return self.lease.owns(self.workspace, user)
