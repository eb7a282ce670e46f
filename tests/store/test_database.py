"""The driver seam against a real mongod, the same for both drivers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from gateway.errors import GatewayError, InvalidInput, SetupError, StoreError, Unavailable
from gateway.store import database as seam
from gateway.store.database import (
    Database,
    DeleteOne,
    Driver,
    HistoryLost,
    Index,
    InsertOne,
    Session,
    UpdateOne,
    connect,
)
from gateway.store.embedded import EmbeddedMongod, find_mongod

IMPATIENT = "serverSelectionTimeoutMS=300&connectTimeoutMS=300&heartbeatFrequencyMS=500"


class Commands(seam.CommandListener):
    """Every command sent, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append((event.command_name, dict(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def count(self, name: str) -> int:
        return sum(1 for sent, _ in self.sent if sent == name)


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture(params=["pymongo", "motor"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return cast(Driver, request.param)


@pytest.fixture
async def store(mongo_uri: str, driver: Driver, commands: Commands) -> AsyncIterator[Database]:
    database = connect(mongo_uri, f"test_{uuid.uuid4().hex}", driver=driver, listeners=[commands])
    try:
        yield database
        await database.drop_database()
    finally:
        await database.close()


@asynccontextmanager
async def failing(database: Database, *names: str, times: int = 1, **how: Any) -> AsyncIterator[None]:
    """The server's own fail point: the next `times` commands of these names fail as `how` says."""
    data = {"failCommands": list(names), **how}
    await database.admin({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})
    try:
        yield
    finally:
        await database.admin({"configureFailPoint": "failCommand", "mode": "off"})


def numbered(*numbers: int) -> list[seam.Document]:
    return [{"_id": number, "n": number} for number in numbers]


async def stored(database: Database, collection: str = "events") -> list[Any]:
    return [found["_id"] for found in await database.find(collection, {}, sort=[("_id", 1)])]


# -- insert_unordered ---------------------------------------------------------------------------------------------


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


# -- a server that is not there -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_a_port_where_nobody_listens_is_unavailable(driver: Driver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = connect(f"mongodb://127.0.0.1:{taken.getsockname()[1]}/?{IMPATIENT}", "test", driver=driver)
        try:
            for call in (nobody.ping, nobody.operation_time, nobody.drop_database):
                with pytest.raises(Unavailable):
                    await call()
        finally:
            await nobody.close()
            gc.collect()  # pymongo leaves the socket of a connection attempt that closing the client cut short


async def test_a_frozen_server_is_unavailable_and_loses_nothing(
    tmp_path: Path, mongod_binary: Path | None, driver: Driver
) -> None:
    mongod = await EmbeddedMongod.start(tmp_path, mongod=mongod_binary)
    store = connect(f"{mongod.uri}&{IMPATIENT}", "test", driver=driver)
    try:
        await store.insert_unordered("events", numbered(1))
        os.kill(mongod.pid, signal.SIGSTOP)
        await asyncio.sleep(0.2)  # its threads stop one by one
        with pytest.raises(Unavailable):
            await store.find("events", {})
        insert = asyncio.ensure_future(store.insert_unordered("events", numbered(1, 2)))
        await asyncio.sleep(0.5)
        os.kill(mongod.pid, signal.SIGCONT)

        outcome = await insert

        assert outcome.duplicates == {0}
        assert outcome.inserted == {1}
        assert await stored(store) == [1, 2]
    finally:
        os.kill(mongod.pid, signal.SIGCONT)
        await store.close()
        await mongod.stop()


async def test_a_standalone_server_is_a_mistake_of_the_set_up(
    tmp_path: Path, mongod_binary: Path | None, driver: Driver
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [
        find_mongod(mongod_binary),
        "--dbpath",
        tmp_path,
        "--port",
        str(port),
        "--bind_ip",
        "127.0.0.1",
    ]
    command += ["--nounixsocket", "--logpath", tmp_path / "mongod.log"]
    mongod = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    store = connect(f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=20000", "test", driver=driver)

    async def transact() -> None:
        async with store.transaction() as session:
            await store.update_one("events", {}, {"$set": {"n": 1}}, session=session)

    async def follow() -> None:
        async with store.watch("events"):
            pass

    try:
        await store.ping()
        for call in (store.operation_time, transact, follow):
            with pytest.raises(SetupError, match="replica set"):
                await call()
    finally:
        await store.close()
        mongod.kill()
        await mongod.wait()


@pytest.mark.parametrize(
    "uri", ["redis://jo:hunter2@host", "mongodb://jo:hunter2@:x/", "mongodb://jo:hun/ter2@host:1/"]
)
def test_a_uri_that_cannot_be_read_is_not_repeated(driver: Driver, uri: str) -> None:
    with pytest.raises(SetupError, match="GATEWAY_MONGO_URI") as refused:
        connect(uri, "test", driver=driver)

    assert "hun" not in "".join(traceback.format_exception(refused.value)).split("SetupError")[-1]


# -- reading and writing ------------------------------------------------------------------------------------------


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


# -- transactions -------------------------------------------------------------------------------------------------


async def test_a_transaction_commits_all_or_nothing(store: Database) -> None:
    async with store.transaction() as session:
        await store.insert_many("rows", numbered(1), session=session)
        await store.update_one("others", {"_id": 1}, {"$set": {"n": 1}}, upsert=True, session=session)
        assert await store.find_one("rows", {"_id": 1}) is None, "not before the commit"

    async def break_off(session: Session) -> None:
        await store.insert_many("rows", numbered(2), session=session)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await store.with_transaction(break_off)

    assert await stored(store, "rows") == [1]
    assert await stored(store, "others") == [1]


async def test_a_transaction_reads_one_snapshot(store: Database) -> None:
    await store.insert_many("rows", numbered(1))

    async with store.transaction() as session:
        assert len(await store.find("rows", {}, session=session)) == 1
        await store.insert_many("rows", numbered(2))
        assert len(await store.aggregate("rows", [], session=session)) == 1
    assert await stored(store, "rows") == [1, 2]


async def test_a_transaction_reads_lists_of_several_batches(store: Database) -> None:
    await store.insert_many("rows", numbered(*range(2500)))

    async def work(session: Session) -> tuple[int, int]:
        found = await store.find("rows", {}, session=session)
        return len(found), len(await store.aggregate("rows", [], session=session))

    assert await store.with_transaction(work) == (2500, 2500)


async def test_a_conflict_runs_the_work_again(store: Database) -> None:
    await store.insert_many("rows", numbered(0))
    runs = 0

    async def work(session: Session) -> int:
        nonlocal runs
        runs += 1
        row = await store.find_one("rows", {"_id": 0}, session=session)
        assert row is not None
        if runs == 1:
            await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}})
        await store.update_one("rows", {"_id": 0}, {"$set": {"n": row["n"] + 1}}, session=session)
        return int(row["n"])

    assert await store.with_transaction(work) == 10
    assert runs == 2
    assert await store.find_one("rows", {}) == {"_id": 0, "n": 11}


async def test_a_conflict_in_a_single_attempt_is_unavailable(store: Database) -> None:
    await store.insert_many("rows", numbered(0))

    async def attempt() -> None:
        async with store.transaction() as session:
            await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 1}}, session=session)

    async with store.transaction() as other:
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}}, session=other)
        with pytest.raises(Unavailable):
            await attempt()


@pytest.mark.parametrize("fault", [{"closeConnection": True}, {"writeConcernError": {"code": 64, "errmsg": "slow"}}])
async def test_a_commit_of_unknown_outcome_is_repeated_and_the_work_is_not(
    store: Database, fault: dict[str, Any]
) -> None:
    await store.create_collection("rows")
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.insert_many("rows", numbered(runs), session=session)

    async with failing(store, "commitTransaction", times=2, **fault):
        await store.with_transaction(work)

    assert runs == 1
    assert await stored(store, "rows") == [1]


async def test_a_commit_that_never_gets_through_ends_at_the_deadline_and_is_not_run_again(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.transactions.TRANSACTION_SECONDS", 0.5)
    await store.create_collection("rows")
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.insert_many("rows", numbered(runs), session=session)

    async with failing(store, "commitTransaction", times=10_000, closeConnection=True):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.with_transaction(work)
        assert time.monotonic() - started < 3
    await store.admin({"killAllSessions": []})  # the server still waits for the commit, and keeps the locks

    assert runs == 1


async def test_transactions_that_never_get_through_end_at_the_deadline(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.transactions.TRANSACTION_SECONDS", 0.5)
    await store.insert_many("rows", numbered(0))
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.find_one("rows", {"_id": 0}, session=session)
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}})
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 1}}, session=session)

    started = time.monotonic()
    with pytest.raises(Unavailable):
        await store.with_transaction(work)

    assert runs > 1
    assert time.monotonic() - started < 3


# -- change streams -----------------------------------------------------------------------------------------------

INSERTS = [{"$match": {"operationType": "insert"}}]


async def test_a_stream_starts_at_an_operation_time_inclusive(store: Database) -> None:
    await store.insert_unordered("events", numbered(1))
    since = await store.operation_time()
    await store.insert_unordered("events", numbered(2, 3))

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

    async with failing(store, command, errorCode=code):
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


async def take(stream: seam.Stream, count: int) -> list[seam.Document]:
    """Exactly the next `count` changes."""
    taken: list[seam.Document] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            taken += await stream.next_batch(count - len(taken))
    return taken


# -- the server ---------------------------------------------------------------------------------------------------


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
