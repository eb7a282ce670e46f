"""Flag evaluations a second: through `Flags`, as GraphQL and OFREP ask, for each provider, one flag and 20 at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gateway_launchdarkly.connector import LaunchDarkly, LaunchDarklyConfig
from gateway_openfeature.connector import OpenFeature, OpenFeatureConfig
from gateway_unleash.connector import Unleash, UnleashConfig

from gateway.connectors.instances import Instance
from gateway.flags import Flags, known_subject
from gateway.model.identity import Identity
from gateway.model.journey import Journey, JourneyStatus, StageVisit, UserState
from gateway.plugin import FlagProvider
from tests.connectors import test_launchdarkly, test_unleash
from tests.connectors.surroundings import held_up, surroundings
from tests.pace import PATIENCE
from tests.scale.measuring import say

SECONDS = 2.0
FLAGS = 20
KEYS = [f"flag-{number}" for number in range(FLAGS)]
STAGE = "journey.purchase.stage"


def openfeature(file: Path) -> FlagProvider[Any]:
    rule = {"if": [{"==": [{"var": STAGE}, "cart"]}, "on", None]}
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": rule}
    file.write_text(json.dumps({"flags": dict.fromkeys(KEYS, flag)}))
    return OpenFeature(OpenFeatureConfig(file=file), surroundings("openfeature"))


def launchdarkly(file: Path) -> FlagProvider[Any]:
    rule = {"id": "r", "variation": 1, "clauses": [test_launchdarkly.clause(STAGE, "cart")]}
    flags = {key: test_launchdarkly.flag(key, [False, True], rules=[rule]) for key in KEYS}
    file.write_text(json.dumps({"flags": flags}))
    return LaunchDarkly(LaunchDarklyConfig(files=[file]), surroundings("launchdarkly"))


def unleash(file: Path) -> FlagProvider[Any]:
    features = [test_unleash.feature(key, strategies=test_unleash.constrained(STAGE, "cart")) for key in KEYS]
    file.write_text(json.dumps({"version": 2, "features": features}))
    return Unleash(UnleashConfig(file=file), surroundings("unleash"))


def user(number: int) -> UserState:
    visit = StageVisit("cart", 0, None, "r", b"", b"", 1)
    run = Journey("j", "u", "purchase", 1, 1, JourneyStatus.ACTIVE, (visit,), 0, 0, None, None)
    traits = {"plan": "pro", "country": "DE", "email": f"u{number}@shop.example", "age": 30}
    return UserState(f"{number:032x}", 1, (2, 0, b""), traits=traits, runs={"purchase": run})


@asynccontextmanager
async def flags_of(make: Callable[[Path], FlagProvider[Any]], file: Path) -> AsyncIterator[tuple[Flags, float]]:
    provider = make(file)
    instance = Instance(provider.context.instance, provider.context.workspace, provider)
    try:
        await instance.open()
        context = known_subject(user(0), [Identity("userId", "u")], {}, 0).context
        held = await instance.thread.call(partial(held_up, provider, context), PATIENCE)
        yield Flags([instance]), held
    finally:
        await instance.close()


@pytest.mark.parametrize("make", [openfeature, launchdarkly, unleash])
async def test_evaluations(
    make: Callable[[Path], FlagProvider[Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with flags_of(make, tmp_path / "flags.json") as (flags, held):
        one, many = await rate(flags, KEYS[:1]), await rate(flags, KEYS)
        rows = [
            ("users a second, one flag each", f"{one:,.0f}"),
            (f"users a second, {FLAGS} flags each", f"{many:,.0f}"),
            (f"flags a second, {FLAGS} at a time", f"{many * FLAGS:,.0f}"),
            (f"longest its thread's loop stood still for {FLAGS} flags, ms", f"{held * 1000:.1f}"),
        ]
        say(capsys, f"Flags decided in process: {make.__name__}", rows)


async def rate(flags: Flags, keys: list[str]) -> float:
    """Calls a second, each for another user, with the context made anew."""
    identities = [Identity("userId", "u")]
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        found = await flags.evaluate("main", keys, known_subject(user(calls), identities, {}, 0))
        assert all(one.value is True for one in found)
        calls += 1
        if calls % 100 == 0:
            await asyncio.sleep(0)
    return calls / (time.perf_counter() - began)
