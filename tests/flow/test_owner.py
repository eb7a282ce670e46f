"""The lease: one owner at a time, a take-over when it falls silent, and no write of one that lost it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.clock import ServerClock
from gateway.errors import Unavailable
from gateway.model.event import Event, EventType
from gateway.model.identity import LANES, digest, lane_of
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import Database, HistoryLost, Session, Stream
from gateway.store.derivation import DerivationStatus
from gateway.store.events import to_document
from gateway.store.lanes import Lanes, Lease, LeaseLost
from tests.flow.test_derive_equals_oracle import START, deriver_of
from tests.pace import PATIENCE
from tests.store.seam import failing


def deriver(database: Database, *, lease_seconds: float = 1.0) -> Deriver:
    return deriver_of(database, ServerClock(), lease_seconds=lease_seconds)


def event(number: int, name: str = "View", at: int = START, user: str | None = None) -> Event:
    return Event(
        id=digest("event", str(number)),
        workspace="w",
        source="s",
        message_id=str(number),
        type=EventType.TRACK,
        name=name,
        user_id=user or f"u{number % 5}",
        anonymous_id=None,
        at=at + number,
        seq=number,
        received_at=at + number,
        content_hash=b"",
    )


def received_now(one: Event) -> Event:
    """The same, as a reading of what is stored finds it that begins at a position in the change stream."""
    return replace(one, received_at=int(time.time() * 1000))


async def store(database: Database, events: list[Event]) -> None:
    await database.insert_unordered("events", [to_document(one, escape=False) for one in events])


async def derived(database: Database, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await database.count("work", {"pending": None}) < count:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)


async def resolved(database: Database, events: list[Event]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await database.count("work", {"_id": {"$in": [one.id for one in events]}}) < len(events):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
async def prepared(database: Database) -> Database:
    await collections.prepare(database)
    await Lanes(database).prepare()
    return database


async def lanes_of(database: Database) -> dict[str | None, int]:
    """How many lanes each owner has."""
    rows = await database.find("lanes", {"_id": {"$in": list(range(LANES))}})
    return dict(Counter(row["owner"] for row in rows))


async def shared(database: Database, *counts: int) -> None:
    """Wait until the lanes are shared so."""
    async with asyncio.timeout(PATIENCE):
        while sorted((await lanes_of(database)).values()) != sorted(counts):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_owners_share_the_lanes_and_take_over_when_one_stops(prepared: Database) -> None:
    first, second, third = deriver(prepared), deriver(prepared), deriver(prepared)
    running = asyncio.create_task(first.run())
    await shared(prepared, 16)
    await store(prepared, [event(number) for number in range(20)])
    await derived(prepared, 20)
    others = [asyncio.create_task(second.run()), asyncio.create_task(third.run())]
    await shared(prepared, 6, 6, 4)
    await store(prepared, [event(number) for number in range(20, 40)])
    await derived(prepared, 40)
    first.stop()
    stopped = time.monotonic()
    await running
    await shared(prepared, 8, 8)
    print(f"handed over within {time.monotonic() - stopped:.2f} s")
    await store(prepared, [event(number) for number in range(40, 60)])
    await derived(prepared, 60)
    for other in (second, third):
        other.stop()
    await asyncio.gather(*others)
    assert await lanes_of(prepared) == {None: 16}
    assert await prepared.count("feed", {"kind": "event"}) == 60
    assert sum(row["events"] for row in await prepared.find("users", {})) == 60


async def test_what_a_silent_owner_had_is_taken_over_and_it_writes_nothing_more(prepared: Database) -> None:
    silent, heir = deriver(prepared, lease_seconds=0.5), deriver(prepared, lease_seconds=0.5)
    lease = await Lanes(prepared).acquire("silent", 0.5)
    assert lease is not None
    running = asyncio.create_task(heir.run())
    async with asyncio.timeout(PATIENCE):
        while set(await lanes_of(prepared)) & {"silent", None}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await store(prepared, [event(number) for number in range(20)])
    with suppress(LeaseLost):  # unless the heir was faster, and nothing is left to write
        await silent.apply(lease, [event(number) for number in range(20)])
    await derived(prepared, 20)
    heir.stop()
    await running
    assert await prepared.count("feed", {"kind": "event"}) == 20


async def test_what_a_dead_owner_left_open_holds_nobody_up(prepared: Database) -> None:
    """mongod would keep the locks of a transaction whose process is gone for a minute."""
    lanes, heir = Lanes(prepared), deriver(prepared, lease_seconds=0.5)
    async with prepared.lasting_session() as session:
        await lanes.attend("dead", 0.5, session=dict(session.session_id))
        lease = await lanes.acquire("dead", 0.5)
        assert lease is not None
        await lanes.attend("dead", 0.5, session=dict(session.session_id))
        left = asyncio.Event()

        async def never_commits(transaction: Session) -> None:
            await lanes.fence(lease, lease.lanes, heads={}, offset=None, session=transaction)
            await prepared.insert_many("work", [{"_id": event(3).id, "workspace": "w"}], session=transaction)
            left.set()
            await asyncio.Event().wait()

        dying = asyncio.create_task(prepared.with_transaction(never_commits, session=session))
        await left.wait()
        await store(prepared, [event(number) for number in range(10)])
        began = time.monotonic()
        running = asyncio.create_task(heir.run())
        await derived(prepared, 10)
        print(f"taken over from a dead owner within {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 8, "with_transaction itself gives up only after 10 s"
        dying.cancel()
        await asyncio.wait([dying])
        heir.stop()
        await running


async def test_a_catch_up_that_was_broken_off_goes_on_where_it_stood(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.owner._PAGE", 50)
    await store(prepared, [event(number) for number in range(300)])
    first, applied = deriver(prepared), list[int]()
    apply = Deriver.apply

    async def counting(self: Deriver, lease: Lease, events: list[Event], **options: Any) -> None:
        if len(applied) == 3:
            first.stop()
        applied.append(len(events))
        await apply(self, lease, events, **options)

    monkeypatch.setattr(Deriver, "apply", counting)
    await first.run()
    done = await prepared.count("work", {})
    assert 150 <= done < 300
    second = deriver(prepared)
    running = asyncio.create_task(second.run())
    await derived(prepared, 300)
    second.stop()
    await running
    assert sum(applied) == 300, "nothing is gone through twice"
    assert await prepared.count("feed", {"kind": "event"}) == 300


async def test_history_that_is_lost_is_made_up_for_and_kept_on_record(prepared: Database) -> None:
    await store(prepared, [event(number) for number in range(10)])
    first = deriver(prepared)
    running = asyncio.create_task(first.run())
    await derived(prepared, 10)
    first.stop()
    await running
    await store(prepared, [received_now(event(number)) for number in range(10, 20)])
    second, status = deriver(prepared), DerivationStatus(prepared)
    # As when the oplog has been rolled over: the change stream cannot be opened where derivation stood.
    async with failing(prepared, "aggregate", errorCode=286, namespace=f"{prepared.name}.events"):
        running = asyncio.create_task(second.run())
        async with asyncio.timeout(PATIENCE):
            while not await status.incidents(limit=1):  # noqa: ASYNC110 - the owner tells nobody
                await asyncio.sleep(0.05)
    await derived(prepared, 20)
    async with asyncio.timeout(PATIENCE):
        while await status.count_open():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    second.stop()
    await running
    (incident,) = await status.incidents(limit=5)
    assert incident.kind == "history_lost"
    assert incident.lanes == tuple(range(LANES))
    assert incident.since is not None
    assert incident.ended_at is not None
    assert await prepared.count("feed", {"kind": "event"}) == 20


async def test_lanes_lost_while_nothing_is_left_to_catch_up_with_are_dropped(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, following, silent = deriver(prepared), Deriver._next, asyncio.Event()
    until = datetime.now(UTC) + timedelta(days=1)

    async def rolled_over(self: Deriver, lease: Lease, stream: Stream) -> None:
        if silent.is_set() and not lease.lanes.keys().isdisjoint(range(8)):
            heir = {"$set": {"owner": "heir"}, "$inc": {"epoch": 1}}
            await prepared.update_one("lanes", {"_id": "process heir"}, {"$set": {"until": until}}, upsert=True)
            await prepared.update_many("lanes", {"_id": {"$in": [*range(8)]}, "owner": lease.owner}, heir)
            raise HistoryLost("planted: the oplog no longer reaches back", number=286)
        await following(self, lease, stream)

    monkeypatch.setattr(Deriver, "_next", rolled_over)
    events = [received_now(event(number, user=f"user {number}")) for number in range(64)]
    await store(prepared, events[:32])
    running = asyncio.create_task(owner.run())
    await derived(prepared, 32)
    silent.set()
    await shared(prepared, 8, 8)
    await store(prepared, events[32:])
    await resolved(prepared, [one for one in events[32:] if lane_of("w", one.sk) >= 8])
    owner.stop()
    await running


async def test_a_catch_up_folds_what_others_have_left(prepared: Database) -> None:
    lanes, owner = Lanes(prepared), deriver(prepared)
    one = await lanes.acquire("one", 60, lanes=range(8))
    other = await lanes.acquire("other", 60, lanes=range(8, 16))
    assert one is not None
    assert other is not None
    events = [event(number, user=f"user {number}") for number in range(64)]
    await store(prepared, events)
    await owner.apply(one, events)
    left = {"pending": True, "lane": {"$gte": 8}}
    assert await prepared.count("work", left) > 0
    await owner._catch_up(other)
    assert await prepared.count("work", left) == 0


async def test_a_failure_in_a_catch_up_is_tried_again(prepared: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    failures, losses = iter([True]), iter([True])
    publish, following = Lanes.publish, Deriver._next

    async def sometimes(self: Lanes, *arguments: Any, **options: Any) -> None:
        if next(failures, False):
            raise KeyError("planted")
        await publish(self, *arguments, **options)

    async def rolled_over(self: Deriver, lease: Lease, stream: Stream) -> None:
        if next(losses, False):
            await store(prepared, [received_now(event(number)) for number in range(10)])
            raise HistoryLost("planted: the oplog no longer reaches back", number=286)
        await following(self, lease, stream)

    monkeypatch.setattr(Lanes, "publish", sometimes)
    monkeypatch.setattr(Deriver, "_next", rolled_over)
    owner = deriver(prepared)
    running = asyncio.create_task(owner.run())
    done = asyncio.create_task(derived(prepared, 10))
    await asyncio.wait([running, done], return_when=asyncio.FIRST_COMPLETED)
    owner.stop()
    await running
    await done
    assert await prepared.count("feed", {"kind": "event"}) == 10


async def test_a_lane_that_is_lost_is_dropped_and_the_rest_of_the_batch_derived(prepared: Database) -> None:
    lanes, owner = Lanes(prepared), deriver(prepared)
    lease = await lanes.acquire("owner", 0.05)
    assert lease is not None
    await asyncio.sleep(0.2)
    other = await lanes.acquire("heir", 60, lanes=range(8))
    assert other is not None
    events = [event(number, user=f"user {number}") for number in range(64)]
    await store(prepared, events)
    await owner.apply(lease, events)
    assert set(lease.lanes) == set(range(8, 16))
    mine = {one.id for one in events if lane_of("w", one.sk) >= 8}
    assert {bytes(row["_id"]) for row in await prepared.find("work", {})} == mine
    assert 0 < len(mine) < 64
    await owner.apply(other, events)
    while await owner.work_off(lease) + await owner.work_off(other):
        pass
    assert await prepared.count("feed", {"kind": "event"}) == 64


async def test_lanes_that_are_ahead_are_not_taken_under_an_older_contract(prepared: Database) -> None:
    lanes = Lanes(prepared)
    newer = await lanes.acquire("newer", 60, lanes=range(4), contract=2)
    assert newer is not None
    await lanes.release(newer)
    older = await lanes.acquire("older", 60, contract=1)
    assert older is not None
    assert set(older.lanes) == set(range(4, 16))


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


async def test_no_lane_is_given_twice(prepared: Database) -> None:
    lanes = Lanes(prepared)
    got = await asyncio.gather(*(lanes.acquire(f"owner{number}", 60) for number in range(8)))
    assert sorted(lane for lease in got if lease is not None for lane in lease.lanes) == list(range(LANES))


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
    async with asyncio.timeout(PATIENCE):
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

    async def sometimes(self: Lanes, *arguments: object, **options: object) -> None:
        if next(failures, False):
            raise KeyError("planted")
        await publish(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Lanes, "publish", sometimes)
    running = asyncio.create_task(owner.run())
    await store(prepared, [event(number) for number in range(10)])
    await derived(prepared, 10)
    owner.stop()
    await running
    assert await prepared.count("feed", {"kind": "event"}) == 10


async def test_a_commit_of_unknown_outcome_is_found_to_have_happened(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, unknown = deriver(prepared), iter([True, True])
    committed = Lanes.committed

    def sometimes(self: Lanes, *arguments: Any) -> None:
        if next(unknown, False):
            raise Unavailable("planted: it was committed, and nobody heard of it")
        committed(self, *arguments)

    monkeypatch.setattr(Lanes, "committed", sometimes)
    running = asyncio.create_task(owner.run())
    await store(prepared, [event(number) for number in range(10)])
    await derived(prepared, 10)
    await store(prepared, [event(number) for number in range(10, 20)])
    await derived(prepared, 20)
    owner.stop()
    await running
    assert await prepared.count("feed", {"kind": "event"}) == 20
