"""Reading and writing through the driver seam, against a real mongod, the same for both drivers."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import GatewayError, StoreError, Unavailable
from gateway.store.database import (
    Database,
    DeleteOne,
    Index,
    InsertOne,
    UpdateOne,
    connect,
)
from tests.store.seam import Commands, failing, numbered, stored


async def test_find_sorts_limits_and_projects(store: Database) -> None:
    await store.insert_many("events", [{"_id": n, "even": n % 2 == 0, "n": n} for n in range(10)])

    found = await store.find("events", {"even": True}, sort=[("n", -1)], limit=2, projection={"_id": 0, "n": 1})

    assert found == [{"n": 8}, {"n": 6}]


async def test_a_page_is_one_round_trip_and_longer_lists_come_whole(store: Database, commands: Commands) -> None:
    await store.insert_many("events", numbered(*range(2500)))

    assert len(await store.find("events", {}, limit=500)) == 500
    assert commands.count("getMore") == 0
    assert len(await store.find("events", {})) == 2500
    assert len(await store.aggregate("events", [{"$match": {"n": {"$gte": 100}}}])) == 2400


async def test_find_one_and_count_and_aggregate_answer_what_is_there(store: Database) -> None:
    await store.insert_many("events", numbered(1, 2, 3))

    assert await store.find_one("events", {"n": {"$gt": 1}}, sort=[("n", -1)], projection=["n"]) == {"_id": 3, "n": 3}
    assert await store.find_one("events", {"n": 9}) is None
    assert await store.count("events", {"n": {"$gt": 1}}) == 2
    assert await store.count("events", {}, limit=1, max_time_ms=5000) == 1
    total = [{"$group": {"_id": None, "sum": {"$sum": "$n"}}}]
    assert await store.aggregate("events", total, max_time_ms=5000) == [{"_id": None, "sum": 6}]


async def test_a_read_that_takes_too_long_is_unavailable(store: Database) -> None:
    await store.insert_many("events", numbered(1))

    async with failing(store, "find", "aggregate", times=4, errorCode=50):
        with pytest.raises(Unavailable):
            await store.find("events", {}, max_time_ms=10)
        with pytest.raises(Unavailable):
            await store.aggregate("events", [], max_time_ms=10)


async def test_find_one_and_update_returns_the_document_before_or_after(store: Database) -> None:
    update = {"$inc": {"n": 1}}

    assert await store.find_one_and_update("rows", {"_id": 1}, update) is None
    assert await store.find_one_and_update("rows", {"_id": 1}, update, upsert=True) == {"_id": 1, "n": 1}
    assert await store.find_one_and_update("rows", {"_id": 1}, update, returning="before") == {"_id": 1, "n": 1}
    assert await store.find_one_and_update("rows", {"_id": 1}, update, projection={"_id": 0}) == {"n": 3}


async def test_updates_and_deletes_say_how_many(store: Database) -> None:
    made = await store.update_one("rows", {"_id": 1}, {"$set": {"n": 1}}, upsert=True)
    same = await store.update_one("rows", {"_id": 1}, [{"$set": {"n": 1}}])

    assert (made.matched, made.modified, made.upserted) == (0, 0, True)
    assert (same.matched, same.modified, same.upserted) == (1, 0, False)
    await store.insert_many("rows", numbered(2, 3))
    assert (await store.update_many("rows", {}, {"$set": {"n": 3}})).modified == 2
    assert await store.delete_many("rows", {"_id": {"$gt": 1}}) == 2


async def test_bulk_write_counts_each_kind(store: Database) -> None:
    await store.insert_many("rows", numbered(1, 2))

    done = await store.bulk_write(
        "rows",
        [
            InsertOne({"_id": 3}),
            UpdateOne({"_id": 1}, {"$set": {"n": 7}}),
            UpdateOne({"_id": 4}, {"$set": {"n": 4}}, upsert=True),
            DeleteOne({"_id": 2}),
        ],
    )

    assert (done.inserted, done.matched, done.modified, done.upserted, done.deleted) == (1, 1, 1, 1, 1)
    assert await stored(store, "rows") == [1, 3, 4]


async def test_a_refused_write_keeps_its_number_and_not_its_content(store: Database) -> None:
    await store.ensure_indexes("users", [Index(keys=(("email", 1),), unique=True)])
    await store.insert_many("users", [{"_id": 1, "email": "jo@example.org"}, {"_id": 2}])
    again = {"$set": {"email": "jo@example.org"}}
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.update_one("users", {"_id": 2}, again),
        lambda: store.insert_many("users", [{"_id": 3, "email": "jo@example.org"}]),
        lambda: store.bulk_write("users", [UpdateOne({"_id": 2}, again)]),
    ]

    for call in calls:
        with pytest.raises(StoreError) as refused:
            await call()
        assert refused.value.number == 11000
        assert "jo@example.org" not in "".join(traceback.format_exception(refused.value))


async def test_a_wrong_command_says_what_is_wrong_without_the_values(store: Database) -> None:
    await store.insert_many("users", [{"_id": "jo@example.org", "n": "text"}])

    with pytest.raises(StoreError, match=r"non-numeric type.*code 14") as refused:
        await store.update_one("users", {}, {"$inc": {"n": 1}})

    assert "jo@example.org" not in "".join(traceback.format_exception(refused.value))


async def test_indexes_and_collections_may_be_asked_for_again(store: Database) -> None:
    for _ in range(2):
        await store.create_collection("users")
        await store.ensure_indexes("users", [Index((("workspace", 1), ("at", -1))), Index((("n", 1),), unique=True)])

    with pytest.raises(StoreError):
        await store.ensure_indexes("users", [Index((("n", 1),), partial={"n": {"$gt": 0}})])


async def test_hello_tells_the_server_s_time_and_place(store: Database) -> None:
    hello = await store.hello()

    assert hello["isWritablePrimary"] is True
    assert hello["setName"]
    assert hello["localTime"].tzinfo is None
    assert await store.operation_time() >= hello["operationTime"]


async def test_no_driver_error_gets_out(store: Database) -> None:
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: store.find("events", {"$nonsense": 1}),
        lambda: store.find_one("events", {"$nonsense": 1}),
        lambda: store.count("events", {"$nonsense": 1}),
        lambda: store.aggregate("events", [{"$nonsense": {}}]),
        lambda: store.update_one("events", {}, {"$nonsense": {}}),
        lambda: store.find_one_and_update("events", {}, {"$nonsense": {"n": 1}}),
        lambda: store.delete_many("events", {"$nonsense": 1}),
        lambda: store.insert_many("", [{}]),
        lambda: store.admin({"nonsense": 1}),
    ]
    for operation in operations:
        with pytest.raises(GatewayError):
            await operation()


async def test_an_option_that_the_driver_does_not_know_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await connect("mongodb://127.0.0.1:1/?replicaSet=rs0&tlsx=true", "x").close()
    (told,) = caplog.records
    assert told.message == "GATEWAY_MONGO_URI has an option that the driver does not know"
    assert vars(told)["option"] == "tlsx"
