"""A score over a range, as KPIs would have it, with all that is needed to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np

from gateway.contract import Contract, Kpi, Segment
from gateway.contract.functions import Count, PropertyStatistic, UniqueUsers
from gateway.contract.rules import Condition, EventRule
from gateway.insights.kernels.events import Floats
from gateway.insights.kernels.statistics import Share
from gateway.insights.kpis.estimates import Estimate, Sample, estimate, kind_of
from gateway.insights.kpis.evaluating import UTC, Evaluator, Figure, KpiQuestion
from gateway.insights.kpis.ranges import TimeRange
from gateway.insights.kpis.samples import scored
from gateway.insights.scores.changes import Change, changed
from gateway.insights.scores.metrics import SCORE, CesMethod, Scales, distribution, function_of
from gateway.model.response import DISMISSED, QUESTION_ANSWERED, SHOWN
from gateway.model.scope import Scope
from gateway.store.anonymous_answers import AnonymousAnswer

_UNITS = {"CSAT": "percentage points", "NPS": "points", "CES": "points"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreQuestion:
    """A score as it is asked about; `by`, `segment` and the like as of a KPI. `stage`: (map, stage) of where people
    were when they answered."""

    scales: Scales
    range: TimeRange
    method: CesMethod = "mean"
    segment: Segment | None = None
    stage: tuple[str, str] | None = None
    by: str | None = None
    most: int = 10
    zone: ZoneInfo = UTC

    @property
    def kpi(self) -> KpiQuestion:
        """The same as a question about a KPI."""
        return self._about(self._kpi())

    @property
    def raw(self) -> KpiQuestion:
        """The answers as they are."""
        rule = self.rule
        return replace(self._about(replace(self._kpi(), function=PropertyStatistic(rule, SCORE, "mean"))), by=None)

    @property
    def rule(self) -> EventRule:
        """The answers that count."""
        rule = function_of(self.scales, self.method).rule
        if self.stage is None:
            return rule
        return replace(rule, where=(*rule.where, Condition(f"journey.{self.stage[0]}", "equals", self.stage[1])))

    @property
    def unit(self) -> str:
        """Of differences."""
        return _UNITS[self.scales.metric]

    def heard(self, name: str, *, people: bool = False) -> KpiQuestion:
        """How often something else was heard of these surveys."""
        rule = EventRule(f"cx.{name}", name, (Condition("survey", "in", self.scales.surveys),))
        function = UniqueUsers((rule,)) if people else Count((rule,))
        return replace(self._about(replace(self._kpi(), function=function)), by=None)

    def _kpi(self) -> Kpi:
        function = replace(function_of(self.scales, self.method), rule=self.rule)
        metric = self.scales.metric
        return Kpi(f"cx.{metric.lower()}", metric, self.unit, "higher", ("surveys",), None, function)

    def _about(self, kpi: Kpi) -> KpiQuestion:
        return KpiQuestion(kpi=kpi, range=self.range, by=self.by, most=self.most, zone=self.zone, segment=self.segment)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of the surveys: displays, responses, dismissals, and people who answered in part. `rate`:
    responses by displays; None of all three where more were answered than shown, or none."""

    shown: int
    answered: int
    dismissed: int
    partly: int
    rate: Share


@dataclass(frozen=True, slots=True)
class Score:
    """A score. `figure` is of the answers in the log, with its people and slices; `whole` counts anonymous answers
    too."""

    question: ScoreQuestion
    figure: Figure
    whole: Estimate
    answers: tuple[tuple[int, int], ...]
    anonymous: int


class Scorer:
    """Evaluates scores by the evaluator of KPIs."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    async def score(
        self, scope: Scope, contract: Contract, question: ScoreQuestion, anonymous: Sequence[AnonymousAnswer] = ()
    ) -> Score:
        """The score over its range; `anonymous` are answers of it that nobody can break down. Raises as KPIs do."""
        figure = await self.evaluator.figure(scope, contract, question.kpi)
        raw = await self._values(scope, contract, question.raw)
        further = _values_of(anonymous)
        everything = np.concatenate((raw, further))
        whole = figure.estimate if not len(further) else _estimated(question, everything)
        counted = tuple(distribution(everything.tolist(), question.scales.scale))
        return Score(question, figure, whole, counted, len(further))

    async def change(
        self,
        scope: Scope,
        contract: Contract,
        score: Score,
        anonymous: tuple[Sequence[AnonymousAnswer], Sequence[AnonymousAnswer]] = ((), ()),
    ) -> Change:
        """What has changed since the period of the same length before; `anonymous` are the answers of now and then."""
        question = score.question
        start, end = score.figure.between
        spans = (TimeRange(start=start, end=end), TimeRange(start=2 * start - end, end=start))
        function = question.kpi.kpi.function
        sides: list[Floats] = []
        for span, more in zip(spans, anonymous, strict=True):
            found = await self._values(scope, contract, replace(question, range=span).raw)
            on_scale = _on_scale(question, np.concatenate((found, _values_of(more))))
            sides.append(scored(function, on_scale))  # type: ignore[arg-type]
        return changed(kind_of(function), sides[0], sides[1], question.unit)

    async def heard(self, scope: Scope, contract: Contract, score: Score) -> Heard:
        """Displays and what became of them."""
        question, anonymous = score.question, score.anonymous
        shown, dismissed, partly = [
            int((await self.evaluator.figure(scope, contract, question.heard(name, people=people))).estimate.value or 0)
            for name, people in ((SHOWN, False), (DISMISSED, False), (QUESTION_ANSWERED, True))
        ]
        answered = score.figure.estimate.n + anonymous
        return Heard(shown, answered, dismissed, partly, Share.of(answered, shown if answered <= shown else 0))

    async def _values(self, scope: Scope, contract: Contract, question: KpiQuestion) -> Floats:
        answer = await self.evaluator.observed(scope, contract, question)
        (sample,) = answer.found.samples
        return sample.value


def _values_of(answers: Sequence[AnonymousAnswer]) -> Floats:
    return np.array([one.score for one in answers if one.score is not None], np.float64)


def _on_scale(question: ScoreQuestion, values: Floats) -> Floats:
    scale = question.scales.scale
    return values[(values >= scale.lowest) & (values <= scale.highest)]


def _estimated(question: ScoreQuestion, values: Floats) -> Estimate:
    function = question.kpi.kpi.function
    found = scored(function, _on_scale(question, values))  # type: ignore[arg-type]
    return estimate(function, Sample.of(np.arange(len(found)), found))
