"""One run: start everything, break and mend it under load, wait until all is derived, judge, write it down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pymongo

from tests.faults.checker import Verdict, check
from tests.faults.evidence import Evidence
from tests.faults.gateways import DATABASE, Gateway
from tests.faults.history import History, longest_pause
from tests.faults.messages import Plan
from tests.faults.mongods import Mongods, can_mount, until
from tests.faults.nemesis import KINDS, Nemesis
from tests.faults.subscribers import Subscriber
from tests.faults.tables import LANES, Row, read_tables
from tests.faults.writers import Writers
from tests.pace import PATIENCE

#: About how long a fault lasts, healing included: the events are spread over all of them.
_SECONDS_A_FAULT = 9.0
_DISK_MEGABYTES = 4_000
_OPLOG_MEGABYTES = 1_000
_SMALL_OPLOG_MEGABYTES = 256
#: Derivation that stands still for so long after everything is healed is judged as it stands.
_STALL_SECONDS = PATIENCE / 2


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of. `seconds` bounds the time in which faults begin; `log` holds every request's answer.

    `most_seconds`: when that time has passed and all faults have been, no more events are made, and the run is judged.

    `uri_options` (such as "&heartbeatFrequencyMS=500") goes behind the gateways' address of MongoDB.
    """

    seed: int
    rounds: int = 1
    events: int = 10_000
    kinds: Sequence[str] = tuple(KINDS)
    seconds: float | None = None
    most_seconds: float = 1e9
    writers: int = 8
    transaction_seconds: int = 10
    uri_options: str = ""
    output: Path | None = None
    log: Path | None = None
    keep: Path | None = None


@dataclass(slots=True)
class Run:
    """The parts of a run while it lasts, and what came of it."""

    options: Options
    mongods: Mongods
    gateways: list[Gateway]
    history: History
    writers: Writers
    subscribers: list[Subscriber]
    nemesis: Nemesis
    began: float
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)


async def run(options: Options) -> Run:
    """The whole of it. Raises only when something cannot be started or healed; the verdict stands in the result."""
    with TemporaryDirectory(prefix="journey-gateway-faults-", ignore_cleanup_errors=True) as made:
        directory = options.keep or Path(made)
        directory.mkdir(parents=True, exist_ok=True)
        began = int(time.time() * 1000)
        async with _started(options, directory, began) as running:
            await _break(running)
            await _catch_up(running)
            await _stop(running)
            await _judge(running, began)
        running.history.close()
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_bytes(written(report(running)))
    return running


@asynccontextmanager
async def _started(options: Options, directory: Path, began: int) -> AsyncIterator[Run]:
    """Mongods, gateways, subscribers and writers; everything ends with it."""
    oplog = _SMALL_OPLOG_MEGABYTES if "oplog_rolled" in options.kinds else _OPLOG_MEGABYTES
    mongods = Mongods(directory, oplog_megabytes=oplog, transaction_seconds=options.transaction_seconds)
    gateways: list[Gateway] = []
    subscribers: list[Subscriber] = []
    writers: Writers | None = None
    try:
        small_disk = "disk_full" in options.kinds and can_mount()
        await mongods.start(tmpfs_megabytes=_DISK_MEGABYTES if small_disk else 0)
        for number in range(2):
            gateways.append(Gateway(number, mongods.uri + options.uri_options, directory))
            await gateways[-1].proxy.start()
        gateways[-1].clock = directory / "clock"
        gateways[-1].set_clock("+0")
        write_key, api_key = await gateways[0].make_keys()
        for gateway in gateways:
            gateway.start()
        await asyncio.gather(*(gateway.ready() for gateway in gateways))
        plan = Plan(options.seed, began, people=max(100, options.events // 50), events=options.events)
        history = History(plan, options.log)
        for kind in ("event", "event", "journey"):
            subscribers.append(Subscriber(kind, gateways, api_key, options.seed + len(subscribers)))
            subscribers[-1].start()
        await asyncio.gather(*(asyncio.wait_for(one.joined.wait(), PATIENCE) for one in subscribers))
        writers = Writers(history, gateways, write_key, options.seed, count=options.writers)
        told = subscribers[0].heard.news
        writers.behind = lambda: len(history) - len(told)
        nemesis = Nemesis(mongods, gateways, history, options.seed)
        yield Run(options, mongods, gateways, history, writers, subscribers, nemesis, time.monotonic())
    finally:
        if writers is not None:
            await writers.abandon()
        for subscriber in subscribers:
            await subscriber.stop()
        for gateway in gateways:
            gateway.process.kill()
            await gateway.proxy.stop()
        await mongods.stop()


async def _break(running: Run) -> None:
    """Faults under load, then the rest of the events."""
    options, history = running.options, running.history
    faults = options.rounds * len(options.kinds)
    seconds = min(faults * _SECONDS_A_FAULT, options.seconds or 1e9)
    running.writers.rate = max(50.0, 1.1 * options.events / seconds)
    running.writers.start()
    await running.nemesis.run(options.kinds, options.rounds, seconds=options.seconds)
    running.seconds["faults"] = time.monotonic() - running.began
    running.writers.rate = max(running.writers.rate, 1_000.0)

    async def enough() -> bool:
        return len(history) >= options.events or time.monotonic() - running.began > options.most_seconds

    await until(enough, "all events are made", seconds=1_000 * PATIENCE)
    await running.writers.stop()


async def _catch_up(running: Run) -> None:
    """Until every stored event is announced and every subscriber has heard of it, or nothing moves any more."""
    began = moved = time.monotonic()
    before: tuple[int, ...] = ()
    client = _client(running)
    try:
        while True:
            heard = tuple(len(subscriber.heard.news) for subscriber in running.subscribers)
            now = (await asyncio.to_thread(_announced, client), *heard)
            if now != before:
                before, moved = now, time.monotonic()
            # What is cheap first: to count documents takes the processor from those who derive.
            if now[0] == heard[0] + heard[2] and await asyncio.to_thread(_all_derived, client, heard):
                break
            if time.monotonic() - moved > _STALL_SECONDS:
                running.history.anomaly("derivation or subscribers stand still", progress=now)
                break
            await asyncio.sleep(1.0)
    finally:
        await asyncio.to_thread(client.close)  # it says goodbye through the proxies of this very loop
    await asyncio.sleep(1.0)  # for what comes twice
    running.seconds["catching up"] = time.monotonic() - began


def _announced(client: pymongo.MongoClient[Row]) -> int:
    """How many rows the feed has been given."""
    lanes = client[DATABASE]["lanes"].find({"_id": {"$in": list(range(LANES))}})
    return sum(int(lane["seq"]) for lane in lanes)


def _all_derived(client: pymongo.MongoClient[Row], heard: tuple[int, ...]) -> bool:
    """Whether every stored event was announced and heard, and nobody waits to be brought up to date."""
    found = client[DATABASE]
    if found["work"].find_one({"pending": True, "lane": {"$in": list(range(LANES))}}) is not None:
        return False
    if found["users"].find_one({"dueAt": {"$lte": int(time.time() * 1000)}}) is not None:
        return False
    events = found["events"].count_documents({})  # the estimate is wrong once a mongod was killed
    return heard[:2] == (events, events)


async def _stop(running: Run) -> None:
    """End the subscribers and both gateways in order, so that these write what they still hold: the last counts."""
    for subscriber in running.subscribers:
        await subscriber.stop()
    for gateway in running.gateways:
        await gateway.process.terminate(PATIENCE)
        if gateway.process.status != 0:
            said = gateway.process.tail(500)
            running.history.anomaly(f"{gateway.process.name} stopped with {gateway.process.status}", said=said)


async def _judge(running: Run, began: int) -> None:
    client = _client(running)
    start = time.monotonic()
    try:
        tables = await asyncio.to_thread(read_tables, client, DATABASE)
    finally:
        await asyncio.to_thread(client.close)
    heard = [subscriber.heard for subscriber in running.subscribers]
    evidence = Evidence(running.history, tables, heard, began, int(time.time() * 1000))
    running.verdict = await asyncio.to_thread(check, evidence)
    running.seconds["checking"] = time.monotonic() - start


def _client(running: Run) -> pymongo.MongoClient[Row]:
    return pymongo.MongoClient(running.mongods.uri, appName="faults", serverSelectionTimeoutMS=30_000)


def report(running: Run) -> dict[str, Any]:
    """Everything about a run, for one JSON file."""
    options, history, nemesis = running.options, running.history, running.nemesis
    return {
        "seed": options.seed,
        "rounds": options.rounds,
        "kinds": list(options.kinds),
        "good": running.verdict.good,
        "verdict": dict(running.verdict.counts),
        "breaches": running.verdict.shown,
        "unchecked": running.verdict.unchecked,
        "history": {
            "messages": len(history),
            **history.counts,
            "answers": dict(history.answers.most_common()),
        },
        "anomalies": history.anomalies,
        "faults": [
            {
                "kind": fault.kind,
                "detail": fault.detail,
                "began": round(fault.began - running.began, 2),
                "healed": round(fault.healed - running.began, 2),
                "settled": round(fault.settled - running.began, 2),
                "longestSilence": round(history.longest_silence(fault.began, fault.settled), 2),
            }
            for fault in nemesis.faults
        ],
        "skipped": nemesis.skipped,
        "longestSilence": silences(running),
        "subscribers": [
            {
                "kind": one.heard.kind,
                "heard": len(one.heard.news),
                "connections": one.heard.connections,
                "gaps": one.heard.gaps,
                "missed": one.heard.missed,
                "ends": dict(one.heard.ends),
            }
            for one in running.subscribers
        ],
        "seconds": {name: round(seconds, 1) for name, seconds in running.seconds.items()},
    }


def written(found: dict[str, Any]) -> bytes:
    """The report as JSON that is short and can be read: a line for each fact, and for each entry of a list."""
    lines = []
    for name, fact in found.items():
        if isinstance(fact, list) and fact and isinstance(fact[0], dict):
            lines.append(orjson.dumps(name) + b": [\n    " + b",\n    ".join(map(orjson.dumps, fact)) + b"\n  ]")
        else:
            lines.append(orjson.dumps(name) + b": " + orjson.dumps(fact))
    return b"{\n  " + b",\n  ".join(lines) + b"\n}\n"


def silences(running: Run) -> dict[str, dict[str, float]]:
    """By kind: the longest time in seconds without an acknowledgment, and without news to any subscriber of events."""
    found: dict[str, dict[str, float]] = {}
    told = sorted(at for one in running.subscribers if one.heard.kind == "event" for at in one.heard.times)
    for fault in running.nemesis.faults:
        longest = found.setdefault(fault.kind, {"acknowledgment": 0.0, "news": 0.0})
        quiet = running.history.longest_silence(fault.began, fault.settled)
        longest["acknowledgment"] = max(longest["acknowledgment"], round(quiet, 2))
        pause = longest_pause(told, fault.began, fault.settled)
        longest["news"] = max(longest["news"], round(pause, 2))
    return found
