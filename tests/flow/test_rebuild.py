"""`rebuild` gives what was there before, mends what was broken, and goes on where it was interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.pipeline.rebuilding import Rebuilder
from gateway.store.database import Database, UpdateOne, connect
from gateway.store.rebuilds import Rebuilds
from tests.flow.conftest import ROOT, RunningGateway
from tests.flow.served import Served, serve
from tests.pace import PATIENCE

DERIVED = ("users", "sessions", "journeys")


@pytest.fixture
async def database(gateway_environment: dict[str, str]) -> AsyncIterator[Database]:
    database = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    yield database
    await database.close()


async def world(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All that is derived, without the revisions that each writing bumps."""
    found = {}
    for name in DERIVED:
        rows = await database.find(name, {}, sort=[("_id", 1)])
        found[name] = [{key: value for key, value in row.items() if key != "revision"} for row in rows]
    return found


def messages(count: int) -> list[dict[str, Any]]:
    """People who look, buy, come in anonymously and sign in later."""
    found: list[dict[str, Any]] = []
    for number in range(count):
        who: dict[str, Any] = {"anonymousId": f"a{number}"} if number % 3 else {"userId": f"u{number}"}
        found.append({"type": "track", "event": "Product Viewed", **who})
        if number % 2:
            found.append({"type": "track", "event": "Product Added", **who})
        if number % 3 == 1:
            found.append({"type": "identify", "anonymousId": f"a{number}", "userId": f"u{number}", "traits": {"n": 1}})
    return [{**message, "messageId": f"m{index}"} for index, message in enumerate(found)]


async def derived(database: Database, events: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await database.count("work", {"pending": None}) < events:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)


async def break_things(database: Database) -> int:
    """Spoil a user, a session and a journey, lose one of each; how many users are concerned."""
    users = await database.find("users", {"movedTo": None}, sort=[("_id", 1)])
    first, second, third = (user["_id"] for user in users[:3])
    await database.delete_many("users", {"_id": first})
    await database.delete_many("sessions", {"user": first})
    await database.bulk_write("sessions", [UpdateOne({"user": second}, {"$set": {"events": 99}})])
    await database.bulk_write(
        "journeys", [UpdateOne({"user": third}, {"$set": {"stage": "checkout", "visits.0.stage": "checkout"}})]
    )
    return 3


async def test_a_rebuild_gives_the_same_and_mends_what_is_broken(running: RunningGateway, database: Database) -> None:
    sent = messages(24)
    running.batch(*sent)
    await derived(database, len(sent))
    before, feed = await world(database), await database.count("feed", {})
    compared = json.loads(running.command("rebuild", "--dry-run", "--json").stdout)
    assert compared == {
        "dryRun": True,
        "users": 24,
        "changedUsers": 0,
        "changedSessions": 0,
        "changedJourneys": 0,
        "usersThatDoNotFold": 0,
    }
    done = running.command("rebuild")
    assert done.stdout == "24 users folded anew.\n"
    assert "24 of 24 users" in done.stderr
    assert await world(database) == before
    assert await database.count("feed", {}) == feed, "nothing has changed, so that nothing is announced"
    concerned = await break_things(database)
    broken = await world(database)
    compared = json.loads(running.command("rebuild", "--dry-run", "--json").stdout)
    assert compared["changedUsers"] == concerned - 1, "a user whose row is lost is not found by a dry run"
    assert await world(database) == broken, "a dry run writes nothing"
    assert json.loads(running.command("rebuild", "--json").stdout) == {"users": 24, "resumed": False, "setAside": []}
    assert await world(database) == before
    assert await database.count("rebuilds", {}) == 0


async def test_one_user_is_rebuilt_under_whichever_id(running: RunningGateway, database: Database) -> None:
    sent = messages(12)
    running.batch(*sent)
    await derived(database, len(sent))
    before = await world(database)
    user = before["journeys"][0]["user"]
    spoilt = {"$set": {"status": "completed"}}
    await database.update_many("journeys", {}, spoilt)
    compared = json.loads(running.command("rebuild", "--user", user, "--dry-run", "--json").stdout)
    assert (compared["users"], compared["changedUsers"]) == (1, 1)
    assert json.loads(running.command("rebuild", "--user", user, "--json").stdout)["users"] == 1
    mended = [run for run in (await world(database))["journeys"] if run["status"] != "completed"]
    assert mended == [run for run in before["journeys"] if run["user"] == user]
    unknown = running.command("rebuild", "--user", "nobody", check=False)
    assert unknown.returncode == 1
    assert "There is no user 'nobody'" in unknown.stderr
    nowhere = running.command("rebuild", "--workspace", "elsewhere", check=False)
    assert nowhere.returncode == 1


def rebuilding(environment: dict[str, str]) -> subprocess.Popen[str]:
    """`rebuild` where nobody derives, so that it waits for ever."""
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "rebuild"],
        env={**environment, "GATEWAY_ROLE": "api"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_an_interrupted_rebuild_goes_on(
    running: RunningGateway, database: Database, gateway_environment: dict[str, str]
) -> None:
    sent = messages(24)
    running.batch(*sent)
    await derived(database, len(sent))
    before = await world(database)
    running.stop()
    await break_things(database)
    waiting = rebuilding(gateway_environment)
    async with asyncio.timeout(PATIENCE):
        while not await database.count("rebuilds", {"whole": True}):
            assert waiting.poll() is None
            await asyncio.sleep(0.05)
    waiting.send_signal(signal.SIGINT)
    printed = await asyncio.to_thread(waiting.communicate, timeout=PATIENCE)
    assert waiting.returncode == 1
    assert "Interrupted" in printed[1]
    assert await database.count("users", {"maps": "rebuild"}) == 24
    # No gateway runs: the command derives itself.
    done = running.command("rebuild")
    assert done.stdout == "24 users folded anew, going on with a rebuild that was interrupted.\n"
    assert await world(database) == before


@pytest.fixture
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri) as served:
        yield served


async def test_a_rebuild_under_traffic_loses_nothing(served: Served) -> None:
    database, gateway = served.gateway.database, served.gateway
    rebuilder = Rebuilder(Rebuilds(database), gateway.users, gateway.clock)
    seen: list[tuple[int, int]] = []

    await traffic(served, range(60))
    await gateway.events.derived("main")
    sending = asyncio.create_task(traffic(served, range(60, 120)))
    for _ in range(3):
        done = await rebuilder.everybody("main", lambda users, finished: seen.append((users, finished)))
        assert (done.users, done.set_aside) == (7, ())
    await sending
    await gateway.events.derived("main")
    assert sum(user["events"] for user in await database.find("users", {"movedTo": None})) == 120
    assert sum(visit["events"] for visit in await database.find("sessions", {})) == 120
    assert seen[-1] == (7, 7)


async def traffic(served: Served, numbers: range) -> None:
    for number in numbers:
        await served.track(f"t{number}", userId=f"u{number % 7}")


async def test_a_user_without_events_is_none_after_a_rebuild(served: Served) -> None:
    database, gateway = served.gateway.database, served.gateway
    for number in range(3):
        await served.track(f"m{number}", userId=f"u{number}")
    await gateway.events.derived("main")
    await database.delete_many("events", {"userId": "u1"})
    rebuilder = Rebuilder(Rebuilds(database), gateway.users, gateway.clock)
    done = await rebuilder.everybody("main", lambda users, finished: None)
    assert done.users == 3
    (identity,) = await database.find("identities", {"value": "u1"})
    assert done.set_aside == ()
    assert await database.find_one("users", {"_id": identity["user"]}) is None
    assert await database.count("sessions", {"user": identity["user"]}) == 0
