"""Once more: dead letters, the log, and what the feed no longer has; all behind what is live."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.connectors.asking import Asking
from gateway.errors import NotFound
from gateway.model.identity import Identity, user_id_of
from gateway.model.scope import Scope
from gateway.plugin import Delivered, HttpFailed, Item, ItemResult, Rejected
from gateway.store.database import Database
from gateway.store.lane_items import DeadFilter
from gateway.store.lanes import Lanes
from tests.connectors.delivering import WORKSPACE, Stage, capable, event, instance, until
from tests.connectors.test_delivery import empty, recorder
from tests.connectors.test_refusals import letters

SCOPE = Scope.system(WORKSPACE)


async def test_dead_letters_are_tried_again_by_filter_under_the_same_key(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:
        mended = False

        async def at_first_not(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Delivered() if mended else Rejected("no", code=one.payload["name"][:3]) for one in items]

        recorder(stage).answer = at_first_not
        await stage.store(event(1), event(2, "bob"))
        await until(lambda: letters(stage, 2))
        mended, asking = True, Asking(database, stage.clock)
        assert (await asking.dead_letters(SCOPE, DeadFilter(), limit=10, dry_run=True)).matched == 2
        assert (await asking.dead_letters(SCOPE, DeadFilter(codes=["ada"]), limit=10, dry_run=False)).taken == 1
        await until(lambda: recorder(stage).names == ["ada 1"])
        await until(lambda: empty(stage))
        assert [one["about"]["name"] for one in await stage.dead()] == ["bob 2"]
    assert recorder(stage).got[0].key == event(1).id.hex()


async def test_a_span_of_the_log_goes_to_one_destination_in_its_order(database: Database) -> None:
    async with Stage(database, instance(capable(max_items=8)), instance(name="other")).running() as stage:
        events = [event(at, f"user{at % 3}") for at in range(30)]
        await stage.store(*events)
        await until(lambda: len(recorder(stage).names) == len(recorder(stage, "other").names) == 30)
        asking, start = Asking(database, stage.clock), events[5].at
        counted = await asking.log(SCOPE, "sink", start, events[20].at, user=None, dry_run=True)
        assert (counted.matched, counted.taken) == (15, 0)
        one = user_id_of(WORKSPACE, Identity("userId", "user1"))
        assert (await asking.log(SCOPE, "sink", start, events[20].at, user=one, dry_run=True)).matched == 5
        before = len(recorder(stage).sent)
        await asking.log(SCOPE, "sink", start, events[20].at, user=None, dry_run=False)
        await until(lambda: len(recorder(stage).names) == 45)
        await until(lambda: empty(stage))
        assert len(recorder(stage, "other").names) == 30
        with pytest.raises(NotFound):
            await asking.log(SCOPE, "nobody", 0, 1, user=None, dry_run=True)
    again = recorder(stage).got[30:]
    assert {item.key for item in again} == {one.id.hex() for one in events[5:20]}
    assert max(map(len, recorder(stage).sent[before:])) <= 2, "a replay takes a quarter of a turn"


async def test_a_replay_goes_behind_what_is_live(database: Database) -> None:
    async with Stage(database, instance(capable(max_items=8))).running() as stage:
        await stage.store(*(event(at, f"user{at}") for at in range(40)))
        await until(lambda: len(recorder(stage).names) == 40)
        asking = Asking(database, stage.clock)
        now = stage.clock.now()
        await asking.log(SCOPE, "sink", now - 1_000_000, now + 1_000_000, user=None, dry_run=False)
        await until(lambda: database.find_one("lane_items", {}))
        await stage.store(event(50, "live"))
        await until(lambda: "live 50" in recorder(stage).names)
        await until(lambda: len(recorder(stage).names) == 81)
        await until(lambda: empty(stage))


async def test_a_cursor_behind_the_floor_goes_on_from_the_stored_events(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:
        down = True

        async def gone(items: Sequence[Item]) -> Sequence[ItemResult]:
            if down:
                raise HttpFailed("refused")
            return [Delivered() for _ in items]

        recorder(stage).answer = gone
        await stage.store(*(event(at, f"user{at % 4}") for at in range(20)))
        await until(lambda: fed(database, 20))
    lease = await Lanes(database).acquire("trimmer", 60)
    assert lease is not None
    lanes = Lanes(database)
    last = await lanes.expired(lease.lanes, stage.clock.now() + 10_000)
    await database.with_transaction(lambda session: lanes.trim(last, session))
    await lanes.release(lease)
    assert await database.count("feed", {}) == 0
    async with Stage(database, instance()).running() as later:
        await later.store(event(20, "user0"))
        await until(lambda: len({item.key for item in recorder(later).got}) == 21)
        await until(lambda: empty(later))
        await until(lambda: caught_up(database))
    for user in range(4):
        numbers = [int(name.split()[1]) for name in recorder(later).names if name.startswith(f"user{user} ")]
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)


async def fed(database: Database, count: int) -> bool:
    return await database.count("feed", {"kind": "event"}) == count


async def caught_up(database: Database) -> bool:
    return await database.count("delivery_cursors", {"log": {"$ne": None}}) == 0
