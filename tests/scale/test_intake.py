"""Intake beside MongoDB alone, and where the gateway's CPU goes."""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

import bson
import pytest

from gateway.cli.running import _keep_what_is_there
from gateway.clock import ServerClock
from gateway.collect.answers import answer
from gateway.collect.bodies import read_plain_object
from gateway.collect.segment import _reply
from gateway.model.event import Verdict
from gateway.model.identity import digest
from gateway.pipeline.addresses import Addresses
from gateway.pipeline.clients import NOBODY, client_of
from gateway.pipeline.committing import Commit
from gateway.pipeline.intake import Delivery, Intake, _receipt
from gateway.pipeline.messages import _content
from gateway.pipeline.withheld import NOTHING
from gateway.store.collections import COLLECTIONS
from gateway.store.database import Database, connect
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from gateway.testing.simulate import Emission
from tests.flow.conftest import RunningGateway
from tests.scale.measuring import (
    Spent,
    batch_body,
    batch_requests,
    derived,
    documents,
    drive,
    needs_proc,
    pid_of,
    pid_of_mongod,
    population,
    say,
    spending,
    total,
)

BATCH = 100
CLIENTS = 16
TURNS = 3
EVENTS = 8_000
ALONE = 1_000
CONCURRENCY = 64
#: How many events share an insert: what comes from the clients while another one is under way.
GROUP = 8 * BATCH
IDLE_SECONDS = 4
_ADDRESSES = Addresses()


@pytest.fixture
async def bare(mongo_uri: str) -> AsyncIterator[Database]:
    """A database for `insert_many` alone."""
    database = connect(mongo_uri, "bare_insert")
    yield database
    await database.drop_database()
    await database.close()


async def insert(database: Database, rows: Sequence[dict[str, Any]], size: int, writers: int, *, indexed: bool) -> None:
    """Store the same documents with nothing in between: `size` a command, the gateway's write concern."""
    groups = iter([rows[start : start + size] for start in range(0, len(rows), size)])

    async def write() -> None:
        for group in groups:
            await database.insert_many("indexed" if indexed else "plain", group)

    await asyncio.gather(*(write() for _ in range(writers)))


async def prepared(database: Database) -> Database:
    """Collections for it: one without any index, one with those that events have."""
    await database.drop_database()
    await database.create_collection("plain")
    await database.ensure_indexes("indexed", next(one.indexes for one in COLLECTIONS if one.name == "events"))
    return database


@needs_proc
@pytest.mark.parametrize("role", ["collect", "all"])
async def test_intake_beside_a_bare_insert(
    role: str,
    gateway_environment: dict[str, str],
    gateway_of: Callable[[str], RunningGateway],
    bare: Database,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In turns, in one run; the ratio is the median of the turns'."""
    gateway = gateway_of(role)
    await asyncio.to_thread(gateway.set_up)
    store = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    pids = {"client": os.getpid(), "mongod": await pid_of_mongod(bare)}
    await prepared(bare)
    found: dict[str, list[Spent]] = {"plain": [], "indexed": [], "gateway": []}
    for turn in range(TURNS):
        emissions = list(islice(population(100 + turn), EVENTS))
        rows = list(documents(emissions, "w", "s"))
        for name in ("plain", "indexed"):
            with spending(**pids) as spent:
                await insert(bare, rows, BATCH, CLIENTS, indexed=name == "indexed")
            found[name].append(spent)
        requests = batch_requests(emissions, gateway.write_key, BATCH)
        with spending(gateway=pid_of(gateway), **pids) as spent:
            assert await drive(gateway.port, iter(requests), CLIENTS) == len(requests)
        found["gateway"].append(spent)
        assert await store.count("events", {}) == EVENTS * (turn + 1)
        if role == "all":
            await derived(store, EVENTS * (turn + 1))
    await store.close()
    say(capsys, f"Intake, role {role}: {BATCH} a batch, {CLIENTS} clients, w: majority, j: true", told(found))


def told(found: dict[str, list[Spent]]) -> list[tuple[str, str]]:
    sums = {name: total(spents) for name, spents in found.items()}
    events = TURNS * EVENTS
    speeds = " / ".join(f"{events / sums[name].seconds:,.0f}" for name in found)
    rows = [("events/s: bare insert_many / with the gateway's indexes / through the gateway", speeds)]
    for name, what in (("plain", "a bare insert_many (aim 0.5)"), ("indexed", "one with the gateway's indexes")):
        ratios = [one.seconds / other.seconds for one, other in zip(found[name], found["gateway"], strict=True)]
        rows.append((f"ratio to {what}, median of {TURNS} turns", f"{statistics.median(ratios):.2f}"))
    rows += [
        ("CPU µs/event, bare: client / mongod", sums["plain"].per_event(events, "client", "mongod")),
        ("CPU µs/event, bare with the indexes: client / mongod", sums["indexed"].per_event(events, "client", "mongod")),
        (
            "CPU µs/event, through the gateway: client / gateway / mongod",
            sums["gateway"].per_event(events, "client", "gateway", "mongod"),
        ),
    ]
    return rows


@needs_proc
async def test_single_events_beside_an_insert_each(
    gateway_of: Callable[[str], RunningGateway], bare: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same door twice, once without group commit; and MongoDB alone, which parses and checks nothing."""
    gateway, ungrouped = gateway_of("collect"), gateway_of("collect")
    await asyncio.to_thread(gateway.set_up)
    ungrouped.program = ("-m", "tests.scale.insert_each")
    await asyncio.to_thread(ungrouped.start)
    pids = {"client": os.getpid(), "mongod": await pid_of_mongod(bare)}
    await prepared(bare)
    found: dict[str, list[Spent]] = {"bare": [], "ungrouped": [], "grouped": []}
    for turn in range(TURNS):
        rows = list(documents(islice(population(200 + turn), ALONE), "w", "s"))
        with spending(**pids) as spent:
            await insert(bare, rows, 1, CONCURRENCY, indexed=True)
        found["bare"].append(spent)
        for name, one in (("ungrouped", ungrouped), ("grouped", gateway)):
            seed = 2_000 + 2 * turn + (one is gateway)  # the other's events would be duplicates
            requests = batch_requests(islice(population(seed), ALONE), gateway.write_key, 1)
            with spending(gateway=pid_of(one), **pids) as spent:
                assert await drive(one.port, iter(requests), CONCURRENCY) == len(requests)
            found[name].append(spent)
    say(capsys, f"Single events, {CONCURRENCY} at a time, role collect, w: majority, j: true", told_of_singles(found))


def told_of_singles(found: dict[str, list[Spent]]) -> list[tuple[str, str]]:
    sums = {name: total(spents) for name, spents in found.items()}
    events = TURNS * ALONE
    speeds = " / ".join(f"{events / sums[name].seconds:,.0f}" for name in found)
    rows = [("events/s: MongoDB alone / the door with an insert each / the door", speeds)]
    for name, what in (
        ("ungrouped", "the same door with an insert each (aim 5)"),
        ("bare", "an insert each into MongoDB alone, same indexes"),
    ):
        ratios = [one.seconds / other.seconds for one, other in zip(found[name], found["grouped"], strict=True)]
        rows.append((f"ratio to {what}, median of {TURNS} turns", f"{statistics.median(ratios):.1f}"))
    rows.append(("CPU µs/event, MongoDB alone: client / mongod", sums["bare"].per_event(events, "client", "mongod")))
    for name, what in (("ungrouped", "the door with an insert each"), ("grouped", "the door")):
        spent = sums[name].per_event(events, "client", "gateway", "mongod")
        rows.append((f"CPU µs/event, {what}: client / gateway / mongod", spent))
    return rows


# -- stages ---------------------------------------------------------------------------------------------------------


@needs_proc
async def test_where_the_cpu_of_intake_goes(
    gateway_of: Callable[[str], RunningGateway], bare: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a batch costs the gateway, beside each of its stages alone on the same batches, in turns."""
    gateway = gateway_of("collect")
    await asyncio.to_thread(gateway.set_up)
    await prepared(bare)
    with spending(gateway=pid_of(gateway)) as idle:
        await asyncio.sleep(IDLE_SECONDS)
    background = idle.cpu["gateway"] / idle.seconds
    whole: list[Spent] = []
    reading: list[Spent] = []
    stages: dict[str, list[float]] = {}
    for turn in range(TURNS):
        emissions = list(islice(population(300 + turn), EVENTS))
        # The same bytes to a door that reads them and does nothing more, and to the one for events.
        for spents, path in ((reading, "/v1/m"), (whole, "/v1/batch")):
            requests = batch_requests(emissions, gateway.write_key, BATCH, path=path)
            with spending(gateway=pid_of(gateway)) as spent:
                await drive(gateway.port, iter(requests), CLIENTS)
            spents.append(spent)
        for name, seconds in (await staged(bare, emissions)).items():
            stages.setdefault(name, []).append(seconds)
    cost = statistics.median(one.cpu["gateway"] for one in whole) / EVENTS
    shares = {
        "looking after health, keys, consent, contract, whatever comes in": background
        * statistics.median(one.seconds for one in whole)
        / EVENTS,
        "HTTP: connection, headers, body": statistics.median(
            one.cpu["gateway"] - background * one.seconds for one in reading
        )
        / EVENTS,
    }
    shares |= {name: statistics.median(values) / EVENTS for name, values in stages.items()}
    rows = [("all of it, CPU µs/event", f"{cost * 1e6:.1f}")]
    rows += [(name, f"{value * 1e6:5.1f}  {value / cost:4.0%}") for name, value in shares.items()]
    rest = cost - sum(shares.values())
    rows.append(("not explained by these (aim at most 15 %)", f"{rest * 1e6:5.1f}  {rest / cost:4.0%}"))
    say(capsys, f"Intake by stage: {BATCH} a batch, {CLIENTS} clients, role collect", rows)


async def staged(bare: Database, emissions: list[Emission]) -> dict[str, float]:
    """CPU seconds of each stage over all the batches, with the collector of cycles as `serve` sets it."""
    thresholds = gc.get_threshold()
    _keep_what_is_there()
    messages = [emission.message for emission in emissions]
    bodies = [batch_body(messages[start : start + BATCH]) for start in range(0, len(messages), BATCH)]
    intake = Intake(Events(bare), Quarantine(bare), ServerClock())
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[Any], Any], inputs: Sequence[Any]) -> list[Any]:
        began = time.process_time()
        done = [work(one) for one in inputs]
        seconds[name] = time.process_time() - began
        return done

    parsed = timed("parse the JSON", read_plain_object, bodies)
    timed("hash the body", lambda body: blake2b(body, digest_size=16).digest(), bodies)
    deliveries = [Delivery("w", "s", content["batch"], plain=plain) for content, plain in parsed]
    messages = [message for delivery in deliveries for message in delivery.messages]
    contents = timed("canonical JSON, look for what has to be cleaned", _plain_content, messages)
    timed("hash the content", digest, [canonical for _, canonical, _ in contents])
    timed("tell who sent it (library, device)", _client, messages)
    inside = sum(seconds.values()) - seconds["parse the JSON"] - seconds["hash the body"]
    read = timed("", lambda delivery: intake._read(delivery, intake._origin(delivery)), deliveries)
    seconds["check, correct the time, build the document"] = seconds.pop("") - inside
    rows = [row for documents, _ in read for _, row in documents]
    timed("encode BSON", bson.encode, rows)
    began = time.process_time()
    for start in range(0, len(rows), GROUP):
        await bare.insert_unordered("indexed", rows[start : start + GROUP])
    seconds["insert, but for the encoding"] = time.process_time() - began - seconds["encode BSON"]
    commit = Commit([Verdict.ACCEPTED] * BATCH, await bare.operation_time())
    parts = [documents for documents, _ in read]
    timed("receipt, token, answer", lambda part: answer(_reply(_receipt(part, commit, []))), parts)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    return seconds


def _client(message: dict[str, Any]) -> object:
    return client_of(message.get("context", {}), None, NOTHING, NOBODY, _ADDRESSES)


def _plain_content(message: dict[str, Any]) -> tuple[Any, bytes, Any]:
    return _content(message, plain=True)
