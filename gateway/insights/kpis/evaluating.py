"""A KPI over a range: from its definition to numbers, for queries, subscriptions, alerts and snapshots alike.

Counts of events by name come from rollups; all else is observed in a scan of the events (`samples`) or in the runs
through a journey map (`stages`), and people are named from the very rows that were counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import numpy as np

from gateway.contract import Contract, Kpi, KpiStatus, Planned, Retention, Segment, StageMetric, rules_of
from gateway.contract.functions import Function, PluginFunction
from gateway.contract.hashing import content_hash
from gateway.errors import InvalidInput, PluginError, PluginFailure
from gateway.insights.asking import Answer, By, Gathered, Questions, Reading, numbered_values, only_in
from gateway.insights.columnar.selecting import Scalar
from gateway.insights.filtering import CLIENT, TRAITS, client_column
from gateway.insights.kernels.events import Longs, top
from gateway.insights.kpis.estimates import Estimate, Group, Sample, estimate, kind_seen, people
from gateway.insights.kpis.plugged import Histories, NoFunctions, PluginFunctions, histories, observations
from gateway.insights.kpis.ranges import TimeRange
from gateway.insights.kpis.samples import REACH_MS, Further, Seen, demanded, samples
from gateway.insights.kpis.stages import stage_samples
from gateway.insights.kpis.tiles import Tiles
from gateway.model.scope import Scope
from gateway.store.stage_visits import RunRow, runs_within

OTHER = -2  # values of a breakdown beyond the most frequent ones
T = TypeVar("T")

UTC = ZoneInfo("UTC")
CONSENT = "Users who deny analytics are left out."
_REACHES = (REACH_MS, 16 * REACH_MS, 256 * REACH_MS, 40_000 * REACH_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiQuestion:
    """A KPI as it is asked about. `by`: what it is broken down by, as in its file: a property, `client.device`,
    `traits.plan`; beyond the `most` frequent values it says Other. `zone` counts where its definition has a
    calendar. `segment`: of the users who are in it now alone."""

    kpi: Kpi
    range: TimeRange
    by: str | None = None
    most: int = 10
    zone: ZoneInfo = UTC
    segment: Segment | None = None

    @property
    def breakdown(self) -> By | None:
        """Raises InvalidInput for something of clients that is not known, and for stage metrics but by traits."""
        if self.by is None:
            return None
        if self.by.startswith(TRAITS):
            return By("trait", self.by.removeprefix(TRAITS))
        if isinstance(self.kpi.function, StageMetric):
            raise InvalidInput(
                "A stage metric is about visits, not events: it is broken down by traits only.",
                hint="Write for example traits.plan.",
                path="by",
            )
        if self.by.startswith(CLIENT):
            return By("client", client_column(self.by))
        return By("property", self.by)

    @property
    def hash(self) -> str:
        """Of all that was asked: the same question has the same hash."""
        said: dict[str, object] = {"kpi": self.kpi.hash, "range": self.range.said, "by": self.by}
        said |= {"most": self.most} if self.by else {}
        said |= {} if self.segment is None else {"segment": [self.segment.key, self.segment.hash]}
        return content_hash(said | ({"zone": self.zone.key} if self._has_calendar else {}))

    @property
    def words(self) -> str:
        """What exactly was counted."""
        by = f" By {self.by}: the {self.most} most frequent values, all others as other." if self.by else ""
        zone = f" Calendar of {self.zone.key}." if self._has_calendar else ""
        only = "" if self.segment is None else f" {only_in(self.segment)}"
        return f"{self.kpi.definition} The range: {self.range.words}.{zone}{by} {CONSENT}{only}"

    @property
    def _has_calendar(self) -> bool:
        return isinstance(self.kpi.function, Retention) and self.kpi.function.bucket == "calendar"


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen: a sample for each part of the range; `values` is what each number of the breakdown stands for.
    `failure`: why a plugin's function could not see anything."""

    samples: list[Sample]
    values: tuple[Scalar, ...]
    failure: PluginFailure | None = None


@dataclass(slots=True)
class _Gathering:
    """What a plugin's function gets, and what it made of it once it was asked: remembered together."""

    histories: list[Histories]
    values: tuple[Scalar, ...]
    observed: Observed | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """The KPI for one value of a breakdown: its number, NONE for none, OTHER for all beyond the most frequent."""

    value: int
    estimate: Estimate
    sample: Sample = field(repr=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """The KPI over [start, end) ms as of `as_of`. `answer` has the people; None where rollups gave the number, or where
    nothing computes it. `different`: how many values the breakdown has. `failure`: why a plugin's function gave no
    number."""

    question: KpiQuestion
    estimate: Estimate
    between: tuple[int, int]
    as_of: int
    answer: Answer[Observed] | None = None
    slices: tuple[Slice, ...] = ()
    different: int = 0
    failure: PluginFailure | None = None


def status(kpi: Kpi) -> KpiStatus:
    """Whether this gateway can compute the KPI."""
    return KpiStatus.PLANNED if isinstance(kpi.function, Planned) else KpiStatus.LIVE


def any_event(function: Function) -> bool:
    """Whether every event, whatever its name, may change the number."""
    return not isinstance(function, StageMetric) and demanded(function, (0, 0), 0, None, 0).others


class Evaluator:
    """Evaluates KPIs of all workspaces; one per process. `functions` runs those of plugins."""

    def __init__(self, questions: Questions, functions: PluginFunctions | None = None) -> None:
        self.questions = questions
        self.functions: PluginFunctions = NoFunctions() if functions is None else functions
        self._tiles = Tiles(questions.scans.database)

    async def figure(self, scope: Scope, contract: Contract, question: KpiQuestion) -> Figure:
        """The KPI over its range, as the events stored now say.

        Raises InvalidInput for what cannot be asked, TooLarge for too much, Unavailable when it takes too long. A
        planned KPI has no value, and neither has one whose plugin's function fails: `failure` says why.
        """
        now = self.questions.now()
        between = question.range.at(now)
        await self._check(scope, contract, question)
        if status(question.kpi) is KpiStatus.PLANNED:
            return Figure(question, Estimate(), between, now)
        if (trouble := await self.trouble(question.kpi)) is not None:
            return Figure(question, Estimate(), between, now, failure=trouble)
        plain = question.by is None and question.segment is None
        if plain and (found := await self._tiles.estimates(scope, question.kpi, between, now)):
            return Figure(question, found[0], between, now)
        answer = await self.observed(scope, contract, question)
        (sample,) = answer.found.samples
        whole = estimate(question.kpi.function, sample)
        between = question.range.at(answer.as_of)
        if question.by is None:
            return Figure(question, whole, between, answer.as_of, answer, failure=answer.found.failure)
        slices, different = await self._work(lambda: sliced(question, sample))
        return Figure(question, whole, between, answer.as_of, answer, slices, different, answer.found.failure)

    async def trouble(self, kpi: Kpi) -> PluginFailure | None:
        """Why the plugin's function that a KPI names cannot be called; None of all other KPIs."""
        return await self.functions.trouble(kpi.function) if isinstance(kpi.function, PluginFunction) else None

    async def series(
        self, scope: Scope, contract: Contract, question: KpiQuestion, bounds: Sequence[int]
    ) -> list[Estimate]:
        """The KPI over each part between two bounds (ms, rising): what it is over that part as a range of its own."""
        if status(question.kpi) is KpiStatus.PLANNED:
            return [Estimate()] * (len(bounds) - 1)
        now = self.questions.now()
        tiles = question.segment is None
        if tiles and (found := await self._tiles.estimates(scope, question.kpi, bounds, now)):
            return found
        plain = replace(question, by=None)
        answer = await self.observed(scope, contract, plain, bounds)
        function = question.kpi.function
        return await self._work(lambda: [estimate(function, sample) for sample in answer.found.samples])

    async def people(self, scope: Scope, contract: Contract, figure: Figure) -> Answer[Observed]:
        """What was observed for a figure; for one of rollups it is looked for now. Raises InvalidInput where nothing
        computes it."""
        if status(figure.question.kpi) is KpiStatus.PLANNED:
            raise InvalidInput(
                f"The KPI {figure.question.kpi.key} is planned, and computed by nothing yet: nobody is behind it.",
                hint="Ask for its status; give it another function than `planned` to have it computed.",
            )
        return figure.answer or await self.observed(scope, contract, figure.question)

    # -- what is observed --------------------------------------------------------------------------------------

    async def observed(
        self, scope: Scope, contract: Contract, question: KpiQuestion, bounds: Sequence[int] = ()
    ) -> Answer[Observed]:
        """The samples of the range, or of each part between two bounds."""
        function, by = question.kpi.function, question.breakdown
        segment = None if question.segment is None else question.segment.key

        def parts(as_of: int) -> Sequence[int]:
            return bounds or question.range.at(as_of)

        key = question.hash + (content_hash(list(bounds)) if bounds else "")
        if isinstance(function, StageMetric):
            return await self._of_stages(scope, contract, question, key, parts)
        if isinstance(function, PluginFunction):
            return await self._of_plugin(scope, question, function, key, parts)
        for reach in _REACHES:

            def reading(as_of: int, reach: int = reach) -> Reading:
                span = parts(as_of)
                wanted = demanded(function, (span[0], span[-1]), as_of, by, reach)
                return replace(wanted, filters=question.kpi.filters, segment=segment)

            def work(gathered: Gathered, as_of: int, reading: Callable[[int], Reading] = reading) -> Observed:
                edge = min(reading(as_of).between[1], as_of + 1)
                seen = Seen(gathered, as_of, edge, question.zone)
                return Observed(samples(function, seen, parts(as_of)), gathered.values)

            try:
                return await self.questions.ask(scope, f"{key}.{reach}", reading, work)
            except Further:
                continue
        raise AssertionError("there is no event behind the last reach")

    async def _of_plugin(
        self,
        scope: Scope,
        question: KpiQuestion,
        function: PluginFunction,
        key: str,
        parts: Callable[[int], Sequence[int]],
    ) -> Answer[Observed]:
        """Histories are gathered and remembered as all answers are; only then, in another thread, the plugin is asked:
        while its function takes its time, those that scan are free for others."""

        def reading(as_of: int) -> Reading:
            span = parts(as_of)
            wanted = demanded(function, (span[0], span[-1]), as_of, question.breakdown, 0)
            segment = None if question.segment is None else question.segment.key
            return replace(wanted, filters=question.kpi.filters, segment=segment)

        def work(gathered: Gathered, as_of: int) -> _Gathering:
            seen = Seen(gathered, as_of, as_of + 1, question.zone)
            return _Gathering(histories(function, seen, parts(as_of)), gathered.values)

        answer = await self.questions.ask(scope, key, reading, work)
        found = answer.found
        if found.observed is None:
            kind, failure = self.functions.kind(function), None
            try:
                numbers = await self.functions.numbers(function, found.histories)
            except PluginError as error:
                failure = error.failure
                numbers = [np.full(len(some), np.nan) for some in found.histories]
            made = [observations(some, of, kind) for some, of in zip(found.histories, numbers, strict=True)]
            observed = Observed(made, found.values, failure)
            if failure is not None:
                return replace(cast("Answer[Any]", answer), found=observed)  # asked again the next time
            found.observed = observed
        return replace(cast("Answer[Any]", answer), found=found.observed)

    async def _of_stages(
        self,
        scope: Scope,
        contract: Contract,
        question: KpiQuestion,
        key: str,
        parts: Callable[[int], Sequence[int]],
    ) -> Answer[Observed]:
        metric = question.kpi.function
        assert isinstance(metric, StageMetric)
        journey = contract.journeys.get(metric.map)
        stages = [] if journey is None else [stage.key for stage in journey.stages]
        span = parts(self.questions.now())
        rows = await runs_within(self.questions.scans.database, scope, metric.map, (span[0], span[-1]))
        if question.segment is not None:
            members = await self.questions.members(scope, question.segment.key)
            rows = [row for row in rows if row.user in members]
        numbers, values = await self._traits(scope, question, rows)

        def work(gathered: Gathered, as_of: int) -> Observed:
            found = stage_samples(metric, stages, rows, parts(as_of), gathered.users, numbers)
            return Observed(found, values)

        segment = None if question.segment is None else question.segment.key
        # No event is read; runs change with the feed, which is what makes an answer old.
        return await self.questions.ask(
            scope,
            f"{key}.{contract.journeys_hash}",
            lambda as_of: Reading(rules=(), between=(as_of, as_of), segment=segment),
            work,
        )

    async def _traits(
        self, scope: Scope, question: KpiQuestion, rows: Sequence[RunRow]
    ) -> tuple[dict[str, int] | None, tuple[Scalar, ...]]:
        by = question.breakdown
        if by is None:
            return None, ()
        users = list(dict.fromkeys(row.user for row in rows))
        return numbered_values(await self.questions.traits(scope, users, by.key))

    async def _check(self, scope: Scope, contract: Contract, question: KpiQuestion) -> None:
        """Whether the breakdown is one. Raises InvalidInput with what was probably meant."""
        by = question.breakdown
        if by is not None and by.kind == "property":
            events = list(dict.fromkeys(rule.event for rule in rules_of(question.kpi.function)))
            await self.questions.vocabulary.check_property(scope, contract, events, by.key, "by")
        if by is not None and by.kind == "trait":
            await self.questions.vocabulary.check_trait(scope, contract, by.key, "by")

    async def _work(self, work: Callable[[], T]) -> T:
        return await self.questions.scans.engine.run(lambda _: work())


def sliced(question: KpiQuestion, sample: Sample) -> tuple[tuple[Slice, ...], int]:
    """The KPI by value of the breakdown, most frequent first, then OTHER; and how many values there are."""
    counted = sample if sample.whole is None else sample.whole
    assert counted.part is not None
    counts = np.bincount(counted.part + 1)
    kept = [place - 1 for place in top(counts, question.most)]
    folded = _folded(sample, kept)
    whole = folded if folded.whole is None else folded.whole
    assert whole.part is not None
    values = kept + [OTHER] * bool((whole.part == OTHER).any())
    function = question.kpi.function
    slices = tuple(Slice(value, estimate(function, one), one) for value in values for one in (folded.only(value),))
    return slices, int((counts[1:] > 0).sum())


def _folded(sample: Sample, kept: Sequence[int]) -> Sample:
    assert sample.part is not None
    part: Longs = np.where(np.isin(sample.part, kept), sample.part, OTHER)
    whole = None if sample.whole is None else _folded(sample.whole, kept)
    return replace(sample, part=part, whole=whole)


def behind(question: KpiQuestion, sample: Sample, group: Group) -> Longs:
    """The users of a group, each once. Raises InvalidInput where the KPI has no such group."""
    found = people(question.kpi.function, sample, group)
    if found is None:
        kind = kind_seen(question.kpi.function, sample).value.lower()
        raise InvalidInput(
            f"A {kind} has no group {group.value}: nobody hits or misses it.",
            hint="Ask for COUNTED.",
            path="group",
        )
    return found
