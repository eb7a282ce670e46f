"""The value of a KPI: how sure it is, how it went, by what it differs, and who is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import Annotated

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.context import Context, Info
from gateway.api.maps import checked_segment
from gateway.api.plugins import PluginFailure, plugin_failure
from gateway.api.questions import (
    BEHIND,
    MOST_TOP,
    Behind,
    BehindConnection,
    BreakdownValue,
    CalendarInterval,
    check_personal,
    check_trait,
    people,
    shown_value,
    within,
    zone_of,
)
from gateway.api.ranges import KPIS, RangeInput, range_of
from gateway.api.scalars import DateTime
from gateway.contract import Funnel, rules_of
from gateway.contract import Kpi as KpiFile
from gateway.errors import InvalidInput, TooLarge
from gateway.insights.kernels.calendar import Calendar, Interval
from gateway.insights.kpis.estimates import Estimate, Group, Sample
from gateway.insights.kpis.evaluating import Figure, KpiQuestion, Slice, behind
from gateway.plugin import Source, attribute, field

DEFAULT_POINTS = 8
MAX_POINTS = 60
MOST_INTERVALS = 400
COST = 800  # of one evaluation: it reads the range's events
EVALUATED = Source.loader("KPI evaluation")


def _file(key: str) -> Source:
    return Source.contract("kpis", key)


@strawberry.enum(name="KpiGroup", description="People behind the value of a KPI.")
class KpiGroup(Enum):
    """Groups."""

    COUNTED = strawberry.enum_value("COUNTED", description="Whoever is counted in `n`; of a ratio, in its whole.")
    HIT = strawberry.enum_value(
        "HIT", description="Of shares: those of whom it is true; of NPS and the like promoters, of a ratio its part."
    )
    MISSED = strawberry.enum_value(
        "MISSED", description="Of shares: those of whom it is not true; of NPS and the like detractors."
    )
    OPEN = strawberry.enum_value("OPEN", description="Who cannot be judged yet.")


Which = Annotated[KpiGroup | None, strawberry.argument(description="Which of them; COUNTED if left out.")]


@strawberry.type(description="One step of a funnel.")
class KpiStep:
    """A step."""

    key: strawberry.ID = attribute(
        source=_file("function.funnel.steps.key"), policy=KPIS, description="The step's key."
    )
    label: str = attribute(source=_file("function.funnel.steps.label"), policy=KPIS, description="The name people use.")
    users: int = attribute(source=EVALUATED, policy=KPIS, description="How many different users reached it.")


@strawberry.type(description="The KPI over one part of the range.")
class KpiPoint:
    """A point of a series."""

    estimate: strawberry.Private[Estimate]

    start: DateTime = attribute(source=EVALUATED, policy=KPIS, description="Where the part begins.")
    end: DateTime = attribute(source=EVALUATED, policy=KPIS, description="Where it ends; not included.")
    complete: bool = attribute(source=EVALUATED, policy=KPIS, description="Whether the part is over.")
    definition_changed: bool = attribute(
        source=Source.many("contracts", "kpi"),
        policy=KPIS,
        description="Whether the definition changed in this part. All points are by the definition of now.",
    )

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="The value over the part as a range of its own; null when there is nothing to count.",
    )
    def value(self) -> float | None:
        return self.estimate.value

    @field(source=EVALUATED, policy=KPIS, description="From how many observations.")
    def n(self) -> int:
        return self.estimate.n

    @field(source=EVALUATED, policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return self.estimate.low

    @field(source=EVALUATED, policy=KPIS, description="Where the 95 % interval ends.")
    def high(self) -> float | None:
        return self.estimate.high

    @field(source=EVALUATED, policy=KPIS, description="How many observations cannot be judged yet.")
    def open(self) -> int:
        return self.estimate.open


@strawberry.type(description="The KPI for one value of a breakdown.")
class KpiSlice:
    """A slice."""

    figure: strawberry.Private[Figure]
    slice: strawberry.Private[Slice]

    @field(source=EVALUATED, policy=KPIS, description="Which value, or all beyond the most frequent.", name="for")
    def for_value(self) -> BreakdownValue:
        assert self.figure.answer is not None
        return shown_value(self.figure.answer.found.values, self.slice.value)

    @field(source=EVALUATED, policy=KPIS, description="The KPI for it; null when there is nothing to count.")
    def value(self) -> float | None:
        return self.slice.estimate.value

    @field(source=EVALUATED, policy=KPIS, description="From how many observations.")
    def n(self) -> int:
        return self.slice.estimate.n

    @field(source=EVALUATED, policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return self.slice.estimate.low

    @field(source=EVALUATED, policy=KPIS, description="Where the 95 % interval ends.")
    def high(self) -> float | None:
        return self.slice.estimate.high

    @field(source=EVALUATED, policy=KPIS, description="How many observations cannot be judged yet.")
    def open(self) -> int:
        return self.slice.estimate.open

    @field(source=EVALUATED, policy=BEHIND, description="The users behind it, each once.")
    async def users(
        self, info: Info, group: Which = None, first: First = DEFAULT_FIRST, after: After = None
    ) -> BehindConnection:
        return await people_behind(info.context, self.figure, self.slice.sample, group, first, after)


@strawberry.type(description="The value of a KPI over a range, and how sure it is.")
class KpiResult:
    """An evaluated KPI."""

    figure: strawberry.Private[Figure]

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="The value in the KPI's unit; null, never 0, when there is nothing to divide by.",
    )
    def value(self) -> float | None:
        return self.figure.estimate.value

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="From how many observations: users, events, answers, sessions, visits; of a ratio, of its whole.",
    )
    def n(self) -> int:
        return self.figure.estimate.n

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="Where the 95 % interval begins; null of what was counted in full, such as events or users.",
    )
    def low(self) -> float | None:
        return self.figure.estimate.low

    @field(source=EVALUATED, policy=KPIS, description="Where the 95 % interval ends.")
    def high(self) -> float | None:
        return self.figure.estimate.high

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="How many cannot be judged yet, such as users of a funnel who still have time to convert; they are "
        "in no number.",
    )
    def open(self) -> int:
        return self.figure.estimate.open

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="Why a plugin's function gave no number, so that `value` is null; otherwise null.",
    )
    def failure(self) -> PluginFailure | None:
        return plugin_failure(self.figure.failure)

    @field(source=EVALUATED, policy=KPIS, description="When it was computed; nothing later counts.")
    def as_of(self) -> DateTime:
        return DateTime(self.figure.as_of)

    @field(source=EVALUATED, policy=KPIS, description="Where the range begins.")
    def start(self) -> DateTime:
        return DateTime(self.figure.between[0])

    @field(source=EVALUATED, policy=KPIS, description="Where the range ends; not included.")
    def end(self) -> DateTime:
        return DateTime(self.figure.between[1])

    @field(source=_file("function"), policy=KPIS, description="What exactly was counted, in words, with every option.")
    def definition(self) -> str:
        return self.figure.question.words

    @field(source=EVALUATED, policy=KPIS, description="Of all that was asked: the same question has the same hash.")
    def hash(self) -> str:
        return self.figure.question.hash

    @field(source=EVALUATED, policy=KPIS, description="The steps of a funnel; otherwise empty.", size=8)
    def steps(self) -> list[KpiStep]:
        function = self.figure.question.kpi.function
        if not isinstance(function, Funnel):
            return []
        reached = self.figure.estimate.reached or (0,) * len(function.steps)
        return [
            KpiStep(key=strawberry.ID(step.key), label=step.label, users=users)
            for step, users in zip(function.steps, reached, strict=True)
        ]

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="By value of `by`, the most frequent first, all beyond `top` as other; empty without `by`. Whoever "
        "has several values counts for each.",
        size=10,
    )
    def slices(self) -> list[KpiSlice]:
        return [KpiSlice(figure=self.figure, slice=one) for one in self.figure.slices]

    @field(source=EVALUATED, policy=KPIS, description="How many different values `by` has; 0 without `by`.")
    def different_values(self) -> int:
        return self.figure.different

    @field(source=EVALUATED, policy=BEHIND, description="The users behind it, each once.")
    async def users(
        self, info: Info, group: Which = None, first: First = DEFAULT_FIRST, after: After = None
    ) -> BehindConnection:
        return await people_behind(info.context, self.figure, None, group, first, after)

    @field(
        source=EVALUATED,
        policy=KPIS,
        description="The same KPI over parts of the range, the oldest first: equal ones, or by the calendar of "
        "`timeZone`.",
        weight=COST,
        size=1,
    )
    async def series(
        self,
        info: Info,
        points: Annotated[
            int | None,
            strawberry.argument(description=f"How many equal parts, 1 to {MAX_POINTS}; without `interval` only."),
        ] = DEFAULT_POINTS,
        interval: Annotated[
            CalendarInterval | None,
            strawberry.argument(
                description=f"By hours, days, weeks or months instead, at most {MOST_INTERVALS}; the first and the "
                "last are those that the range leaves of them."
            ),
        ] = None,
    ) -> list[KpiPoint]:
        context, figure = info.context, self.figure
        bounds = _bounds(figure, points, interval)
        evaluator, contract = context.services.evaluator, context.services.contract
        found = await evaluator.series(context.scope, contract, figure.question, bounds)
        changed = await context.services.definitions.changed(figure.question.kpi.key, bounds)
        return [
            KpiPoint(
                estimate=one,
                start=DateTime(start),
                end=DateTime(end),
                complete=end <= figure.as_of,
                definition_changed=any(start <= at < end for at in changed),
            )
            for one, (start, end) in zip(found, pairwise(bounds), strict=True)
        ]


def _bounds(figure: Figure, points: int | None, interval: CalendarInterval | None) -> Sequence[int]:
    """The bounds of the parts of a range. Raises InvalidInput, TooLarge."""
    start, end = figure.between
    if interval is None:
        points = DEFAULT_POINTS if points is None else points
        if not 1 <= points <= MAX_POINTS:
            raise InvalidInput(f"`points` is {points}; a series has 1 to {MAX_POINTS}.", path="points")
        return sorted({start + (end - start) * part // points for part in range(points + 1)})
    found = Calendar.covering(figure.question.zone, Interval(interval.name), start, end - 1)
    if len(found) > MOST_INTERVALS:
        raise TooLarge(
            f"The range has {len(found):,} intervals; at most {MOST_INTERVALS} are possible.",
            hint="Ask for longer intervals, or about a shorter range.",
            path="interval",
        )
    return sorted({min(max(int(bound), start), end) for bound in found.bounds})


async def evaluated(
    context: Context,
    kpi: KpiFile,
    given: RangeInput,
    by: str | None,
    most: int | None,
    zone: str | None,
    segment: str | None = None,
) -> KpiResult:
    """The KPI as it is asked about. Raises InvalidInput, Forbidden, TooLarge, Unavailable."""
    question = KpiQuestion(
        kpi=kpi,
        range=range_of(given),
        by=by or None,
        most=within(most, 10, 1, MOST_TOP, "top"),
        zone=zone_of(zone),
        segment=None if segment is None else checked_segment(context.services.contract, segment, "segment"),
    )
    breakdown = question.breakdown
    check_trait(context, breakdown)
    if breakdown is not None and breakdown.kind == "property":
        names = {rule.event for rule in rules_of(kpi.function)}
        everything = {event.name for event in context.services.contract.events.values()}
        check_personal(context, names or everything, {breakdown.key})
    figure = await context.services.evaluator.figure(context.scope, context.services.contract, question)
    return KpiResult(figure=figure)


async def people_behind(
    context: Context, figure: Figure, sample: Sample | None, group: KpiGroup | None, first: int | None, after: After
) -> BehindConnection:
    wanted = Group((group or KpiGroup.COUNTED).name)
    answer = await context.services.evaluator.people(context.scope, context.services.contract, figure)
    seen = answer.found.samples[0] if sample is None else sample
    return await people(context, Behind(answer, lambda: behind(figure.question, seen, wanted)), first, after)
