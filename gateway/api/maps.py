"""Journey maps: the files that say which stages lead to a goal, with how many users are where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.context import Info
from gateway.api.cx import CxMetric
from gateway.api.nodes import Node
from gateway.api.observations import OBSERVED, ObservationConnection, observation_page
from gateway.api.ranges import RangeInput
from gateway.contract import Contract
from gateway.contract import JourneyMap as MapFile
from gateway.contract import Segment as SegmentFile
from gateway.contract import Stage as StageFile
from gateway.contract import Touchpoint as TouchpointFile
from gateway.contract.durations import duration_in_words
from gateway.contract.shape import did_you_mean
from gateway.errors import InvalidInput, NotFound
from gateway.plugin import Policy, Source, field

if TYPE_CHECKING:
    from gateway.api.scores import CxResult

LazyScore = Annotated["CxResult", strawberry.lazy("gateway.api.scores")]

#: Who may read maps, and who may read how many users are in them.
MAPS = Policy("journeys:read", subject=True)
COUNTS = Policy("journeys:read")


def _map(key: str) -> Source:
    return Source.contract("journeys", key)


@strawberry.type(description="A place where the persona meets the product.")
class Touchpoint:
    """A touchpoint of a stage."""

    file: strawberry.Private[TouchpointFile]

    @field(source=_map("stages.touchpoints.key"), policy=MAPS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_map("stages.touchpoints.label"), policy=MAPS, description="The name people use.")
    def label(self) -> str:
        return self.file.label

    @field(source=_map("stages.touchpoints.channel"), policy=MAPS, description="The channel: web, email, shop, …")
    def channel(self) -> str:
        return self.file.channel


@strawberry.type(description="One stage of a journey map.")
class Stage(Node):
    """A stage of the map with the key `map_key`."""

    file: strawberry.Private[StageFile]
    map_key: strawberry.Private[str]

    def global_id(self) -> str:
        return f"stage_{self.map_key}.{self.file.key}"

    @field(source=_map("stages.key"), policy=MAPS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_map("stages.label"), policy=MAPS, description="The name people use.")
    def label(self) -> str:
        return self.file.label

    @field(source=_map("stages.emotion"), policy=MAPS, description="How the persona is expected to feel here.")
    def emotion(self) -> str | None:
        return self.file.emotion

    @field(source=_map("stages.painPoints"), policy=MAPS, description="What is known to hurt in this stage.")
    def pain_points(self) -> list[str]:
        return list(self.file.pain_points)

    @field(source=_map("stages.owner"), policy=MAPS, description="The team or person who answers for this stage.")
    def owner(self) -> str | None:
        return self.file.owner

    @field(source=_map("stages.feedback"), policy=MAPS, description="The keys of the surveys that ask in this stage.")
    def feedback(self) -> list[strawberry.ID]:
        return [strawberry.ID(key) for key in self.file.feedback]

    @field(source=_map("stages.optional"), policy=MAPS, description="Whether a run may skip this stage.")
    def optional(self) -> bool:
        return self.file.optional

    @field(source=_map("stages.completes"), policy=MAPS, description="Whether entering it completes the journey.")
    def completes(self) -> bool:
        return self.file.completes

    @field(
        source=_map("stages.repeats"),
        policy=MAPS,
        description="Whether a run may come back to it; each stay is a visit of its own.",
    )
    def repeats(self) -> bool:
        return self.file.repeats

    @field(
        source=_map("stages.limit"),
        policy=MAPS,
        description="After how many seconds in this stage a run is abandoned; null: after the map's time only.",
    )
    def limit_seconds(self) -> int | None:
        return None if self.file.limit is None else int(self.file.limit.total_seconds())

    @field(source=_map("stages.touchpoints"), policy=MAPS, description="Where the persona meets the product here.")
    def touchpoints(self) -> list[Touchpoint]:
        return [Touchpoint(file=touchpoint) for touchpoint in self.file.touchpoints]

    @field(
        source=Source.many("observations", "stage"),
        policy=OBSERVED,
        description="What people noted of it, the newest first.",
    )
    async def observations(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> ObservationConnection:
        return await observation_page(info.context, "stage", [f"{self.map_key}.{self.file.key}"], first, after)

    @field(
        source=Source.loader("score evaluation"),
        policy=Policy("kpis:read"),
        description="A score of those who were in this stage of the map when they answered.",
        weight=800,
    )
    async def cx(
        self,
        info: Info,
        metric: Annotated[CxMetric, strawberry.argument(description="Which score.")],
        range: Annotated[RangeInput, strawberry.argument(description="Answers of which time.")],
        survey: Annotated[strawberry.ID | None, strawberry.argument(description="Only of this survey.")] = None,
    ) -> LazyScore:
        from gateway.api.scores import scored_in_stage  # scores are broken down by segments, which stand here

        return await scored_in_stage(info.context, metric, range, survey, (self.map_key, self.file.key))

    @field(
        source=Source.loader("stage counts"),
        policy=COUNTS,
        description="How many users are in this stage now: runs with status ACTIVE.",
        weight=50,
    )
    async def users(self, info: Info) -> int | None:
        counts = await info.context.load.stage_counts.load(self.map_key)
        return counts.active.get(self.file.key, 0)

    @field(
        source=Source.loader("stage counts"),
        policy=COUNTS,
        description="How many different users ever reached this stage.",
        weight=50,
    )
    async def reached(self, info: Info) -> int | None:
        counts = await info.context.load.stage_counts.load(self.map_key)
        return counts.reached.get(self.file.key, 0)


@strawberry.type(description="A journey map: a persona's way to a goal, stage by stage.")
class JourneyMap(Node):
    """A map of the contract."""

    file: strawberry.Private[MapFile]

    def global_id(self) -> str:
        return f"map_{self.file.key}"

    @field(source=_map("key"), policy=MAPS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_map("version"), policy=MAPS, description="Raised whenever stages or rules change.")
    def version(self) -> int:
        return self.file.version

    @field(source=_map("name"), policy=MAPS, description="The name people use.")
    def name(self) -> str:
        return self.file.name

    @field(source=_map("persona"), policy=MAPS, description="Whose journey it is.")
    def persona(self, info: Info) -> str | None:
        persona = info.context.services.contract.personas.get(self.file.persona)
        return persona.name if persona is not None else self.file.persona or None

    @field(source=_map("goal"), policy=MAPS, description="What the persona wants.")
    def goal(self) -> str | None:
        return self.file.goal or None

    @field(source=_map("painPoints"), policy=MAPS, description="What is known to get in the persona's way.")
    def pain_points(self) -> list[str]:
        return list(self.file.pain_points)

    @field(source=_map("owners"), policy=MAPS, description="The teams that own this map together.")
    def owners(self) -> list[str]:
        return list(self.file.owners)

    @field(source=_map("stages"), policy=MAPS, description="The stages, in order.", size=10)
    def stages(self) -> list[Stage]:
        return [Stage(file=stage, map_key=self.file.key) for stage in self.file.stages]


def check_keys(contract: Contract, map_key: str | None, stage: str | None = None) -> None:
    """Raise InvalidInput for a map that the contract does not have, or a stage that the map (without one: no map) has.

    Nothing would ever be found under it, and nobody would know why.
    """
    if map_key is not None and map_key not in contract.journeys:
        raise InvalidInput(
            "There is no journey map of this key.", hint=f"There is: {', '.join(contract.journeys)}.", path="map"
        )
    if stage is not None:
        maps = contract.journeys.values() if map_key is None else [contract.journeys[map_key]]
        known = list(dict.fromkeys(one.key for journey_map in maps for one in journey_map.stages))
        if stage not in known:
            raise InvalidInput("There is no stage of this key.", hint=f"There is: {', '.join(known)}.", path="stage")


def checked_segment(contract: Contract, key: str, argument: str) -> SegmentFile:
    """The segment of this key. Raises InvalidInput when the contract has none, with what was probably meant."""
    segments = contract.segments
    if key not in segments:
        hint = did_you_mean(key, [*segments], otherwise="there is") if segments else "Add one to segments/."
        raise InvalidInput(f"There is no segment {str(key)[:64]!r}.", hint=hint, path=argument)
    return segments[key]


def stage_of(journey_map: MapFile, key: str) -> Stage | None:
    """A stage of the map; None when the map no longer has it."""
    try:
        return Stage(file=journey_map.stage(key), map_key=journey_map.key)
    except NotFound:
        return None


def patience(journey_map: MapFile) -> str:
    """After how long without a sign of life a run is abandoned: `7 days`."""
    return duration_in_words(journey_map.abandoned_after)
