"""Alert rules fire and recover as the oracle says, whatever the values; mutants do not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract import AlertRule
from gateway.contract.alerts import Muted, OnKpi
from gateway.insights.alerting import Measured, State, step
from gateway.insights.alerting import machine as machine_module
from gateway.insights.alerting.preview import MOST_LOOKS, preview
from gateway.model.scope import Scope
from tests.unit.insights import oracle_alerts

HOUR = 3_600_000
#: 2026-11-21T00:00:00Z
START = 1_795_219_200_000
THOROUGH = settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True, slots=True)
class Watched:
    """A rule, the same for the oracle, and what is seen at each look."""

    rule: AlertRule
    plain: dict[str, Any]
    looks: list[oracle_alerts.Look]


def watched(rng: Random) -> Watched:
    every = rng.choice([1, 6])
    looks: list[oracle_alerts.Look] = [
        (START + number * every * HOUR, rng.choice([None, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0]), rng.choice([0, 2, 3, 9]))
        for number in range(rng.randint(1, 20))
    ]
    plain: dict[str, Any] = {
        "comparison": rng.choice(["gt", "gte", "lt", "lte"]),
        "threshold": rng.choice([10.0, 11.0]),
        "hysteresis": rng.choice([0.0, 1.0, 2.0]),
        "minimum": rng.choice([1, 3]),
        "lasting": rng.choice([0, every * HOUR, 3 * every * HOUR, 3 * every * HOUR + 1]),
        "noData": rng.choice(["keep", "ok", "alert"]),
    }
    days = [datetime.fromtimestamp(at / 1000, UTC).date() for at, _, _ in looks]
    muted = (Muted(days[0] + timedelta(days=1), days[0] + timedelta(days=2)),) if rng.randint(0, 1) else ()
    plain["muted"] = {place for place, day in enumerate(days) for one in muted if one.begins <= day <= one.ends}
    rule = AlertRule(
        "r", "R", ("ux",), OnKpi("k"), plain["comparison"], plain["threshold"],
        window=timedelta(days=7), minimum=plain["minimum"], hysteresis=plain["hysteresis"],
        lasting=timedelta(milliseconds=plain["lasting"]), every=timedelta(hours=every), no_data=plain["noData"],
        muted=muted,
    )  # fmt: skip
    return Watched(rule, plain, looks)


cases = st.builds(watched, st.randoms(use_true_random=False))


def told(one: Watched, stepping: Callable[..., Any] = step) -> list[tuple[int, str]]:
    state, found = State(), []
    for at, value, n in one.looks:
        state, what = stepping(one.rule, state, at, Measured(value, n))
        assert (state.looked_at, state.value, state.n) == (at, value, n)
        if what is not None:
            found.append((at, what))
    return found


@THOROUGH
@given(cases)
def test_a_rule_fires_and_recovers_as_the_oracle_says(one: Watched) -> None:
    assert told(one) == oracle_alerts.happened(one.plain, one.looks)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen at each look."""

    looks: dict[int, Measured]

    async def measured(self, scope: Scope, rule: AlertRule, at: int) -> Measured:
        return self.looks.get(at, Measured(None, 0))


@settings(THOROUGH, max_examples=100)
@given(cases)
async def test_a_preview_says_what_happened(one: Watched) -> None:
    values = Seen({at: Measured(value, n) for at, value, n in one.looks})
    end = one.looks[-1][0] + 1
    found = await preview(values, Scope.system("w"), one.rule, (START, end), end)
    assert (found.looks, found.every) == (len(one.looks), one.rule.every_ms)
    seen = []
    for episode in found.episodes:
        seen.append((episode.fired_at, "fired"))
        seen += [] if episode.recovered_at is None else [(episode.recovered_at, "recovered")]
        assert Measured(episode.value, episode.n) == values.looks[episode.fired_at]
    assert seen == oracle_alerts.happened(one.plain, one.looks)


async def test_a_long_preview_looks_less_often_and_says_so() -> None:
    rule = watched(Random(1)).rule
    for days in (1, 10, 11, 365):
        found = await preview(Seen({}), Scope.system("w"), rule, (START, START + days * 24 * HOUR), 2 * START)
        assert found.looks <= MOST_LOOKS
        assert found.every % rule.every_ms == 0
        assert found.looks * found.every >= days * 24 * HOUR - found.every


MUTANTS = {
    "what is pending too short fires": ("at - since >= rule.lasting", "at - since + 3_600_000 >= rule.lasting"),
    "it must last longer than asked": ("at - since >= rule.lasting", "at - since > rule.lasting"),
    "it fires again while it fires": ('if phase == "firing":\n        if', "if False:\n        if"),
    "it recovers without data": (
        "if wrong is False:\n            phase, since, told",
        "if not wrong:\n            phase, since, told",
    ),
    "mute is ignored": ("_muted(rule, at) or wrong is False", "wrong is False"),
    "the last muted day is not": ("one.begins <= day <= one.ends", "one.begins <= day < one.ends"),
    "no data begins it anew": ("    elif wrong:\n", "    elif wrong is None:\n        phase = 'ok'\n    elif wrong:\n"),
    "few observations are data": ("or measured.n < rule.minimum", ""),
    "hysteresis is ignored": ("return not rule.back(measured.value)", "return rule.breached(measured.value)"),
    "hysteresis holds before it fires": (
        "return rule.breached(measured.value)",
        "return not rule.back(measured.value)",
    ),
    "each look begins it anew": (
        '        if phase == "ok":\n            phase, since = "pending", at',
        '        phase, since = "pending", at',
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistaken_machine_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = MUTANTS[name]
    source = Path(str(machine_module.__file__)).read_text(encoding="utf-8")
    assert source.count(old) == 1, old
    changed = ModuleType("mutant_of_machine")
    monkeypatch.setitem(sys.modules, changed.__name__, changed)
    exec(compile(source.replace(old, new), "mutant", "exec"), changed.__dict__)  # noqa: S102 - its own source

    def stepping(rule: AlertRule, state: Any, at: int, measured: Measured) -> Any:
        return changed.step(rule, state, at, measured)

    for number in range(3_000):
        one = watched(Random(number))
        if told(one, stepping) != oracle_alerts.happened(one.plain, one.looks):
            return
    pytest.fail(f"nothing tells that {name}")
