"""The columnar projection as operators and callers meet it: parts appear, are rebuilt, moved and erased from; questions
about too much, or for too long, end clearly and hold nobody up."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import numpy as np
import pytest

from gateway.app.columnar import Columnar
from gateway.clock import ServerClock, monotonic
from gateway.contract.rules import EventRule
from gateway.errors import SetupError, TooLarge
from gateway.insights.columnar.engine import Busy, Connection, Engine, Stopped
from gateway.insights.columnar.folder import Folder, PartsElsewhere
from gateway.insights.columnar.scan import Limits
from gateway.insights.columnar.selecting import Selection
from gateway.model.scope import Scope
from gateway.settings import Settings
from tests.flow.conftest import ROOT
from tests.flow.served import Served, serve
from tests.pace import PATIENCE

MAIN = Scope.system("main")
ALL_TIME = (0, 1 << 50)
VIEWED = Selection((EventRule("viewed", "Product Viewed"),), ALL_TIME, labels=("plan",))
ERASE = (
    """mutation { eraseUser(input: {user: {userId: "kim"}, reason: "asked for"}) { erasure { id } errors { code } } }"""
)
ERASURE = "query($id: ID!) { erasure(id: $id) { status collections { collection count } } }"


async def until(done: Callable[[], Any]) -> Any:
    deadline = monotonic() + PATIENCE
    while not (found := await done()):
        assert monotonic() < deadline
        await asyncio.sleep(0.1)
    return found


def bytes_below(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]


def command(served: Served, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = served.gateway.settings
    named = {"MONGO_URI": settings.mongo_uri or "", "DATABASE": settings.database, "COLUMNAR_URL": url}
    own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "gateway", "columnar", *arguments],
        env={**own, **{f"GATEWAY_{key}": value for key, value in named.items()}, "NO_COLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


async def test_from_events_to_parts_and_out_of_them_again(mongo_uri: str, tmp_path: Path) -> None:
    url = str(tmp_path / "parts")
    async with serve(mongo_uri, columnar_url=url, columnar_seconds=1.0, erase_again_seconds=0.5) as served:
        columnar = served.gateway.columnar
        for number in range(3):
            await served.track(f"a{number}", properties={"plan": "pro"})
            await served.track(f"k{number}", userId="kim", properties={"plan": "xqzzycanary"})

        async def written() -> bool:
            one = await columnar.standing("main")
            return one.state == "ready" and one.rows == 6 and one.lag_seconds == 0

        await until(written)
        scanned = await columnar.scans.scan(MAIN, VIEWED)
        assert len(scanned) == 6
        assert sorted(map(str, scanned.values["plan"])) == ["pro", "xqzzycanary"]
        before = await columnar.scans.version(MAIN)
        assert before == scanned.version

        answer = (await served.graphql(ERASE)).json()["data"]["eraseUser"]
        assert not answer["errors"]
        assert len(await columnar.scans.scan(MAIN, VIEWED)) == 3, "from the answer on"

        async def erased() -> Any:
            told = (await served.graphql(ERASURE, id=answer["erasure"]["id"])).json()["data"]["erasure"]
            return told["collections"] if told["status"] == "DONE" else None

        counts = {one["collection"]: one["count"] for one in await until(erased)}
        assert counts["columnar"] == 3
        files = bytes_below(url)
        assert files
        assert not any(b"kim" in each or b"xqzzycanary" in each for each in files)
        assert (await columnar.scans.version(MAIN)) != before

        rebuilt = await asyncio.to_thread(command, served, url, "rebuild")
        assert rebuilt.returncode == 0, rebuilt.stderr
        told = json.loads((await asyncio.to_thread(command, served, url, "status", "--json")).stdout)
        assert (told["generation"], told["rows"], told["state"]) == (2, 3, "ready")
        assert len(await columnar.scans.scan(MAIN, VIEWED)) == 3
        gauges = {name: value for name, _, value in columnar.gauges()}
        assert gauges["columnar_trouble"] == 0

        elsewhere = await asyncio.to_thread(command, served, str(tmp_path / "other"), "rebuild", "--here")
        assert elsewhere.returncode != 0
        assert "A running gateway writes the parts" in elsewhere.stderr
        await sees_no_parts(served, tmp_path)


async def sees_no_parts(served: Served, tmp_path: Path) -> None:
    """A gateway with another folder says so, to whoever asks and to whoever would write."""
    database = served.gateway.database
    blind = Columnar.of(Settings(columnar_url=str(tmp_path / "blind"), database=database.name), database, ServerClock())
    try:
        with pytest.raises(PartsElsewhere, match="does not see the parts"):
            await blind.scans.scan(MAIN, VIEWED)
        assert blind.writer is not None
        await database.update_many("columnar_manifest", {"kind": "head"}, {"$set": {"owner": None}})
        await blind.writer.turn("main")
        assert "another folder" in blind.writer.trouble["main"]
    finally:
        await blind.close()


async def test_without_a_folder_little_can_be_asked(mongo_uri: str) -> None:
    async with serve(mongo_uri) as served:
        scans = served.gateway.columnar.scans
        for number in range(3):
            await served.track(f"a{number}")

        async def derived() -> bool:
            return len(await scans.scan(MAIN, VIEWED)) == 3

        await until(derived)
        scans.limits = Limits(stored_rows=2)
        with pytest.raises(TooLarge, match="more than 2 stored events"):
            await scans.scan(MAIN, VIEWED)


async def test_any_store_that_fsspec_knows(mongo_uri: str) -> None:
    async with serve(mongo_uri, columnar_url="memory://bucket/journeys", columnar_seconds=1.0) as served:
        columnar = served.gateway.columnar
        await served.track("a")

        async def written() -> bool:
            return (await columnar.standing("main")).rows == 1

        await until(written)
        assert len(await columnar.scans.scan(MAIN, VIEWED)) == 1
        columnar.scans.limits = Limits(rows=0)
        with pytest.raises(TooLarge, match="1 stored events or nearly so"):
            await columnar.scans.scan(MAIN, VIEWED)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    with pytest.raises(SetupError, match="GATEWAY_COLUMNAR_URL"):
        Folder.open("nosuch://bucket", "db")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    one = Engine(None, threads=1, memory_mb=500, at_once=1, most_waiting=2)
    yield one
    await asyncio.to_thread(one.close)


def for_ever(cursor: Connection) -> None:
    cursor.execute("SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a) = hash(b)").fetchall()


def heavy(cursor: Connection) -> int:
    """A question over a million rows, as a scan asks it."""
    query = "SELECT (range % 7)::UTINYINT AS n, hash(range) AS who, range AS at_ms FROM range(1000000)"
    found = cursor.execute(query).fetchnumpy()
    return int(np.argsort(found["who"])[0])


async def test_work_stops_at_its_deadline_and_with_its_caller(engine: Engine) -> None:
    with pytest.raises(Stopped, match=r"longer than 0.3 s"):
        await engine.run(for_ever, seconds=0.3)
    gone = asyncio.create_task(engine.run(for_ever))
    await asyncio.sleep(0.2)
    waits = asyncio.create_task(engine.run(heavy, seconds=PATIENCE))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await engine.run(heavy)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await waits >= 0
    assert engine.waiting == 0


@pytest.mark.timed
async def test_the_event_loop_goes_on_meanwhile(engine: Engine) -> None:
    """No stall of more than a tenth of a second, while millions of rows are worked on."""
    worst = 0.0
    work = asyncio.gather(*(engine.run(heavy) for _ in range(2)))
    while not work.done():
        asked = monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, monotonic() - asked - 0.005)
    await work
    assert worst < 0.1


async def test_a_store_that_is_away_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = Folder.open(str(tmp_path / "file"), "db")
    with pytest.raises(SetupError, match="cannot be used"):
        folder.name(make=True)
