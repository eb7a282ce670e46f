"""Friction: where in a journey people leave, go back, meet errors, repeat themselves and are unhappy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np
import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.cx import CxMetric, metric_of
from gateway.api.maps import check_keys
from gateway.api.questions import (
    BEHIND,
    COST,
    ONLY,
    WORKED_OUT,
    Answered,
    Asked,
    Behind,
    BehindConnection,
    Counted,
    EventInput,
    Share,
    Spread,
    figure,
    people,
    seconds,
    share,
    told,
    within,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.errors import InvalidInput
from gateway.insights.asking import Gathered, Reading
from gateway.insights.columnar.users import Codes, Users
from gateway.insights.kernels.events import Flags
from gateway.insights.kernels.friction import Friction, RunStatus, StageFriction, Visits, friction
from gateway.insights.scores.metrics import SCORE, function_of, low_until, measured_by
from gateway.plugin import field
from gateway.store.stage_visits import VisitRows

_MOST_EVENTS = 30
_STATUS = {"active": RunStatus.ACTIVE, "completed": RunStatus.COMPLETED, "abandoned": RunStatus.ABANDONED}


@strawberry.input(description="Answers that say how content people are.")
class ScoresInput:
    """Scores."""

    events: list[EventInput] = strawberry.field(description="The events with the answers.")
    property: str = strawberry.field(description="The property with the score.")
    low: float = strawberry.field(description="This or less is a low score.")


@strawberry.input(description="Friction.")
class FrictionInput:
    """Friction."""

    map: strawberry.ID = strawberry.field(description="The key of the journey map.")
    range: RangeInput = strawberry.field(description="In which time runs begin; all their visits count.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    errors: list[EventInput] | None = strawberry.field(
        default=None, description="Events that say that something broke."
    )
    scores: ScoresInput | None = strawberry.field(default=None, description="How content people say they are.")
    metric: CxMetric | None = strawberry.field(
        default=None,
        description="Instead of `scores`: the answers to the contract's surveys of this metric. Low are detractors, of "
        "other scales what lies below their middle.",
    )
    survey: strawberry.ID | None = strawberry.field(default=None, description="With `metric`: only of this survey.")


@strawberry.type(description="Friction in one stage; `users` are all who visited it. Shares are of its visits.")
class FrictionStage(Counted):
    """A stage."""

    dropped_ones: strawberry.Private[Behind[Friction]]
    error_ones: strawberry.Private[Behind[Friction]]

    key: strawberry.ID = figure("The stage's key.")
    label: str = figure("The name people use.")
    visits: int = figure("How many visits.")
    people: int = figure("How many different users visited it.")
    open: int = figure("How many visits still last, of runs that are active; they neither dropped nor went back.")
    dropped: Share = figure("Those with which an abandoned run ended.")
    went_back: Share = figure("Those after which an earlier stage came.")
    with_error: Share = figure("Those with one or more errors.")
    with_repeat: Share = figure("Those in which an event was repeated right away.")
    with_low_score: Share = figure("Those with one or more low scores.")
    errors: int = figure("How many errors.")
    repeats: int = figure("How many repeats.")
    low_scores: int = figure("How many low scores.")
    lasted: Spread = figure("Seconds of the visits that are over.")

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who left the journey here.")
    async def dropped_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.dropped_ones, first, after)

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who met errors here.")
    async def error_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.error_ones, first, after)


@strawberry.type(description="Friction in the stages of a map.")
class FrictionAnswer(Answered):
    """Friction."""

    stages: list[FrictionStage] = figure("In the order of the map.", size=8)


@strawberry.type
class FrictionQuestions:
    """What can be asked."""

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="Where in a journey people get stuck.")
    async def friction(
        self,
        info: Info,
        input: Annotated[FrictionInput, strawberry.argument(description="In which journey.")],
        at_least: AtLeast = None,
    ) -> FrictionAnswer:
        await info.context.wait_for(at_least)
        return await _friction(info.context, input)


async def _friction(context: Context, given: FrictionInput) -> FrictionAnswer:
    services = context.services
    check_keys(services.contract, given.map)
    journey = services.contract.journeys[given.map]
    asked = Asked("friction", given.range, given.segment)
    within(len(given.errors or ()), 0, 0, _MOST_EVENTS, "errors")
    errors = asked.events(given.errors, "errors")
    scores: tuple[int, ...] = ()
    if given.scores is not None:
        if not 1 <= len(given.scores.events) <= _MOST_EVENTS:
            raise InvalidInput(f"`events` names 1 to {_MOST_EVENTS} events.", path="scores.events")
        scores = asked.events(given.scores.events, "scores.events")
        asked.properties.append(("scores.property", given.scores.property))
    low = 0.0 if given.scores is None else given.scores.low
    value = None if given.scores is None else given.scores.property
    if given.metric is not None:
        if given.scores is not None:
            raise InvalidInput("`metric` and `scores` say the same.", hint="Send one of them.", path="metric")
        scales = measured_by(services.contract.surveys, metric_of(given.metric), given.survey)
        scores, low, value = (len(asked.rules),), low_until(scales), SCORE
        asked.rules.append(("metric", replace(function_of(scales).rule, id=f"r{len(asked.rules)}")))
    asked.said = {"map": given.map, "version": journey.version, "errors": len(errors), "value": value, "low": low}
    places = {stage.key: place for place, stage in enumerate(journey.stages)}
    rows = await services.questions.visits(context.scope, given.map, asked.between(services.clock.now()))

    def reading(as_of: int) -> Reading:
        return asked.reading((asked.between(as_of)[0], as_of + 1), others=True, value=value)

    def work(gathered: Gathered, as_of: int) -> Friction:
        codes = [tuple(code for place in some for code in gathered.codes[place]) for some in (errors, scores)]
        visits = _visits(rows, gathered.users, places, gathered.among)
        return friction(gathered.events, visits, len(places), errors=codes[0], scores=codes[1], low=low)

    answer = await asked.answer(context, reading, work)
    found = answer.found

    def behind(stage: int, which: Callable[[], Flags] | None = None) -> Behind[Friction]:
        return Behind(answer, lambda: found.people(stage, None if which is None else which()))

    def stage(one: StageFriction) -> FrictionStage:
        return FrictionStage(
            behind=behind(one.stage),
            dropped_ones=behind(one.stage, lambda: found.dropped),
            error_ones=behind(one.stage, lambda: found.errors > 0),
            key=strawberry.ID(journey.stages[one.stage].key),
            label=journey.stages[one.stage].label,
            visits=one.visits,
            people=one.users,
            open=one.open,
            dropped=share(one.dropped),
            went_back=share(one.went_back),
            with_error=share(one.with_error),
            with_repeat=share(one.with_repeat),
            with_low_score=share(one.with_low_score),
            errors=one.errors,
            repeats=one.repeats,
            low_scores=one.low_scores,
            lasted=seconds(one.lasted),
        )

    runs = f"of runs that began {asked.range_words}"
    sentence = f"Visits of the stages of {journey.name}, version {journey.version}, {runs}."
    sentence += f" Errors: {asked.words(errors)}." if errors else ""
    sentence += f" Low scores: {asked.words(scores)} with {value} of {low:g} or less." if scores else ""
    sentence += " A repeat is an event with the name of the one before it. Users who deny analytics are left out."
    return FrictionAnswer(**told(asked, answer, sentence), stages=[stage(one) for one in found.stages])


def _visits(rows: VisitRows, users: Users, places: dict[str, int], among: Codes | None = None) -> Visits:
    """As the kernel reads them: of users that are known, of stages that the map has, in order."""
    high = np.array([int(one[:16], 16) for one in rows.user], np.uint64)
    code = np.searchsorted(users.high, high)
    known = np.zeros(len(high), np.bool_)
    if len(users.high):
        code = np.minimum(code, len(users.high) - 1)
        known = users.high[code] == high
    if among is not None:
        known &= np.isin(code, among)
    stage = np.array([places.get(one, -1) for one in rows.stage], np.int64)
    kept = np.flatnonzero(known & (stage >= 0))
    entered, run = np.array(rows.entered, np.int64), np.array(rows.run, np.int64)
    order = kept[np.lexsort((kept, entered[kept], code[kept]))]
    return Visits(
        user=code[order].astype(np.int64),
        run=run[order],
        stage=stage[order],
        entered=entered[order],
        left=np.array(rows.left, np.int64)[order],
        status=np.array([_STATUS[one] for one in rows.status], np.int64)[order],
    )
