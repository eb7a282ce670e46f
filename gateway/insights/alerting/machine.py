"""What follows from one look at a rule. Pure: the same state, moment and value give the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from gateway.contract import AlertRule

Phase = Literal["ok", "pending", "firing"]
#: What somebody is told of.
Happened = Literal["fired", "recovered"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value from `n` observations; None: there is nothing to compare."""

    value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class State:
    """How a rule stands: `pending` is beyond the threshold, but not for long enough. Times are ms.

    `since` is when the phase began; `looked_at` the moment of the last look, None before the first.
    """

    phase: Phase = "ok"
    since: int | None = None
    looked_at: int | None = None
    value: float | None = None
    n: int = 0


def step(rule: AlertRule, state: State, at: int, measured: Measured) -> tuple[State, Happened | None]:
    """The state after a look at `at` (ms), later than all before, and what is told of it.

    A muted rule does not begin to fire; one that fires may recover. Without data (or with too few observations) the
    rule says what counts. A pending rule fires at the first look at which it is wrong that is `for` after the first.
    """
    wrong = _wrong(rule, state, measured)
    told: Happened | None = None
    phase, since = state.phase, state.since
    if phase == "firing":
        if wrong is False:
            phase, since, told = "ok", at, "recovered"
    elif _muted(rule, at) or wrong is False:
        since = since if phase == "ok" else at
        phase = "ok"
    elif wrong:
        if phase == "ok":
            phase, since = "pending", at
        assert since is not None
        if at - since >= rule.lasting.total_seconds() * 1000:
            phase, since, told = "firing", at, "fired"
    return State(phase, since, at, measured.value, measured.n), told


def _wrong(rule: AlertRule, state: State, measured: Measured) -> bool | None:
    """Whether the rule is to fire, or to go on firing; None: as it was."""
    if measured.value is None or measured.n < rule.minimum:
        return {"keep": None, "ok": False, "alert": True}[rule.no_data]
    if state.phase == "firing":
        return not rule.back(measured.value)
    return rule.breached(measured.value)


def _muted(rule: AlertRule, at: int) -> bool:
    day = datetime.fromtimestamp(at / 1000, UTC).date()
    return any(one.begins <= day <= one.ends for one in rule.muted)
