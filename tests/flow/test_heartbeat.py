"""A loop with much to do keeps its lanes; one that hangs does not."""

from __future__ import annotations

import asyncio
import threading
import time

from gateway.clock import ServerClock
from gateway.pipeline.heartbeat import Heartbeat
from gateway.store.database import Database
from gateway.store.lanes import Lanes

LEASE = 1.0


async def lives(database: Database) -> bool:
    """Whether the process "busy" counts as alive, by MongoDB's time."""
    rows = await database.aggregate(
        "lanes", [{"$match": {"_id": "process busy"}}, {"$project": {"live": {"$gt": ["$until", "$$NOW"]}}}]
    )
    return bool(rows[0]["live"])


async def seen_from_elsewhere(database: Database) -> bool:
    """The same after two leases, by another event loop."""
    await asyncio.sleep(2 * LEASE)
    other = database.beside()
    try:
        return await lives(other)
    finally:
        await other.close()


async def test_a_busy_loop_lives_and_a_hanging_one_does_not(database: Database) -> None:
    await Lanes(database).prepare()
    loop, busy = asyncio.get_running_loop(), True

    def work() -> None:
        time.sleep(0.2)
        if busy:
            loop.call_soon(work)

    async with Heartbeat(database, "busy", LEASE, ServerClock(), lambda: None).beating():
        loop.call_soon(work)
        await asyncio.sleep(2 * LEASE)  # any call takes several of these turns
        busy = False
        assert await lives(database)
        found: list[bool] = []
        other = threading.Thread(target=lambda: found.append(asyncio.run(seen_from_elsewhere(database))))
        other.start()
        other.join()  # the loop hangs
        assert found == [False]
