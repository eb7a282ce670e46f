"""The stages of derivation: from stored events to users, sessions, journeys, rollups and the feed.

A batch passes STAGES inside one transaction. *Resolve* is the work of the lanes that events came in, by their identity
as sent; *fold* that of the lanes of their users. What belongs to a lane of another process is left to it as a row of
`work`; what belongs to one of ours is folded at once. Repeats are harmless: the rows remember.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.feedback.reacting import Reacting
from gateway.model.event import DECISIONS, SYSTEM_TYPES, Event, EventType
from gateway.model.identity import lane_of, user_id_of
from gateway.pipeline.batch import Batch
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.erasing import Erasing
from gateway.pipeline.folding import Fold, fold_users
from gateway.pipeline.refolding import write_refold
from gateway.pipeline.resolving import resolve
from gateway.pipeline.waiting import take_waiting
from gateway.store.accounting import Accounting
from gateway.store.alerts import Alerts
from gateway.store.catalog import Catalog
from gateway.store.checkpoints import Checkpoints
from gateway.store.columnar import Manifests
from gateway.store.consents import Consents
from gateway.store.database import Database
from gateway.store.derivation import DerivationStatus
from gateway.store.erasures import Erasures
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.follow_ups import FollowUps
from gateway.store.identities import Identities
from gateway.store.lane_items import LaneItems
from gateway.store.lanes import Lanes, event_row, journey_step_row, segment_step_row
from gateway.store.observations import Observations
from gateway.store.quarantine import Quarantine
from gateway.store.rollups import Rollups, event_cells
from gateway.store.suppressions import Suppressions
from gateway.store.users import Journeys, Sessions, Users
from gateway.store.work import Again, Work


@dataclass(frozen=True, slots=True)
class Derivation:
    """What the stages work with."""

    lanes: Lanes
    work: Work
    rollups: Rollups
    fold: Fold
    contracts: Contracts
    erasing: Erasing
    status: DerivationStatus
    alerts: Alerts
    reacting: Reacting

    @classmethod
    def of(cls, database: Database, contracts: Contracts, events: Events | None = None) -> Derivation:
        """All of it on one database."""
        work, rollups, users = Work(database), Rollups(database), Users(database)
        identities, events = Identities(database), events or Events(database)
        fold = Fold(events, identities, work, users, Sessions(database), Journeys(database), Checkpoints(database))
        erasing = Erasing(
            suppressions=Suppressions(database),
            erasures=Erasures(database),
            consents=Consents(database),
            events=events,
            identities=identities,
            work=work,
            users=users,
            rollups=rollups,
            accounting=Accounting(database),
            feed=Feed(database),
            quarantine=Quarantine(database),
            items=LaneItems(database),
            columnar=Manifests(database),
            observations=Observations(database),
            follow_ups=FollowUps(database),
            catalog=Catalog(database),
        )
        status, alerts = DerivationStatus(database), Alerts(database)
        reacting = Reacting(database, alerts)
        return cls(Lanes(database), work, rollups, fold, contracts, erasing, status, alerts, reacting)

    async def derive(self, batch: Batch) -> None:
        """Pass the batch through every stage."""
        for stage in STAGES:
            await stage(self, batch)

    async def _leave_out_done(self, batch: Batch) -> None:
        if batch.events:
            known = await self.work.known(batch.workspace, [event.id for event in batch.events], batch.session)
            fresh = {event.id: event for event in batch.events if event.id not in known}
            batch.events = sorted(fresh.values(), key=lambda event: event.order)
            # Before erasing may mend a decision, which is then stored under another identity.
            batch.lanes |= {lane_of(batch.workspace, event.sk) for event in batch.events}

    async def _leave_out_suppressed(self, batch: Batch) -> None:
        await self.erasing.leave_out_suppressed(batch)

    async def _resolve(self, batch: Batch) -> None:
        if not batch.events:
            return
        workspace, session = batch.workspace, batch.session
        about_users = [event for event in batch.events if event.type not in SYSTEM_TYPES or event.type in DECISIONS]
        users, resolution = await resolve(
            self.fold.identities, workspace, about_users, session, suppressed=batch.suppressed
        )
        rows: list[tuple[Event, str, bool]] = []
        for event in batch.events:
            user = users.get(event.id) or user_id_of(workspace, event.identity)
            folds = event.type not in SYSTEM_TYPES  # an operator's word about users is no event of theirs
            rows.append((event, user, not folds or batch.owns(user)))
            if folds and batch.owns(user):
                batch.task.events.setdefault(user, []).append(event)
        await self.work.record(workspace, rows, now=batch.now, session=session)
        cells = event_cells(event for event in batch.events if event.type not in SYSTEM_TYPES)
        await self.rollups.add(workspace, cells, lane=min(batch.lanes), session=session)
        # Who lost identities is folded first, and then those who got them: so that nothing that was folded into the
        # former meanwhile, by an owner that did not know better yet, is missed by the latter.
        for user, now_with in resolution.moves.items():
            batch.again[user] = Again(user, now_with - {user}, resolution.gone.get(user))

    async def _take_privacy(self, batch: Batch) -> None:
        said = [event for event in batch.events if event.type is EventType.CONSENT]
        if said:
            await self.erasing.consents.take(batch.workspace, said, batch.session)
        batch.erasures += [event.identity.value for event in batch.events if event.type is EventType.ERASE]
        for erasure in batch.erasures:
            await self.erasing.begin(batch, erasure)

    async def _react(self, batch: Batch) -> None:
        if batch.contract.rules:
            told = [event for event in batch.events if event.identity not in batch.suppressed]
            await self.reacting.react(batch.workspace, batch.contract, told, batch.now, batch.session)

    async def _take_waiting(self, batch: Batch) -> None:
        await take_waiting(self.work, self.fold, batch)

    async def _delete_erased(self, batch: Batch) -> None:
        await self.erasing.delete_events(batch)

    async def _take_alerts(self, batch: Batch) -> None:
        if batch.waiting.alerts:
            for lane, place, row in await self.alerts.take(batch.workspace, batch.waiting.alerts, batch.session):
                batch.lanes.add(lane)
                batch.news.append((place, row))

    async def _fold(self, batch: Batch) -> None:
        for user in batch.due:
            if batch.owns(user):
                batch.task.events.setdefault(user, [])
        if not (batch.task.events or batch.task.again):
            return
        batch.lanes |= {lane_of(batch.workspace, user) for user in (*batch.task.events, *batch.task.again)}
        done = await fold_users(self.fold, batch)
        await self.rollups.add(batch.workspace, done.cells, lane=min(batch.lanes), session=batch.session)
        told = [(event, user) for user, events in batch.task.events.items() for event in events]
        told.sort(key=lambda pair: pair[0].order)
        batch.news += [(user, event_row(event, user)) for event, user in told]
        batch.news += [(step.user, journey_step_row(batch.workspace, step)) for step in done.steps]
        batch.news += [(step.user, segment_step_row(batch.workspace, step)) for step in done.memberships]

    async def _refold(self, batch: Batch) -> None:
        await write_refold(self.fold, self.rollups, batch)


Stage = Callable[[Derivation, Batch], Awaitable[None]]

#: What happens to a batch, in order, inside one transaction.
STAGES: tuple[Stage, ...] = (
    Derivation._leave_out_done,
    Derivation._leave_out_suppressed,
    Derivation._resolve,
    Derivation._take_privacy,
    Derivation._react,
    Derivation._take_waiting,
    Derivation._delete_erased,
    Derivation._take_alerts,
    Derivation._fold,
    Derivation._refold,
)
