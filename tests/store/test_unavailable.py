"""Servers that are not there, frozen, alone, or named by a URI that cannot be read."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import traceback
from pathlib import Path

import pytest

from gateway.errors import SetupError, Unavailable
from gateway.store.database import Driver, connect
from gateway.store.embedded import EmbeddedMongod, find_mongod
from tests.store.seam import numbered, stored

IMPATIENT = "serverSelectionTimeoutMS=300&connectTimeoutMS=300&heartbeatFrequencyMS=500"


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


async def test_waiting_calls_that_are_cancelled_again_and_again_hold_up_no_later_call(driver: Driver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = connect(f"mongodb://127.0.0.1:{taken.getsockname()[1]}/?{IMPATIENT}", "test", driver=driver)
        try:
            for _ in range(5):
                calls = [asyncio.create_task(nobody.ping()) for _ in range(20)]
                await asyncio.sleep(0.05)
                for _ in range(3):
                    for call in calls:
                        call.cancel()
                    await asyncio.sleep(0)
                await asyncio.wait(calls, timeout=5)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(nobody.ping(), 10)
        finally:
            await nobody.close()


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
    mongod = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
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
