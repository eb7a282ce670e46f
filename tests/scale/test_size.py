"""What an event costs when ever more of them are stored, and the disk they take.

BENCH_SIZES says at how many stored events it is measured; the default is short, the long one is
`BENCH_SIZES=100000,1000000,5000000 make bench ARGS="-k ever_more"`.

A part of the history is derived by the pipeline; what fills the database beyond are copies of all its rows under ids of
their own, each copy eight weeks older, which is many times faster.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import Any

import pytest

from gateway.clock import random_id
from gateway.model.identity import LANES, digest
from gateway.store.database import Database, Document, connect
from gateway.testing.simulate import Emission, Population
from tests.flow.conftest import RunningGateway
from tests.scale.measuring import (
    Spent,
    batch_requests,
    derived,
    documents,
    drive,
    needs_proc,
    now,
    pid_of,
    pid_of_mongod,
    population,
    say,
    spending,
    stored_size,
    total,
)

SIZES = sorted(int(size) for size in os.environ.get("BENCH_SIZES", "100000,400000").split(","))
TEMPLATE = 25_000
ROUNDS, EVENTS = 3, 5_000
EIGHT_WEEKS = 8 * 7 * 86_400_000
#: What is kept for good; `work` and `feed` hold the last 72 hours, whatever the age of the rest.
FILLED = ("events", "identities", "merges", "users", "sessions", "journeys", "rollups")
#: Times in rows, and what names somebody or something: both are others in each copy.
_TIMES = frozenset(
    {
        *("at", "receivedAt", "sentAt", "originalTimestamp", "timestamp", "doneAt", "writtenAt"),
        *("start", "end", "startedAt", "lastAt", "endedAt", "dueAt", "firstSeen", "lastSeen", "entered_at", "left_at"),
    }
)
_NAMES = frozenset({"userId", "anonymousId", "previousId", "messageId", "sk", "group", "value", "a", "b"})


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the rows of a workspace: the same shapes and sizes, other ids, older times."""

    number: int

    def row(self, row: Document) -> Document:
        copied = {name: self._value(name, value) for name, value in row.items()}
        # Identities and what links them are known by what they say.
        said = [copied[name] for name in ("sk", "a", "b") if name in copied]
        if said and isinstance(copied.get("_id"), bytes) and "messageId" not in copied:
            copied["_id"] = digest(copied["workspace"], *said)
        return copied

    def user(self, user: str) -> str:
        return blake2b(f"{user}{self.number}".encode(), digest_size=16).hexdigest()

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return value if name in ("properties", "traits", "context", "extra", "client") else self.row(value)
        if isinstance(value, list):
            return [self._value(name, item) for item in value]
        if isinstance(value, bytes):
            return value if name == "hash" else blake2b(value + b"%d" % self.number, digest_size=16).digest()
        if isinstance(value, str):
            if name in _NAMES:
                return f"{value}-{self.number}"
            if name in ("user", "_id"):
                user, *rest = value.split(".")
                return ".".join((self.user(user), *rest))
            return value
        if name in _TIMES and isinstance(value, int):
            return value - self.number * EIGHT_WEEKS
        return value


async def fill(database: Database, start: int, stop: int) -> None:
    """Copies number `start` up to `stop` of what the pipeline derived; behind them the lanes are as if it had."""
    for collection in FILLED:
        rows = await database.find(collection, {"copied": None})
        for number in range(start, stop):
            copy = Copy(number)
            for part in range(0, len(rows), 2_500):
                copied = [copy.row(row) | {"copied": True} for row in rows[part : part + 2_500]]
                await database.insert_many(collection, copied)
    for lane in range(LANES):
        await database.update_one("lanes", {"_id": lane}, {"$set": {"offset": await database.majority_time()}})


def newcomers(seed: int, copies: int) -> Iterator[Emission]:
    """What comes in next: from people all over the history, and from new ones."""
    rng = Random(seed)
    people: dict[str, int] = {}
    for _, emission in Population(9, now(), visitors_per_week=300).live(rate=50.0, start=now()):
        message: dict[str, Any] = {**emission.message, "messageId": random_id()}
        for name in ("userId", "anonymousId", "previousId"):
            if (known := message.get(name)) is not None:
                number = people.setdefault(str(known), rng.randrange(copies))
                message[name] = f"{known}-{number}" if number else known
        yield replace(emission, message=message)


async def measured(
    database: Database, collects: RunningGateway, derives: RunningGateway, copies: int, stored: int, seed: int
) -> tuple[Spent, Spent]:
    """Intake and then derivation of the same events."""
    requests = batch_requests(islice(newcomers(seed, copies), EVENTS), collects.write_key, 100)
    mongod = await pid_of_mongod(database)
    with spending(gateway=pid_of(collects), mongod=mongod) as intake:
        assert await drive(collects.port, iter(requests), 16) == len(requests)
    await asyncio.to_thread(derives.start)
    await derived(database, stored + EVENTS // 5)  # what a start costs is past
    begun = (await stored_size(database, "work"))["count"] - stored
    with spending(gateway=pid_of(derives), mongod=mongod) as derivation:
        await derived(database, stored + EVENTS)
    await asyncio.to_thread(derives.stop)
    share = EVENTS / (EVENTS - begun)
    derivation.cpu = {name: seconds * share for name, seconds in derivation.cpu.items()}
    return intake, derivation


@needs_proc
async def test_ever_more_events(
    gateway_environment: dict[str, str], gateway_of: Callable[[str], RunningGateway], capsys: pytest.CaptureFixture[str]
) -> None:
    collects = gateway_of("collect")
    derives = gateway_of("derive")
    await asyncio.to_thread(collects.set_up)
    database = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    key = await database.find_one("keys", {"kind": "write"})
    assert key is not None
    rows = list(documents(islice(population(9), TEMPLATE), key["workspace"], key["source"]))
    for start in range(0, len(rows), 2_500):
        await database.insert_many("events", rows[start : start + 2_500])
    await asyncio.to_thread(derives.start)
    await derived(database, TEMPLATE)
    await asyncio.to_thread(derives.stop)
    copies = 1
    found: dict[int, list[tuple[Spent, Spent]]] = {}
    for size in SIZES:
        copies, before = max(1, size // TEMPLATE), copies
        await fill(database, before, copies)
        for turn in range(ROUNDS):
            stored = (await stored_size(database, "work"))["count"]
            found.setdefault(size, []).append(
                await measured(database, collects, derives, copies, stored, seed=size + turn)
            )
    await asyncio.to_thread(collects.stop)
    say(capsys, "CPU µs/event when ever more events are stored, gateway + mongod", costs(found))
    say(capsys, f"Disk, bytes per event at {SIZES[-1]:,} events", await disk(database))
    await database.close()


def costs(found: dict[int, list[tuple[Spent, Spent]]]) -> list[tuple[str, str]]:
    rows, sums = [], {}
    for size, rounds in found.items():
        intake, derivation = (total([one[which] for one in rounds]) for which in (0, 1))
        each = [sum((*one.cpu.values(), *other.cpu.values())) / EVENTS * 1e6 for one, other in rounds]
        sums[size] = statistics.median(each)
        parts = (intake.per_event(ROUNDS * EVENTS, "gateway", "mongod") for intake in (intake, derivation))
        rows.append((f"{size:,} events: intake, derivation", ", ".join(parts)))
        rows.append((f"{size:,} events: all of it, median of {ROUNDS}", f"{sums[size]:,.0f}"))
    ratio = sums[SIZES[-1]] / sums[SIZES[0]]
    return [*rows, (f"ratio of {SIZES[-1]:,} to {SIZES[0]:,} (aim at most 1.3)", f"{ratio:.2f}")]


async def disk(database: Database) -> list[tuple[str, str]]:
    """By collection, once MongoDB has written all of it to its files: per event stored, and what comes to that for 72
    hours per event derived."""
    await database.admin({"fsync": 1})
    rows = []
    for events, collections, kept in (
        ((await stored_size(database, "events"))["count"], FILLED, "for good"),
        ((await stored_size(database, "work"))["count"], ("work", "feed"), "for 72 hours"),
    ):
        data = indexes = 0
        for collection in collections:
            size = await stored_size(database, collection)
            data, indexes = data + size["storageSize"], indexes + size["totalIndexSize"]
            told = f"{size['storageSize'] / events:,.0f} + {size['totalIndexSize'] / events:,.0f}"
            rows.append((f"{collection}: data + indexes", told))
        rows.append((f"all {kept}", f"{data / events:,.0f} + {indexes / events:,.0f}"))
    return rows
