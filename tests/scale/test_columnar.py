"""The columnar projection: writing it from stored events, and scans of it at growing sizes.

BENCH_SIZES says over how many events scans are measured (the default is short); BENCH_USERS how many users they have.
Where chdb is installed, ClickHouse reads the same files beside.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gateway.clock import ServerClock, random_id
from gateway.contract.rules import Condition, EventRule
from gateway.insights.columnar import parts as files
from gateway.insights.columnar.engine import Connection, Engine
from gateway.insights.columnar.folder import Folder, part_name
from gateway.insights.columnar.scan import Scans
from gateway.insights.columnar.selecting import Selection
from gateway.insights.columnar.users import Directory
from gateway.insights.columnar.writer import Pace, Writer
from gateway.model.identity import key_of
from gateway.model.scope import Scope
from gateway.store import collections
from gateway.store.columnar import Changes, Generation, Manifests, Part
from gateway.store.database import Database, connect
from gateway.store.events import Events
from gateway.store.lanes import Lanes
from tests.scale.measuring import documents, population, say

SIZES = sorted(int(size) for size in os.environ.get("BENCH_SIZES", "300000,1000000").split(","))
USERS = int(os.environ.get("BENCH_USERS", "500000"))
WRITTEN = 50_000
START, DAYS, NAMES = 1_750_000_000_000, 30, 20
RANGE = (START, START + DAYS * 86_400_000)
PART = 1_000_000
TURNS = 5
STEPS = tuple(EventRule(f"step {n}", f"event {n:02}") for n in (1, 5, 9, 13))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
async def store(mongo_uri: str) -> AsyncIterator[Database]:
    one = connect(mongo_uri, f"bench_{random_id()}")
    await collections.prepare(one)
    await Lanes(one).prepare()
    yield one
    await one.drop_database()
    await one.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[tuple[Folder, Engine]]:
    folder = Folder.open(str(tmp_path / "parts"), "bench")
    one = Engine(folder, threads=2, memory_mb=1_000, at_once=2)
    yield folder, one
    await asyncio.to_thread(one.close)


async def test_writing_from_stored_events(
    store: Database, engine: tuple[Folder, Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, duck = engine
    rows = list(islice(documents(population(1), "w", "s"), WRITTEN))
    for start in range(0, len(rows), 2_000):
        await Events(store).insert(rows[start : start + 2_000])
    writer = Writer(store, folder, duck, ServerClock(), Pace(rows=10_000))
    began, cpu = time.perf_counter(), time.process_time()
    while await writer.turn("w"):
        pass
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    manifest = await Manifests(store).read("w")
    live = manifest.live(manifest.head.current)
    stored = sum(part.rows for part in live)
    assert stored == len(rows)
    say(
        capsys,
        f"parts of {stored:,} events of the made-up shop",
        [
            ("read from MongoDB and written, parts of 10,000, events/s", f"{stored / took:,.0f}"),
            ("CPU of this process for it, µs per event", f"{cpu / stored * 1e6:,.0f}"),
            ("bytes of disk per event, properties included", f"{sum(part.bytes for part in live) / stored:,.0f}"),
        ],
    )


async def test_scans_at_growing_sizes(
    store: Database, engine: tuple[Folder, Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, duck = engine
    sks = [f"u:user-{number}" for number in range(USERS)]
    keys = [key_of("w", sk) for sk in sks]
    for start in range(0, USERS, 5_000):
        some = range(start, min(USERS, start + 5_000))
        rows = [{"_id": keys[n], "workspace": "w", "sk": sks[n], "user": keys[n].hex()} for n in some]
        await store.insert_many("identities", rows)
    clock = ServerClock()
    directory = Directory(store, clock)
    scans = Scans(store, folder, duck, directory, clock)
    began = time.perf_counter()
    await directory.users("w")
    table = [(f"the identities of {USERS:,} users, read once, s", f"{time.perf_counter() - began:.2f}")]
    manifests, made = Manifests(store), 0
    hold = await manifests.acquire("w", "bench", 3_600)
    assert hold is not None
    head = {"current": 1, "numbered": 1, "store": folder.name(make=True)}
    await manifests.commit(hold, Changes(generation=Generation(1), head=head))
    for size in SIZES:
        while made < size:
            count = min(PART, size - made)
            empty = Part(part_name("w", 1, hold.epoch), 1, 0, 0, 0, 0, {})
            began = time.perf_counter()
            work = partial(generated, folder=folder, part=empty, sks=sks, keys=keys, first=made, count=count)
            part = await duck.run(work)
            spent = time.perf_counter() - began
            await manifests.commit(hold, Changes(add=[part]))
            made += count
        table += [(f"{size:,} events: a part sorted and written, events/s", f"{count / spent:,.0f}")]
        table += [(f"{size:,} events: bytes per event", f"{part.bytes / part.rows:.1f}")]
        table += await scanned(scans, size)
    say(capsys, f"scans, {USERS:,} users, {DAYS} days, {NAMES} names, 2 threads", table)
    await directory.close()


async def scanned(scans: Scans, size: int) -> list[tuple[str, str]]:
    scope = Scope.system("w")
    questions = {
        "four names, 30 days": Selection(STEPS, RANGE),
        "four names, one filtered by a property": Selection(
            (replace(STEPS[0], where=(Condition("price", "gt", 50),)), *STEPS[1:]), RANGE
        ),
        "one name, broken down by a property": Selection(STEPS[:1], RANGE, labels=("plan",), numbers=("price",)),
    }
    found = []
    for said, selection in questions.items():
        times = []
        for _ in range(TURNS):
            began = time.perf_counter()
            rows = await scans.scan(scope, selection)
            times.append(time.perf_counter() - began)
        found.append((f"{size:,} events: {said}: {len(rows):,} rows, s", f"{statistics.median(times):.3f}"))
    if importlib.util.find_spec("chdb"):
        found.append((f"{size:,} events: ClickHouse windowFunnel on the files, s", f"{clickhouse(scans):.3f}"))
    return [*found, (f"{size:,} events: peak memory of the process so far, MB", f"{peak_mb():,.0f}")]


def clickhouse(scans: Scans) -> float:
    """The four steps within 7 days, by ClickHouse's own function."""
    import chdb  # type: ignore[import-not-found]

    assert scans.folder is not None
    steps = ", ".join(f"name = '{rule.event}'" for rule in STEPS)
    named = ", ".join(f"'{rule.event}'" for rule in STEPS)
    query = f"""SELECT level, count() FROM (SELECT who, windowFunnel(604800000)(toUInt64(at_ms), {steps}) AS level
        FROM file('{scans.folder.root}/w/000001/*.parquet') WHERE name IN ({named}) GROUP BY who) GROUP BY level"""
    times = []
    for _ in range(TURNS):
        began = time.perf_counter()
        chdb.query(query, "CSV")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def generated(
    cursor: Connection, folder: Folder, part: Part, sks: list[str], keys: list[bytes], first: int, count: int
) -> Part:
    """A part of so many made-up events, written as a merge writes it."""
    told = np.empty(len(sks), object)
    told[:] = sks
    whos = np.array([files.who_of(key) for key in keys], np.uint64)
    cursor.register("people", {"n": np.arange(len(sks), dtype=np.int64), "sk": told, "who": whos})
    query = f"""SELECT 'event ' || lpad((hash(i * 7) % {NAMES})::VARCHAR, 2, '0') AS name, p.who AS who,
        ({START} + hash(i * 5) % {DAYS * 86_400_000})::BIGINT AS at_ms, ({START} * 4096 + i)::BIGINT AS seq,
        unhex(md5(i::VARCHAR)) AS id, p.sk AS sk, 'track' AS type, ({START} + i)::BIGINT AS received_ms,
        ['web', 'ios', 'android'][1 + (hash(i * 3) % 3)::INT] AS platform, 'desktop' AS device, 'DE' AS country,
        NULL::VARCHAR AS app, NULL::VARCHAR AS app_version,
        '{{"price":' || ((hash(i) % 10000) / 100.0)::VARCHAR || ',"plan":"'
        || ['free', 'pro', 'team'][1 + (hash(i * 11) % 3)::INT] || '"}}' AS properties
        FROM (SELECT range AS i FROM range({first}, {first + count}))
        JOIN people p ON p.n = (hash(i * 13 + 1) % {len(sks)})"""
    written = files.described(cursor, folder, files.copy(cursor, folder, part, query, {}))
    assert Counter(written.names).total() == count
    return written
