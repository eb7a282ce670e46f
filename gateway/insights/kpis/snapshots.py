"""Snapshots: each KPI with a cadence is written down for every hour, day, week or month (UTC, weeks from Monday).

A period is written down once, when it is over, everybody in it can be judged, and all that was stored by then has been
derived. What a gateway missed while it was down it makes up for. A changed definition changes nothing that is written:
the series goes on under another hash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.clock import Clock
from gateway.contract import Contract, Kpi, KpiStatus
from gateway.errors import GatewayError, Unavailable
from gateway.insights.kernels.calendar import Calendar, Interval
from gateway.insights.kpis.evaluating import Evaluator, KpiQuestion, status
from gateway.insights.kpis.ranges import TimeRange
from gateway.insights.kpis.samples import settles_ms
from gateway.model.scope import Scope
from gateway.store.kpi_snapshots import KpiSnapshot, KpiSnapshots

log = logging.getLogger("gateway.insights")

LOOK_SECONDS = 20.0
#: How long after the end of a period late events are waited for.
GRACE_MS = 10 * 60 * 1000
#: Periods of one KPI that are made up for at one look.
MOST_AT_ONCE = 100
_LANE = "kpi snapshots"
_UTC = ZoneInfo("UTC")
_INTERVALS = {
    "hourly": Interval.HOUR,
    "daily": Interval.DAY,
    "weekly": Interval.WEEK,
    "monthly": Interval.MONTH,
}


class Snapshots:
    """One per process that derives. `owns` says whether a workspace is this process's turn: that of a lane of
    derivation; should two take it for a moment, only one of them writes. `contract`: the number of the version that
    counts, and what it says. `derived`: whether all that is stored by now in a workspace has been derived."""

    def __init__(
        self,
        evaluator: Evaluator,
        clock: Clock,
        *,
        owns: Callable[[str, str], bool],
        contract: Callable[[], tuple[int, Contract]],
        workspaces: Callable[[], Awaitable[list[str]]],
        derived: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._evaluator = evaluator
        self._stored = KpiSnapshots(evaluator.questions.scans.database)
        self._clock = clock
        self._owns = owns
        self._contract = contract
        self._workspaces = workspaces
        self._derived = derived
        self._told: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                for workspace in await self._workspaces():
                    if self._owns(workspace, _LANE):
                        await self.take(workspace)
            except Unavailable:
                pass  # the next look may reach it
            except Exception as error:
                log.warning("snapshots of KPIs failed", extra={"error": type(error).__name__})
            await asyncio.sleep(LOOK_SECONDS)

    async def take(self, workspace: str) -> int:
        """Write down what is due; how many snapshots."""
        version, contract = self._contract()
        last, now = await self._stored.last(workspace), self._clock.now()
        due = [(kpi, due_periods(kpi, last.get((kpi.key, str(kpi.cadence))), now)) for kpi in contract.kpis.values()]
        if not any(periods for _, periods in due) or not await self._derived(workspace):
            return 0
        taken = 0
        for kpi, periods in due:
            for period in periods:
                taken += await self._take_one(workspace, version, contract, kpi, period)
        return taken

    async def _take_one(
        self, workspace: str, version: int, contract: Contract, kpi: Kpi, period: tuple[int, int]
    ) -> int:
        question = KpiQuestion(kpi=kpi, range=TimeRange(start=period[0], end=period[1]))
        try:
            figure = await self._evaluator.figure(Scope.system(workspace), contract, question)
        except Unavailable:
            raise
        except GatewayError as error:  # too much for one question: the others go on
            if (workspace, kpi.key) not in self._told:
                self._told.add((workspace, kpi.key))
                log.warning("a KPI has no snapshots", extra={"kpi": kpi.key, "reason": error.code})
            return 0
        found = figure.estimate
        one = KpiSnapshot(
            workspace=workspace,
            kpi=kpi.key,
            cadence=str(kpi.cadence),
            start=period[0],
            end=period[1],
            taken_at=figure.as_of,
            value=found.value,
            n=found.n,
            low=found.low,
            high=found.high,
            open=found.open,
            hash=kpi.hash,
            definition=kpi.definition,
            version=version,
        )
        return await self._stored.add([one])


def due_periods(kpi: Kpi, last: int | None, now: int) -> list[tuple[int, int]]:
    """The periods [start, end) ms that can be written down behind the one that began at `last`, the oldest first, at
    most MOST_AT_ONCE; of a KPI that has none yet the newest alone."""
    if kpi.cadence is None or status(kpi) is not KpiStatus.LIVE:
        return []
    interval, until = _INTERVALS[kpi.cadence], now - settles_ms(kpi.function) - GRACE_MS
    if last is None:
        # The period before the one that `until` lies in.
        until = int(Calendar.covering(_UTC, interval, until, until).bounds[0])
        last = until - 1
        bounds = Calendar.covering(_UTC, interval, last, last).bounds.tolist()
        return [(bounds[0], bounds[1])]
    if until <= last:
        return []
    bounds = Calendar.covering(_UTC, interval, last, until).bounds.tolist()
    return [(start, end) for start, end in pairwise(bounds) if start > last and end <= until][:MOST_AT_ONCE]
