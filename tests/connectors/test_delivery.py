"""Delivery: at least once, through restarts and take-overs, in order per user, under the same keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.errors import Unavailable
from gateway.model.identity import LANES, Identity, user_id_of
from gateway.plugin import Delivered, Duplicate, Item, ItemResult, Rejected, Retry
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries, Standing
from gateway.store.lanes import LeaseLost
from tests.connectors.delivering import ENDLESS, WORKSPACE, Recorder, Stage, capable, event, instance, stays, until


def recorder(stage: Stage, name: str = "sink") -> Recorder:
    found = stage.instances[name].connector
    assert isinstance(found, Recorder)
    return found


async def test_an_event_is_delivered_once_and_not_again_after_a_restart(database: Database) -> None:
    async with Stage(database, instance()).running() as first:
        await first.store(event(1))
        await until(lambda: recorder(first).names == ["ada 1"])
    async with Stage(database, instance()).running() as second:
        await second.store(event(2))
        await until(lambda: recorder(second).names == ["ada 2"])
    assert [item.key for item in recorder(first).got] == [event(1).id.hex()]


async def test_a_new_instance_gets_what_happens_from_now_on(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:
        await stage.store(event(1))
        await until(lambda: recorder(stage).names)
    async with Stage(database, instance(), instance(name="later")).running() as stage:
        await stage.store(event(2))
        await until(lambda: recorder(stage, "later").names == ["ada 2"])


async def test_what_a_dead_process_did_not_note_comes_again_under_the_same_key(database: Database) -> None:
    async with Stage(database, instance()).running() as dying:
        arrived = asyncio.Event()

        async def last_words(items: Sequence[Item]) -> Sequence[ItemResult]:
            dying_loop.call_soon_threadsafe(arrived.set)
            await asyncio.sleep(30)
            return [Delivered() for _ in items]

        dying_loop = asyncio.get_running_loop()
        recorder(dying).answer = last_words
        await dying.store(event(1))
        await arrived.wait()
        await dying.crash()
        async with Stage(database, instance()).running() as heir:
            await until(lambda: recorder(heir).names == ["ada 1"])
    assert [item.key for item in recorder(heir).got] == [item.key for item in recorder(dying).sent[0]]


async def test_a_stale_owner_cannot_move_a_cursor(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:
        await stage.store(event(1))
        await until(lambda: recorder(stage).names)
        await until(lambda: stage.database.find_one("delivery_cursors", {"epoch": {"$gt": 0}}))
    deliveries = Deliveries(database)
    old = await deliveries.claim(WORKSPACE, "sink", dict.fromkeys(range(LANES), 50))
    await deliveries.claim(WORKSPACE, "sink", dict.fromkeys(range(LANES), 51))
    assert await deliveries.claim(WORKSPACE, "sink", dict.fromkeys(range(LANES), 50)) == {}
    with pytest.raises(LeaseLost):
        await deliveries.settle(WORKSPACE, "sink", old)


async def test_only_one_process_at_a_time_may_probe(database: Database) -> None:
    deliveries = Deliveries(database)
    fresh = Standing(WORKSPACE, "sink", "recorder", ("event",), erases=False, fingerprint="1")
    await deliveries.declare(fresh)
    assert not await deliveries.may_probe(fresh, 100, 200), "it is well"
    await deliveries.stop(replace(fresh, state="broken", until=100))
    asked = await asyncio.gather(*(deliveries.may_probe(fresh, 100, 200) for _ in range(8)))
    assert sum(asked) == 1
    assert not await deliveries.may_probe(fresh, 199, 300)
    assert await deliveries.may_probe(fresh, 200, 300), "the one that asked may be dead"


async def test_a_retry_comes_with_the_same_key_and_a_higher_attempt(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:

        async def twice_no(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Retry("not yet") if one.attempt < 3 else Delivered() for one in items]

        recorder(stage).answer = twice_no
        await stage.store(event(1))
        await until(lambda: recorder(stage).names == ["ada 1"])
        await until(lambda: empty(stage))
    tries = [item for batch in recorder(stage).sent for item in batch]
    assert [item.attempt for item in tries] == [1, 2, 3]
    assert {item.key for item in tries} == {event(1).id.hex()}


async def test_a_retried_user_waits_in_order_and_holds_up_nobody_else(database: Database) -> None:
    async with Stage(database, instance(), patience=ENDLESS).running() as stage:
        closed = True

        async def not_ada(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Retry("later") if closed and "ada" in one.payload["name"] else Delivered() for one in items]

        recorder(stage).answer = not_ada
        await stage.store(event(1), event(2), event(3, "bob"))
        await until(lambda: recorder(stage).names == ["bob 3"])
        await stage.store(event(4), event(5, "bob"))
        await until(lambda: recorder(stage).names == ["bob 3", "bob 5"])
        await until(lambda: counted(stage, "waiting", 2))
        assert len(await stage.rows("pending")) == 1
        closed = False
        await until(lambda: len(recorder(stage).names) == 5)
        await until(lambda: empty(stage))
    assert recorder(stage).names == ["bob 3", "bob 5", "ada 1", "ada 2", "ada 4"]


async def test_a_dead_letter_releases_its_user(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:

        async def never_the_first(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Retry("a bad day") if one.payload["name"] == "ada 1" else Delivered() for one in items]

        recorder(stage).answer = never_the_first
        await stage.store(event(1), event(2), event(3))
        await until(lambda: recorder(stage).names == ["ada 2", "ada 3"])
        await until(lambda: empty(stage))
        (letter,) = await stage.dead()
    assert (letter["attempts"], letter["code"], letter["reason"]) == (3, "retry", "a bad day")
    assert letter["user"] == user_id_of(WORKSPACE, Identity("userId", "ada"))


async def test_each_item_of_a_batch_has_its_own_end(database: Database) -> None:
    async with Stage(database, instance(), patience=ENDLESS).running() as stage:
        ends: dict[str, ItemResult] = {
            "a": Delivered(),
            "b": Duplicate(),
            "c": Rejected("field x", code="invalid"),
            "d": Retry("busy"),
        }

        async def by_user(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [ends[one.payload["name"][0]] for one in items]

        recorder(stage).answer = by_user
        await stage.store(*(event(at, user) for at, user in enumerate("abcd")))
        await until(lambda: counted(stage, "pending", 1))
        counts = stage.delivery.counts()["sink"]
        await until(lambda: counts["delivered"] == counts["duplicate"] == 1)
        (letter,) = await stage.dead()
        assert letter["code"] == "invalid"


async def test_without_order_nobody_waits(database: Database) -> None:
    async with Stage(database, instance(capable(ordering="none")), patience=ENDLESS).running() as stage:

        async def not_the_first(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Retry("no") if one.payload["name"] == "ada 1" else Delivered() for one in items]

        recorder(stage).answer = not_the_first
        await stage.store(event(1), event(2), event(3))
        await until(lambda: set(recorder(stage).names) == {"ada 2", "ada 3"})


async def test_two_processes_share_the_lanes_and_each_event_arrives_once(database: Database) -> None:
    async with Stage(database, instance()).running() as one, Stage(database, instance()).running() as other:
        await until(lambda: lanes(one) == lanes(other) == 8)
        await one.store(*(event(at, f"user{at}") for at in range(60)))
        await until(lambda: len(recorder(one).names) + len(recorder(other).names) >= 60)
        await stays(lambda: len(recorder(one).names) + len(recorder(other).names) == 60)
        assert recorder(one).names
        assert recorder(other).names


async def test_an_outage_of_mongodb_loses_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Stage(database, instance()).running() as stage:
        settle, fails = Deliveries.settle, 3

        async def away(self: Deliveries, *given: object, **more: object) -> None:
            nonlocal fails
            if fails:
                fails -= 1
                raise Unavailable("MongoDB is away.")
            await settle(self, *given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Deliveries, "settle", away)
        await stage.store(event(1))
        await until(lambda: not fails)
        await stage.store(event(2))
        await until(lambda: recorder(stage).names[-1:] == ["ada 2"])
    assert set(recorder(stage).names) == {"ada 1", "ada 2"}


async def empty(stage: Stage) -> bool:
    return not await stage.rows()


async def counted(stage: Stage, state: str, count: int) -> bool:
    return len(await stage.rows(state)) == count


def lanes(stage: Stage) -> int:
    return 0 if stage.deriver.lease is None else len(stage.deriver.lease.lanes)
