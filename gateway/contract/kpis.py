"""KPIs: one number, defined once, and said in words so that everybody can check what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast

import orjson

from gateway.contract.durations import duration_in_words
from gateway.contract.hashing import content_hash
from gateway.contract.rules import Condition, EventRule, Operator, kind_of, property_at


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One step of a funnel."""

    key: str
    label: str
    rule: EventRule


@dataclass(frozen=True, slots=True)
class Funnel:
    """Percentage of the users of the first step who reach the last one, in order.

    `window` runs from the first step and includes its end; None is no limit.
    """

    steps: tuple[FunnelStep, ...]
    window: timedelta | None = None


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
        found = property_at(properties, tuple(self.property.split(".")))
        if kind_of(found) != "number":
            return None
        number = float(cast(float, found))
        return number if self.lowest <= number <= self.highest else None


@dataclass(frozen=True, slots=True)
class SessionLength:
    """How long sessions are, from first to last event, in seconds."""

    statistic: Literal["mean"] = "mean"


Function = Funnel | Satisfied | SessionLength


@dataclass(frozen=True, slots=True)
class Kpi:
    """One KPI. `target` is in the KPI's unit.

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
    definition: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind = type(self.function).__name__
        object.__setattr__(self, "definition", _defined(self.function))
        object.__setattr__(self, "hash", content_hash([kind, self.function], without=("label",)))


_WORDS: dict[Operator, str] = {
    "equals": "equals",
    "in": "is one of",
    "gt": "is greater than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
}


def _defined(function: Function) -> str:
    match function:
        case Funnel():
            return _defined_funnel(function)
        case Satisfied():
            return _defined_satisfied(function)
        case SessionLength():
            return (
                "The mean length in seconds of the sessions that began in the range, each from its first event to its "
                "last; a pause of more than 30 minutes ends a session (exactly 30 minutes does not), a session of one "
                "event counts with 0 seconds, and the value is null when there is no session."
            )


def _defined_funnel(funnel: Funnel) -> str:
    first, *others = (_event(step.rule) for step in funnel.steps)
    if funnel.window is None:
        limit, waiting = "without a time limit", ""
    else:
        window = duration_in_words(funnel.window)
        limit = f"at most {window} after the first (exactly {window} still counts)"
        waiting = "users who still have time to convert are reported as open and are not in the percentage, "
    return (
        f"Of the unique users with {first} in the range, the percentage who then had {', then '.join(others)}, "
        f"in this order, with any other events in between, {limit}; each user counts once, with their best attempt, "
        f"{waiting}and the value is null when no user had the first."
    )


def _defined_satisfied(satisfied: Satisfied) -> str:
    scale = f"a number from {_json(satisfied.lowest)} to {_json(satisfied.highest)}"
    name = _json(satisfied.property)
    joint = "and" if satisfied.rule.where else "where"
    return (
        f"Of the answers in the range (events {_event(satisfied.rule)} {joint} {name} is {scale}), the percentage with "
        f"a {name} of at least {_json(satisfied.at_least)}; every answer counts, also several of one user, "
        "and the value is null when there is no answer."
    )


def _event(rule: EventRule) -> str:
    conditions = " and ".join(_condition(condition) for condition in rule.where)
    return f"{_json(rule.event)} where {conditions}" if conditions else _json(rule.event)


def _condition(condition: Condition) -> str:
    name = _json(condition.property)
    if condition.op == "exists":
        return f"{name} is {'present' if condition.value else 'absent'}"
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return f"{name} {_WORDS[condition.op]} {', '.join(_json(value) for value in values)}"


def _json(value: object) -> str:
    """As JSON writes it, but whole numbers without a fraction: 4, not 4.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return orjson.dumps(value).decode()
