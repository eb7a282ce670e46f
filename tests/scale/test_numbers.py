"""The numbers end to end: a made-up shop in parts and in MongoDB, asked over HTTP, beside ClickHouse and MongoDB.

BENCH_EVENTS says how many events there are (a million, unless ten are asked for), BENCH_STORED how many of them MongoDB
has (at most a million, unless more are asked for). MongoDB's own answers are timed only where it has all. Where chdb is
installed, ClickHouse answers beside, from a table of its own; otherwise DuckDB does, in plain SQL over the same files.
Every answer is compared with ours before it is timed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.folder import Folder
from gateway.store.database import Database, connect
from gateway.store.lanes import Lanes
from tests.databases import lend
from tests.flow.served import Served, serve
from tests.made_shop import Shop, open_shop, store_events
from tests.scale import rivals
from tests.scale.measuring import quantiles, say, stored_size

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
STORED = min(EVENTS, int(os.environ.get("BENCH_STORED", "1000000")))
WORKERS = 2
TURNS = int(os.environ.get("BENCH_TURNS", "5"))
DAY = 86_400_000
RIVAL = "ClickHouse" if importlib.util.find_spec("chdb") else "DuckDB"
FIVE = ("Product List Viewed", "Product Viewed", "Product Added", "Checkout Started", "Order Completed")
THREE = (FIVE[0], FIVE[2], FIVE[4])
WINDOW = 7 * DAY

FUNNEL = "query($input: FunnelInput!) { funnel(input: $input) { overall: funnel { steps { reached } } } }"
RETENTION = """query($input: RetentionInput!) { retention(input: $input) {
  cohorts { start cells { first share { hits } } } } }"""
PATHS = "query($input: PathsInput!) { paths(input: $input) { columns { number nodes { label paths } } } }"
TREND = "query($input: TrendInput!) { trend(input: $input) { series { value { label } points { start value } } } }"
KPI = "query($key: ID!, $range: RangeInput!) { kpi(key: $key) { result(range: $range) { value n low high } } }"


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass
class Bench:
    """A gateway over a shop, and the same shop elsewhere."""

    served: Served
    shop: Shop
    stored: int
    ask_rival: rivals.Ask

    @property
    def database(self) -> Database:
        return self.served.gateway.database

    @property
    def between(self) -> tuple[int, int]:
        """Nine weeks, from a Monday, to the end."""
        return rivals.monday(self.shop.end - 8 * 7 * DAY), self.shop.end

    @property
    def range(self) -> dict[str, Any]:
        return {"between": {"from": iso(self.between[0]), "to": iso(self.between[1])}}

    async def graphql(self, query: str, **variables: Any) -> Any:
        answer = (await self.served.graphql(query, **variables)).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def forget(self) -> None:
        """No answer is remembered."""
        self.served.gateway.evaluator.questions.forget()

    async def best(self, work: Callable[[], Awaitable[Any]], turns: int = TURNS) -> float:
        """The median of seconds, with nothing remembered."""
        times = []
        for _ in range(turns):
            self.forget()
            began = time.perf_counter()
            await work()
            times.append(time.perf_counter() - began)
        return statistics.median(times)


@pytest.fixture
async def bench(mongo_uri: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with lend(mongo_uri) as name:
        database = connect(mongo_uri, name)
        await Lanes(database).prepare()
        url = str(tmp_path / "parts")
        folder = Folder.open(url, name)
        writing = Engine(folder, threads=WORKERS, memory_mb=2_000, at_once=1)
        shop = await open_shop(database, folder, writing, now=int(time.time() * 1000), events=EVENTS)
        stored = await store_events(database, folder, writing, shop, most=STORED)
        await asyncio.to_thread(writing.close)
        await database.close()
        files = f"{folder.root}/{shop.workspace}/000001/*.parquet"
        rival = rivals.clickhouse if RIVAL == "ClickHouse" else rivals.plain_duckdb
        with rival(files, WORKERS) as ask:
            settings: dict[str, Any] = {"columnar_url": url, "scan_seconds": 300.0, "scan_threads": WORKERS}
            async with serve(mongo_uri, database=name, role="api", **settings) as served:
                yield Bench(served, shop, stored, ask)


# -- questions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One question to all: each gives the same plain answer."""

    title: str
    ours: Callable[[], Awaitable[Any]]
    rival: Callable[[], Any]
    mongo: Callable[[], Awaitable[Any]]


def questions(bench: Bench) -> list[Question]:
    between, ask, database = bench.between, bench.ask_rival, bench.database
    view, category = "Product Viewed", "category"
    funnel, retained, paths, trend = (
        getattr(rivals, f"{RIVAL.lower()}_{kind}") for kind in ("funnel", "retention", "paths", "trend")
    )

    async def our_funnel(steps: tuple[str, ...]) -> list[int]:
        given = {"steps": [{"event": name} for name in steps], "window": "7d", "range": bench.range}
        found = (await bench.graphql(FUNNEL, input=given))["funnel"]["overall"]["steps"]
        return [step["reached"] for step in found]

    async def our_retention() -> dict[tuple[int, int], int]:
        page = [{"event": "Page Viewed"}]
        given = {"start": page, "back": page, "interval": "WEEK", "clock": "CALENDAR", "buckets": 8}
        found = (await bench.graphql(RETENTION, input={**given, "range": bench.range}))["retention"]["cohorts"]
        cells = {(ms(one["start"]), cell["first"]): cell["share"]["hits"] for one in found for cell in one["cells"]}
        return {key: hits for key, hits in cells.items() if hits and key[1]}

    async def our_paths() -> dict[tuple[int, str], int]:
        given = {"anchor": [{"event": FIVE[0]}], "depth": 4, "top": 20, "range": bench.range}
        columns = (await bench.graphql(PATHS, input=given))["paths"]["columns"]
        return {(one["number"], node["label"]): node["paths"] for one in columns for node in one["nodes"]}

    async def our_trend() -> dict[tuple[int, str], int]:
        given = {"events": [{"event": view}], "statistic": "UNIQUES", "by": {"property": category}, "top": 100}
        series = (await bench.graphql(TREND, input={**given, "range": bench.range}))["trend"]["series"]
        points = {(ms(at["start"]), one["value"]["label"]): at["value"] for one in series for at in one["points"]}
        return {key: int(users) for key, users in points.items() if users}

    return [
        Question(
            f"ordered funnel of {len(steps)} steps, 7 days",
            lambda steps=steps: our_funnel(steps),  # type: ignore[misc]
            lambda steps=steps: funnel(ask, steps, WINDOW, between),  # type: ignore[misc]
            lambda steps=steps: rivals.mongo_funnel(database, steps, WINDOW, between),  # type: ignore[misc]
        )
        for steps in (THREE, FIVE)
    ] + [
        Question(
            "8 weeks of retention",
            our_retention,
            lambda: retained(ask, "Page Viewed", "Page Viewed", 8, between),
            lambda: rivals.mongo_retention(database, "Page Viewed", "Page Viewed", 8, between),
        ),
        Question(
            "paths of depth 4 by session",
            our_paths,
            lambda: in_columns(paths(ask, FIVE[0], 4, between)),
            lambda: columned(rivals.mongo_paths(database, FIVE[0], 4, between)),
        ),
        Question(
            "daily different users by one of 24 values",
            our_trend,
            lambda: trend(ask, view, category, between),
            lambda: rivals.mongo_trend(database, view, category, between),
        ),
    ]


def in_columns(paths: dict[tuple[str, ...], int]) -> dict[tuple[int, str], int]:
    """How many paths have which name in which column."""
    found: Counter[tuple[int, str]] = Counter()
    for path, count in paths.items():
        for column, name in enumerate(path):
            found[column, name] += count
    return dict(found)


async def columned(paths: Awaitable[dict[tuple[str, ...], int]]) -> dict[tuple[int, str], int]:
    return in_columns(await paths)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def test_numbers(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    shop, whole = bench.shop, bench.stored == bench.shop.events
    rows = [
        ("bytes of disk per event, properties included", f"{shop.bytes / shop.events:.1f}"),
        ("bytes of MongoDB per event, indexes included", f"{await mongo_bytes(bench):,.0f}"),
    ]
    began = time.perf_counter()
    await bench.graphql(KPI, key="csat", range={"last": "56d"})
    rows.append((f"the first question of all: {shop.users:,} users are read, s", f"{time.perf_counter() - began:.2f}"))
    for question in questions(bench):
        ours, theirs = await question.ours(), await asyncio.to_thread(question.rival)
        assert ours == theirs, question.title
        took = await bench.best(question.ours)
        rival = await bench.best(lambda question=question: asyncio.to_thread(question.rival))  # type: ignore[misc]
        said = f"{took:.2f} / {rival:.2f} ({took / rival:.1f})"
        if whole:
            began = time.perf_counter()
            assert await question.mongo() == ours, question.title
            mongo = time.perf_counter() - began
            said += f" / {mongo:.1f} ({took / mongo:.3f})"
        rows.append((question.title, said))
    say(
        capsys,
        f"{shop.events:,} events, {shop.users:,} users, {WORKERS} threads: s over HTTP / {RIVAL} (ratio)"
        + (" / MongoDB (ratio)" if whole else ""),
        [
            *rows,
            *await many_values(bench),
            *await kpis(bench),
            ("peak memory of this process, rival included, MB", f"{peak_mb():,.0f}"),
        ],
    )


async def many_values(bench: Bench) -> list[tuple[str, str]]:
    """A breakdown by a property that nearly every event has another value of."""
    given = {"events": [{"event": "Page Left"}], "by": {"property": "view"}, "range": bench.range}
    query = TREND.replace("{ series", "{ differentValues series")
    stalls: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            stalls.append(time.perf_counter() - began - 0.005)

    watching = asyncio.create_task(watch())
    bench.forget()
    began = time.perf_counter()
    answer = await bench.graphql(query, input=given)
    took = time.perf_counter() - began
    watching.cancel()
    values = answer["trend"]["differentValues"]
    return [
        (f"daily counts by one of {values:,} values, top 10: s", f"{took:.2f}"),
        ("  the longest that the event loop stood still meanwhile, ms", f"{max(stalls) * 1000:,.0f}"),
    ]


async def mongo_bytes(bench: Bench) -> float:
    size = await stored_size(bench.database, "events")
    return float(size["storageSize"] + size["totalIndexSize"]) / max(1, bench.stored)


async def kpis(bench: Bench) -> list[tuple[str, str]]:
    """Each KPI of the shop over four weeks: the number anew, and again; then all of them as a page asks for them."""
    keys = [one["key"] for one in (await bench.graphql("{ kpis { key } }"))["kpis"]]
    rows = []
    for key in keys:

        async def one(key: str = key) -> None:
            await bench.graphql(KPI, key=key, range={"last": "28d"})

        took, again = await bench.best(one, 3), await timed(one, 20)
        rows.append((f"KPI {key}: ms anew / p50 / p99 again", f"{took * 1000:,.0f} / {quantiles(again)}"))
    parts = " ".join(f'{key}: kpi(key: "{key}") {{ result(range: {{last: "28d"}}) {{ value n }} }}' for key in keys)

    async def page() -> None:
        await bench.graphql(f"{{ {parts} }}")

    async def tiles() -> None:
        await asyncio.gather(*(bench.graphql(KPI, key=key, range={"last": "28d"}) for key in keys))

    for said, work in ((f"{len(keys)} KPIs in one request", page), (f"{len(keys)} KPIs, each a request", tiles)):
        took, again = await bench.best(work, 3), await timed(work, 20)
        rows.append((f"{said}: ms anew / p50 / p99 again", f"{took * 1000:,.0f} / {quantiles(again)}"))
    return rows


async def timed(work: Callable[[], Awaitable[None]], turns: int) -> list[float]:
    """Seconds of each."""
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return times
