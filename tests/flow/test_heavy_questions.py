"""Questions about much: those that take too long end with a clear error, too many of them wait and are refused, and
whoever asks about little meanwhile, or about nothing, is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.clock import ServerClock
from gateway.insights.columnar.engine import Connection, Engine, Queue
from gateway.insights.columnar.folder import Folder
from gateway.insights.columnar.scan import Limits
from gateway.insights.columnar.users import Directory
from gateway.store.columnar_users import IdentityKeys
from gateway.store.database import connect
from gateway.store.lanes import Lanes
from tests.databases import lend
from tests.flow.served import Served, serve
from tests.made_shop import open_shop, store_events
from tests.pace import PATIENCE

EVENTS = 400_000
LAST = {"last": "56d"}
PATHS = "query($input: PathsInput!) { paths(input: $input) { total } }"
TREND = """query($input: TrendInput!) { trend(input: $input) { differentValues
  series { value { label isOther } points { value } } } }"""


@pytest.fixture(scope="module")
async def shop(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A gateway that answers, over a shop of some size; nothing is derived meanwhile."""
    folder_path = str(tmp_path_factory.mktemp("shop"))
    async with lend(mongo_uri) as name:
        database = connect(mongo_uri, name)
        await Lanes(database).prepare()
        folder = Folder.open(folder_path, name)
        engine = Engine(folder, threads=2, memory_mb=1_000, at_once=1)
        made = await open_shop(database, folder, engine, now=int(time.time() * 1000), events=EVENTS)
        await store_events(database, folder, engine, made, most=2_000)
        await asyncio.to_thread(engine.close)
        await database.close()
        async with serve(mongo_uri, database=name, role="api", columnar_url=folder_path) as served:
            yield served


@pytest.fixture(autouse=True)
def _limits(shop: Served) -> Any:
    scans = shop.gateway.columnar.scans
    yield
    scans.limits = Limits()
    shop.gateway.evaluator.questions.forget()


async def refused(served: Served, query: str, **given: Any) -> dict[str, Any]:
    answer = (await served.graphql(query, input=given)).json()
    (error,) = answer["errors"]
    found: dict[str, Any] = error
    return found


def for_ever(cursor: Connection) -> None:
    cursor.execute("SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a) = hash(b)").fetchall()


async def test_a_question_past_its_deadline_is_refused_and_others_are_answered(shop: Served) -> None:
    columnar = shop.gateway.columnar
    columnar.scans.limits = Limits(seconds=1.0)
    busy = [asyncio.create_task(columnar.engine.run(for_ever)) for _ in range(2)]
    try:
        asking = asyncio.create_task(refused(shop, PATHS, range=LAST))
        answered = 0
        while not asking.done():
            assert (await shop.client.get("/healthz")).status_code == 200
            assert (await shop.graphql("{ kpis { key } }")).status_code == 200
            answered += 1
        error = await asking
    finally:
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    assert error["extensions"]["code"] == "SCAN_DEADLINE"
    assert error["message"] == "The question took longer than 1 s."
    assert "GATEWAY_SCAN_SECONDS" in error["extensions"]["hint"]
    assert error["extensions"]["retryAfter"] >= 1
    assert answered > 3, "meanwhile"
    assert columnar.engine.waiting == 0
    columnar.scans.limits = Limits()
    assert (await shop.graphql(PATHS, input={"range": LAST})).json()["data"]["paths"]["total"] > EVENTS / 10


async def test_a_scan_that_is_under_way_ends_at_the_deadline(shop: Served) -> None:
    shop.gateway.columnar.scans.limits = Limits(seconds=0.02)
    error = await refused(shop, PATHS, range=LAST)
    assert error["extensions"]["code"] == "SCAN_DEADLINE"


async def test_too_many_questions_wait_and_the_next_is_told_to_come_again(shop: Served) -> None:
    columnar = shop.gateway.columnar
    engine = columnar.engine
    queue, engine._queue = engine._queue, Queue(2, 4)
    busy = [asyncio.create_task(engine.run(for_ever)) for _ in range(2)]
    try:
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(shop.graphql(PATHS, input={"range": LAST, "depth": depth})) for depth in (1, 2)]
        while engine.waiting < 4:  # noqa: ASYNC110 - until both of them wait
            await asyncio.sleep(0.01)
        error = await refused(shop, PATHS, range=LAST, depth=3)
        assert error["extensions"]["code"] == "SCAN_QUEUE_FULL"
        assert error["extensions"]["retryAfter"] == 5
        assert error["extensions"]["hint"] == "Ask again in a moment."
    finally:
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    async with asyncio.timeout(PATIENCE):
        answers = [answer.json() for answer in await asyncio.gather(*waiting)]
    assert all("errors" not in answer for answer in answers), "who waited is answered"
    engine._queue = queue


async def test_what_mongodb_alone_answers_waits_in_turn_as_well(shop: Served) -> None:
    scans = replace(shop.gateway.columnar.scans, folder=None, reads=Queue(1, 1))
    evaluator = shop.gateway.evaluator
    kept, evaluator.questions.scans = evaluator.questions.scans, scans
    given = {"range": LAST, "events": [{"event": "Order Completed"}]}
    try:
        async with scans.reads.turn(None):
            error = await refused(shop, TREND, **given)
        assert error["extensions"]["code"] == "SCAN_QUEUE_FULL"
        assert "errors" not in (await shop.graphql(TREND, input=given)).json()
    finally:
        evaluator.questions.scans = kept


async def test_the_first_question_waits_for_the_users_no_longer_than_for_anything(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = IdentityKeys.all
    held = asyncio.Event()

    async def slow(self: IdentityKeys) -> AsyncIterator[list[tuple[bytes, str]]]:
        await held.wait()
        async for page in read(self):
            yield page

    monkeypatch.setattr(IdentityKeys, "all", slow)
    evaluator, clock = shop.gateway.evaluator, ServerClock()
    directory = Directory(shop.gateway.database, clock)
    kept = evaluator.questions.scans
    evaluator.questions.scans = replace(kept, directory=directory, limits=Limits(seconds=0.5))
    given = {"range": LAST, "events": [{"event": "Order Completed"}]}
    try:
        error = await refused(shop, TREND, **given)
        assert error["extensions"]["code"] == "SCAN_DEADLINE"
        held.set()  # they go on being read whoever waits
        evaluator.questions.scans = replace(kept, directory=directory)
        assert "errors" not in (await shop.graphql(TREND, input=given)).json()
    finally:
        evaluator.questions.scans = kept
        await directory.close()


async def test_a_breakdown_of_very_many_values_is_a_few_and_other(shop: Served) -> None:
    """Ten thousand prices; what is shown comes to what there is."""
    given: dict[str, Any] = {"range": LAST, "interval": "MONTH", "events": [{"event": "Product Viewed"}]}
    whole = (await shop.graphql(TREND, input=given)).json()["data"]["trend"]["series"]
    given |= {"by": {"property": "price"}, "top": 3}
    found = (await shop.graphql(TREND, input=given)).json()["data"]["trend"]
    assert found["differentValues"] > 9_000
    assert [one["value"]["isOther"] for one in found["series"]] == [False, False, False, True]
    points = [[point["value"] for point in one["points"]] for one in found["series"]]
    assert [sum(column) for column in zip(*points, strict=True)] == [point["value"] for point in whole[0]["points"]]


async def test_a_breakdown_of_too_many_values_is_refused(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.insights.columnar import selecting

    monkeypatch.setattr(selecting, "MOST_VALUES", 1_000)
    error = await refused(
        shop, TREND, range=LAST, events=[{"event": "Product Viewed"}], by={"property": "price"}, top=3
    )
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["message"] == "A breakdown has more than 1,000 values."
    assert error["extensions"]["hint"] == "Break down by a property with fewer values."
