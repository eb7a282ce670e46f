"""KPIs: their definition, which UX and backend own together, and the number it gives."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.context import Info
from gateway.api.kpi_results import COST, EVALUATED, KpiResult, evaluated
from gateway.api.kpi_snapshots import KpiSnapshotConnection, snapshot_page
from gateway.api.lineage import LINEAGE, LineageNode, along, lineage_of
from gateway.api.nodes import Node
from gateway.api.observations import OBSERVED, ObservationConnection, observation_page
from gateway.api.questions import MOST_TOP, ONLY
from gateway.api.ranges import KPIS, RangeInput
from gateway.contract import Kpi as KpiFile
from gateway.contract import KpiStatus
from gateway.contract.lineage import Node as LineageKey
from gateway.insights.kpis.evaluating import status
from gateway.plugin import Source, attribute, field


def _file(key: str) -> Source:
    return Source.contract("kpis", key)


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
        "BROKEN",
        description="It reads what the tracking plan does not have, or its plugin's function is not there or refuses "
        "its parameters; `statusReason` says what.",
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
    async def status(self, info: Info) -> Status:
        found = status(self.file)
        if found is KpiStatus.LIVE and await self._broken(info) is not None:
            found = KpiStatus.BROKEN
        return Status(found.value)

    @field(source=_LINEAGE, policy=KPIS, description="What a broken KPI lacks; otherwise null.")
    async def status_reason(self, info: Info) -> str | None:
        return await self._broken(info) if status(self.file) is KpiStatus.LIVE else None

    async def _broken(self, info: Info) -> str | None:
        trouble = await info.context.services.evaluator.trouble(self.file)
        if trouble is not None:
            return f"{trouble.message} {trouble.fix}"
        return lineage_of(info.context).broken(self.file)

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

    @field(
        source=Source.many("kpi_snapshots", "kpi"),
        policy=KPIS,
        description="What it was in each hour, day, week or month of its cadence (UTC), written down once everybody in "
        "the period could be judged; the newest first.",
    )
    async def snapshots(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> KpiSnapshotConnection:
        return await snapshot_page(info.context, self.file.key, first, after)

    @field(source=EVALUATED, policy=KPIS, description="Its value over a range of time.", weight=COST)
    async def result(
        self,
        info: Info,
        range: Annotated[RangeInput, strawberry.argument(description="Over which time.")],
        segment: Annotated[strawberry.ID | None, strawberry.argument(description=ONLY)] = None,
        by: Annotated[
            str | None,
            strawberry.argument(
                description="By what it is broken down as well, as in `breakdowns`: a property of its events, "
                "`client.device`, `traits.plan` (which needs `pii:read`)."
            ),
        ] = None,
        top: Annotated[
            int | None,
            strawberry.argument(
                description=f"How many values, the most frequent, 1 to {MOST_TOP}; 10 if left out. All others are one."
            ),
        ] = None,
        time_zone: Annotated[
            str | None,
            strawberry.argument(
                description="An IANA time zone, such as `Europe/Berlin`, for what has a calendar; UTC if left out."
            ),
        ] = None,
    ) -> KpiResult:
        return await evaluated(info.context, self.file, range, by, top, time_zone, segment)
