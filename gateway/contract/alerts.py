"""Alert rules: when a number, a silence, a drift or a loss is worth somebody's attention."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, get_args

from gateway.contract.durations import duration_in_words
from gateway.contract.hashing import content_hash
from gateway.model.alert import Severity

#: How a value is compared with the threshold.
Comparison = Literal["gt", "gte", "lt", "lte"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
#: What it means that there is nothing to compare: as it was; well; as bad as a value beyond the threshold.
NoData = Literal["keep", "ok", "alert"]

_TESTS: dict[Comparison, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_WORDS: dict[Comparison, str] = {"gt": "above", "gte": "at or above", "lt": "below", "lte": "at or below"}


@dataclass(frozen=True, slots=True)
class OnKpi:
    """The value of a KPI over the window, in its unit; `segment`: of its users alone."""

    kpi: str
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class OnSilence:
    """Hours since the last event of this name."""

    event: str


@dataclass(frozen=True, slots=True)
class OnDrift:
    """Percent of the values of a property of an event, in the window, that are of another type than planned."""

    event: str
    property: str


@dataclass(frozen=True, slots=True)
class OnLoss:
    """Percent of what was sent in the window that was quarantined or refused; of one source, or of all."""

    source: str | None = None


Watched = OnKpi | OnSilence | OnDrift | OnLoss


@dataclass(frozen=True, slots=True)
class Muted:
    """Days (UTC), both included, in which nothing is raised."""

    begins: date
    ends: date


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One rule. It is looked at every `every`, on the grid of that length since 1970 UTC.

    It fires when the value has been `comparison` `threshold` for `lasting`, and recovers once it is back by
    `hysteresis` (in the unit of the value). A value of fewer than `minimum` observations is none; without a minimum
    every value counts, that of no events as well. `channels` are the instances that are told; empty: all. `hash`
    changes with what it fires for, and only then.
    """

    key: str
    name: str
    owners: tuple[str, ...]
    watched: Watched
    comparison: Comparison
    threshold: float
    severity: Severity = Severity.WARNING
    window: timedelta | None = None
    minimum: int = 0
    hysteresis: float = 0
    lasting: timedelta = timedelta(0)
    every: timedelta = timedelta(minutes=5)
    no_data: NoData = "keep"
    muted: tuple[Muted, ...] = ()
    channels: tuple[str, ...] = ()
    hint: str = ""
    definition: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counted = (self.watched, self.comparison, self.threshold, self.window, self.minimum, self.hysteresis)
        content = [type(self.watched).__name__, *counted, self.lasting, self.every, self.no_data]
        object.__setattr__(self, "definition", _defined(self))
        object.__setattr__(self, "hash", content_hash(content))

    @property
    def every_ms(self) -> int:
        """How often it is looked at, in ms."""
        return self.every // timedelta(milliseconds=1)

    @property
    def window_ms(self) -> int:
        """How far back it looks, in ms; 0 without a window."""
        return 0 if self.window is None else self.window // timedelta(milliseconds=1)

    def breached(self, value: float) -> bool:
        """Whether the value is beyond the threshold."""
        return _TESTS[self.comparison](value, self.threshold)

    def back(self, value: float) -> bool:
        """Whether the value is well again for a rule that has fired: back by the hysteresis."""
        side = -self.hysteresis if self.comparison in ("gt", "gte") else self.hysteresis
        return not _TESTS[self.comparison](value, self.threshold + side)


def _defined(rule: AlertRule) -> str:
    match rule.watched:
        case OnKpi(kpi, segment):
            what = f"the KPI {kpi}" + ("" if segment is None else f" of the segment {segment}")
        case OnSilence(event):
            what = f"the number of hours since the last {event}"
        case OnDrift(event, property_):
            what = f"the percentage of values of {property_} of {event} that are not of the planned type"
        case OnLoss(source):
            what = "the percentage of what was sent" + ("" if source is None else f" by {source}") + " that was lost"
    over = "" if rule.window is None else f" over the last {duration_in_words(rule.window)}"
    lasting = f" for {duration_in_words(rule.lasting)}" if rule.lasting else ""
    back = f", and is over once it is back by {rule.hysteresis:g}" if rule.hysteresis else ""
    few = f" Fewer than {rule.minimum} observations are no data." if rule.minimum else ""
    none = {"keep": "changes nothing", "ok": "counts as well", "alert": "counts as beyond it"}[rule.no_data]
    return (
        f"Fires when {what}{over} is {_WORDS[rule.comparison]} {rule.threshold:g}{lasting}{back}; looked at every "
        f"{duration_in_words(rule.every)}.{few} No data {none}."
    )
