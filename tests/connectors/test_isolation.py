"""A stranger's code: what raises, hangs, blocks or leaks stops nobody else."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gateway.connectors.threads import Blocked, ConnectorThread, Late
from gateway.plugin import Context, Item, ItemResult, Message, Skip
from gateway.store.database import Database
from tests.connectors.delivering import ENDLESS, Empty, Recorder, Stage, event, instance, until
from tests.connectors.test_delivery import recorder

HASTY = replace(ENDLESS, send_seconds=0.3, map_seconds=0.3, probe_seconds=0.2)


async def both(database: Database, bad: type[Recorder], patience: Any = HASTY) -> Stage:
    return Stage(database, instance(bad, "bad"), instance(name="good"), patience=patience)


class Raises(Recorder):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        raise RuntimeError("secret-sesame")


class Exits(Recorder):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        raise SystemExit(1)


class Cancels(Recorder):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        raise asyncio.CancelledError


class Hangs(Recorder):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        await asyncio.sleep(3600)
        return []


class Blocks(Recorder):
    """Holds its thread until the test lets go."""

    freed = threading.Event()

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        if not self.freed.is_set():
            self.freed.wait(20)
        return await super().send(items)


class MapBlocks(Recorder):
    freed = threading.Event()

    def map(self, message: Message) -> dict[str, Any] | Skip:
        if not self.freed.is_set():
            self.freed.wait(20)
        return super().map(message)


class MapRaises(Recorder):
    def map(self, message: Message) -> dict[str, Any] | Skip:
        if message.event is not None and message.event.name == "ada 1":
            raise ValueError("secret-sesame")
        return super().map(message)


class Lies(Recorder):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        return ["fine"]  # type: ignore[list-item]


class OpenRaises(Recorder):
    async def open(self) -> None:
        raise RuntimeError("secret-sesame")


class OpenCancels(Recorder):
    """As an SDK's own timeout may do."""

    async def open(self) -> None:
        raise asyncio.CancelledError


class Leaks(Recorder):
    def __init__(self, config: Empty, context: Context) -> None:
        super().__init__(config, context)
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        self.tasks.append(asyncio.create_task(asyncio.sleep(3600)))
        return await super().send(items)


@pytest.mark.parametrize("bad", [Raises, Exits, Cancels, Hangs, Lies, OpenRaises, OpenCancels])
async def test_what_a_bad_connector_does_the_good_one_gets_everything(
    bad: type[Recorder], database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with (await both(database, bad)).running() as stage:
        await stage.store(*(event(at, f"user{at}") for at in range(10)))
        await until(lambda: len(recorder(stage, "good").names) == 10)
        await until(lambda: in_trouble(stage, "bad"))
        await stage.store(event(11))
        await until(lambda: len(recorder(stage, "good").names) == 11)
    assert "sesame" not in caplog.text


@pytest.mark.parametrize("bad", [Blocks, MapBlocks])
async def test_a_connector_that_blocks_holds_only_its_own_thread(
    bad: type[Blocks] | type[MapBlocks], database: Database
) -> None:
    bad.freed.clear()
    async with (await both(database, bad)).running() as stage:
        await stage.store(*(event(at, f"user{at}") for at in range(10)))
        await until(lambda: len(recorder(stage, "good").names) == 10)
        await until(lambda: stage.instances["bad"].thread.blocked)
        longest, stopping = 0.0, time.monotonic() + 1.0
        while time.monotonic() < stopping:  # the loop of the gateway goes on
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)
        assert longest < 5
        held = [one.name for one in threading.enumerate() if one.name == "connector bad"]
        assert held == ["connector bad"], "there is never a second thread"
        bad.freed.set()
        # What was given up had its effect all the same: it may come a second time.
        await until(lambda: len(set(recorder(stage, "bad").names)) == 10)
    assert set(recorder(stage, "bad").names) == {f"user{at} {at}" for at in range(10)}


async def test_what_map_raises_on_is_a_dead_letter_and_the_rest_goes(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(database, instance(MapRaises)).running() as stage:
        await stage.store(event(1), event(2))
        await until(lambda: recorder(stage).names == ["ada 2"])
        await until(lambda: in_trouble(stage, "sink"))
        (letter,) = await stage.dead()
    assert (letter["code"], letter["reason"]) == ("mapping", "map raised ValueError")
    assert "sesame" not in caplog.text + str(letter)


async def test_what_a_connector_leaves_behind_ends_with_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with Stage(database, instance(Leaks)).running() as stage:
            await stage.store(event(1))
            await until(lambda: recorder(stage).names)
    assert "left tasks behind" in caplog.text
    leaks = recorder(stage)
    assert isinstance(leaks, Leaks)
    assert all(task.done() for task in leaks.tasks)
    assert not [one for one in threading.enumerate() if one.name == "connector sink"]


async def test_a_thread_gives_up_late_calls_and_takes_no_more_while_it_is_held() -> None:
    thread = ConnectorThread("t")
    try:
        with pytest.raises(Late):
            await thread.call(lambda: asyncio.sleep(30), 0.05)
        assert await thread.run(lambda: 5, 5) == 5
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0, 5)
        free = threading.Event()
        with pytest.raises(Late):
            await thread.run(lambda: free.wait(20), 0.05)
        assert thread.blocked
        with pytest.raises(Blocked):
            await thread.run(lambda: 5, 5)
        free.set()
        await until(lambda: not thread.blocked)
        assert await thread.run(lambda: 5, 5) == 5
    finally:
        await thread.close()


async def test_a_dead_destination_leaves_the_others_latency_alone(database: Database) -> None:
    alone = await latency(Stage(database, instance(name="good")))
    beside = await latency(await both(database, Hangs))
    print(f"stored to delivered, slowest of 20: {alone * 1000:.0f} ms, beside a dead one {beside * 1000:.0f} ms")


async def latency(stage: Stage) -> float:
    slowest = 0.0
    async with stage.running():
        for at in range(20):
            began = time.monotonic()
            await stage.store(event(at, f"user{at}{began}", id=f"{at:02}{began}".encode()[:16].ljust(16)))
            await until(partial(got, stage, at + 1))
            slowest = max(slowest, time.monotonic() - began)
    return slowest


def got(stage: Stage, count: int) -> bool:
    return len(recorder(stage, "good").names) >= count


async def in_trouble(stage: Stage, name: str) -> bool:
    return (await stage.state(name))["state"] != "delivering" or bool(await stage.dead())
