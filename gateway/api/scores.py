"""CX scores: CSAT, NPS and CES with distribution, interval, response rate and change; and what they go with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.cx import CxMetric, Method, method_of, metric_of
from gateway.api.kpi_results import COST, KpiGroup, Which, people_behind
from gateway.api.maps import checked_segment
from gateway.api.questions import (
    BEHIND,
    MOST_TOP,
    BehindConnection,
    BreakdownValue,
    check_personal,
    check_trait,
    shown_value,
    within,
    zone_of,
)
from gateway.api.ranges import KPIS, RangeInput, range_of
from gateway.api.scalars import DateTime
from gateway.contract import parse_duration
from gateway.contract.rules import EventRule
from gateway.errors import InvalidInput
from gateway.insights.asking import Gathered, Reading
from gateway.insights.kpis.evaluating import Slice
from gateway.insights.scores import K, suppressed
from gateway.insights.scores.correlation import METHOD
from gateway.insights.scores.evaluating import Heard, Score, ScoreQuestion, Scorer
from gateway.insights.scores.metrics import measured_by
from gateway.insights.scores.outcomes import Outcome, are_among, did_afterwards
from gateway.model.response import RESPONDED
from gateway.plugin import Policy, Source, attribute, field
from gateway.store.anonymous_answers import AnonymousAnswer

_SCORED = Source.loader("score evaluation")
COMMENTS = Policy("kpis:read", pii=True)
#: With fewer answers a score is better not acted on.
ENOUGH = 30
_MOST_COMMENTS = 100


@strawberry.type(description="How often one answer was given.")
class CxAnswerCount:
    """An answer of the scale."""

    answer: int = attribute(source=_SCORED, policy=KPIS, description="The answer.")
    count: int = attribute(source=_SCORED, policy=KPIS, description="How often.")


@strawberry.type(description="What became of the surveys that were shown.")
class CxResponseRate:
    """Displays and responses."""

    heard: strawberry.Private[Heard]

    @field(source=_SCORED, policy=KPIS, description="How many were put before somebody.")
    def shown(self) -> int:
        return self.heard.shown

    @field(source=_SCORED, policy=KPIS, description="How many were answered to the end.")
    def answered(self) -> int:
        return self.heard.answered

    @field(source=_SCORED, policy=KPIS, description="How many were closed without an answer.")
    def dismissed(self) -> int:
        return self.heard.dismissed

    @field(source=_SCORED, policy=KPIS, description="How many different users answered a question before the last.")
    def partly(self) -> int:
        return self.heard.partly

    @field(
        source=_SCORED,
        policy=KPIS,
        description="Percentage of the shown that were answered; null when none was shown, or less than answered.",
    )
    def rate(self) -> float | None:
        return _percent(self.heard.rate.value)

    @field(source=_SCORED, policy=KPIS, description="Where its 95 % interval (Wilson) begins.")
    def low(self) -> float | None:
        return _percent(self.heard.rate.low)

    @field(source=_SCORED, policy=KPIS, description="Where it ends.")
    def high(self) -> float | None:
        return _percent(self.heard.rate.high)


@strawberry.type(description="What has changed since the period of the same length before.")
class CxTrend:
    """A change."""

    difference: float | None = attribute(source=_SCORED, policy=KPIS, description="The score now less the score then.")
    low: float | None = attribute(source=_SCORED, policy=KPIS, description="Where its 95 % interval begins.")
    high: float | None = attribute(source=_SCORED, policy=KPIS, description="Where it ends.")
    significant: bool = attribute(
        source=_SCORED,
        policy=KPIS,
        description="Whether it is more than chance alone would bring, 30 answers or more on both sides.",
    )
    words: str = attribute(source=_SCORED, policy=KPIS, description="What can be said of it, in words.")


@strawberry.type(description=f"The score for one value of a breakdown; of fewer than {K} answers nothing is told.")
class CxSlice:
    """A slice."""

    score: strawberry.Private[Score]
    slice: strawberry.Private[Slice]
    suppressed: bool = attribute(
        source=_SCORED,
        policy=KPIS,
        description=f"Whether nothing is told, because these are fewer than {K} answers, or would tell such a slice.",
    )

    @field(source=_SCORED, policy=KPIS, description="Which value, or all beyond the most frequent.", name="for")
    def for_value(self) -> BreakdownValue:
        assert self.score.figure.answer is not None
        return shown_value(self.score.figure.answer.found.values, self.slice.value)

    @field(source=_SCORED, policy=KPIS, description="The score.")
    def value(self) -> float | None:
        return None if self.suppressed else self.slice.estimate.value

    @field(source=_SCORED, policy=KPIS, description="From how many answers.")
    def n(self) -> int | None:
        return None if self.suppressed else self.slice.estimate.n

    @field(source=_SCORED, policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return None if self.suppressed else self.slice.estimate.low

    @field(source=_SCORED, policy=KPIS, description="Where it ends.")
    def high(self) -> float | None:
        return None if self.suppressed else self.slice.estimate.high


@strawberry.type(description="A score over a range, and how sure it is.")
class CxResult:
    """A score. `anonymous` are the answers of now and of the period before, as far as they are known."""

    score: strawberry.Private[Score]
    anonymous: strawberry.Private[tuple[Sequence[AnonymousAnswer], Sequence[AnonymousAnswer]]]

    @field(source=_SCORED, policy=KPIS, description="Which score.")
    def metric(self) -> CxMetric:
        return CxMetric(self.score.question.scales.metric)

    @field(source=Source.contract("surveys", "*"), policy=KPIS, description="The surveys whose answers count.", size=3)
    def surveys(self) -> list[strawberry.ID]:
        return [strawberry.ID(key) for key in self.score.question.scales.surveys]

    @field(source=_SCORED, policy=KPIS, description="The score; null, never 0, without an answer.")
    def value(self) -> float | None:
        return self.score.whole.value

    @field(source=_SCORED, policy=KPIS, description="From how many answers.")
    def n(self) -> int:
        return self.score.whole.n

    @field(source=_SCORED, policy=KPIS, description="Where the 95 % interval begins.")
    def low(self) -> float | None:
        return self.score.whole.low

    @field(source=_SCORED, policy=KPIS, description="Where it ends.")
    def high(self) -> float | None:
        return self.score.whole.high

    @field(source=_SCORED, policy=KPIS, description=f"Whether there are {ENOUGH} answers or more: fewer say little.")
    def enough(self) -> bool:
        return self.score.whole.n >= ENOUGH

    @field(source=_SCORED, policy=KPIS, description="How often each answer was given, from the lowest on.", size=7)
    def distribution(self) -> list[CxAnswerCount]:
        return [CxAnswerCount(answer=answer, count=count) for answer, count in self.score.answers]

    @field(source=_SCORED, policy=KPIS, description="What exactly was counted, in words.")
    def definition(self) -> str:
        words = self.score.question.kpi.words
        return (
            f"{words} Anonymous answers count too, {self.score.anonymous} of them." if self.score.anonymous else words
        )

    @field(source=_SCORED, policy=KPIS, description="Of all that was asked: the same question has the same hash.")
    def hash(self) -> str:
        return self.score.question.kpi.hash

    @field(source=_SCORED, policy=KPIS, description="When it was computed; nothing later counts.")
    def as_of(self) -> DateTime:
        return DateTime(self.score.figure.as_of)

    @field(source=_SCORED, policy=KPIS, description="Where the range begins.")
    def start(self) -> DateTime:
        return DateTime(self.score.figure.between[0])

    @field(source=_SCORED, policy=KPIS, description="Where the range ends; not included.")
    def end(self) -> DateTime:
        return DateTime(self.score.figure.between[1])

    @field(
        source=_SCORED,
        policy=KPIS,
        description="What became of the surveys that were shown; null for one stage: displays do not say the stage.",
        weight=COST,
    )
    async def response_rate(self, info: Info) -> CxResponseRate | None:
        if self.score.question.stage is not None:
            return None
        context = info.context
        heard = await _scorer(context).heard(context.scope, context.services.contract, self.score)
        return CxResponseRate(heard=heard)

    @field(
        source=_SCORED,
        policy=KPIS,
        description="What has changed since the period of the same length before, and whether by more than chance.",
        weight=COST,
    )
    async def change(self, info: Info) -> CxTrend:
        context = info.context
        found = await _scorer(context).change(context.scope, context.services.contract, self.score, self.anonymous)
        return CxTrend(
            difference=found.difference,
            low=found.low,
            high=found.high,
            significant=found.significant,
            words=found.words,
        )

    @field(
        source=_SCORED,
        policy=KPIS,
        description="By value of `by`, the most frequent first, all beyond `top` as other; without anonymous answers.",
        size=10,
    )
    def slices(self) -> list[CxSlice]:
        slices = self.score.figure.slices
        hidden = suppressed([one.estimate.n for one in slices])
        return [CxSlice(score=self.score, slice=one, suppressed=gone) for one, gone in zip(slices, hidden, strict=True)]

    @field(
        source=Source.many("anonymous_answers", "survey"),
        policy=COMMENTS,
        description=f"What people wrote anonymously, in no order; at most {_MOST_COMMENTS}. It may hold anything.",
        size=20,
    )
    def anonymous_comments(self, info: Info) -> list[str]:
        surveys = info.context.services.contract.surveys
        texts = [
            value
            for one in self.anonymous[0]
            for key, value in one.answers
            if one.survey in surveys and (asked := surveys[one.survey].question(key)) and asked.kind == "TEXT"
        ]
        return [str(text) for text in texts if str(text).strip()][:_MOST_COMMENTS]

    @field(source=_SCORED, policy=BEHIND, description="The users behind it, each once; of anonymous answers nobody.")
    async def users(
        self, info: Info, group: Which = None, first: First = DEFAULT_FIRST, after: After = None
    ) -> BehindConnection:
        return await people_behind(info.context, self.score.figure, None, group or KpiGroup.COUNTED, first, after)


@strawberry.input(one_of=True, description="What a score may go with: exactly one of these.")
class OutcomeInput:
    """An outcome."""

    event: str | None = strawberry.field(
        default=strawberry.UNSET, description="Whether they did this after their first answer in the range."
    )
    segment: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Whether they are in this segment now, by their last answer in the range."
    )


@strawberry.type(description="How a score goes with an outcome of the same people.")
class CxCorrelation:
    """A correlation."""

    outcome: strawberry.Private[Outcome]

    method: str = attribute(source=_SCORED, policy=KPIS, description="How it was worked out.")
    definition: str = attribute(source=_SCORED, policy=KPIS, description="What exactly was compared, in words.")

    @field(
        source=_SCORED,
        policy=KPIS,
        description="From -1 to 1: above 0 those with higher scores have the outcome more often. Null where it "
        f"cannot be said: fewer than {K} people, or all alike.",
    )
    def value(self) -> float | None:
        return self.outcome.found.value if self._enough else None

    @field(source=_SCORED, policy=KPIS, description="Of how many people.")
    def n(self) -> int:
        return self.outcome.found.n

    @field(source=_SCORED, policy=KPIS, description="Where the 95 % interval begins; null of fewer than 10 people.")
    def low(self) -> float | None:
        return self.outcome.found.low if self._enough else None

    @field(source=_SCORED, policy=KPIS, description="Where it ends.")
    def high(self) -> float | None:
        return self.outcome.found.high if self._enough else None

    @field(source=_SCORED, policy=KPIS, description="How many people still have time; they are in no number.")
    def open(self) -> int:
        return self.outcome.open

    @field(source=_SCORED, policy=KPIS, description="How many of the people have the outcome.")
    def with_outcome(self) -> int:
        return self.outcome.with_outcome

    @field(source=_SCORED, policy=KPIS, description=f"The mean answer of those who have it; null of fewer than {K}.")
    def mean_with(self) -> float | None:
        return self.outcome.mean_with if self.outcome.with_outcome >= K else None

    @field(source=_SCORED, policy=KPIS, description=f"The mean answer of the others; null of fewer than {K}.")
    def mean_without(self) -> float | None:
        others = self.outcome.found.n - self.outcome.with_outcome
        return self.outcome.mean_without if others >= K else None

    @property
    def _enough(self) -> bool:
        return self.outcome.found.n >= K


MetricArgument = Annotated[CxMetric, strawberry.argument(description="Which score.")]
RangeArgument = Annotated[RangeInput, strawberry.argument(description="Answers of which time.")]
SurveyArgument = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only of this survey; null: of all that measure it.")
]
MethodArgument = Annotated[
    Method | None, strawberry.argument(description="Of CES: what is made of the answers; their mean if left out.")
]


@strawberry.type
class Scoring:
    """What can be asked of scores."""

    @field(
        source=_SCORED,
        policy=KPIS,
        weight=COST,
        description="CSAT, NPS or CES of the contract's surveys: computed as the KPIs of the same answers are.",
    )
    async def cx(
        self,
        info: Info,
        metric: MetricArgument,
        range: RangeArgument,
        survey: SurveyArgument = None,
        segment: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only of users who are in this segment now.")
        ] = None,
        by: Annotated[
            str | None,
            strawberry.argument(
                description="Broken down: by a property of the response such as `touchpoint`, `variant` or "
                "`journey.purchase` (the stage they were in), by `client.device` and the like, by `traits.plan`."
            ),
        ] = None,
        top: Annotated[int | None, strawberry.argument(description="So many values of `by`; 10 if left out.")] = None,
        method: MethodArgument = None,
        time_zone: Annotated[str | None, strawberry.argument(description="IANA time zone; UTC if left out.")] = None,
        at_least: AtLeast = None,
    ) -> CxResult:
        await info.context.wait_for(at_least)
        context, contract = info.context, info.context.services.contract
        question = ScoreQuestion(
            scales=measured_by(contract.surveys, metric_of(metric), survey),
            range=range_of(range),
            method=method_of(method),
            segment=None if segment is None else checked_segment(contract, segment, "segment"),
            by=by or None,
            most=within(top, 10, 1, MOST_TOP, "top"),
            zone=zone_of(time_zone),
        )
        return await scored(context, question)

    @field(
        source=_SCORED,
        policy=KPIS,
        weight=COST,
        description="How a score goes with what the same people did afterwards, or with a segment they are in. That it "
        "does says nothing about causes.",
    )
    async def correlate(
        self,
        info: Info,
        metric: MetricArgument,
        outcome: Annotated[OutcomeInput, strawberry.argument(description="What it may go with.")],
        range: RangeArgument,
        survey: SurveyArgument = None,
        within: Annotated[
            str, strawberry.argument(description="Of an event: for how long after the answer it counts.")
        ] = "28d",
        at_least: AtLeast = None,
    ) -> CxCorrelation:
        await info.context.wait_for(at_least)
        contract = info.context.services.contract
        question = ScoreQuestion(scales=measured_by(contract.surveys, metric_of(metric), survey), range=range_of(range))
        if outcome.segment:
            return await _with_segment(info.context, question, outcome.segment)
        if outcome.event:
            return await _with_event(info.context, question, outcome.event, _duration(within))
        raise InvalidInput("The outcome names nothing.", hint="Name an event or a segment.", path="outcome")


async def scored(context: Context, question: ScoreQuestion) -> CxResult:
    """The score as it is asked about. Raises InvalidInput, Forbidden, TooLarge, Unavailable."""
    services = context.services
    breakdown = question.kpi.breakdown
    check_trait(context, breakdown)
    if breakdown is not None and breakdown.kind == "property":
        check_personal(context, {RESPONDED}, {breakdown.key})
    start, end = question.range.at(services.clock.now())
    anonymous = [await _anonymous(context, question, span) for span in ((start, end + 1), (2 * start - end, start))]
    score = await _scorer(context).score(context.scope, services.contract, question, anonymous[0])
    return CxResult(score=score, anonymous=(anonymous[0], anonymous[1]))


async def scored_in_stage(
    context: Context, metric: CxMetric, given: RangeInput, survey: str | None, stage: tuple[str, str]
) -> CxResult:
    """The score of those who were in a stage when they answered."""
    scales = measured_by(context.services.contract.surveys, metric_of(metric), survey)
    return await scored(context, ScoreQuestion(scales=scales, range=range_of(given), stage=stage))


async def _anonymous(context: Context, question: ScoreQuestion, span: tuple[int, int]) -> list[AnonymousAnswer]:
    """Anonymous answers, which nobody can break down; of fewer than K none."""
    surveys = context.services.contract.surveys
    keys = [key for key in question.scales.surveys if surveys[key].anonymous]
    if not keys or question.by is not None or question.segment is not None or question.stage is not None:
        return []
    found = await context.services.feedback.anonymous.stored.known(context.scope.workspace, keys, span)
    return found if len(found) >= K else []


async def _with_event(context: Context, question: ScoreQuestion, event: str, within: int) -> CxCorrelation:
    services = context.services
    rules = (question.rule, EventRule("outcome", event))
    await services.questions.vocabulary.check(context.scope, services.contract, [("outcome.event", rules[1])])
    scale = (question.scales.scale.lowest, question.scales.scale.highest)

    def reading(as_of: int) -> Reading:
        start, end = question.range.at(as_of)
        return Reading(rules=rules, between=(start, end + within + 1), numbers=("score",))

    def work(gathered: Gathered, as_of: int) -> Outcome:
        numbers, span = gathered.numbers["score"], question.range.at(as_of)
        return did_afterwards(gathered.events, numbers, gathered.codes, span, within, as_of, scale)

    answer = await services.questions.ask(
        context.scope, f"correlate.{question.raw.hash}.{event}.{within}", reading, work
    )
    said = f"The first answer of each user {question.range.words}, and whether {event!r} came after it within "
    said += f"{timedelta(milliseconds=within)}."
    return CxCorrelation(outcome=answer.found, method=METHOD, definition=said)


async def _with_segment(context: Context, question: ScoreQuestion, key: str) -> CxCorrelation:
    services = context.services
    segment = checked_segment(services.contract, key, "outcome.segment")
    members = await services.questions.members(context.scope, segment.key)
    scale = (question.scales.scale.lowest, question.scales.scale.highest)

    def reading(as_of: int) -> Reading:
        return Reading(rules=(question.rule,), between=question.range.at(as_of), numbers=("score",))

    def work(gathered: Gathered, as_of: int) -> Outcome:
        numbers, span = gathered.numbers["score"], question.range.at(as_of)
        codes = gathered.users.codes(members)
        return are_among(gathered.events, numbers, gathered.codes[0], codes, span, scale)

    hashed = f"correlate.{question.raw.hash}.{segment.key}.{hash(members)}"
    answer = await services.questions.ask(context.scope, hashed, reading, work)
    said = f"The last answer of each user {question.range.words}, and whether they are in {segment.name} now: "
    return CxCorrelation(outcome=answer.found, method=METHOD, definition=said + segment.definition)


def _scorer(context: Context) -> Scorer:
    return Scorer(context.services.evaluator)


def _duration(text: str) -> int:
    try:
        return parse_duration(text) // timedelta(milliseconds=1)
    except ValueError as error:
        raise InvalidInput(f"`within` is no duration: {error}.", path="within") from None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
