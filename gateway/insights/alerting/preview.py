"""When a rule would have fired: the same values and the same steps as at work, over a time that has passed."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.contract import AlertRule
from gateway.errors import InvalidInput
from gateway.insights.alerting.machine import State, step
from gateway.insights.alerting.values import Values
from gateway.model.scope import Scope

#: Looks of one preview. A longer time is looked at less often, a multiple of the rule's own pace, and that is said.
MOST_LOOKS = 240


@dataclass(frozen=True, slots=True)
class Episode:
    """From when to when (ms) it would have fired; `recovered_at` None: to the end of the range. The value is the one
    that it fired with."""

    fired_at: int
    recovered_at: int | None
    value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What would have been in [start, end) ms, looked at every `every` ms, `looks` times."""

    between: tuple[int, int]
    every: int
    looks: int
    episodes: tuple[Episode, ...]


async def preview(values: Values, scope: Scope, rule: AlertRule, between: tuple[int, int], now: int) -> Preview:
    """Look at the rule over a time that has passed, beginning with it well. Raises InvalidInput, Unavailable."""
    start, end = between[0], min(between[1], now + 1)
    if start >= end:
        raise InvalidInput("The range lies in the future.", hint="Ask about time that has passed.", path="range")
    every = rule.every_ms * -(-(end - start) // (rule.every_ms * MOST_LOOKS))
    state, looks = State(), 0
    episodes: list[Episode] = []
    for at in range(start + -start % every, end, every):
        state, told = step(rule, state, at, await values.measured(scope, rule, at))
        looks += 1
        if told == "fired":
            episodes.append(Episode(at, None, state.value, state.n))
        elif told == "recovered":
            last = episodes[-1]
            episodes[-1] = Episode(last.fired_at, at, last.value, last.n)
    return Preview((start, end), every, looks, tuple(episodes))
