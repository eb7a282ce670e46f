"""Databases that tests get one after another: each empty, and in the shape that the gateway makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.store import collections
from gateway.store.database import Database, Index, connect
from tests.databases import Databases

Change = Callable[[Database], Awaitable[object]]


@pytest.fixture
async def databases(mongo_uri: str) -> AsyncIterator[Databases]:
    databases = Databases(mongo_uri, resting=1)
    yield databases
    await databases.close()


async def use(databases: Databases, uri: str, change: Change | None = None) -> str:
    """What one test does; it must find nothing."""
    async with databases.lend() as name:
        database = connect(uri, name)
        try:
            assert {each.name for each in collections.COLLECTIONS} == await collections_of(database)
            for each in collections.COLLECTIONS:
                assert await database.count(each.name, {}) == 0
                assert await indexes_of(database, each.name) == 1 + len(each.indexes)
            if change is not None:
                await change(database)
        finally:
            await database.close()
    return name


async def collections_of(database: Database) -> set[str]:
    reply = await database.admin(
        {"listCollections": 1, "nameOnly": True, "cursor": {"batchSize": 1_000}}, on=database.name
    )
    return {each["name"] for each in reply["cursor"]["firstBatch"]}


async def indexes_of(database: Database, collection: str) -> int:
    reply = await database.admin({"listIndexes": collection}, on=database.name)
    return len(reply["cursor"]["firstBatch"])


async def fill(database: Database) -> None:
    for each in collections.COLLECTIONS:
        await database.insert_many(each.name, [{"workspace": "w", "sk": number} for number in range(3)])


async def add_a_collection(database: Database) -> None:
    await database.create_collection("another")


async def add_an_index(database: Database) -> None:
    await database.ensure_indexes("events", [Index((("another", 1),))])


async def drop_indexes(database: Database) -> None:
    await database.admin({"dropIndexes": "quarantine", "index": "*"}, on=database.name)


async def make_a_collection_anew(database: Database) -> None:
    await database.admin({"drop": "events"}, on=database.name)
    await collections.prepare(database)


async def set_an_option(database: Database) -> None:
    await database.admin({"collMod": "events", "validator": {"never": True}}, on=database.name)


async def drop_all(database: Database) -> None:
    await database.drop_database()


async def write_very_much(database: Database) -> None:
    await database.insert_many("feed", [{"_id": number} for number in range(2_500)])


CHANGES = (
    add_a_collection,
    add_an_index,
    drop_indexes,
    make_a_collection_anew,
    set_an_option,
    drop_all,
    write_very_much,
)


async def test_a_database_is_lent_again_and_holds_nothing(databases: Databases, mongo_uri: str) -> None:
    first, second = [await use(databases, mongo_uri, fill) for _ in range(2)]
    assert first != second
    assert [await use(databases, mongo_uri, fill) for _ in range(4)] == [first, second, first, second]


async def test_two_at_a_time_have_one_each(databases: Databases, mongo_uri: str) -> None:
    async with databases.lend() as one, databases.lend() as other:
        assert one != other
        assert await use(databases, mongo_uri) not in (one, other)


async def test_what_a_test_has_changed_is_not_lent_again(databases: Databases, mongo_uri: str) -> None:
    for change in CHANGES:
        changed = await use(databases, mongo_uri, change)
        server = await databases._server.admin({"listDatabases": 1, "nameOnly": True})
        assert changed not in {each["name"] for each in server["databases"]}, change


async def test_what_somebody_still_wrote_to_is_not_lent_again(databases: Databases, mongo_uri: str) -> None:
    first = await use(databases, mongo_uri)
    late = connect(mongo_uri, first)
    await late.insert_many("events", [{"_id": 1}])
    await late.close()
    assert first not in [await use(databases, mongo_uri) for _ in range(3)]
