"""Reads that wait for what their process has seen, where the server's majority view is behind; for both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import Unavailable
from gateway.store.database import Database, Timestamp
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.lanes import Lanes
from tests.pace import PATIENCE
from tests.store.seam import numbered


@asynccontextmanager
async def majority_view_standing_still(store: Database) -> AsyncIterator[None]:
    """As on a primary just elected: what is written is there, and majority reads do not show it yet."""
    await store.admin({"configureFailPoint": "disableSnapshotting", "mode": "alwaysOn"})
    try:
        yield
    finally:
        await store.admin({"configureFailPoint": "disableSnapshotting", "mode": "off"})
        await store.admin({"appendOplogNote": 1, "data": {"view": "moves again"}})  # it moves with the next write


async def written_past(store: Database, before: Timestamp) -> Timestamp:
    async with asyncio.timeout(PATIENCE):
        while (at := await store.operation_time()) <= before:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    return at


async def test_a_read_waits_until_the_majority_view_shows_its_time(store: Database) -> None:
    await store.insert_many("events", numbered(1))
    before = await store.operation_time()
    async with majority_view_standing_still(store):
        writing = asyncio.create_task(store.insert_unordered("events", numbered(2)))
        at = await written_past(store, before)
        assert [row["_id"] for row in await store.find("events", {})] == [1], "the view does not stand still"
        async with store.reading_after(at) as session:
            with pytest.raises(Unavailable):
                await store.find("events", {}, session=session, max_time_ms=200)
    await writing
    async with store.reading_after(at) as session:
        assert len(await store.find("events", {}, session=session, max_time_ms=5000)) == 2


async def test_a_read_after_nothing_does_not_wait(store: Database) -> None:
    async with store.reading_after(None) as session:
        assert session is None


async def test_heads_of_the_feed_are_never_older_than_what_was_committed_anywhere(store: Database) -> None:
    await Lanes(store).prepare()
    before = await store.operation_time()
    async with majority_view_standing_still(store):
        writing = asyncio.create_task(store.update_one("lanes", {"_id": 3}, {"$set": {"seq": 7}}))
        await written_past(store, before)
        asking = asyncio.create_task(Feed(store).heads_and_floors())
        await asyncio.wait({asking}, timeout=1)
        assert not asking.done(), "it answered out of a view that is behind"
    await writing
    assert (await asking)[0][3] == 7


async def test_hashes_are_read_as_of_the_insert_that_met_a_duplicate(store: Database) -> None:
    event = {"_id": b"1", "workspace": "w", "hash": b"h"}
    before = await store.operation_time()
    async with majority_view_standing_still(store):
        writing = asyncio.create_task(store.insert_unordered("events", [event]))
        at = await written_past(store, before)
        asking = asyncio.create_task(Events(store).hashes("w", [b"1"], after=at))
        announcing = asyncio.create_task(Events(store).announced("w", [b"1"], after=at))
        await asyncio.wait({asking}, timeout=1)
        assert not asking.done()
        assert not announcing.done()
        announcing.cancel()
    await writing
    assert await asking == {b"1": b"h"}
