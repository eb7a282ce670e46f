"""What alert rules compare, as of a moment. What happened up to it counts, as it is stored now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from gateway.contract import AlertRule, Contract, Kpi
from gateway.contract.alerts import OnDrift, OnKpi, OnLoss, OnSilence
from gateway.contract.paths import planned_paths
from gateway.errors import Unavailable
from gateway.insights.alerting.machine import Measured
from gateway.insights.kpis.evaluating import Evaluator, KpiQuestion
from gateway.insights.kpis.ranges import TimeRange
from gateway.model.scope import Scope
from gateway.quality.audit import LOST
from gateway.quality.properties import HELD_BY
from gateway.quality.volumes import HOUR_MS
from gateway.store.accounting import Accounting
from gateway.store.catalog import Catalog
from gateway.store.database import Database
from gateway.store.inspections import Inspections

_MOST_HOURS = 50_000
NOTHING = Measured(None, 0)


class KpiValues(Protocol):
    """Gives the values of KPIs."""

    async def value(self, scope: Scope, kpi: Kpi, segment: str | None, between: tuple[int, int]) -> Measured:
        """The KPI over [start, end) ms as of its end, of the users of a segment or of all, in the KPI's unit.

        None for a KPI that is not computed. Raises Unavailable when it takes too long.
        """


class Values(Protocol):
    """Gives what a rule compares."""

    async def measured(self, scope: Scope, rule: AlertRule, at: int) -> Measured:
        """The value as of a moment (ms). Raises Unavailable when it takes too long."""


class EvaluatedKpis:
    """KPIs by the evaluation that queries use, as of the end of the range. A segment is that of now, also for the past,
    and so is what runs through journey maps have come to."""

    def __init__(self, evaluator: Evaluator, contract: Callable[[], Contract]) -> None:
        self._evaluator = evaluator
        self._contract = contract

    async def value(self, scope: Scope, kpi: Kpi, segment: str | None, between: tuple[int, int]) -> Measured:
        """As `KpiValues` says."""
        start, end = between
        contract = self._contract()
        group = None if segment is None else contract.segments.get(segment)
        if group is None and segment is not None:
            return NOTHING
        question = KpiQuestion(kpi=kpi, range=TimeRange(start=start, end=end), segment=group)
        evaluator = Evaluator(self._evaluator.questions.at(end), self._evaluator.functions)
        found = await evaluator.figure(scope, contract, question)
        if found.failure is not None:
            # Nothing is known of the KPI: the rule stays as it is, and does not recover.
            said = f"The KPI {kpi.key} cannot be computed: {found.failure.message}"
            raise Unavailable(said, hint=found.failure.fix)
        return Measured(found.estimate.value, found.estimate.n)


class RuleValues:
    """What rules compare, whatever they watch. `contract` gives the contract that counts."""

    def __init__(self, database: Database, values: KpiValues, contract: Callable[[], Contract]) -> None:
        self._values = values
        self._contract = contract
        self._inspections = Inspections(database)
        self._catalog = Catalog(database)
        self._accounting = Accounting(database)

    async def measured(self, scope: Scope, rule: AlertRule, at: int) -> Measured:
        """As `Values` says."""
        match rule.watched:
            case OnKpi(key, segment):
                kpi = self._contract().kpis.get(key)
                between = (at - rule.window_ms, at)
                return NOTHING if kpi is None else await self._values.value(scope, kpi, segment, between)
            case OnSilence(event):
                last = await self._inspections.latest(scope, event, at)
                return NOTHING if last is None else Measured((at - last) / HOUR_MS, 1)
            case OnDrift():
                return await self._drift(scope, rule.watched, (at - rule.window_ms, at))
            case OnLoss(source):
                return await self._loss(scope, source, (at - rule.window_ms, at))

    async def _drift(self, scope: Scope, drift: OnDrift, between: tuple[int, int]) -> Measured:
        """By the days that the window touches. A property that is not planned has no type to drift from."""
        planned = [one for one in self._contract().events.values() if one.name == drift.event]
        paths = (found for event in planned for found in planned_paths(event.properties))
        types = {definition.type for path, definition in paths if path == drift.property}
        if not types:
            return NOTHING
        held = {kind for one in types for kind in HELD_BY[one]} | {"null"}
        seen: Counter[str] = Counter()
        for several in (await self._catalog.days(scope, between)).values():
            for one in several:
                if one.name == drift.event and drift.property in one.properties:
                    seen += one.properties[drift.property].types
        del seen["null"]
        return _percent(sum(count for kind, count in seen.items() if kind not in held), seen.total())

    async def _loss(self, scope: Scope, source: str | None, between: tuple[int, int]) -> Measured:
        """By the hours that the window touches."""
        start, end = between
        hours = await self._accounting.hours(
            scope, (start - start % HOUR_MS, end), end, source=source, limit=_MOST_HOURS
        )
        lost = sum(one.counts[kind] for one in hours for kind in LOST)
        return _percent(lost, sum(one.sent for one in hours))


def _percent(part: int, whole: int) -> Measured:
    return Measured(100 * part / whole, whole) if whole else NOTHING
