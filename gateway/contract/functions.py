"""What a KPI may compute: its functions, as files write them. What they give is worked out in `insights`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

from gateway.contract.hashing import ONLY_IF_SAID
from gateway.contract.rules import EventRule, kind_of, property_at

#: `p75`: three quarters are at most so much.
Statistic = Literal["mean", "median", "p75", "p90", "p95", "p99"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many events any one of the rules matches."""

    rules: tuple[EventRule, ...]


@dataclass(frozen=True, slots=True)
class UniqueUsers:
    """How many different users have an event that any one of the rules matches."""

    rules: tuple[EventRule, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of a numeric property over the events that the rule matches; in the property's unit."""

    rule: EventRule
    property: str


#: What can be divided by each other.
Quantity = Count | UniqueUsers | Sum


@dataclass(frozen=True, slots=True)
class Ratio:
    """`part` divided by `whole`, in percent when `percent`. Null when the whole is 0."""

    part: Quantity
    whole: Quantity
    percent: bool = True


@dataclass(frozen=True, slots=True)
class PropertyStatistic:
    """The mean or a percentile of a numeric property over the events that the rule matches; in its unit."""

    rule: EventRule
    property: str
    statistic: Statistic


@dataclass(frozen=True, slots=True)
class TimeBetween:
    """Seconds from the first event of `start` in the range to the first of `end` after it, per user.

    `start` None: the user's first event ever. `within` None: however long it takes. Users without `end` are not in the
    statistic; those who still have time are open.
    """

    end: EventRule
    start: EventRule | None
    statistic: Statistic
    within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One step of a funnel; users may go past an `optional` one."""

    key: str
    label: str
    rule: EventRule
    optional: bool = field(default=False, metadata=ONLY_IF_SAID)


@dataclass(frozen=True, slots=True)
class Funnel:
    """Percentage of the users of the first step who reach the last one.

    `window` runs from the first step and includes its end; None is no limit. `order`: in order with anything between,
    in order with nothing between, or any order. `attempt`: the one that went furthest, or the first. An event of
    `exclude` ends an attempt. Events at most `tolerance_ms` apart count as simultaneous. `counting`: different users,
    every attempt, or sessions.
    """

    steps: tuple[FunnelStep, ...]
    window: timedelta | None = None
    order: Literal["ordered", "strict", "any"] = field(default="ordered", metadata=ONLY_IF_SAID)
    attempt: Literal["best", "first"] = field(default="best", metadata=ONLY_IF_SAID)
    exclude: tuple[EventRule, ...] = field(default=(), metadata=ONLY_IF_SAID)
    tolerance_ms: int = field(default=0, metadata=ONLY_IF_SAID)
    counting: Literal["users", "totals", "sessions"] = field(default="users", metadata=ONLY_IF_SAID)


@dataclass(frozen=True, slots=True)
class Retention:
    """Percentage of the users who began in the range that are back `after` so many periods.

    They begin with their first event of `start` in the range, or, None, with their first event ever; `back` None: with
    any event. `kind`: in that very period (n_day), or in that or any later one (unbounded). `bucket`: periods of 24
    hours from the user's start (weeks of 7 days, months of 30), or those of the calendar.
    """

    start: EventRule | None
    back: EventRule | None
    period: Literal["day", "week", "month"]
    after: int
    kind: Literal["n_day", "unbounded"] = "n_day"
    bucket: Literal["rolling", "calendar"] = "rolling"


@dataclass(frozen=True, slots=True)
class Churn:
    """Percentage of the users active in the range who then did nothing for the time `quiet`.

    Active is an event of `rule` or, None, any event.
    """

    rule: EventRule | None
    quiet: timedelta


StageMeasure = Literal["users", "conversion", "dropOff", "backTracks", "time"]


@dataclass(frozen=True, slots=True)
class StageMetric:
    """One number of a stage of a journey map or, with `stage` None, of whole runs.

    users: how many different users entered. conversion: percentage of the visits that went on to a later stage, of
    runs: that were completed. dropOff: percentage of the visits at whose end the run was abandoned. backTracks:
    percentage of the visits that went back. time: seconds from entering to leaving, of runs: from the first to the
    last event of completed ones.
    """

    map: str
    stage: str | None
    measure: StageMeasure
    statistic: Statistic = "median"


@dataclass(frozen=True, slots=True)
class Satisfied:
    """Percentage of the answers from `lowest` to `highest` that are `at_least` so much."""

    rule: EventRule
    property: str
    at_least: float
    lowest: float
    highest: float

    def answer(self, properties: Mapping[str, Any]) -> float | None:
        """The answer in the properties of an event that the rule matches; None when it is not on the scale."""
        return _on_scale(properties, self.property, self.lowest, self.highest)


@dataclass(frozen=True, slots=True)
class Nps:
    """The net promoter score, -100 to 100: percentage of 9 and 10 minus percentage of 0 to 6, not rounded."""

    rule: EventRule
    property: str

    def answer(self, properties: Mapping[str, Any]) -> float | None:
        """The answer in the properties of an event that the rule matches; None when it is not from 0 to 10."""
        return _on_scale(properties, self.property, 0, 10)


@dataclass(frozen=True, slots=True)
class Ces:
    """The customer effort score of answers from `lowest` to `highest`.

    mean: of the answers. percentEasy: percentage of 5 to 7 on a scale from 1 to 7, of other scales of what lies as far
    up: from four sixths of its width on. index: percentage of 6 and 7 minus percentage of 1 to 3, elsewhere from five
    sixths on and up to two. `direction` says which end is easy; with lowIsEasy all is counted from the other end.
    """

    rule: EventRule
    property: str
    method: Literal["mean", "percentEasy", "index"] = "mean"
    direction: Literal["highIsEasy", "lowIsEasy"] = "highIsEasy"
    lowest: float = 1
    highest: float = 7

    def sixths(self, number: int) -> float:
        """The answer that lies so many sixths of the scale's width on the way to its easy end."""
        width = self.highest - self.lowest
        if self.direction == "lowIsEasy":
            return self.highest - number * width / 6
        return self.lowest + number * width / 6

    def answer(self, properties: Mapping[str, Any]) -> float | None:
        """The answer in the properties of an event that the rule matches; None when it is not on the scale."""
        return _on_scale(properties, self.property, self.lowest, self.highest)


@dataclass(frozen=True, slots=True)
class SessionLength:
    """How long sessions are, from first to last event, in seconds."""

    statistic: Literal["mean"] = "mean"


@dataclass(frozen=True, slots=True)
class EngagementDepth:
    """The mean number of different meaningful events per session: of those that any one of the rules matches, by
    name."""

    rules: tuple[EventRule, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """A number that nobody computes yet: what it will count, in words."""

    words: str


@dataclass(frozen=True, slots=True)
class PluginFunction:
    """A number that a plugin's function gives of each user's events that any one of the rules matches.

    `name` is `<plugin>.<function>`, `property` the path of the numbers that the function gets with the times, None:
    each counts 1. `parameters` are plain values, which the function's own model checks. Whether such a function is
    there, and how the users' numbers are put together, the plugin alone says.
    """

    name: str
    rules: tuple[EventRule, ...]
    property: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


Function = (
    Funnel
    | Satisfied
    | SessionLength
    | Count
    | UniqueUsers
    | Sum
    | Ratio
    | PropertyStatistic
    | TimeBetween
    | Retention
    | Churn
    | StageMetric
    | Nps
    | Ces
    | EngagementDepth
    | Planned
    | PluginFunction
)


def rules_of(function: Function) -> tuple[EventRule, ...]:
    """Every rule that a function looks at."""
    match function:
        case Funnel():
            return (*(step.rule for step in function.steps), *function.exclude)
        case Count() | UniqueUsers() | EngagementDepth() | PluginFunction():
            return function.rules
        case Ratio():
            return (*rules_of(function.part), *rules_of(function.whole))
        case TimeBetween():
            return _said(function.start, function.end)
        case Retention():
            return _said(function.start, function.back)
        case Sum() | PropertyStatistic() | Churn() | Satisfied() | Nps() | Ces():
            return _said(function.rule)
        case StageMetric() | SessionLength() | Planned():
            return ()


def _said(*rules: EventRule | None) -> tuple[EventRule, ...]:
    return tuple(rule for rule in rules if rule is not None)


def _on_scale(properties: Mapping[str, Any], path: str, lowest: float, highest: float) -> float | None:
    found = property_at(properties, tuple(path.split(".")))
    if kind_of(found) != "number":
        return None
    number = float(cast(float, found))
    return number if lowest <= number <= highest else None
