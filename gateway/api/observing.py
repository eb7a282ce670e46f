"""Noting what people saw, and reporting numbers that they do not believe."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.contract_changes import PROPOSE, READ, ContractActor, as_actor, told
from gateway.api.mutations import UserError
from gateway.api.nodes import Node
from gateway.api.observations import LONGEST_TEXT, Observation, checked_link
from gateway.api.ranges import KPIS, RangeInput, range_of
from gateway.api.scalars import Cursor, DateTime
from gateway.api.users import UserBy, user_id_by
from gateway.clock import random_id
from gateway.contract import Kpi, rules_of
from gateway.errors import InvalidInput, NotFound
from gateway.insights.kpis.evaluating import KpiQuestion
from gateway.model.event import Event
from gateway.plugin import ANYONE, Source, attribute, field
from gateway.quality.refusing import Refused, checked_text
from gateway.store.discrepancies import Discrepancy as Stored
from gateway.store.observations import Kind
from gateway.store.observations import Observation as StoredObservation

KEYSET = Keyset("discrepancy", (int, str))
_ROW = Source.document("discrepancies", "*")
_NOTED = Source.document("observations", "*")
_SAMPLE, _LOOKED_AT = 20, 200
_LONGEST_QUERY, _LONGEST_NOTE = 10_000, 4_000


@strawberry.input(description="A stage of a journey map.")
class StageInput:
    """Names a stage."""

    map: strawberry.ID = strawberry.field(description="The key of the map.")
    stage: strawberry.ID = strawberry.field(description="The key of the stage.")


@strawberry.input(one_of=True, description="What an observation is about: exactly one of these.")
class ObservedInput:
    """Names what was observed."""

    user: UserBy | None = strawberry.field(default=strawberry.UNSET, description="A user.")
    stage: StageInput | None = strawberry.field(default=strawberry.UNSET, description="A stage of a journey map.")
    kpi: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="A KPI, by its key.")


@strawberry.input(description="Something that was seen or heard.")
class AddObservationInput:
    """An observation."""

    on: ObservedInput = strawberry.field(description="What it is about.")
    text: str = strawberry.field(description="What was seen or heard.")
    link: str | None = strawberry.field(default=None, description="Where there is more of it, such as a recording.")


@strawberry.type(description="What became of `addObservation`.")
class AddObservationPayload:
    """The answer of addObservation."""

    observation: Observation | None = attribute(
        source=_NOTED, policy=READ, description="The observation; null with errors."
    )
    errors: list[UserError] = attribute(
        source=_NOTED, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="A number that somebody does not believe, with what is needed to look into it.")
class Discrepancy(Node):
    """A report."""

    row: strawberry.Private[Stored]

    def global_id(self) -> str:
        return f"discrepancy_{self.row.id}"

    @field(source=Source.document("discrepancies", "kpi"), policy=READ, description="The key of the KPI.")
    def kpi(self) -> strawberry.ID:
        return strawberry.ID(self.row.kpi)

    @field(source=Source.document("discrepancies", "start"), policy=READ, description="Where the range begins.")
    def start(self) -> DateTime:
        return DateTime(self.row.start)

    @field(source=Source.document("discrepancies", "end"), policy=READ, description="Where it ends; not included.")
    def end(self) -> DateTime:
        return DateTime(self.row.end)

    @field(
        source=Source.document("discrepancies", "value"),
        policy=READ,
        description="What the KPI said at the time of the report; null when there was nothing to count.",
    )
    def value(self) -> float | None:
        return self.row.value

    @field(source=Source.document("discrepancies", "n"), policy=READ, description="From how many observations.")
    def n(self) -> int:
        return self.row.n

    @field(source=Source.document("discrepancies", "expected"), policy=READ, description="What was expected.")
    def expected(self) -> float:
        return self.row.expected

    @field(source=Source.document("discrepancies", "note"), policy=READ, description="Why it was expected.")
    def note(self) -> str:
        return self.row.note

    @field(source=Source.document("discrepancies", "query"), policy=READ, description="What was asked.")
    def query(self) -> str:
        return self.row.query

    @field(
        source=Source.document("discrepancies", "version"),
        policy=READ,
        description="The number of the contract's version that counted.",
    )
    def version(self) -> int:
        return self.row.version

    @field(
        source=Source.document("discrepancies", "definition"),
        policy=READ,
        description="What exactly the KPI counted then, in words.",
    )
    def definition(self) -> str:
        return self.row.definition

    @field(
        source=Source.document("discrepancies", "hash"),
        policy=READ,
        description="Differs from that of another report when the KPI counted something else.",
    )
    def definition_hash(self) -> str:
        return self.row.hash

    @field(
        source=Source.document("discrepancies", "sample"),
        policy=READ,
        description="Ids of some of the events that it counted, the newest first, for `node`.",
        size=20,
    )
    def sample(self) -> list[strawberry.ID]:
        return [strawberry.ID(f"event_{one}") for one in self.row.sample]

    @field(source=Source.document("discrepancies", "by"), policy=READ, description="Who reported it.")
    def by(self) -> ContractActor:
        return as_actor(self.row.by)

    @field(source=Source.document("discrepancies", "at"), policy=READ, description="When it was reported.")
    def at(self) -> DateTime:
        return DateTime(self.row.at)


@strawberry.type(description="One page of discrepancies, the newest first.")
class DiscrepancyConnection(Connection[Discrepancy]):
    """A page of reports."""


@strawberry.input(description="A number that cannot be right.")
class ReportDiscrepancyInput:
    """A report."""

    kpi: strawberry.ID = strawberry.field(description="The key of the KPI.")
    expected: float = strawberry.field(description="What you expected, in the KPI's unit.")
    range: RangeInput = strawberry.field(description="Over which time.")
    note: str = strawberry.field(default="", description="Why: where the other number comes from.")
    query: str | None = strawberry.field(
        default=None, description="What you asked; the KPI over the range if left out."
    )


@strawberry.type(description="What became of `reportDiscrepancy`.")
class ReportDiscrepancyPayload:
    """The answer of reportDiscrepancy."""

    discrepancy: Discrepancy | None = attribute(source=_ROW, policy=READ, description="The report; null with errors.")
    errors: list[UserError] = attribute(
        source=_ROW, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What people note.")
class Observing:
    """Mutations of observations and discrepancies; a part of the root."""

    @field(
        source=_NOTED,
        policy=PROPOSE,
        description="Note what was seen or heard of a user, a stage or a KPI. What is noted of a user goes when the "
        "user is erased.",
    )
    async def add_observation(
        self, info: Info, input: Annotated[AddObservationInput, strawberry.argument(description="Of what, and what.")]
    ) -> AddObservationPayload:
        context = info.context
        try:
            kind, key = await _observed(context, input.on)
            noted = StoredObservation(
                id=random_id(),
                workspace=context.scope.workspace,
                kind=kind,
                key=key,
                text=checked_text("text", input.text, LONGEST_TEXT),
                link=checked_link(input.link),
                by=context.grant.actor,
                at=context.services.clock.now(),
            )
        except (Refused, NotFound) as error:
            return AddObservationPayload(observation=None, errors=told(error))
        await context.services.collaboration.observations.add(noted)
        return AddObservationPayload(observation=Observation(row=noted), errors=[])

    @field(
        source=_ROW,
        policy=PROPOSE,
        description="Report a number that cannot be right. Kept with it are the query, the version of the contract, "
        "the value and some of the events that were counted.",
        weight=800,
    )
    async def report_discrepancy(
        self, info: Info, input: Annotated[ReportDiscrepancyInput, strawberry.argument(description="Which, and why.")]
    ) -> ReportDiscrepancyPayload:
        context = info.context
        lacking = KPIS.missing(context.scope)  # what it says is in the report
        kpi = context.services.contract.kpis.get(input.kpi)
        try:
            if lacking is not None:
                raise Refused("FORBIDDEN", f"Values of KPIs need {lacking}.")
            if kpi is None:
                raise Refused("UNKNOWN_KPI", "There is no KPI of this key.", path="kpi")
            if input.expected != input.expected or input.expected in (float("inf"), float("-inf")):
                raise Refused("EXPECTED", "It is no number.", path="expected")
            reported = await _reported(context, kpi, input)
        except InvalidInput as error:
            return ReportDiscrepancyPayload(discrepancy=None, errors=told(error))
        await context.services.collaboration.discrepancies.add(reported)
        return ReportDiscrepancyPayload(discrepancy=Discrepancy(row=reported), errors=[])


async def discrepancy_page(
    context: Context, kpi: str | None, first: int | None, after: Cursor | None
) -> DiscrepancyConnection:
    """A page of the workspace's reports."""

    async def read(limit: int, before: Any) -> list[Stored]:
        return await context.services.collaboration.discrepancies.page(
            context.scope, kpi=kpi, limit=limit, before=before
        )

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.at, one.id),
        node=lambda one: Discrepancy(row=one),
    )
    return DiscrepancyConnection(edges=edges, page_info=page_info)


async def discrepancy_by(context: Context, key: str) -> Discrepancy | None:
    """One report; None when there is none."""
    found = await context.services.collaboration.discrepancies.get(context.scope, key)
    return None if found is None else Discrepancy(row=found)


async def _observed(context: Context, on: ObservedInput) -> tuple[Kind, str]:
    """What is observed, by kind and key. Raises Refused."""
    contract = context.services.contract
    if on.user:
        user = await user_id_by(context, on.user)
        if user is None:
            raise Refused("UNKNOWN_USER", "Nobody is known under this.", path="on.user")
        return "user", user
    if on.stage:
        journey_map = contract.journeys.get(on.stage.map)
        if journey_map is None or all(one.key != on.stage.stage for one in journey_map.stages):
            raise Refused("UNKNOWN_STAGE", "There is no such stage.", path="on.stage")
        return "stage", f"{on.stage.map}.{on.stage.stage}"
    if on.kpi and on.kpi in contract.kpis:
        return "kpi", str(on.kpi)
    raise Refused("UNKNOWN_KPI", "There is no KPI of this key.", path="on.kpi")


async def _reported(context: Context, kpi: Kpi, given: ReportDiscrepancyInput) -> Stored:
    services, now = context.services, context.services.clock.now()
    question = KpiQuestion(kpi=kpi, range=range_of(given.range))
    figure = await services.evaluator.figure(context.scope, services.contract, question)
    (start, end), value = figure.between, figure.estimate
    usual = f'{{ kpi(key: "{kpi.key}") {{ result(range: …) {{ value n }} }} }}'
    return Stored(
        id=random_id(),
        workspace=context.scope.workspace,
        kpi=kpi.key,
        start=start,
        end=end,
        value=value.value,
        n=value.n,
        expected=given.expected,
        note=checked_text("note", given.note, _LONGEST_NOTE, least=0),
        query=checked_text("query", given.query if given.query is not None else usual, _LONGEST_QUERY),
        version=services.contracts.version.number,
        definition=kpi.definition,
        hash=kpi.hash,
        sample=tuple(one.id.hex() for one in await _sample(context, kpi, (start, end))),
        by=context.grant.actor,
        at=now,
    )


async def _sample(context: Context, kpi: Kpi, between: tuple[int, int]) -> list[Event]:
    """The newest events that the KPI looks at; of one that looks at sessions, any."""
    rules = rules_of(kpi.function)
    names = sorted({rule.event for rule in rules}) or None
    found = await context.services.events.page(context.scope, limit=_LOOKED_AT, names=names, between=between)
    return [one for one in found if not rules or any(rule.matches(one.name or "", one.properties) for rule in rules)][
        :_SAMPLE
    ]
