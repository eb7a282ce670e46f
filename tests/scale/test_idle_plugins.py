"""What plugins cost that have nothing to do: intake with derivation, and `me`, beside 0, 5 and 20 of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import orjson
import pytest

from gateway.store.database import Database, connect
from tests.flow.conftest import RunningGateway, free_port, gateway_environment
from tests.pace import PATIENCE
from tests.scale.measuring import basic, cpu_seconds, derived, needs_proc, pid_of, say

COUNTS = (0, 5, 20)
ROUNDS = 2
EVENTS, BATCH = 500, 100
#: Cursors that stand still for so long are at their end.
STILL_SECONDS = 2.0
QUESTIONS = 100
CONNECTIONS = 4
ME = "{ me { id traits journeys(first: 5) { nodes { status stage { key } } } } }"
_numbers = count()

#: A destination with a field of the schema, as vendors' plugins have; its instance waits for an event that never comes.
PLUGIN = """
from gateway.plugin import (
    ANYONE, Capabilities, Config, Delivered, Destination, GraphqlFields, Health, Manifest, Source, field, hookimpl
)

class Idle(Destination[Config]):
    manifest = Manifest(name="{name}", version="1", brief="Waits.", test_level="D")
    Config = Config
    capabilities = Capabilities()
    def map(self, message):
        return {{"name": message.event.name}}
    async def send(self, items):
        return [Delivered() for _ in items]
    async def check(self):
        return Health(True)

class Fields:
    @field(source=Source.loader("{name}"), policy=ANYONE, description="A text.")
    def {name}_text(self) -> str | None:
        return None

@hookimpl
def register_connectors():
    return [Idle]

@hookimpl
def register_graphql():
    return GraphqlFields("{name}", user=Fields)
"""


@dataclass
class Bench:
    """A gateway with so many idle plugins, and what its rounds took: µs of its CPU, and seconds by the clock."""

    plugins: int
    gateway: RunningGateway
    database: Database
    token: str = ""
    stored: int = 0
    cpu: dict[str, list[float]] = field(default_factory=lambda: {"intake": [], "me": []})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"intake": [], "me": []})

    async def intake(self) -> None:
        """Send events and wait until they are derived: what is idle has looked at each of them then."""
        requests = [_batch(self.gateway.write_key) for _ in range(EVENTS // BATCH)]
        self.stored += EVENTS
        cpu, began = cpu_seconds(pid_of(self.gateway)), time.monotonic()
        await self._send(requests)
        self.seconds["intake"].append(time.monotonic() - began)
        await derived(self.database, self.stored)
        await self._settled()
        self.cpu["intake"].append((cpu_seconds(pid_of(self.gateway)) - cpu) / EVENTS * 1e6)

    async def _settled(self) -> None:
        """Wait until the cursors of what is idle stand: what they cost is the events', not of what follows."""
        before: list[Any] | None = None
        while (found := await self.database.find("delivery_cursors", {}, sort=[("_id", 1)])) != before:
            before = found
            await asyncio.sleep(STILL_SECONDS)

    async def me(self) -> None:
        """Ask for one's own journeys."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        requests = [("/graphql", headers, orjson.dumps({"query": ME}))] * QUESTIONS
        cpu, began = cpu_seconds(pid_of(self.gateway)), time.monotonic()
        await self._send(requests)
        self.seconds["me"].append(time.monotonic() - began)
        self.cpu["me"].append((cpu_seconds(pid_of(self.gateway)) - cpu) / QUESTIONS * 1e6)

    async def _send(self, requests: list[tuple[str, dict[str, str], bytes]]) -> None:
        """All of them, some at a time; what a machine that stands still lets be refused is sent again."""
        left = iter(requests)

        async def one() -> None:
            for path, headers, body in left:
                while (answer := await client.post(path, headers=headers, content=body)).status_code == 503:  # noqa: ASYNC110
                    await asyncio.sleep(1)
                assert answer.status_code == 200, answer.text
                assert b'"errors"' not in answer.content, answer.text

        async with httpx2.AsyncClient(base_url=self.gateway.url, timeout=PATIENCE) as client:
            await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def _batch(key: str) -> tuple[str, dict[str, str], bytes]:
    batch = [
        {"type": "track", "event": "Product Viewed", "userId": f"u{number % 97}", "messageId": f"m-{number}"}
        for number in (next(_numbers) for _ in range(BATCH))
    ]
    return "/v1/batch", basic(key), orjson.dumps({"batch": batch})


def _written(folder: Path, plugins: int) -> list[str]:
    folder.mkdir()
    names = [f"idle{number:02}x" for number in range(plugins)]
    for name in names:
        (folder / f"{name}.py").write_text(PLUGIN.format(name=name))
    return names


@asynccontextmanager
async def bench_of(plugins: int, mongo_uri: str, folder: Path) -> AsyncIterator[Bench]:
    """One gateway on a database of its own."""
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(
            asynccontextmanager(gateway_environment.__wrapped__)(mongo_uri)  # type: ignore[attr-defined]
        )
        names = _written(folder, plugins)
        environment |= {f"GATEWAY_CONNECTORS__{name.upper()}__EVENTS": '["Never"]' for name in names}
        gateway = RunningGateway(environment | {"GATEWAY_PLUGINS_DIR": str(folder)}, free_port())
        await asyncio.to_thread(gateway.set_up)
        stack.callback(gateway.stop)
        database = connect(mongo_uri, environment["GATEWAY_DATABASE"])
        stack.push_async_callback(database.close)
        bench = Bench(plugins, gateway, database)
        async with httpx2.AsyncClient(base_url=gateway.url, headers=gateway.api) as client:
            answer = await client.post("/v1/token", json={"userId": "u1"})
            bench.token = answer.json()["token"]
            asked = await client.post("/graphql", json={"query": "{ plugins { failure { message } } }"})
            assert asked.json()["data"]["plugins"] == [{"failure": None}] * plugins
        yield bench


def _rows(benches: list[Bench]) -> list[tuple[str, str]]:
    rows = []
    named = {"intake": "intake and derivation, CPU µs an event", "me": "`me`, CPU µs a request"}
    for what, words in named.items():
        found = [median(one.cpu[what]) for one in benches]
        rows.append((f"{words}, {' / '.join(map(str, COUNTS))} plugins", " / ".join(f"{one:,.0f}" for one in found)))
        rows.append(("  ratio to none", " / ".join(f"{one / found[0]:.2f}" for one in found)))
    for what, words, each in (("intake", "acknowledged, events/s", EVENTS), ("me", "`me`, requests/s", QUESTIONS)):
        speeds = [each / median(one.seconds[what]) for one in benches]
        rows.append((words, " / ".join(f"{one:,.0f}" for one in speeds)))
    return rows


@needs_proc
async def test_idle_plugins(mongo_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with AsyncExitStack() as stack:
        benches = [
            await stack.enter_async_context(bench_of(plugins, mongo_uri, tmp_path / str(plugins))) for plugins in COUNTS
        ]
        for number in range(ROUNDS + 1):
            # Taken in turn, so that what the machine does besides meets all alike; the first round warms up.
            for one in benches[number % len(benches) :] + benches[: number % len(benches)]:
                await one.intake()
                await one.me()
        for one in benches:
            for taken in (*one.cpu.values(), *one.seconds.values()):
                del taken[0]
        at_rest: list[Any] = []
        for one in benches:
            before = cpu_seconds(pid_of(one.gateway))
            await asyncio.sleep(5)
            at_rest.append(cpu_seconds(pid_of(one.gateway)) - before)
        shares = " / ".join(f"{one / 5:.1%}" for one in at_rest)
        rows = [*_rows(benches), ("at rest, share of a core", shares)]
        say(
            capsys,
            f"Idle plugins: {ROUNDS} rounds of {EVENTS:,} events and {QUESTIONS} questions in turn, medians",
            rows,
        )
