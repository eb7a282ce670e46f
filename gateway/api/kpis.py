"""KPIs: their definition, which UX and backend own together, and the number it gives."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Annotated

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.context import Info
from gateway.api.lineage import LINEAGE, LineageNode, along, lineage_of
from gateway.api.nodes import Node
from gateway.api.observations import OBSERVED, ObservationConnection, observation_page
from gateway.api.scalars import DateTime
from gateway.contract import Kpi as KpiFile
from gateway.contract import KpiStatus, parse_duration
from gateway.contract.lineage import Node as LineageKey
from gateway.errors import InvalidInput
from gateway.insights import kpis as insights
from gateway.plugin import Policy, Source, attribute, field

KPIS = Policy("kpis:read")
DEFAULT_POINTS = 8
MAX_POINTS = 60

_COST = 800  # of one evaluation: it reads the range's events


def _file(key: str) -> Source:
    return Source.contract("kpis", key)


_EVALUATED = Source.loader("KPI evaluation")
_LINEAGE = Source.loader("lineage")


@strawberry.enum(description="Which way a KPI should go.")
class Better(Enum):
    """Directions."""

    HIGHER = strawberry.enum_value("higher", description="More is better.")
    LOWER = strawberry.enum_value("lower", description="Less is better.")


@strawberry.enum(name="KpiStatus", description="Whether a KPI has values.")
class Status(Enum):
    """What can be said of a KPI."""

    LIVE = strawberry.enum_value("LIVE", description="It is computed.")
    PLANNED = strawberry.enum_value("PLANNED", description="It is defined, but computed by nothing yet: null.")
    BROKEN = strawberry.enum_value(
        "BROKEN", description="It reads what the tracking plan does not have; `statusReason` says what."
    )


@strawberry.type(description="From where on the value of a KPI needs attention, on the side that is not `better`.")
class KpiThresholds:
    """Two limits in the KPI's unit."""

    warning: float | None = attribute(
        source=_file("thresholds.warning"), policy=KPIS, description="From here on it is worth a look."
    )
    critical: float | None = attribute(
        source=_file("thresholds.critical"), policy=KPIS, description="From here on it is worth getting up for."
    )


@strawberry.enum(description="How often a KPI is written down.")
class Cadence(Enum):
    """Periods of snapshots."""

    HOURLY = strawberry.enum_value("hourly", description="Every hour.")
    DAILY = strawberry.enum_value("daily", description="Every day.")
    WEEKLY = strawberry.enum_value("weekly", description="Every week.")
    MONTHLY = strawberry.enum_value("monthly", description="Every month.")


@strawberry.input(description="From one moment up to, but not including, another.")
class BetweenInput:
    """A half-open range."""

    from_: DateTime = strawberry.field(name="from", description="The first moment that counts.")
    to: DateTime = strawberry.field(description="The first moment that counts no longer.")


@strawberry.input(one_of=True, description="Which time: exactly one of these.")
class RangeInput:
    """Names a range of time."""

    last: str | None = strawberry.field(
        default=strawberry.UNSET, description="Up to now: a number and m, h, d or w, such as `30m`, `12h`, `28d`, `8w`."
    )
    between: BetweenInput | None = strawberry.field(default=strawberry.UNSET, description="Between two moments.")


@strawberry.type(description="One step of a funnel.")
class KpiStep:
    """A step."""

    key: strawberry.ID = attribute(
        source=_file("function.funnel.steps.key"), policy=KPIS, description="The step's key."
    )
    label: str = attribute(source=_file("function.funnel.steps.label"), policy=KPIS, description="The name people use.")
    users: int = attribute(source=_EVALUATED, policy=KPIS, description="How many different users reached it.")


@strawberry.type(description="The KPI over one part of the range.")
class KpiPoint:
    """A point of a series."""

    start: DateTime = attribute(source=_EVALUATED, policy=KPIS, description="Where the part begins.")
    end: DateTime = attribute(source=_EVALUATED, policy=KPIS, description="Where it ends; not included.")
    value: float | None = attribute(
        source=_EVALUATED, policy=KPIS, description="The value over the part; null when there is nothing to count."
    )
    n: int = attribute(source=_EVALUATED, policy=KPIS, description="From how many observations.")


@strawberry.type(description="The value of a KPI over a range, and how sure it is.")
class KpiResult:
    """An evaluated KPI."""

    file: strawberry.Private[KpiFile]
    between: strawberry.Private[tuple[int, int]]
    found: strawberry.Private[insights.KpiValue]

    @field(
        source=_EVALUATED,
        policy=KPIS,
        description="The value in the KPI's unit; null, never 0, when there is nothing to count.",
    )
    def value(self) -> float | None:
        return self.found.value

    @field(source=_EVALUATED, policy=KPIS, description="From how many observations: users, answers or sessions.")
    def n(self) -> int:
        return self.found.n

    @field(source=_EVALUATED, policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return self.found.low

    @field(source=_EVALUATED, policy=KPIS, description="Where the 95 % interval ends.")
    def high(self) -> float | None:
        return self.found.high

    @field(
        source=_EVALUATED,
        policy=KPIS,
        description="Users of a funnel who still have time to convert; they are in no percentage yet. Otherwise 0.",
    )
    def open(self) -> int:
        return self.found.open

    @field(source=_EVALUATED, policy=KPIS, description="When it was computed.")
    def as_of(self) -> DateTime:
        return DateTime(self.found.as_of)

    @field(source=_file("function"), policy=KPIS, description="What exactly was counted, in words.")
    def definition(self) -> str:
        return self.found.definition

    @field(source=_EVALUATED, policy=KPIS, description="The steps of a funnel; otherwise empty.")
    def steps(self) -> list[KpiStep]:
        return [KpiStep(key=strawberry.ID(step.key), label=step.label, users=step.users) for step in self.found.steps]

    @field(
        source=_EVALUATED,
        policy=KPIS,
        description="The same KPI over equal parts of the range, the oldest first.",
        weight=_COST,
        size=1,
    )
    async def series(
        self,
        info: Info,
        points: Annotated[
            int | None, strawberry.argument(description=f"How many parts, 1 to {MAX_POINTS}.")
        ] = DEFAULT_POINTS,
    ) -> list[KpiPoint]:
        points = DEFAULT_POINTS if points is None else points
        if not 1 <= points <= MAX_POINTS:
            raise InvalidInput(f"`points` is {points}; a series has 1 to {MAX_POINTS}.", path="points")
        context = info.context
        found = await insights.series(
            context.services.measures, context.scope, self.file, self.between, points, self.found.as_of
        )
        return [KpiPoint(start=DateTime(one.start), end=DateTime(one.end), value=one.value, n=one.n) for one in found]


@strawberry.type(description="A KPI: one number, defined once, for everybody who uses it.")
class Kpi(Node):
    """A KPI of the contract."""

    file: strawberry.Private[KpiFile]

    def global_id(self) -> str:
        return f"kpi_{self.file.key}"

    @field(source=_file("key"), policy=KPIS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_file("question"), policy=KPIS, description="The question it answers.")
    def question(self) -> str:
        return self.file.question

    @field(source=_file("unit"), policy=KPIS, description="The unit of its values: percent, seconds, …")
    def unit(self) -> str:
        return self.file.unit

    @field(source=_file("better"), policy=KPIS, description="Which way it should go.")
    def better(self) -> Better:
        return Better(self.file.better)

    @field(source=_file("owners"), policy=KPIS, description="The teams that own the definition together.")
    def owners(self) -> list[str]:
        return list(self.file.owners)

    @field(source=_file("term"), policy=KPIS, description="The word for it in the glossary.")
    def term(self, info: Info) -> str | None:
        term = info.context.services.contract.term(self.file.term)
        return self.file.term if term is None else term.name

    @field(source=_file("target"), policy=KPIS, description="The value its owners aim at, in its unit.")
    def target(self) -> float | None:
        return self.file.target

    @field(source=_file("function"), policy=KPIS, description="What exactly it counts, in words.")
    def definition(self) -> str:
        return self.file.definition

    @field(source=_LINEAGE, policy=KPIS, description="Whether it has values, and whether what it reads is in the plan.")
    def status(self, info: Info) -> Status:
        found = insights.status(self.file)
        if found is KpiStatus.LIVE and lineage_of(info.context).broken(self.file) is not None:
            found = KpiStatus.BROKEN
        return Status(found.value)

    @field(source=_LINEAGE, policy=KPIS, description="What a broken KPI lacks; otherwise null.")
    def status_reason(self, info: Info) -> str | None:
        live = insights.status(self.file) is KpiStatus.LIVE
        return lineage_of(info.context).broken(self.file) if live else None

    @field(source=_LINEAGE, policy=LINEAGE, description="What it lives on, down to properties.", size=10)
    def lineage(self, info: Info) -> list[LineageNode]:
        return along(info.context, LineageKey("kpi", self.file.key), "upstream")

    @field(
        source=Source.many("observations", "kpi"),
        policy=OBSERVED,
        description="What people noted of it, the newest first.",
    )
    async def observations(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> ObservationConnection:
        return await observation_page(info.context, "kpi", [self.file.key], first, after)

    @field(source=_file("thresholds"), policy=KPIS, description="From where on a value needs attention.")
    def thresholds(self) -> KpiThresholds | None:
        said = self.file.thresholds
        return None if said is None else KpiThresholds(warning=said.warning, critical=said.critical)

    @field(source=_file("breakdowns"), policy=KPIS, description="What its owners part it by.")
    def breakdowns(self) -> list[str]:
        return list(self.file.breakdowns)

    @field(source=_file("cadence"), policy=KPIS, description="How often it is written down.")
    def cadence(self) -> Cadence | None:
        return None if self.file.cadence is None else Cadence(self.file.cadence)

    @field(source=_EVALUATED, policy=KPIS, description="Its value over a range of time.", weight=_COST)
    async def result(
        self,
        info: Info,
        range: Annotated[RangeInput, strawberry.argument(description="Over which time.")],
    ) -> KpiResult:
        context, now = info.context, info.context.services.clock.now()
        between = moments(range, now)
        found = await insights.evaluate(context.services.measures, context.scope, self.file, between, now)
        return KpiResult(file=self.file, between=between, found=found)


def moments(given: RangeInput, now: int) -> tuple[int, int]:
    """The range's first moment, and the first behind it. Raises InvalidInput."""
    if given.last:
        try:
            return now - parse_duration(given.last) // timedelta(milliseconds=1), now
        except ValueError as error:
            raise InvalidInput(f"`last` is no duration: {error}.", path="range.last") from None
    if not given.between:
        raise InvalidInput("`last` is empty.", hint="Write for example 28d.", path="range.last")
    start, end = given.between.from_, given.between.to
    if start >= end:
        raise InvalidInput("`from` is not before `to`.", path="range.between")
    return start, end
