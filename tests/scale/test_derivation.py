"""Derivation: what one owner and two work off from a backlog, and how long an event takes at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import pytest

from gateway.clock import random_id
from gateway.model.identity import digest
from gateway.store.database import Database, connect
from gateway.store.feed import Feed
from tests.flow.conftest import RunningGateway
from tests.scale.measuring import (
    answered,
    basic,
    batch_body,
    derived,
    documents,
    needs_proc,
    pid_of,
    pid_of_mongod,
    population,
    quantiles,
    raw,
    say,
    spending,
)

BACKLOG = 12_000
RATE, SECONDS, TOGETHER, CONNECTIONS = 500, 12, 10, 16


async def backlog(database: Database, seed: int, count: int) -> None:
    """Events of the workspace's first source, stored while nobody derives."""
    key = await database.find_one("keys", {"kind": "write"})
    assert key is not None
    rows = list(documents(islice(population(seed), count), key["workspace"], key["source"]))
    for start in range(0, len(rows), 2_000):
        await database.insert_unordered("events", rows[start : start + 2_000])


@needs_proc
@pytest.mark.parametrize("owners", [1, 2])
async def test_derivation_from_a_backlog(
    owners: int,
    gateway_environment: dict[str, str],
    gateway_of: Callable[[str], RunningGateway],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The owners know how far they had come, and are away while the events come in."""
    gateways = [gateway_of("derive") for _ in range(owners)]
    await asyncio.to_thread(gateways[0].set_up)
    database = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    while await database.count("lanes", {"offset": None, "seq": {"$gte": 0}}):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.to_thread(gateways[0].stop)
    await backlog(database, 9, BACKLOG)
    await asyncio.gather(*(asyncio.to_thread(gateway.start) for gateway in gateways))
    await derived(database, BACKLOG // 10)  # what a start costs is past
    begun = await database.count("work", {})
    pids = {f"gateway{number}": pid_of(gateway) for number, gateway in enumerate(gateways)}
    with spending(mongod=await pid_of_mongod(database), **pids) as spent:
        await derived(database, BACKLOG)
    events = BACKLOG - begun
    await asyncio.gather(*(asyncio.to_thread(gateway.stop) for gateway in gateways))
    await database.close()
    spent.cpu["gateway"] = sum(spent.cpu[name] for name in pids)
    say(
        capsys,
        f"Derivation from a backlog of {BACKLOG:,} events, {owners} owner{'s' * (owners > 1)} (resolve, fold, feed)",
        [
            ("events/s", f"{events / spent.seconds:,.0f}"),
            ("CPU µs/event: gateway / mongod", spent.per_event(events, "gateway", "mongod")),
        ],
    )


async def test_lag_at_a_steady_rate(running: RunningGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """From the acknowledgment's arrival to the event's row in the feed, seen by a change stream as the hub does."""
    database = connect(running.environment["GATEWAY_MONGO_URI"], running.environment["GATEWAY_DATABASE"])
    key = await database.find_one("keys", {"kind": "write"})
    assert key is not None
    acked: dict[bytes, float] = {}
    seen: dict[bytes, float] = {}

    async def follow() -> None:
        async with Feed(database).tail() as tail:
            while True:
                for change in await tail.next_batch(1_000):
                    row = change["fullDocument"]
                    if row["kind"] == "event":
                        seen[bytes(row["event"])] = time.monotonic()

    following = asyncio.create_task(follow())
    await asyncio.sleep(2)
    slots = []
    told = ("timestamp", "originalTimestamp")  # without them it happens when it comes in
    emissions = islice(population(7), RATE * SECONDS)
    messages = [{key: value for key, value in one.message.items() if key not in told} for one in emissions]
    for start in range(0, len(messages), TOGETHER):
        stamped = [{**one, "messageId": random_id()} for one in messages[start : start + TOGETHER]]
        ids = [digest(key["workspace"], key["source"], str(one["messageId"])) for one in stamped]
        slots.append((ids, stamped))
    waits = await steadily(running, slots, acked)
    async with asyncio.timeout(60):
        while not acked.keys() <= seen.keys():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await database.close()
    lags = sorted(seen[event] - at for event, at in acked.items())
    say(
        capsys,
        f"Lag at {RATE} events/s, {TOGETHER} a request, for {SECONDS} s, role all, p50 / p99 in ms",
        [
            ("due to acknowledged", quantiles(sorted(waits))),
            ("acknowledged to feed (aim 50 / 200)", quantiles(lags)),
        ],
    )


async def steadily(
    running: RunningGateway, slots: list[tuple[list[bytes], list[dict[str, object]]]], acked: dict[bytes, float]
) -> list[float]:
    """Send each request when it is due, whether or not the gateway keeps up; seconds until each was acknowledged."""
    began, waits = time.monotonic() + 0.5, []
    numbered = iter(list(enumerate(slots)))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for number, (ids, messages) in numbered:
            due = began + number * TOGETHER / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.write(raw("/v1/batch", basic(running.write_key), batch_body(messages)))
            await answered(reader)
            at = time.monotonic()
            waits.append(at - due)
            acked.update(dict.fromkeys(ids, at))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return waits
