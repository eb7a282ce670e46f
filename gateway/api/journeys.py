"""Journeys: the runs of users through maps, each stage with the events that prove it."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.events import EVENTS, Event, load_events
from gateway.api.maps import JourneyMap, Stage, patience, stage_of
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.contract import Contract
from gateway.contract import JourneyMap as MapFile
from gateway.contract import Stage as StageFile
from gateway.model.journey import Journey as Run
from gateway.model.journey import JourneyStatus as Status
from gateway.model.journey import StageVisit as Visit
from gateway.plugin import Policy, Source, field

if TYPE_CHECKING:
    from gateway.api.users import User

LazyUser = Annotated["User", strawberry.lazy("gateway.api.users")]

JOURNEYS = Policy("journeys:read", subject=True)

KEYSET = Keyset("journey", (int, str))


@strawberry.enum(description="How far a run has come.")
class JourneyStatus(Enum):
    """States of a run."""

    ACTIVE = strawberry.enum_value("active", description="Under way.")
    COMPLETED = strawberry.enum_value("completed", description="It reached the goal.")
    ABANDONED = strawberry.enum_value("abandoned", description="Nothing happened for longer than the map allows.")


@strawberry.type(description="Why a run is where it is: in words, and the events that prove it.")
class Reason:
    """The reason for a visit of a stage, or for the state of a whole run."""

    words: strawberry.Private[str]
    visit: strawberry.Private[Visit]

    @field(source=Source.parent("visits"), policy=JOURNEYS, description="The reason in plain words, to be shown.")
    def text(self) -> str:
        return self.words

    @field(
        source=Source.document("journeys", "visits.rule"),
        policy=JOURNEYS,
        description="The rule of the map that matched: map, stage and place, such as `purchase.cart.enter[0]`.",
    )
    def rule(self) -> strawberry.ID | None:
        return strawberry.ID(self.visit.rule)

    @field(
        source=Source.many("events", "visits.first_event, visits.last_event"),
        policy=EVENTS,
        description="The events that prove it: the first and the last one in the stage.",
        size=2,
    )
    async def events(self, info: Info) -> list[Event]:
        ids = dict.fromkeys((self.visit.first_event, self.visit.last_event))
        return await load_events(info.context, list(ids))


@strawberry.type(description="A stay of one run in one stage.")
class StageVisit:
    """A visit."""

    visit: strawberry.Private[Visit]
    map_file: strawberry.Private[MapFile]

    @field(source=Source.document("journeys", "visits.stage"), policy=JOURNEYS, description="The stage.")
    def stage(self) -> Stage:
        return _stage(self.map_file, self.visit.stage)

    @field(source=Source.document("journeys", "visits.entered_at"), policy=JOURNEYS, description="When it was entered.")
    def entered_at(self) -> DateTime:
        return DateTime(self.visit.entered_at)

    @field(
        source=Source.document("journeys", "visits.left_at"),
        policy=JOURNEYS,
        description="When the run went on to another stage; null in the last one.",
    )
    def left_at(self) -> DateTime | None:
        return None if self.visit.left_at is None else DateTime(self.visit.left_at)

    @field(
        source=Source.document("journeys", "visits.events"),
        policy=JOURNEYS,
        description="How many events of the stage's rules fell into the stay.",
    )
    def event_count(self) -> int:
        return self.visit.events

    @field(source=Source.parent("visits"), policy=JOURNEYS, description="Why the run entered the stage.")
    def because(self) -> Reason:
        return Reason(words=_entered(self.map_file, self.visit), visit=self.visit)


@strawberry.type(description="One run of one user through one journey map.")
class Journey(Node):
    """A run."""

    journey: strawberry.Private[Run]
    map_file: strawberry.Private[MapFile]

    def global_id(self) -> str:
        return f"journey_{self.journey.id}"

    @field(
        source=Source.document("journeys", "run"),
        policy=JOURNEYS,
        description="Which run of this user through this map, from 1.",
    )
    def run(self) -> int:
        return self.journey.run

    @field(source=Source.one("users", "user"), policy=JOURNEYS, description="Whose journey it is.")
    async def user(self, info: Info) -> LazyUser:
        from gateway.api.users import owner  # users are made of journeys

        return await owner(info.context, self.journey.user)

    @field(source=Source.contract("journeys", "key"), policy=JOURNEYS, description="The map it goes through.")
    def map(self) -> JourneyMap:
        return JourneyMap(file=self.map_file)

    @field(source=Source.document("journeys", "status"), policy=JOURNEYS, description="How far it has come.")
    def status(self) -> JourneyStatus:
        return JourneyStatus(self.journey.status.value)

    @field(
        source=Source.document("journeys", "stage"),
        policy=JOURNEYS,
        description="The stage the run is in; of an ended run, where it ended. Null if the map has it no longer.",
    )
    def stage(self) -> Stage | None:
        return stage_of(self.map_file, self.journey.stage)

    @field(
        source=Source.contract("journeys", "stages"),
        policy=JOURNEYS,
        description="The stages that are expected next (it may also skip ahead); empty when it has ended.",
    )
    def next_stages(self) -> list[Stage]:
        if self.journey.status is not Status.ACTIVE or stage_of(self.map_file, self.journey.stage) is None:
            return []
        following = self.map_file.next_stages(self.journey.stage)
        return [Stage(file=stage, map_key=self.map_file.key) for stage in following]

    @field(
        source=Source.document("journeys", "visits"),
        policy=JOURNEYS,
        description="The stages it went through, in order.",
    )
    def stage_visits(self) -> list[StageVisit]:
        return [StageVisit(visit=visit, map_file=self.map_file) for visit in self.journey.visits]

    @field(source=Source.document("journeys", "startedAt"), policy=JOURNEYS, description="When it began.")
    def started_at(self) -> DateTime:
        return DateTime(self.journey.started_at)

    @field(
        source=Source.document("journeys", "lastAt"), policy=JOURNEYS, description="The last sign of life of the run."
    )
    def last_activity_at(self) -> DateTime:
        return DateTime(self.journey.last_at)

    @field(
        source=Source.document("journeys", "endedAt"),
        policy=JOURNEYS,
        description="When it was completed or abandoned; null while it is under way.",
    )
    def ended_at(self) -> DateTime | None:
        return None if self.journey.ended_at is None else DateTime(self.journey.ended_at)

    @field(source=Source.parent("visits"), policy=JOURNEYS, description="Why it is where it is.")
    def because(self) -> Reason:
        return Reason(words=_standing(self.map_file, self.journey), visit=self.journey.visits[-1])


@strawberry.type(description="One page of journeys, the last active first.")
class JourneyConnection(Connection[Journey]):
    """A page of journeys."""


def as_node(contract: Contract, run: Run) -> Journey:
    """The API's object for a run."""
    return Journey(journey=run, map_file=contract.journeys.get(run.map) or _dropped(run))


async def journey_page(
    context: Context,
    first: int | None,
    after: Cursor | None,
    *,
    user: str | None = None,
    map_key: str | None = None,
    stage: str | None = None,
    status: JourneyStatus | None = None,
) -> JourneyConnection:
    """A page of runs of everybody, or of one user."""

    async def read(limit: int, before: Any) -> list[Run]:
        return await context.services.journeys.page(
            context.scope,
            limit=limit,
            before=before,
            user=user,
            map_key=map_key,
            stage=stage,
            status=None if status is None else Status[status.name],
        )

    contract = context.services.contract
    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda run: (run.last_at, run.id),
        node=lambda run: as_node(contract, run),
    )
    return JourneyConnection(edges=edges, page_info=page_info)


def _dropped(run: Run) -> MapFile:
    """Stands in for a map that the contract no longer has, until the users are folded without it."""
    return MapFile(run.map, run.version, run.map, "", "", (), (), timedelta(), ())


def _stage(journey_map: MapFile, key: str) -> Stage:
    return stage_of(journey_map, key) or Stage(file=StageFile(key, key, ()), map_key=journey_map.key)


def _entered(journey_map: MapFile, visit: Visit) -> str:
    return f'In "{_stage(journey_map, visit.stage).file.label}" because of {_cause(journey_map, visit)}'


def _cause(journey_map: MapFile, visit: Visit) -> str:
    rules = (rule for stage in journey_map.stages for rule in stage.enter)
    return next((f'"{rule.event}"' for rule in rules if rule.id == visit.rule), "an event")


def _standing(journey_map: MapFile, run: Run) -> str:
    visit = run.visits[-1]
    if run.status is Status.COMPLETED:
        return f'Completed with "{_stage(journey_map, visit.stage).file.label}" because of {_cause(journey_map, visit)}'
    if run.status is Status.ABANDONED:
        return (
            f'Abandoned in "{_stage(journey_map, visit.stage).file.label}": nothing more happened for '
            f"{patience(journey_map)}"
        )
    return _entered(journey_map, visit)
