"""What one version of a contract says otherwise than another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.contract.loading import Contract


@dataclass(frozen=True, slots=True)
class Difference:
    """A map or a KPI that is there in one version only, or is not the same in both."""

    kind: Literal["map", "kpi"]
    key: str
    change: Literal["added", "removed", "changed"]


def differences(before: Contract | None, after: Contract) -> list[Difference]:
    """Maps first, each kind by key. Comments and the order of keys make no difference."""
    old_maps, old_kpis = (before.journeys, before.kpis) if before is not None else ({}, {})
    return [*_between("map", old_maps, after.journeys), *_between("kpi", old_kpis, after.kpis)]


def _between(
    kind: Literal["map", "kpi"], before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        if key not in before:
            yield Difference(kind, key, "added")
        elif key not in after:
            yield Difference(kind, key, "removed")
        elif before[key] != after[key]:
            yield Difference(kind, key, "changed")
