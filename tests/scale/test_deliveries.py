"""Delivery: how many a second to two sinks that also refuse, what it adds to an event's way, memory far behind."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from gateway.plugin import Delivered, Item, ItemResult, Rejected, Retry, result_of
from gateway.store.database import Database
from tests.connectors.delivering import ENDLESS, Recorder, Stage, capable, event, instance, until
from tests.pace import slowness
from tests.scale.measuring import say

EVENTS = 20_000
BEHIND = 100_000
RATE, SECONDS = 500, 10


class Sink:
    """An HTTP server that takes batches: now and then an item is to come again, and one in two thousand never."""

    def __init__(self, errors: bool) -> None:
        self.errors = errors
        self.url = ""
        self.keys: set[str] = set()
        self.refused: set[str] = set()
        self.arrived: dict[str, float] = {}
        self.twice = 0

    def answer(self, keys: Sequence[str]) -> list[str]:
        return [self._answer(key) for key in keys]

    def _answer(self, key: str) -> str:
        number = int(key[:6], 16)
        if self.errors and number % 200 == 0 and key not in self.refused:
            self.refused.add(key)
            return "retry"
        if self.errors and number % 2_000 == 1:
            return "no"
        self.twice += key in self.keys
        self.keys.add(key)
        self.arrived.setdefault(key, time.monotonic())
        return "ok"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
                said = json.dumps(self.answer([one["key"] for one in body])).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Posts(Recorder):
    """Posts batches to a sink and reads one result per item."""

    capabilities = capable(max_items=200, max_bytes=1_000_000).capabilities
    url = ""

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        body = [{"key": one.key, **one.payload} for one in items]
        answer = await self.context.http.request("POST", self.url, json=body)
        if answer.status != 200:
            return [result_of(answer, 0) for _ in items]
        ends: dict[str, ItemResult] = {"ok": Delivered(), "retry": Retry("busy"), "no": Rejected("no")}
        return [ends[one] for one in answer.json()]


@asynccontextmanager
async def sinks(*errors: bool) -> AsyncIterator[list[Sink]]:
    made, servers = [], []
    for one in errors:
        sink = Sink(one)
        server = await asyncio.start_server(sink.take, "127.0.0.1", 0)
        sink.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        made.append(sink)
        servers.append(server)
    try:
        yield made
    finally:
        for server in servers:
            server.close()


def posting(sink: Sink, name: str) -> Any:
    class To(Posts):
        url = sink.url

    return instance(To, name)


async def fill(stage: Stage, count: int) -> None:
    """Derived, and so in the feed, before anybody delivers."""
    for start in range(0, count, 2_000):
        await stage.store(*(event(at, f"user{at % 997}", properties={"n": at}) for at in range(start, start + 2_000)))
    await until(lambda: fed(stage, count))


async def fed(stage: Stage, count: int) -> bool:
    lanes = await stage.database.find("lanes", {"seq": {"$gt": 0}})
    return sum(int(lane["seq"]) for lane in lanes) >= count


async def behind(database: Database, *made: Any, count: int) -> None:
    """Instances that are so many events behind."""
    async with Stage(database, *made, patience=ENDLESS).running() as stage:
        for one in stage.delivery.runners.values():
            one.stop()
        await fill(stage, count)


def half(sink: Sink, count: int) -> bool:
    return len(sink.keys) >= count // 2


@pytest.mark.slow
async def test_deliveries_a_second(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    async with sinks(True, True) as both:
        made = [posting(sink, f"sink{at}") for at, sink in enumerate(both)]
        await behind(database, *made, count=EVENTS)
        made = [posting(sink, f"sink{at}") for at, sink in enumerate(both)]
        began = time.monotonic()
        cpu = time.process_time()
        async with Stage(database, *made, patience=ENDLESS).running() as stage:
            gave_up = sum(int(event(at).id.hex()[:6], 16) % 2_000 == 1 for at in range(EVENTS))
            await until(lambda: all(len(sink.keys) >= EVENTS - gave_up for sink in both))
            took, spent = time.monotonic() - began, time.process_time() - cpu
            retried = [sum(stage.delivery.counts()[one.name][how] for how in ("retried", "dead")) for one in made]
        assert not any(sink.twice for sink in both), "nothing crashed, so nothing comes twice"
    say(
        capsys,
        "Deliveries to two local sinks over HTTP, one process, one in 200 refused at first",
        [
            ("deliveries a second, both together", f"{2 * EVENTS / took:,.0f}"),
            ("CPU a delivery, sinks included", f"{spent / EVENTS / 2 * 1e6:.0f} µs"),
            ("tried again or given up, by sink", " ".join(map(str, retried))),
            ("this machine's slowness", f"{slowness():.1f}"),
        ],
    )


@pytest.mark.slow
async def test_what_delivery_adds_to_an_event_s_way(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    async with sinks(False) as (sink,), Stage(database, posting(sink, "sink")).running() as stage:
        stored: dict[str, float] = {}
        start = time.monotonic()
        for turn in range(SECONDS * 10):
            some = [event(at, f"user{at % 97}") for at in range(turn * RATE // 10, (turn + 1) * RATE // 10)]
            await stage.store(*some)
            stored |= dict.fromkeys((one.id.hex() for one in some), time.monotonic())
            await asyncio.sleep(max(0.0, start + (turn + 1) / 10 - time.monotonic()))
        await until(lambda: len(sink.keys) == len(stored))
        written = {
            bytes(row["event"]).hex(): row["writtenAt"] for row in await database.find("feed", {"kind": "event"})
        }
    waits = sorted(sink.arrived[key] - at for key, at in stored.items())
    assert len(written) == len(stored)
    say(
        capsys,
        f"From stored to delivered at {RATE} events a second (derivation included)",
        [
            ("p50", f"{statistics.median(waits) * 1000:.0f} ms"),
            ("p99", f"{waits[int(len(waits) * 0.99)] * 1000:.0f} ms"),
            ("this machine's slowness", f"{slowness():.1f}"),
        ],
    )


@pytest.mark.slow
async def test_memory_with_many_behind(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    peaks = {}
    for count in (BEHIND // 20, BEHIND):
        await database.drop_database()
        async with sinks(False) as (sink,):
            await behind(database, posting(sink, "sink"), count=count)
            tracemalloc.start()
            async with Stage(database, posting(sink, "sink")).running():
                await until(partial(half, sink, count))
                _, peaks[count] = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    say(
        capsys,
        "Python's memory while catching up (the sink's own notes included)",
        [(f"{count:,} behind, peak", f"{peak / 1e6:.0f} MB") for count, peak in peaks.items()],
    )
