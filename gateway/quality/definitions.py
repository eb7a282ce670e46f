"""When the definition of a KPI changed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import ContractError
from gateway.quality.history import History


class Definitions:
    """Reads the versions of the contract; one per process. What it found of a version stays."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._hashes: dict[tuple[int, str], str | None] = {}

    async def changed(self, kpi: str, bounds: Sequence[int]) -> list[int]:
        """The moments (ms) within the rising bounds at which the KPI came to count something else. That it was added or
        taken away is no change; a version that this gateway cannot read is passed over."""
        versions = self._history.versions
        texts = await versions.texts(f"kpis/{kpi}.yaml", until=bounds[-1])
        found: list[int] = []
        before: tuple[int, str] | None = None
        for number, at, text in texts:
            if text is None:
                before = None
                continue
            if at >= bounds[0] and before is not None and before[1] != text:
                old, new = await self._hash(before[0], kpi), await self._hash(number, kpi)
                if old is not None and new is not None and old != new:
                    found.append(at)
            before = (number, text)
        return found

    async def _hash(self, number: int, kpi: str) -> str | None:
        key = (number, kpi)
        if key not in self._hashes:
            version = await self._history.versions.get(number)
            try:
                contract = None if version is None else await self._history.contract(version)
            except ContractError:
                contract = None
            known = None if contract is None else contract.kpis.get(kpi)
            self._hashes[key] = None if known is None else known.hash
        return self._hashes[key]
