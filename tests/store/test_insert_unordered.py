"""The intake's one write against a real mongod, through both drivers."""

from __future__ import annotations

import time
import traceback

import pytest

from gateway.errors import InvalidInput, Unavailable
from gateway.store import database as seam
from gateway.store.database import (
    Database,
    Driver,
    connect,
)
from tests.store.seam import Commands, failing, numbered, stored


async def test_a_batch_of_new_documents_is_inserted_whole(store: Database) -> None:
    outcome = await store.insert_unordered("events", numbered(1, 2, 3))

    assert outcome.inserted == {0, 1, 2}
    assert not outcome.duplicates
    assert not outcome.failed
    assert await stored(store) == [1, 2, 3]


async def test_an_empty_batch_sends_nothing(store: Database, commands: Commands) -> None:
    assert (await store.insert_unordered("events", [])).inserted == frozenset()
    assert commands.sent == []


async def test_a_batch_sent_again_is_all_duplicates(store: Database) -> None:
    await store.insert_unordered("events", numbered(1, 2))

    outcome = await store.insert_unordered("events", numbered(1, 2))

    assert outcome.duplicates == {0, 1}
    assert not outcome.inserted


async def test_duplicates_and_refused_documents_leave_their_neighbours_stored(store: Database) -> None:
    await store.insert_unordered("events", numbered(2))
    batch = numbered(1, 2, 3, 1)
    batch.insert(2, {"_id": "huge", "n": "x" * (16 * 1024 * 1024)})

    outcome = await store.insert_unordered("events", batch)

    assert outcome.inserted == {0, 3}
    assert outcome.duplicates == {1, 4}
    assert outcome.failed == {2: 2}
    assert await stored(store) == [1, 2, 3]


@pytest.mark.parametrize(
    "secret",
    [2**63 + 815, "jo@example.org \ud800", {"jo@example.org\0": 1}, {815: object()}],
    ids=["integer", "surrogate", "key", "object"],
)
async def test_a_value_bson_cannot_carry_is_refused_without_being_named(store: Database, secret: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        await store.insert_unordered("events", [{"_id": 1}, {"_id": 2, "value": secret}])

    said = "".join(traceback.format_exception(refused.value))
    assert "jo@example.org" not in said
    assert "815" not in said.split("InvalidInput")[-1]
    assert await stored(store) == []


async def test_writes_wait_for_a_majority_s_journal_whatever_the_uri_says(mongo_uri: str, driver: Driver) -> None:
    commands = Commands()
    lax = connect(f"{mongo_uri}&w=0&journal=false", "test_lax", driver=driver, listeners=[commands])
    try:
        await lax.insert_unordered("events", numbered(1))
        await lax.drop_database()
    finally:
        await lax.close()

    (insert,) = [command for name, command in commands.sent if name == "insert"]
    assert insert["writeConcern"]["w"] == "majority"
    assert insert["writeConcern"]["j"] is True
    assert "lsid" in insert
    assert "txnNumber" in insert, "without it a retry could store twice"


async def test_nothing_is_acknowledged_when_the_majority_did_not_confirm(store: Database) -> None:
    async with failing(store, "insert", writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"}):
        with pytest.raises(Unavailable):
            await store.insert_unordered("events", numbered(1, 2))


async def test_a_duplicate_is_not_reported_when_the_majority_did_not_confirm(store: Database) -> None:
    await store.insert_unordered("events", numbered(1))

    async with failing(store, "insert", writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"}):
        with pytest.raises(Unavailable):
            await store.insert_unordered("events", numbered(1, 2))


async def test_connections_that_drop_again_and_again_store_each_document_once(
    store: Database, commands: Commands
) -> None:
    async with failing(store, "insert", times=3, closeConnection=True):
        outcome = await store.insert_unordered("events", numbered(1, 2))

    assert outcome.inserted == {0, 1}
    assert commands.count("insert") == 4
    assert await stored(store) == [1, 2]


async def test_an_insert_ends_at_its_deadline(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "INSERT_SECONDS", 0.3)
    async with failing(store, "insert", times=100, blockConnection=True, blockTimeMS=1500):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.insert_unordered("events", numbered(1))
        assert time.monotonic() - started < 1.4
