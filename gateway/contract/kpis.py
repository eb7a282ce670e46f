"""KPIs: one number, defined once, and said in words so that everybody can check what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gateway.contract.definitions import defined
from gateway.contract.functions import Function, Ratio
from gateway.contract.hashing import content_hash
from gateway.contract.rules import Condition


class KpiStatus(StrEnum):
    """Whether a KPI has values: LIVE; PLANNED is defined, but computed by nothing yet; BROKEN lacks its input."""

    LIVE = "LIVE"
    PLANNED = "PLANNED"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a value needs attention, in the KPI's unit; which side that is says the KPI's `better`."""

    warning: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI. `target` is in the KPI's unit.

    Only events that meet all `filters` count. `breakdowns` are what people usually part the number by: a property of
    the event, `client.device`, `traits.plan`. `cadence` is how often it is written down.

    `definition` says in one sentence what is counted. `hash` changes when that changes, and only then: not with the
    question, the owners, the labels or the target.
    """

    key: str
    question: str
    unit: str
    better: Literal["higher", "lower"]
    owners: tuple[str, ...]
    term: str | None
    function: Function
    target: float | None = None
    filters: tuple[Condition, ...] = ()
    breakdowns: tuple[str, ...] = ()
    thresholds: Thresholds | None = None
    cadence: Literal["hourly", "daily", "weekly", "monthly"] | None = None
    definition: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content: list[object] = [type(self.function).__name__, self.function]
        if isinstance(self.function, Ratio):  # a count and unique users of the same events say the same, but for this
            content += [type(self.function.part).__name__, type(self.function.whole).__name__]
        if self.filters:
            content.append(self.filters)
        object.__setattr__(self, "definition", defined(self.function, self.filters))
        object.__setattr__(self, "hash", content_hash(content, without=("label",)))
