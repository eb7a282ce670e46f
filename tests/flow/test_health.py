"""/healthz and /readyz: quick whatever happens, true, and without anything secret in them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import health
from gateway.store.embedded import EmbeddedMongod
from tests.flow.served import Served, serve
from tests.pace import PATIENCE


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri) as served:
        yield served


async def until_ready(served: Served, wanted: bool, seconds: float = PATIENCE) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while (await served.ready())[1]["ready"] is not wanted:  # noqa: ASYNC110 - asked as a load balancer does
            await asyncio.sleep(0.05)
    return (await served.ready())[1]


async def test_a_process_that_works_is_alive_and_ready(served: Served) -> None:
    found = await until_ready(served, True)
    assert found["role"] == "all"
    assert set(found["checks"]) == {"mongodb", "live", "derivation", "disk", "accepting"}
    async with asyncio.timeout(PATIENCE):
        while found["checks"]["derivation"]["state"] != "deriving":  # it takes its lanes in a moment
            found = (await served.ready())[1]
    assert found["checks"]["derivation"]["lanes"] == 16
    alive = await served.client.get("/healthz")
    assert (alive.status_code, alive.json()) == (200, {"alive": True})
    assert (await served.client.head("/healthz")).status_code == 200
    assert (await served.client.post("/readyz")).status_code == 405


@pytest.mark.timed
async def test_being_asked_costs_mongodb_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, asks = 0, 300
    hello = type(served.gateway.database).hello

    async def counted(self: Any) -> Any:
        nonlocal asked
        # Looks at the clock of what is read are no answers about health.
        asked += sys._getframe(1).f_code.co_name != "majority_time"
        return await hello(self)

    monkeypatch.setattr(type(served.gateway.database), "hello", counted)
    for _ in range(asks):
        assert (await served.ready())[0] == 200
    assert asked < asks / 3, "about once a second, and now and then for the clock"


async def test_a_feed_that_is_not_followed_makes_the_api_not_ready(served: Served) -> None:
    await served.gateway.hub.stop()
    served.gateway.hub._open.clear()
    found = (await served.ready())[1]
    assert found["ready"] is False
    assert [name for name, check in found["checks"].items() if not check["ok"]] == ["live"]
    await served.gateway.hub.start()
    await until_ready(served, True)


@pytest.mark.parametrize(("role", "ready"), [("derive", False), ("all", True)])
async def test_derivation_that_stands_still_is_told_and_turns_away_no_events(
    mongo_uri: str, monkeypatch: pytest.MonkeyPatch, role: str, ready: bool
) -> None:
    async with serve(mongo_uri, role=role) as served:
        await until_ready(served, True)
        monkeypatch.setattr(health, "SILENT_SECONDS", -1.0)
        found = (await served.ready())[1]
        assert found["ready"] is ready
        assert found["checks"]["derivation"]["ok"] is False


async def test_a_process_that_drains_is_not_ready(mongo_uri: str) -> None:
    async with serve(mongo_uri) as served:
        await until_ready(served, True)
        await served.serving.drain(0)
        status, found = await served.ready()
        assert status == 503
        assert found["checks"]["accepting"] == {"ok": False, "reason": "the process stops"}
        assert (await served.client.get("/healthz")).status_code == 200
        answer = await served.track("late")  # still served, and the client sent elsewhere
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")


@pytest.mark.timed
async def test_a_frozen_mongod_is_told_and_its_return_too(
    tmp_path: Path, mongod_binary: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    mongod = await EmbeddedMongod.start(tmp_path, mongod=mongod_binary)
    try:
        caplog.set_level(logging.INFO, "gateway.app")
        async with serve(mongod.uri) as served:
            async with asyncio.timeout(PATIENCE):
                while "the process is ready" not in caplog.messages:  # noqa: ASYNC110 - the watch tells nobody
                    await asyncio.sleep(0.05)
            (process,) = mongods(tmp_path)
            caplog.clear()
            os.kill(process, signal.SIGSTOP)
            try:
                found = await until_ready(served, False)
                assert found["checks"]["mongodb"]["ok"] is False
                fastest = 60.0
                for _ in range(5):
                    began = time.monotonic()
                    assert (await served.client.get("/healthz")).status_code == 200
                    assert (await served.ready())[0] == 503
                    fastest = min(fastest, time.monotonic() - began)
                assert fastest < 0.5, "nobody waits for MongoDB"
                assert "mongodb://" not in json.dumps(found)
                await asyncio.sleep(2)
            finally:
                os.kill(process, signal.SIGCONT)
            await until_ready(served, True)
            async with asyncio.timeout(PATIENCE):
                while (await served.track("after")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                while "the process is ready" not in caplog.messages:  # noqa: ASYNC110 - with the next look
                    await asyncio.sleep(0.05)
            told = [record.getMessage() for record in caplog.records if record.name == "gateway.app"]
            assert told[0] == "the process is not ready"
            assert "the process is ready" in told
            assert len(told) <= 12, "said once, not once a look"
    finally:
        await mongod.stop()


def mongods(folder: Path) -> list[int]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in listed.splitlines() if f"--dbpath {folder}" in line]
    return [int(words[0]) for words in found if words[1].endswith("mongod")]


async def test_plugins_in_trouble_are_told_as_such(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    await until_ready(served, True)
    watch = served.gateway.watch
    await watch.look()
    caplog.set_level(logging.INFO, "gateway.app")
    watch.plugins += ["crm: it does not start", "crm: nor does its second instance"]
    try:
        await watch.look()
    finally:
        watch.plugins.clear()
        await watch.look()
    assert caplog.messages == ["plugins are in trouble", "the process is ready"]


async def test_kpis_that_are_not_written_down_are_told_and_turn_no_work_away(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await until_ready(served, True)
    watch = served.gateway.watch
    await watch.look()
    caplog.set_level(logging.INFO, "gateway.app")
    kept, watch.snapshots = watch.snapshots, lambda: ["nps: TOO_LARGE"]
    try:
        await watch.look()
        status, answer = await served.ready()
        assert (status, answer["ready"]) == (200, True)
        assert answer["checks"]["snapshots"] == {
            "ok": False,
            "reason": "KPIs that are not written down: nps: TOO_LARGE",
        }
    finally:
        watch.snapshots = kept
        await watch.look()
    assert caplog.messages == ["snapshots of KPIs are in trouble", "the process is ready"]


async def test_users_whose_events_do_not_fold_are_told(served: Served) -> None:
    database, aside = served.gateway.database, {"at": 1, "error": "KeyError"}
    row = {"_id": "poisoned", "workspace": "main", "movedTo": None, "setAside": aside}
    await database.insert_many("users", [row])
    incident = await served.gateway.derivation.history_lost(None, [3], 1_795_255_200_000)
    await served.gateway.watch.look()
    check = (await served.ready())[1]["checks"]["derivation"]
    assert (check["setAside"], check["openIncidents"]) == (1, 1)
    samples = await served.samples()
    assert samples["journey_gateway_users_set_aside", frozenset()] == 1
    assert samples["journey_gateway_derivation_incidents_open", frozenset()] == 1
    await database.delete_many("users", {"_id": "poisoned"})
    await served.gateway.derivation.ended(incident, 1_795_255_200_001)
    await served.gateway.watch.look()
    check = (await served.ready())[1]["checks"]["derivation"]
    assert check.keys().isdisjoint({"setAside", "openIncidents"})
