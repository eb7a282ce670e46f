"""What can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import strawberry

from gateway.api import contract_query
from gateway.api.accounting import INTAKE, IntakeAccounting, SourceName, intake_accounting
from gateway.api.activity import ActivityQuestions
from gateway.api.alert_rules import Alerting, rule_by
from gateway.api.alerts import ALERTS, AlertConnection, alert_by, alert_page
from gateway.api.audit import AUDIT, InstrumentationAudit, instrumentation_audit
from gateway.api.catalog import CATALOG, CatalogConnection, catalog_page
from gateway.api.clients import EVENTS
from gateway.api.connections import COUNT_AT_MOST, DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.deciding import LOG, IdentityDecisionConnection, decision_page
from gateway.api.deliveries import DELIVERIES, DeliveryConnection, DeliveryStatus, delivery, delivery_page
from gateway.api.derivation import DERIVATION, DerivationState
from gateway.api.events import EventConnection, event_page
from gateway.api.events import as_node as event_node
from gateway.api.follow_ups import FOLLOW_UPS, follow_up_by
from gateway.api.frictions import FrictionQuestions
from gateway.api.funnels import Funnels
from gateway.api.journeys import JOURNEYS, Journey, JourneyConnection, JourneyStatus, journey_page
from gateway.api.journeys import as_node as journey_node
from gateway.api.kpis import Kpi
from gateway.api.maps import MAPS, JourneyMap, Stage, stage_of
from gateway.api.nodes import AnyId, Node, split_id
from gateway.api.planned.plan import Meeting, Where, plan_of
from gateway.api.plugins import PLUGINS, Plugin, plugins
from gateway.api.privacy import ERASE, Erasure, erasure_by
from gateway.api.quarantine import (
    QUARANTINE,
    QuarantineConnection,
    QuarantinedEvent,
    QuarantineFilter,
    quarantine_page,
    quarantined,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.api.responses import response
from gateway.api.scalars import Cursor, DateTime
from gateway.api.scores import Scoring
from gateway.api.segments import SEGMENTS, Grouping, Segment
from gateway.api.sequences import SequenceQuestions
from gateway.api.users import Session, User, UserBy, UserConnection, load_user, user_id_by, user_page, user_then
from gateway.api.visits import VisitQuestions
from gateway.errors import Forbidden
from gateway.model.event import SYSTEM_TYPES
from gateway.plugin import ANYONE, Policy, Source, field

_EARLIEST, _LATEST = -(2**63), 2**63 - 1

#: What a caller needs for a node of each kind; subjects see their own without it.
_NEEDED = {
    "user": JOURNEYS,
    "session": JOURNEYS,
    "journey": JOURNEYS,
    "event": EVENTS,
    "map": MAPS,
    "stage": MAPS,
    "segment": SEGMENTS,
    "kpi": KPIS,
    "quarantined": QUARANTINE,
    "erasure": ERASE,
    "delivery": DELIVERIES,
    "alert": ALERTS,
    "rule": KPIS,
    "response": EVENTS,
    "followup": FOLLOW_UPS,
    **contract_query.NEEDED,
}

_AS_OF = (
    "As of this moment: the identities that were one person then, by the links, merges and splits up to it; their "
    "events up to it; and the counts, traits, sessions and journeys that these give, under the journey maps of now. "
    "`refusedLinks` and what is reached through others (an event's `user`, say) are as of now."
)

MapKey = Annotated[strawberry.ID | None, strawberry.argument(description="Only runs through the map with this key.")]
StageKey = Annotated[strawberry.ID | None, strawberry.argument(description="Only runs in the stage with this key.")]
Status = Annotated[JourneyStatus | None, strawberry.argument(description="Only runs with this status.")]
Key = Annotated[strawberry.ID, strawberry.argument(description="The key, as the file in the contract has it.")]


@strawberry.input(description="Which events; what is left out does not filter.")
class EventFilter:
    """Conditions that all hold."""

    names: list[str] | None = strawberry.field(default=None, description="Events with one of these names.")
    user: UserBy | None = strawberry.field(default=None, description="Events of this user.")
    from_: DateTime | None = strawberry.field(default=None, name="from", description="Events at or after this moment.")
    to: DateTime | None = strawberry.field(default=None, description="Events before this moment.")


Filter = Annotated[EventFilter | None, strawberry.argument(description="Which events; null for all.")]


@strawberry.type(description="What can be asked.")
class Query(
    Funnels, SequenceQuestions, ActivityQuestions, VisitQuestions, FrictionQuestions, Grouping, Alerting, Scoring
):
    """The root of queries."""

    @field(
        source=Source.one("users", "subject"),
        policy=Policy(subject=True),
        description="The user whose token this is; null until their first event has been derived.",
    )
    async def me(self, info: Info, at_least: AtLeast = None) -> User | None:
        await info.context.wait_for(at_least)
        return await load_user(info.context, await info.context.subject_user())

    @field(
        source=Source.one("users", "id, userId or anonymousId"),
        policy=Policy("journeys:read"),
        description="One user; null when nobody is known under it.",
    )
    async def user(
        self,
        info: Info,
        by: Annotated[UserBy, strawberry.argument(description="Which user.")],
        as_of: Annotated[DateTime | None, strawberry.argument(description=_AS_OF)] = None,
        at_least: AtLeast = None,
    ) -> User | None:
        await info.context.wait_for(at_least)
        if as_of is not None:
            return await user_then(info.context, by, as_of)
        return await load_user(info.context, await user_id_by(info.context, by))

    @field(
        source=Source.many("users", "workspace"),
        policy=Policy("journeys:read"),
        description="All users, the last seen first.",
    )
    async def users(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None, at_least: AtLeast = None
    ) -> UserConnection:
        await info.context.wait_for(at_least)
        return await user_page(info.context, first, after)

    @field(
        source=Source.many("events", "workspace"),
        policy=LOG,
        description="What operators decided about who is who, the newest first: merges and splits.",
    )
    async def identity_log(
        self,
        info: Info,
        user: Annotated[
            UserBy | None, strawberry.argument(description="Only decisions that name an identity of this user.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> IdentityDecisionConnection:
        return await decision_page(info.context, user, first, after)

    @field(
        source=Source.one("erasures", "id"),
        policy=ERASE,
        description="The receipt of an erasure; null when there is none of this id.",
    )
    async def erasure(self, info: Info, id: AnyId) -> Erasure | None:
        return await erasure_by(info.context, split_id(id, "erasure")[1])

    @field(source=Source.one("journeys", "id"), policy=JOURNEYS, description="One journey; null when there is none.")
    async def journey(self, info: Info, id: AnyId) -> Journey | None:
        return await _journey(info.context, split_id(id, "journey")[1])

    @field(
        source=Source.many("journeys", "workspace"),
        policy=Policy("journeys:read"),
        description="Journeys of all users, the last active first.",
    )
    async def journeys(
        self,
        info: Info,
        map: MapKey = None,
        stage: StageKey = None,
        status: Status = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
        at_least: AtLeast = None,
    ) -> JourneyConnection:
        await info.context.wait_for(at_least)
        return await journey_page(info.context, first, after, map_key=map, stage=stage, status=status)

    @field(
        source=Source.many("events", "workspace"),
        policy=Policy("events:read"),
        description="Events of all users, the newest first.",
    )
    async def events(
        self,
        info: Info,
        filter: Filter = None,
        where: Where = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
        at_least: AtLeast = None,
    ) -> EventConnection:
        await info.context.wait_for(at_least)
        return await _events(info.context, filter, plan_of(info).meeting(where), first, after)

    @field(source=Source.contract("journeys", "*"), policy=MAPS, description="All journey maps.")
    def journey_maps(self, info: Info) -> list[JourneyMap]:
        return [JourneyMap(file=one) for one in info.context.services.contract.journeys.values()]

    @field(
        source=Source.contract("journeys", "*"), policy=MAPS, description="One journey map; null when there is none."
    )
    def journey_map(self, info: Info, key: Key) -> JourneyMap | None:
        found = info.context.services.contract.journeys.get(key)
        return None if found is None else JourneyMap(file=found)

    @field(source=Source.contract("kpis", "*"), policy=KPIS, description="All KPIs.", size=8)
    def kpis(self, info: Info) -> list[Kpi]:
        return [Kpi(file=one) for one in info.context.services.contract.kpis.values()]

    @field(source=Source.contract("kpis", "*"), policy=KPIS, description="One KPI; null when there is none.")
    def kpi(self, info: Info, key: Key) -> Kpi | None:
        found = info.context.services.contract.kpis.get(key)
        return None if found is None else Kpi(file=found)

    @field(
        source=Source.loader("plugins"),
        policy=PLUGINS,
        size=10,
        description="The plugins that are enabled in the process that answers, and what is wrong with them.",
    )
    def plugins(self, info: Info) -> list[Plugin]:
        return plugins(info.context)

    @field(
        source=Source.many("quarantine", "workspace"),
        policy=QUARANTINE,
        description="Messages that could not become events, the newest first.",
    )
    async def quarantine(
        self,
        info: Info,
        filter: Annotated[QuarantineFilter | None, strawberry.argument(description="Which; null for all.")] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> QuarantineConnection:
        return await quarantine_page(info.context, filter, first, after)

    @field(
        source=Source.many("lane_items", "workspace"),
        policy=DELIVERIES,
        description="What destinations have not got: tried again, waiting behind it, or given up (the newest first). "
        "`destinations` says how they are.",
    )
    async def deliveries(
        self,
        info: Info,
        destination: Annotated[str | None, strawberry.argument(description="Only to this instance.")] = None,
        status: Annotated[
            DeliveryStatus | None, strawberry.argument(description="Which of them; dead letters if left out.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> DeliveryConnection:
        return await delivery_page(info.context, destination, status or DeliveryStatus.DEAD, first, after)

    @field(
        source=Source.many("alerts", "workspace"),
        policy=ALERTS,
        description="Alerts, those met last first.",
    )
    async def alerts(
        self,
        info: Info,
        open: Annotated[
            bool | None, strawberry.argument(description="Only those that are open, or only those that are not.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> AlertConnection:
        return await alert_page(info.context, open, first, after)

    @field(
        source=Source.many("accounting", "workspace"),
        policy=INTAKE,
        description="What became of all that was sent, by source and hour; nothing that was acknowledged is missing.",
        weight=100,
    )
    async def intake_accounting(
        self,
        info: Info,
        range: Annotated[RangeInput, strawberry.argument(description="Which hours: those it touches.")],
        source: SourceName = None,
    ) -> IntakeAccounting:
        return await intake_accounting(info.context, range, source)

    @field(
        source=Source.many("catalog", "workspace"),
        policy=CATALOG,
        description="The catalogue: every type of event that comes in, by name, with what it carries.",
    )
    async def catalog(
        self,
        info: Info,
        planned: Annotated[
            bool | None, strawberry.argument(description="Only those that the plan has, or only those it has not.")
        ] = None,
        search: Annotated[str | None, strawberry.argument(description="Only names that hold this text.")] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> CatalogConnection:
        return await catalog_page(info.context, planned, search, first, after)

    @field(
        source=Source.loader("audit"),
        policy=AUDIT,
        weight=500,
        description="What is wrong with what is sent: the plan beside what comes in. Silence, drift and loss raise "
        "alerts by themselves, too.",
    )
    async def instrumentation_audit(
        self, info: Info, range: Annotated[RangeInput, strawberry.argument(description="Which time, up to 92 days.")]
    ) -> InstrumentationAudit:
        return await instrumentation_audit(info.context, range)

    @field(
        source=Source.document("lanes", "*"),
        policy=DERIVATION,
        description="How derivation stands: how far behind it is, whose events do not fold, and what befell it.",
    )
    def derivation(self) -> DerivationState:
        return DerivationState()

    @field(
        source=Source.one("*", "id"),
        policy=ANYONE,
        description="Whatever has this id: a user, an event, a stage, …; null when there is nothing.",
    )
    async def node(self, info: Info, id: AnyId) -> Node | None:
        kind, key = split_id(id)
        lacking = _NEEDED[kind].missing(info.context.scope)
        if lacking:
            raise Forbidden(f"This id needs {lacking}.", hint="Use a credential that has it.")
        return await _FINDERS[kind](info.context, key)


async def _user(context: Context, key: str) -> User | None:
    user = await context.services.users.follow(context.scope, key)
    return await load_user(context, user) if await context.may_see(user) else None


async def _journey(context: Context, key: str) -> Journey | None:
    run = await context.load.journeys.load(key)
    if run is None and (moved := await _moved(context, key)):
        run = await context.load.journeys.load(moved)
    if run is None or not await context.may_see(run.user):
        return None
    return journey_node(context.services.contract, run)


async def _session(context: Context, key: str) -> Session | None:
    session = await context.load.sessions.load(key)
    if session is None and (moved := await _moved(context, key)):
        session = await context.load.sessions.load(moved)
    if session is None or not await context.may_see(session.user):
        return None
    return Session(session=session)


async def _event(context: Context, key: str) -> Node | None:
    event = await context.load.events.load(bytes.fromhex(key))
    if event is None or event.type in SYSTEM_TYPES:
        return None
    subject = context.scope.subject is not None
    if subject and not await context.may_see(await context.load.user_ids.load(event.identity)):
        return None
    return event_node(event)


async def _map(context: Context, key: str) -> JourneyMap | None:
    found = context.services.contract.journeys.get(key)
    return None if found is None else JourneyMap(file=found)


async def _stage(context: Context, key: str) -> Stage | None:
    map_key, _, stage = key.partition(".")
    journey_map = context.services.contract.journeys.get(map_key)
    return None if journey_map is None else stage_of(journey_map, stage)


async def _segment(context: Context, key: str) -> Segment | None:
    found = context.services.contract.segments.get(key)
    return None if found is None else Segment(file=found)


async def _kpi(context: Context, key: str) -> Kpi | None:
    found = context.services.contract.kpis.get(key)
    return None if found is None else Kpi(file=found)


async def _quarantined(context: Context, key: str) -> QuarantinedEvent | None:
    return await quarantined(context, bytes.fromhex(key))


async def _delivery(context: Context, key: str) -> Node | None:
    return await delivery(context, key)


async def _moved(context: Context, key: str) -> str | None:
    """The key under the user's id of now, when the user has moved since the key was given out."""
    user, _, rest = key.partition(".")
    now = await context.services.users.follow(context.scope, user)
    return None if now in (None, user) else f"{now}.{rest}"


_FINDERS: dict[str, Callable[[Context, str], Awaitable[Node | None]]] = {
    "user": _user,
    "journey": _journey,
    "session": _session,
    "event": _event,
    "map": _map,
    "stage": _stage,
    "segment": _segment,
    "kpi": _kpi,
    "quarantined": _quarantined,
    "erasure": erasure_by,
    "delivery": _delivery,
    "alert": alert_by,
    "rule": rule_by,
    "response": response,
    "followup": follow_up_by,
    **contract_query.FINDERS,
}


async def _events(
    context: Context,
    wanted: EventFilter | None,
    meeting: Meeting | None,
    first: int | None,
    after: Cursor | None,
) -> EventConnection:
    async def count() -> int | None:
        return await context.services.events.count(context.scope, at_most=COUNT_AT_MOST)

    if wanted is None:
        return await event_page(context, first, after, meeting=meeting, count=None if meeting else count)
    sks = None
    if wanted.user is not None:
        user = await user_id_by(context, wanted.user)
        identities = [] if user is None else await context.load.identities.load(user)
        sks = [identity.sk for identity in identities]
    between = None
    if wanted.from_ is not None or wanted.to is not None:
        between = (
            _EARLIEST if wanted.from_ is None else wanted.from_,
            _LATEST if wanted.to is None else wanted.to,
        )
    return await event_page(context, first, after, names=wanted.names, sks=sks, between=between, meeting=meeting)
