"""What one transaction of derivation works on."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.contract import Contract
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.store.database import Document, Session
from gateway.store.lanes import Lease
from gateway.store.work import Again, Pending


@dataclass(slots=True)
class Task:
    """What to fold: new events by user (of users without any only time is looked at), users to fold from their first
    event, and under which id those live on who have none left."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    heirs: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """What one transaction derives of one workspace, under one contract, as things stand at `now` (ms).

    Events received at `horizon` (ms) or later may not have been resolved yet.
    `events` are to be resolved, `waiting` are rows of `work`, `due` users that time has changed. `news` are feed rows
    with the user they belong to, `lanes` those that are written to. Of `suppressed` identities nothing is noted;
    `erasures` are to begin.
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

    def ask_again(self, one: Again) -> None:
        """Have a user folded again, for whatever reasons there are already too."""
        known = self.again.get(one.user, one)
        self.again[one.user] = Again(one.user, one.to | known.to, known.heir or one.heir)

    def owns(self, user: str) -> bool:
        return self.lease.owns(self.workspace, user)
