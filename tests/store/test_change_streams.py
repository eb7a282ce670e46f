"""Change streams: from an operation time on, drained by batches, resumed, and honest about lost history."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.errors import Unavailable
from gateway.store.database import (
    Database,
    HistoryLost,
)
from tests.store.seam import Commands, failing, numbered, take

INSERTS = [{"$match": {"operationType": "insert"}}]


async def test_a_stream_starts_at_an_operation_time_inclusive(store: Database) -> None:
    await store.insert_unordered("events", numbered(0))
    await store.insert_unordered("others", numbered(0))
    since = await store.operation_time()
    await store.insert_unordered("events", numbered(1, 2, 3))

    async with store.watch("events", INSERTS, start_at=since) as stream:
        seen = await take(stream, 3)
    async with store.watch("events", INSERTS, start_at=seen[1]["clusterTime"]) as stream:
        again = await take(stream, 2)

    assert [change["fullDocument"]["n"] for change in seen] == [1, 2, 3]
    assert [change["fullDocument"]["n"] for change in again] == [2, 3]


async def test_a_batch_is_drained_without_asking_the_server_again(store: Database, commands: Commands) -> None:
    since = await store.operation_time()
    await store.insert_many("events", numbered(*range(10)))

    async with store.watch("events", INSERTS, start_at=since, max_await_ms=200) as stream:
        first = await take(stream, 4)
        asked = commands.count("getMore")
        rest = await stream.next_batch(100)
        assert commands.count("getMore") == asked
        assert await stream.next_batch(100) == []
        assert commands.count("getMore") == asked + 1

    assert [change["documentKey"]["_id"] for change in first + rest] == list(range(10))


async def test_a_waiting_stream_wakes_at_the_first_change(store: Database) -> None:
    await store.create_collection("events")
    async with store.watch(None, max_await_ms=10_000) as stream:
        waiting = asyncio.ensure_future(stream.next_batch(10))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await store.insert_unordered("events", numbered(1))

        batch = await waiting

    assert time.monotonic() - started < 2
    assert batch[0]["ns"]["coll"] == "events"


async def test_a_stream_survives_a_dropped_connection(store: Database) -> None:
    since = await store.operation_time()
    async with store.watch("events", INSERTS, start_at=since, max_await_ms=200) as stream:
        await store.insert_unordered("events", numbered(1))
        seen = await take(stream, 1)
        async with failing(store, "getMore", closeConnection=True):
            await store.insert_unordered("events", numbered(2, 3))
            seen += await take(stream, 2)

    assert [change["fullDocument"]["n"] for change in seen] == [1, 2, 3]


async def test_updates_carry_the_document_when_asked_for(store: Database) -> None:
    await store.insert_many("rows", numbered(1))
    async with store.watch("rows", full_document=True) as stream:
        await store.update_one("rows", {"_id": 1}, {"$set": {"extra": True}})
        (change,) = await take(stream, 1)

    assert change["fullDocument"] == {"_id": 1, "n": 1, "extra": True}


@pytest.mark.parametrize(("command", "code"), [("aggregate", 286), ("getMore", 136)])
async def test_lost_history_has_its_own_error(store: Database, command: str, code: int) -> None:
    async def follow() -> None:
        async with store.watch("events", max_await_ms=100) as stream:
            for _ in range(3):
                await stream.next_batch(1)

    async with failing(store, command, errorCode=code, namespace=f"{store.name}.events"):
        with pytest.raises(HistoryLost) as lost:
            await follow()

    assert lost.value.number == code


async def test_a_stream_whose_collection_is_gone_asks_to_be_opened_again(store: Database, database: Database) -> None:
    await store.create_collection("events")
    async with store.watch("events", max_await_ms=200) as stream:
        await store.drop_database()
        kinds = [change["operationType"] for change in await take(stream, 2)]
        assert kinds == ["drop", "invalidate"]
        with pytest.raises(Unavailable):
            await stream.next_batch(1)


async def test_a_cancelled_wait_leaves_a_stream_that_can_be_closed(store: Database) -> None:
    async with store.watch("events", max_await_ms=1000) as stream:
        waiting = asyncio.ensure_future(stream.next_batch(1))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await store.ping()
