"""Journeys: the runs of users through maps, each stage with the events that prove it."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from gateway.api.clients import EVENTS
from gateway.api.connections import Connection, Keyset, newest, page
from gateway.api.context import Context, Info
from gateway.api.events import Event, load_events
from gateway.api.maps import JourneyMap, Stage, check_keys, patience, stage_of
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.contract import Contract
from gateway.contract import JourneyMap as MapFile
from gateway.contract import Stage as StageFile
from gateway.contract.durations import duration_in_words
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
    ABANDONED = strawberry.enum_value(
        "abandoned",
        description="Nothing happened, or it stayed in a stage, for longer than the map allows, or it began anew.",
    )


@strawberry.type(description="Why a run is where it is: in words, and the events that prove it.")
class Reason:
    """The reason for a visit of a stage, for its end, or for the state of a whole run."""

    words: strawberry.Private[str]
    rule_id: strawberry.Private[str | None]
    proof: strawberry.Private[tuple[bytes, ...]]

    @field(source=Source.parent("visits"), policy=JOURNEYS, description="The reason in plain words, to be shown.")
    def text(self) -> str:
        return self.words

    @field(
        source=Source.document("journeys", "visits.rule"),
        policy=JOURNEYS,
        description="The rule of the map that matched: map, stage and place, such as `purchase.cart.enter[0]`.",
    )
    def rule(self) -> strawberry.ID | None:
        return None if self.rule_id is None else strawberry.ID(self.rule_id)

    @field(
        source=Source.many("events", "visits.first_event, visits.last_event"),
        policy=EVENTS,
        description="The events that prove it: the first and the last one in the stage, or the one that ended it.",
        size=2,
    )
    async def events(self, info: Info) -> list[Event]:
        return await load_events(info.context, list(dict.fromkeys(self.proof)))


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
        description="When the run went on to another stage or left this one; null while it is in it or ended in it.",
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
        return _entered(self.map_file, self.visit)

    @field(
        source=Source.parent("visits"),
        policy=JOURNEYS,
        description="Why the run left the stage without entering another; null if it did not.",
    )
    def left_because(self) -> Reason | None:
        return _left(self.map_file, self.visit)


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
        description=(
            "The stage the run is in; of an ended run, where it ended. Null between stages, when it has left one and "
            "entered no other, and if the map has the stage no longer."
        ),
    )
    def stage(self) -> Stage | None:
        return None if self.journey.stage is None else stage_of(self.map_file, self.journey.stage)

    @field(
        source=Source.contract("journeys", "stages"),
        policy=JOURNEYS,
        description=(
            "The stages that are expected next: of a stage with branches those it names, else the following ones (it "
            "may also skip ahead), then those it may come back to. Empty when it has ended."
        ),
    )
    def next_stages(self) -> list[Stage]:
        last = self.journey.visits[-1]
        if self.journey.status is not Status.ACTIVE or stage_of(self.map_file, last.stage) is None:
            return []
        following = self.map_file.next_stages(last.stage, left=last.left_at is not None)
        return [Stage(file=stage, map_key=self.map_file.key) for stage in following]

    @field(
        source=Source.document("journeys", "visits"),
        policy=JOURNEYS,
        description="The stages it went through, in order; one it came back to, once for each stay.",
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
        return _standing(self.map_file, self.journey)


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
    among: list[Run] | None = None,
) -> JourneyConnection:
    """A page of runs of everybody, of one user, or of those `among`.

    Raises InvalidInput for a map or stage that does not exist.
    """
    check_keys(context.services.contract, map_key, stage)

    async def read(limit: int, before: Any) -> list[Run]:
        if among is not None:
            return newest(among, lambda run: (run.last_at, run.id), limit, before)
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


def _label(journey_map: MapFile, visit: Visit) -> str:
    return f'"{_stage(journey_map, visit.stage).file.label}"'


def _entered(journey_map: MapFile, visit: Visit, words: str = "In") -> Reason:
    return Reason(
        words=f"{words} {_label(journey_map, visit)} because of {_cause(journey_map, visit.rule)}",
        rule_id=visit.rule,
        proof=(visit.first_event, visit.last_event),
    )


def _left(journey_map: MapFile, visit: Visit) -> Reason | None:
    if visit.left_rule is None or visit.left_event is None:
        return None
    words = f"Left {_label(journey_map, visit)} because of {_cause(journey_map, visit.left_rule)}"
    return Reason(words=words, rule_id=visit.left_rule, proof=(visit.left_event,))


def _cause(journey_map: MapFile, rule_id: str) -> str:
    return next((f'"{rule.event}"' for rule in journey_map.rules if rule.id == rule_id), "an event")


def _standing(journey_map: MapFile, run: Run) -> Reason:
    visit = run.visits[-1]
    if run.status is Status.COMPLETED:
        return _entered(journey_map, visit, "Completed with")
    if run.status is Status.ABANDONED:
        return _abandoned(journey_map, run)
    return _left(journey_map, visit) or _entered(journey_map, visit)


def _abandoned(journey_map: MapFile, run: Run) -> Reason:
    visit = run.visits[-1]
    where = f"Abandoned {'after' if run.stage is None else 'in'} {_label(journey_map, visit)}"
    if run.ended_rule is not None and run.ended_event is not None:
        words = f"{where}: {_cause(journey_map, run.ended_rule)} began anew"
        return Reason(words=words, rule_id=run.ended_rule, proof=(run.ended_event,))
    limit = _stage(journey_map, visit.stage).file.limit
    # Of two times that end together the map's is told: it is the one that every stage has.
    silent = run.ended_at == run.last_at + journey_map.patience
    if limit is not None and run.stage is not None and not silent:
        words = f"{where}: not left within {duration_in_words(limit)}"
    else:
        words = f"{where}: nothing more happened for {patience(journey_map)}"
    last = _left(journey_map, visit) or _entered(journey_map, visit)
    return Reason(words=words, rule_id=last.rule_id, proof=last.proof)
