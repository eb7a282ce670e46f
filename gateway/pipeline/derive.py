"""The stages of derivation: from stored events to users, sessions, journeys and the feed.

A batch passes STAGES inside one transaction. Repeats are harmless: a `work` row per event remembers it was derived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.model.event import Event
from gateway.pipeline.folding import Fold, fold_users
from gateway.pipeline.resolving import resolve
from gateway.store.database import Document, Session
from gateway.store.lanes import Lanes, event_row, journey_step_row


@dataclass(slots=True)
class Batch:
    """Events of one workspace on their way through the stages; `news` are feed rows with the user they belong to."""

    workspace: str
    events: list[Event]
    now: int
    session: Session
    by_user: dict[str, list[Event]] = field(default_factory=dict)
    again: frozenset[str] = frozenset()
    gone: dict[str, str] = field(default_factory=dict)
    news: list[tuple[str, Document]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Derivation:
    """What the stages work with."""

    lanes: Lanes
    fold: Fold

    async def derive(self, batch: Batch) -> None:
        """Pass the batch through every stage."""
        for stage in STAGES:
            await stage(self, batch)

    async def _leave_out_done(self, batch: Batch) -> None:
        if not batch.events:
            return
        done = await self.lanes.done(batch.workspace, [event.id for event in batch.events], batch.session)
        fresh = {event.id: event for event in batch.events if event.id not in done}
        batch.events = sorted(fresh.values(), key=lambda event: event.order)

    async def _resolve(self, batch: Batch) -> None:
        if not batch.events:
            return
        users, resolution = await resolve(self.fold.identities, batch.workspace, batch.events, batch.session)
        batch.again, batch.gone = resolution.regrouped, dict(resolution.gone)
        for event in batch.events:
            batch.by_user.setdefault(users[event.id], []).append(event)
        owners = [(event, users[event.id]) for event in batch.events]
        await self.lanes.record(batch.workspace, owners, now=batch.now, session=batch.session)
        batch.news += [(user, event_row(event, user)) for event, user in owners]

    async def _fold(self, batch: Batch) -> None:
        steps = await fold_users(
            self.fold,
            batch.workspace,
            batch.by_user,
            again=batch.again,
            gone=batch.gone,
            as_of=batch.now,
            session=batch.session,
        )
        batch.news += [(step.user, journey_step_row(batch.workspace, step)) for step in steps]


Stage = Callable[[Derivation, Batch], Awaitable[None]]

#: What happens to a batch, in order, inside one transaction.
STAGES: tuple[Stage, ...] = (Derivation._leave_out_done, Derivation._resolve, Derivation._fold)
