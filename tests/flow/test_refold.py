"""Users with very many events: folded beside the batches, whoever dies in the middle, and nobody waits for them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from gateway.clock import FrozenClock, ServerClock
from gateway.contract import Contract
from gateway.journeys.fold import fold
from gateway.model.event import Event, EventType
from gateway.model.identity import LANES, Identity, Member, digest, lane_of, user_id_of
from gateway.pipeline import folding, refolding
from gateway.pipeline.batch import Refold
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.identities import Identities
from gateway.store.lanes import Lanes, Lease, LeaseLost
from gateway.store.rebuilds import Rebuilds
from tests.flow.test_derive_equals_oracle import (
    CELL,
    MINUTE,
    START,
    checkpoints_hold,
    contract,
    deriver_of,
    few_at_once,
    refolded,
)
from tests.flow.test_owner import event, store
from tests.pace import PATIENCE

__all__ = ["few_at_once"]

AS_OF = START + 100 * 24 * 60 * MINUTE


@pytest.fixture
async def prepared(database: Database) -> Database:
    await collections.prepare(database)
    await Lanes(database).prepare()
    return database


def deriver(database: Database, under: Contract | None = None) -> Deriver:
    return Deriver(database, Derivation.of(database, Contracts.fixed(under or contract())), FrozenClock(AS_OF))


def visits(user: str, numbers: range) -> list[Event]:
    """One event an hour: each a session, and a run, of its own."""
    return [event(number, at=START + number * 3 * 60 * MINUTE, user=user) for number in numbers]


def another(version: int) -> Contract:
    """The contract with another version of its map."""
    base = contract()
    return Contract("test", {"m": replace(base.journeys["m"], version=version)}, {})


async def apply(database: Database, deriver: Deriver, lease: Lease, events: list[Event]) -> None:
    await store(database, events)
    await deriver.apply(lease, events)


async def expire(database: Database, *owners: str) -> None:
    past = [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}]
    for owner in owners:
        await database.update_many("lanes", {"_id": f"process {owner}"}, past)


async def cells_of(database: Database) -> dict[tuple[str, int], int]:
    """Stage entries by definition and time."""
    found: dict[tuple[str, int], int] = {}
    for row in await database.find("rollups", {"kind": "stage"}):
        key = (row["definition"], row["start"])
        found[key] = found.get(key, 0) + row["count"]
    return {key: count for key, count in found.items() if count}


async def entries(database: Database) -> dict[int, int]:
    """The same, of all definitions, as the stored journeys say it."""
    found: dict[int, int] = {}
    for run in await database.find("journeys", {}):
        for visit in run["visits"]:
            start = visit["entered_at"] // CELL * CELL
            found[start] = found.get(start, 0) + 1
    return found


async def summed(database: Database) -> dict[int, int]:
    found: dict[int, int] = {}
    for (_, start), count in (await cells_of(database)).items():
        found[start] = found.get(start, 0) + count
    return found


async def user_row(database: Database, user: str) -> dict[str, Any]:
    row = await database.find_one("users", {"_id": user_id_of("w", Identity("userId", user))})
    assert row is not None
    return row


async def announced(database: Database) -> list[bytes]:
    rows = await database.find("feed", {"kind": "event"})
    return sorted(bytes(row["event"]) for row in rows)


async def nothing_waits(database: Database) -> None:
    assert not await database.count("work", {"pending": {"$ne": None}})
    assert not await database.count("users", {"refolding": True})


# -- in parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_at_once")
async def test_numbers_are_those_of_the_stored_journeys_after_every_part(prepared: Database) -> None:
    owner, lease = deriver(prepared), await Lanes(prepared).acquire("owner", 60)
    assert lease is not None
    events = visits("u", range(1, 12))
    await apply(prepared, owner, lease, events[1:])
    late = [events[0], event(50, name="Add", at=events[4].at, user="u")]
    await apply(prepared, owner, lease, late)
    row = await user_row(prepared, "u")
    assert row["refolding"], "it has too many events for a transaction"
    assert row["events"] == 10, "nothing is folded onto what is stale"
    assert len(await announced(prepared)) == 10, "nothing is told before it counts"
    steps = 0
    while await owner.refold(lease):
        steps += 1
        assert await summed(prepared) == await entries(prepared), f"after part {steps}"
    assert steps > 3
    assert (await user_row(prepared, "u"))["events"] == 12
    assert await announced(prepared) == sorted(one.id for one in [*events, late[1]])
    await nothing_waits(prepared)


@pytest.mark.usefixtures("few_at_once")
async def test_other_maps_in_the_middle_of_other_maps(prepared: Database) -> None:
    lanes = Lanes(prepared)
    first, lease = deriver(prepared), await lanes.acquire("first", 60)
    assert lease is not None
    await apply(prepared, first, lease, visits("u", range(1, 8)))
    await expire(prepared, "first")
    second, taken = deriver(prepared, another(2)), await lanes.acquire("second", 60)
    assert taken is not None
    assert not await second._sweep(taken)
    for _ in range(2):
        assert await second.refold(taken)
        assert await summed(prepared) == await entries(prepared)
    assert len({definition for definition, _ in await cells_of(prepared)}) == 2, "it died half-way"
    await expire(prepared, "second")
    third, heir = deriver(prepared, another(3)), await lanes.acquire("third", 60)
    assert heir is not None
    while await third.refold(heir):
        assert await summed(prepared) == await entries(prepared)
    hashes = {definition for definition, _ in await cells_of(prepared)}
    assert hashes == {another(3).journeys_hash}
    assert {run["version"] for run in await prepared.find("journeys", {})} == {3}
    await nothing_waits(prepared)
    await checkpoints_of(prepared, another(3).journeys_hash)


async def checkpoints_of(database: Database, maps: str) -> None:
    rows = await database.find("checkpoints", {})
    assert rows
    assert {row["maps"] for row in rows} == {maps}


# -- whoever dies -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def reading(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """A refold that has read everything says so, and writes nothing before it may."""
    read, may = asyncio.Event(), asyncio.Event()
    prepare = refolding.prepare

    async def held_up(tools: Any, refold: Refold, under: Contract) -> None:
        await prepare(tools, refold, under)
        refold.ready = False
        read.set()
        await may.wait()
        refold.ready = True

    with monkeypatch.context() as patch:
        patch.setattr(refolding, "prepare", held_up)
        yield read, may


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("fate", ["dead", "frozen"])
async def test_an_owner_that_dies_between_reading_and_writing_has_an_heir(
    prepared: Database, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    lanes = Lanes(prepared)
    owner, lease = deriver(prepared), await lanes.acquire("owner", 60)
    assert lease is not None
    events = visits("u", range(9))
    await apply(prepared, owner, lease, events[1:8])
    await apply(prepared, owner, lease, events[:1])
    async with reading(monkeypatch) as (read, may):
        stuck = asyncio.create_task(owner.refold(lease))
        await read.wait()
        if fate == "dead":
            stuck.cancel()
            await asyncio.wait([stuck])
        await expire(prepared, "owner")
        other = deriver(prepared)
        heir = await lanes.acquire("heir", 60)
        assert heir is not None
        await apply(prepared, other, heir, events[8:])
        assert len(await announced(prepared)) == 7, "it waits, with the first one"
        may.set()
        if fate == "frozen":
            with suppress(LeaseLost):
                await stuck
            assert len(await announced(prepared)) == 7, "whoever lost the lane writes nothing"
    await refolded(other, heir)
    assert (await user_row(prepared, "u"))["events"] == 9
    assert await announced(prepared) == sorted(one.id for one in events)
    assert await summed(prepared) == await entries(prepared)
    await nothing_waits(prepared)
    await checkpoints_hold(prepared)


@pytest.mark.usefixtures("few_at_once")
async def test_an_owner_that_dies_between_two_parts_has_an_heir(prepared: Database) -> None:
    lanes = Lanes(prepared)
    parts, told = 1, list[Event]()
    while True:
        user, name = f"u{parts}", f"owner {parts}"
        events = [replace(one, id=digest(user, one.id)) for one in visits(user, range(8))]
        told += events
        owner, lease = deriver(prepared), await lanes.acquire(name, 60)
        assert lease is not None
        await apply(prepared, owner, lease, events[1:])
        await apply(prepared, owner, lease, events[:1])
        whole = False
        for _ in range(parts):
            whole = not await owner.refold(lease)
        await expire(prepared, name)
        other, heir = deriver(prepared), await lanes.acquire(f"heir {parts}", 60)
        assert heir is not None
        await refolded(other, heir)
        await expire(prepared, f"heir {parts}")
        assert (await user_row(prepared, user))["events"] == 8, f"after {parts} parts"
        assert await announced(prepared) == sorted(one.id for one in told)
        assert await summed(prepared) == await entries(prepared)
        await nothing_waits(prepared)
        if whole:
            break
        parts += 1
    assert parts > 3


# -- whoever changes in between ---------------------------------------------------------------------------------------


def said(number: int, kind: EventType, **sides: list[str]) -> Event:
    """An operator's decision."""
    ((_, (first, *_)), *_) = sides.items()
    return replace(event(number, name=kind.value, user=first), type=kind, properties=_sks(sides))


def _sks(sides: dict[str, list[str]]) -> dict[str, Any]:
    return {side: [Identity("userId", name).sk for name in names] for side, names in sides.items()}


async def owners_of(database: Database, several: bool) -> list[tuple[Deriver, Lease]]:
    """The owner of the lane of user u, and of all others, or somebody else for these."""
    lane = lane_of("w", user_id_of("w", Identity("userId", "u")))
    owners = []
    for name, mine in (("owner", [lane]), ("other", [one for one in range(LANES) if one != lane])):
        lease = await Lanes(database).acquire(name, 60, lanes=mine if several else range(LANES))
        if lease is not None:
            owners.append((deriver(database), lease))
    return owners


async def apply_by(database: Database, owners: list[tuple[Deriver, Lease]], events: list[Event]) -> None:
    await store(database, events)
    for owner, lease in owners:
        await owner.apply(lease, events)
    while any([await owner.work_off(lease) for owner, lease in owners]):
        pass


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("several", [False, True], ids=["one owner", "two owners"])
@pytest.mark.parametrize(("what", "many"), [("merge", 2), ("merge", 6), ("split", 6)])
async def test_who_becomes_somebody_else_while_it_is_folded_is_folded_once_more(
    prepared: Database, monkeypatch: pytest.MonkeyPatch, what: str, many: int, several: bool
) -> None:
    owners = await owners_of(prepared, several)
    (owner, lease), *_ = owners
    mine = visits("u", range(8))
    other = [replace(one, id=digest("other", one.id)) for one in visits("v", range(20, 20 + many))]
    together = said(901, EventType.MERGE, one=["u"], other=["v"])
    apart = said(902, EventType.SPLIT, one=["u"], other=["v"])
    await apply_by(prepared, owners, [*mine[1:], *other])
    if what == "split":
        await apply_by(prepared, owners, [together])
        while any([await refolded(*one) for one in owners]):
            pass
    await apply_by(prepared, owners, mine[:1])
    async with reading(monkeypatch) as (read, may):
        folding_now = asyncio.create_task(owner.refold(lease))
        await read.wait()
        await apply_by(prepared, owners, [apart if what == "split" else together])
        may.set()
        await folding_now
    while any([await refolded(*one) for one in owners]):
        pass
    users = sorted(row["events"] for row in await prepared.find("users", {"movedTo": None}))
    assert users == ([8 + many] if what == "merge" else [many, 8])
    runs = [run["user"] for run in await prepared.find("journeys", {})]
    assert sorted(Counter(runs).values()) == users, "a run for every event"
    assert await prepared.count("sessions", {}) == 8 + many
    assert await announced(prepared) == sorted(one.id for one in [*mine, *other])
    assert await summed(prepared) == await entries(prepared)
    await nothing_waits(prepared)
    await checkpoints_hold(prepared)


# -- checkpoints ------------------------------------------------------------------------------------------------------


async def test_a_late_event_is_folded_from_the_checkpoint_before_it(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "MOST_EVENTS", 50)
    monkeypatch.setattr(folding, "CHECKPOINT_EVENTS", 10)
    owner, lease = deriver(prepared), await Lanes(prepared).acquire("owner", 60)
    assert lease is not None
    events = visits("u", range(200))
    for first in range(0, 200, 10):
        await apply(prepared, owner, lease, [one for one in events[first : first + 10] if one.seq != 0])
    folded = list[int]()

    def counting(user: str, news: list[Event], *arguments: Any, **options: Any) -> Any:
        folded.append(len(news))
        return fold(user, news, *arguments, **options)

    monkeypatch.setattr(folding, "fold", counting)
    await apply(prepared, owner, lease, [event(500, at=events[170].at + MINUTE, user="u")])
    assert sum(folded) < 50, "not its whole history"
    assert not (await user_row(prepared, "u")).get("refolding")
    await checkpoints_hold(prepared)
    await apply(prepared, owner, lease, [events[0]])
    assert (await user_row(prepared, "u"))["refolding"], "there is no checkpoint before the first event"
    await refolded(owner, lease)
    assert (await user_row(prepared, "u"))["events"] == 201
    assert await prepared.count("sessions", {}) == 200
    assert await summed(prepared) == await entries(prepared)
    assert await prepared.count("checkpoints", {}) > 0
    await checkpoints_hold(prepared)
    await nothing_waits(prepared)


# -- events that do not fold ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_at_once")
async def test_a_user_whose_many_events_do_not_fold_is_set_aside(
    prepared: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, lease = deriver(prepared), await Lanes(prepared).acquire("owner", 60)
    assert lease is not None
    events = visits("u", range(9))
    await apply(prepared, owner, lease, events[1:])
    await apply(prepared, owner, lease, events[:1])
    with monkeypatch.context() as patch:

        def spoilt(*_: Any, **__: Any) -> None:
            raise RuntimeError("planted")

        patch.setattr(refolding, "fold", spoilt)
        await refolded(owner, lease)
    await nothing_waits(prepared)
    assert "user set aside" in caplog.text
    assert await Rebuilds(prepared).set_aside("w") == [user_id_of("w", Identity("userId", "u"))]
    assert await announced(prepared) == sorted(one.id for one in events)
    await apply(prepared, owner, lease, visits("u", range(9, 10)))
    await refolded(owner, lease)
    assert (await user_row(prepared, "u"))["events"] == 10
    assert await announced(prepared) == sorted(one.id for one in visits("u", range(10)))


# -- at scale ---------------------------------------------------------------------------------------------------------

MANY = 60_000


async def seed_many(database: Database, user: str) -> str:
    """A user with very many events that were derived long ago; its row is lost and to be made anew."""
    identity = Identity("userId", user)
    key = user_id_of("w", identity)
    for first in range(1, MANY + 1, 5_000):
        events = [event(number, at=START + number * MINUTE, user=user) for number in range(first, first + 5_000)]
        await store(database, events)
        rows = [
            {"_id": one.id, "workspace": "w", "user": key, "lane": lane_of("w", key), "doneAt": START} for one in events
        ]
        await database.insert_unordered("work", rows)
    first_event = event(1, at=START + MINUTE, user=user)
    member = Member(first_event.order, identity.sk, key)
    async with database.transaction() as session:
        await Identities(database).write("w", {identity: member}, {}, session)
    await Rebuilds(database).mark("w", [key])
    return key


async def until(check: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await check():  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)


async def done(database: Database, events: list[Event]) -> bool:
    ids = [one.id for one in events]
    return await database.count("work", {"_id": {"$in": ids}, "pending": None}) == len(ids)


async def test_others_are_derived_while_a_user_with_60_000_events_is_folded(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await seed_many(prepared, "hot")
    owner = deriver_of(prepared, ServerClock())
    running = asyncio.create_task(owner.run())
    began = time.monotonic()

    async def whole() -> bool:
        return await prepared.count("users", {"_id": key, "events": MANY, "refolding": None}) == 1

    await until(whole)
    print(f"{MANY} events folded from the first one within {time.monotonic() - began:.1f} s", flush=True)
    late = event(0, at=START - 60 * MINUTE, user="hot")
    async with reading(monkeypatch) as (read, may):
        await store(prepared, [late])
        async with asyncio.timeout(PATIENCE):
            await read.wait()
        others = [event(100_000 + number, user=f"other {number % 7}") for number in range(50)]
        new = [event(200_000 + number, at=START + 2 * MANY * MINUTE, user="hot") for number in range(5)]
        await store(prepared, [*others, *new])
        await until(lambda: done(prepared, others))
        await until(lambda: held(prepared, 6))
        row = await user_row(prepared, "hot")
        assert (row["events"], row["refolding"]) == (MANY, True)
        assert not await prepared.count("feed", {"user": key, "kind": "event"}), "nothing is told before it counts"
        may.set()
    await until(lambda: done(prepared, [late, *new]))
    owner.stop()
    await running
    row = await user_row(prepared, "hot")
    assert (row["events"], row["firstSeen"]) == (MANY + 6, late.at)
    assert sorted(bytes(one["event"]) for one in await prepared.find("feed", {"user": key, "kind": "event"})) == sorted(
        one.id for one in [late, *new]
    )
    visited = await prepared.find("sessions", {"user": key})
    assert sum(one["events"] for one in visited) == MANY + 6
    assert await summed(prepared) == await entries(prepared)
    await nothing_waits(prepared)


@pytest.mark.usefixtures("few_at_once")
async def test_what_waited_meanwhile_is_folded_however_long_the_last_part_took(
    prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.pipeline.owner._REFOLD_SECONDS", 0.0)  # every part takes longer than it should
    owner = deriver_of(prepared, ServerClock())
    running = asyncio.create_task(owner.run())
    events = visits("hot", range(1, 12))
    await store(prepared, events)
    await until(lambda: done(prepared, events))
    late, new = event(0, at=START - 60 * MINUTE, user="hot"), event(500, at=START + 900 * MINUTE, user="hot")
    async with reading(monkeypatch) as (read, may):
        await store(prepared, [late])
        async with asyncio.timeout(PATIENCE):
            await read.wait()
        await store(prepared, [new])
        await until(lambda: held(prepared, 2))
        may.set()
    await until(lambda: done(prepared, [late, new]))
    owner.stop()
    await running
    await nothing_waits(prepared)


async def held(database: Database, count: int) -> bool:
    return await database.count("work", {"pending": "event"}) == count
