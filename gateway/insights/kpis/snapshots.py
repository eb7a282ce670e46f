"""Snapshots: each KPI with a cadence is written down for every hour, day, week or month (UTC, weeks from Monday).

A period is written down once, when it is over, everybody in it can be judged, and all that was stored by then has been
derived. What a gateway missed while it was down it makes up for. A changed definition changes nothing that is written:
the series goes on under another hash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo

from gateway.clock import Clock
from gateway.contract import Contract, Kpi, KpiStatus
from gateway.errors import GatewayError, PluginError, Unavailable
from gateway.insights.columnar.engine import Stopped
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
#: A KPI that cannot be worked out is tried again after so many seconds, then after twice as long, and so on.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3_600.0
_LANE = "kpi snapshots"
_UTC = ZoneInfo("UTC")
_INTERVALS = {
    "hourly": Interval.HOUR,
    "daily": Interval.DAY,
    "weekly": Interval.WEEK,
    "monthly": Interval.MONTH,
}


@dataclass(frozen=True, slots=True)
class _Failing:
    """A KPI that could not be worked out: why (a code), when it is tried again (monotonic seconds), and how long after
    that the next time."""

    reason: str
    again: float
    pause: float


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
        self._failing: dict[tuple[str, str, str], _Failing] = {}

    def troubles(self) -> list[str]:
        """Which KPIs cannot be written down now, and why."""
        return [f"{kpi}: {failing.reason}" for (_, kpi, _), failing in sorted(self._failing.items())]

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
        self._forget(workspace, contract)
        due = [
            (kpi, due_periods(kpi, last.get((kpi.key, str(kpi.cadence))), now))
            for kpi in contract.kpis.values()
            if self._may(workspace, kpi)
        ]
        if not any(periods for _, periods in due) or not await self._derived(workspace):
            return 0
        taken = 0
        for kpi, periods in ((kpi, periods) for kpi, periods in due if periods):
            try:
                for period in periods:
                    taken += await self._take_one(workspace, version, contract, kpi, period)
            except GatewayError as error:
                if isinstance(error, Unavailable) and not isinstance(error, Stopped):
                    raise  # nothing is wrong with the KPI
                # Too much for one question, or for its time: the others go on.
                self._put_off(workspace, kpi, error.code)
            else:
                if (workspace, kpi.key, kpi.hash) in self._failing:
                    del self._failing[workspace, kpi.key, kpi.hash]
                    log.info("a KPI has snapshots again", extra={"kpi": kpi.key})
        return taken

    def _may(self, workspace: str, kpi: Kpi) -> bool:
        failing = self._failing.get((workspace, kpi.key, kpi.hash))
        return failing is None or self._clock.monotonic() >= failing.again

    def _put_off(self, workspace: str, kpi: Kpi, reason: str) -> None:
        place = (workspace, kpi.key, kpi.hash)
        known = self._failing.get(place)
        pause = FIRST_PAUSE_SECONDS if known is None else min(LONGEST_PAUSE_SECONDS, 2 * known.pause)
        self._failing[place] = _Failing(reason, self._clock.monotonic() + pause, pause)
        if known is None or known.reason != reason:
            log.warning("a KPI has no snapshots", extra={"kpi": kpi.key, "reason": reason})

    def _forget(self, workspace: str, contract: Contract) -> None:
        """KPIs that are no more, or have another definition."""
        there = {(workspace, kpi.key, kpi.hash) for kpi in contract.kpis.values()}
        for place in [one for one in self._failing if one[0] == workspace and one not in there]:
            del self._failing[place]

    async def _take_one(
        self, workspace: str, version: int, contract: Contract, kpi: Kpi, period: tuple[int, int]
    ) -> int:
        question = KpiQuestion(kpi=kpi, range=TimeRange(start=period[0], end=period[1]))
        figure = await self._evaluator.figure(Scope.system(workspace), contract, question)
        if figure.failure is not None:
            raise PluginError(figure.failure)  # a snapshot would say for good that there was nothing
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
