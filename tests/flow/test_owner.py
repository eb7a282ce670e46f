"""The lease: one owner at a time, a take-over when it falls silent, and no write of one that lost it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.clock import ServerClock
from gateway.model.event import Event, EventType
from gateway.model.identity import digest
from gateway.pipeline.derive import Derivation
from gateway.pipeline.folding import Fold
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import Events, to_document
from gateway.store.identities import Identities
from gateway.store.lanes import Lanes, LeaseLost
from gateway.store.users import Journeys, Sessions, Users
from tests.flow.test_derive_equals_oracle import START, contract


def deriver(database: Database, *, lease_seconds: float = 1.0) -> Deriver:
    fold = Fold(
        Events(database), Identities(database), Users(database), Sessions(database), Journeys(database), contract()
    )
    return Deriver(database, Derivation(Lanes(database), fold), ServerClock(), lease_seconds=lease_seconds)


def event(number: int, name: str = "View", at: int = START) -> Event:
    return Event(
        id=digest("event", str(number)),
        workspace="w",
        source="s",
        message_id=str(number),
        type=EventType.TRACK,
        name=name,
        user_id=f"u{number % 5}",
        anonymous_id=None,
        at=at + number,
        seq=number,
        received_at=at + number,
        content_hash=b"",
    )


async def store(database: Database, events: list[Event]) -> None:
    await database.insert_unordered("events", [to_document(one, escape=False) for one in events])


async def derived(database: Database, count: int) -> None:
    async with asyncio.timeout(20):
        while await database.count("work", {}) < count:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)


@pytest.fixture
async def prepared(database: Database) -> Database:
    await collections.prepare(database)
    await Lanes(database).prepare()
    return database


async def test_a_second_owner_waits_and_takes_over_when_the_first_stops(prepared: Database) -> None:
    first, second = deriver(prepared), deriver(prepared)
    running = asyncio.create_task(first.run())
    await store(prepared, [event(number) for number in range(20)])
    await derived(prepared, 20)
    waiting = asyncio.create_task(second.run())
    await asyncio.sleep(0.5)
    first.stop()
    await running
    await store(prepared, [event(number) for number in range(20, 40)])
    await derived(prepared, 40)
    second.stop()
    await waiting
    assert await prepared.count("feed", {"kind": "event"}) == 40


async def test_an_owner_that_lost_the_lease_writes_nothing(prepared: Database) -> None:
    lanes, zombie = Lanes(prepared), deriver(prepared)
    old = await lanes.acquire("zombie", 0.05)
    assert old is not None
    await asyncio.sleep(0.2)
    assert await lanes.acquire("heir", 60) is not None
    await store(prepared, [event(1)])
    with pytest.raises(LeaseLost):
        await zombie.apply(old, [event(1)])
    for collection in ("work", "users", "sessions", "journeys", "feed", "identities"):
        assert await prepared.count(collection, {}) == 0


async def test_a_lease_is_not_given_twice(prepared: Database) -> None:
    lanes = Lanes(prepared)
    got = await asyncio.gather(*(lanes.acquire(f"owner{number}", 60) for number in range(8)))
    assert sum(lease is not None for lease in got) == 1


async def test_events_stored_before_the_first_owner_are_derived(prepared: Database) -> None:
    await store(prepared, [event(number) for number in range(1_200)])
    owner = deriver(prepared)
    running = asyncio.create_task(owner.run())
    await derived(prepared, 1_200)
    owner.stop()
    await running
    assert await prepared.count("feed", {"kind": "event"}) == 1_200
    assert sum(row["events"] for row in await prepared.find("users", {})) == 1_200


async def test_time_alone_turns_a_journey_abandoned_and_says_so(prepared: Database) -> None:
    clock = ServerClock()
    limit = int(timedelta(hours=2).total_seconds() * 1000)
    owner = deriver(prepared)
    running = asyncio.create_task(owner.run())
    await store(prepared, [event(0, at=clock.now() - limit + 3_000)])
    await derived(prepared, 1)
    rows = await prepared.find("journeys", {})
    assert [row["status"] for row in rows] == ["active"]
    async with asyncio.timeout(20):
        while not await prepared.count("journeys", {"status": "abandoned"}):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    owner.stop()
    await running
    (told,) = await prepared.find("feed", {"kind": "journey", "status": "abandoned"})
    assert told["from"] == told["to"] == "browse"


async def test_an_event_that_does_not_fold_sets_its_user_aside_and_nobody_else(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.journeys import fold as fold_module

    advance = fold_module._advance

    def spoiled(run: object, journey_map: object, user: str, one: Event) -> object:
        if one.name == "Poison":
            raise RuntimeError("planted")
        return advance(run, journey_map, user, one)  # type: ignore[arg-type]

    monkeypatch.setattr(fold_module, "_advance", spoiled)
    owner = deriver(prepared)
    running = asyncio.create_task(owner.run())
    await store(prepared, [event(number, "Poison" if number == 7 else "View") for number in range(20)])
    await derived(prepared, 20)
    monkeypatch.setattr(fold_module, "_advance", advance)
    assert sum(row.get("events", 0) for row in await prepared.find("users", {})) == 16
    await store(prepared, [event(22)])
    await derived(prepared, 21)
    owner.stop()
    await running
    assert sum(row["events"] for row in await prepared.find("users", {})) == 21


async def test_a_failure_nobody_foresaw_is_tried_again(prepared: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, failures = deriver(prepared), iter([True, True])
    publish = Lanes.publish

    async def sometimes(self: Lanes, *arguments: object, **options: object) -> object:
        if next(failures, False):
            raise KeyError("planted")
        return await publish(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Lanes, "publish", sometimes)
    running = asyncio.create_task(owner.run())
    await store(prepared, [event(number) for number in range(10)])
    await derived(prepared, 10)
    owner.stop()
    await running
    assert await prepared.count("feed", {"kind": "event"}) == 10
