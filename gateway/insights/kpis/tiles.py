"""Counts of events by name, and ratios of them, from the cells of rollups: as quick over millions of events as over
thousands, and the same as a scan says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.contract import Kpi, Ratio
from gateway.contract.functions import Count, Function
from gateway.insights.kpis.estimates import Estimate, divided
from gateway.model.scope import Scope
from gateway.store.database import Database
from gateway.store.measures import Measures
from gateway.store.rollups import CELL_MS, Rollups

#: Identities of users who deny analytics: what these sent is looked up. With more of them everything is scanned.
MOST_DENYING = 1_000


def tiled(function: Function) -> bool:
    """Whether rollups know all that the function counts: events by their name alone."""
    match function:
        case Count():
            return all(not rule.where for rule in function.rules)
        case Ratio():
            return tiled(function.part) and tiled(function.whole)
        case _:
            return False


class Tiles:
    """Reads rollups for KPIs."""

    def __init__(self, database: Database) -> None:
        self._rollups = Rollups(database)
        self._measures = Measures(database)

    async def estimates(self, scope: Scope, kpi: Kpi, bounds: Sequence[int], now: int) -> list[Estimate] | None:
        """One estimate for each part between two bounds (ms, rising); None where rollups do not tell. Raises
        Unavailable."""
        function = kpi.function
        if kpi.filters or not tiled(function):
            return None
        counts = function if isinstance(function, Count) else None
        sides = [counts] if counts else [function.part, function.whole] if isinstance(function, Ratio) else []
        names = [frozenset(rule.event for rule in side.rules) for side in sides if isinstance(side, Count)]
        denying = (await self._measures.denying(scope)).sks
        if len(denying) > MOST_DENYING:
            return None
        # Nothing later than now counts, as in a scan.
        bounds = [min(bound, now + 1) for bound in bounds]
        found = await self._counts(scope, frozenset().union(*names), bounds, denying, now)
        totals = [sum((found[name] for name in side), np.zeros(len(bounds) - 1, np.int64)) for side in names]
        if isinstance(function, Ratio):
            part, whole = totals
            return [divided(function, float(a), float(b), int(b)) for a, b in zip(part, whole, strict=True)]
        return [Estimate(float(n), int(n)) for n in totals[0]]

    async def _counts(
        self, scope: Scope, names: frozenset[str], bounds: Sequence[int], denying: frozenset[str], now: int
    ) -> dict[str, np.typing.NDArray[np.int64]]:
        """By name the events in each part: of whole cells from rollups, the rest between a bound and the next cell
        counted. Less those of users who deny."""
        edges = np.array(bounds, np.int64)
        found = {name: np.zeros(len(edges), np.int64) for name in names}
        # How many events come before each bound, counted from the first cell on; differences of them are the parts.
        low = int(edges[0]) - int(edges[0]) % CELL_MS
        for name, cells in (await self._rollups.totals(scope, names, low, [int(one) for one in edges])).items():
            found[name] += cells
        for place, edge in enumerate(edges.tolist()):
            floor = edge - edge % CELL_MS
            if floor < edge:
                # From the side on which less lies: of the cell that has just begun, nearly nothing is beyond now.
                ahead = edge - floor <= CELL_MS // 2 and floor + CELL_MS <= now
                span = (floor, edge) if ahead else (edge, floor + CELL_MS)
                counted = await self._measures.counted(scope, names, span)
                whole = {} if ahead else await self._rollups.cell(scope, names, floor)
                for name in names:
                    inside = counted.get(name, 0)
                    found[name][place] += inside if ahead else whole.get(name, 0) - inside
        for name in names:
            found[name] = np.diff(found[name])
        if denying:
            for place, counted in enumerate(await self._measures.sent_by(scope, names, denying, bounds)):
                for name, n in counted.items():
                    found[name][place] -= n
        return found
