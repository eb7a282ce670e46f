"""What instances want of the feed: read once for all of them, and cursors of those that want nothing written rarely."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from gateway.connectors.asking import Asking
from gateway.connectors.news import AHEAD, News, Wanted
from gateway.model.scope import Scope
from gateway.plugin import Delivered, Item, ItemResult, Message, Retry, Skip
from gateway.store.database import Database
from gateway.store.feed import Feed
from gateway.store.lanes import FEED, feed_id
from tests.connectors.delivering import WORKSPACE, Recorder, Stage, event, instance, stays, until
from tests.connectors.test_delivery import empty, recorder

SCOPE = Scope.system(WORKSPACE)
LANES = (0, 7, 15)
HEAD = 3 * AHEAD


def row(lane: int, seq: int, random: Random) -> dict[str, Any]:
    kind = random.choice(["event", "event", "journey", "alert", "erased"])
    where = random.choice([WORKSPACE, WORKSPACE, "other"])
    made = {"_id": feed_id(lane, seq), "lane": lane, "seq": seq, "workspace": where, "kind": kind, "writtenAt": seq}
    return made | ({"name": random.choice(["a", "b", "c"])} if kind == "event" else {})


async def test_every_reader_sees_exactly_what_it_wants_whatever_others_have_read(database: Database) -> None:
    random = Random(5)
    rows = [row(lane, seq, random) for lane in LANES for seq in range(1, HEAD + 1)]
    await database.insert_many(FEED, rows)
    news = News(database, WORKSPACE)
    heads = dict.fromkeys(LANES, 0)

    async def read(wanted: Wanted, seed: int) -> list[int]:
        random, found = Random(seed), []
        reached = {lane: random.choice([0, 0, 40, AHEAD + 7]) for lane in LANES}
        start = dict(reached)
        while min(reached.values()) < HEAD:
            now = dict(heads)
            after = {lane: seq for lane, seq in reached.items() if seq < now[lane]}
            for lane, (some, to) in (await news.read(after, now, wanted)).items() if after else ():
                assert to > reached[lane]
                assert all(reached[lane] < one["seq"] <= to for one in some)
                found += [one["_id"] for one in some]
                reached[lane] = to
            await asyncio.sleep(random.choice([0, 0, 0.002, 0.02]))
        mine = [one for one in rows if one["workspace"] == WORKSPACE and one["seq"] > start[one["lane"]]]
        assert sorted(found) == [one["_id"] for one in mine if wanted.takes(one)], seed
        assert all(a < b for lane in LANES for a, b in pairwise([one for one in found if one >> 48 == lane]))
        return found

    async def grow() -> None:
        while min(heads.values()) < HEAD:
            for lane in LANES:
                heads[lane] = min(HEAD, heads[lane] + random.choice([0, 1, 5, 30, AHEAD + 50]))
            await asyncio.sleep(0.003)

    everything = frozenset({"event", "journey", "alert"})
    readers = [Wanted(everything), Wanted(frozenset({"event"}), frozenset({"a", "b"})), Wanted(frozenset({"alert"}))]
    await asyncio.gather(grow(), *(read(readers[seed % 3], seed) for seed in range(12)))


async def test_instances_that_keep_up_cost_one_reading(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    find = Feed._find

    async def counted(self: Feed, collection: str, *given: Any, **named: Any) -> Any:
        asked[collection] += collection == FEED
        return await find(self, collection, *given, **named)

    monkeypatch.setattr(Feed, "_find", counted)
    names = [f"sink{number}" for number in range(8)]
    async with Stage(database, *(instance(name=name) for name in names)).running() as stage:
        asked.clear()
        for at in range(5):
            await stage.store(*(event(at * 10 + number, f"user{number}") for number in range(10)))
            await until(lambda: all(len(recorder(stage, one).names) == 10 * at + 10 for one in names))  # noqa: B023
    # Ten users in a few lanes each time, which derivation may announce in two steps.
    assert asked[FEED] <= 5 * 2 * 2, "each instance reads for itself"


async def test_a_destination_gets_the_events_that_its_settings_name_and_no_others(database: Database) -> None:
    stage = Stage(database, instance(events=["ada 1", "bob 3"]), instance(name="all"))
    async with stage.running():
        await stage.store(*(event(at, user) for at in range(5) for user in ("ada", "bob") if at % 2 == (user == "ada")))
        await stage.store(event(11, name="ada 1"))
        await until(lambda: len(recorder(stage, "all").names) == 6)
        await until(lambda: recorder(stage).names == ["ada 1", "ada 1"])
        replayed = await Asking(database, stage.clock).log(SCOPE, "sink", 0, event(20).at, user=None, dry_run=False)
        assert replayed.matched == 6
        await until(lambda: len(recorder(stage).names) == 4)
        await until(lambda: empty(stage))
        await stays(lambda: set(recorder(stage).names) == {"ada 1"})


class Skipper(Recorder):
    """Wants nothing, as it finds when it is asked."""

    mapped = 0

    def map(self, message: Message) -> dict[str, Any] | Skip:
        self.mapped += 1
        return Skip("not mine")


async def cursors(database: Database, name: str) -> Mapping[int, Mapping[str, Any]]:
    return {one["lane"]: one for one in await database.find("delivery_cursors", {"instance": name})}


async def test_a_cursor_behind_which_nothing_was_sent_is_written_now_and_then(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connectors.runner._TELL_SECONDS", 3600.0)
    stage = Stage(database, instance(Skipper), instance(events=["none"], name="none"), instance(name="all"))
    async with stage.running():
        await until(lambda: taken(database))
        before = {name: await cursors(database, name) for name in ("sink", "none")}
        for at in range(10):
            await stage.store(event(at))
            await until(lambda: recorder(stage).mapped == at + 1)  # type: ignore[attr-defined] # noqa: B023
        await until(lambda: len(recorder(stage, "all").names) == 10)
        for name, then in before.items():
            now = await cursors(database, name)
            written = sum(now[lane].get("fenced", 0) - then[lane].get("fenced", 0) for lane in now)
            assert written <= len(now), name  # once at the start
    # At the end they are where all is done.
    heads = {one["_id"]: one["seq"] for one in await database.find("lanes", {"_id": {"$in": list(range(16))}})}
    for name in ("sink", "none", "all"):
        assert {lane: one["seq"] for lane, one in (await cursors(database, name)).items()} == heads


async def taken(database: Database) -> bool:
    return await database.count("delivery_cursors", {"epoch": {"$gt": 0}}) == 3 * 16


async def test_what_was_sent_is_noted_at_once_whatever_was_skipped_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death after that repeats what was skipped, and nothing that was sent."""
    monkeypatch.setattr("gateway.connectors.runner._TELL_SECONDS", 3600.0)

    class Picky(Recorder):
        def map(self, message: Message) -> dict[str, Any] | Skip:
            payload = super().map(message)
            assert isinstance(payload, dict)
            return payload if int(payload["name"].split()[1]) % 3 == 0 else Skip("not mine")

    async with Stage(database, instance(Picky)).running() as dying:

        async def once_refused(items: list[Item]) -> list[ItemResult]:
            return [Retry("later", after=0.05) if item.attempt == 1 else Delivered() for item in items]

        for at in range(8):
            recorder(dying).answer = once_refused if at == 6 else None  # type: ignore[assignment]
            await dying.store(event(at))
            wanted = [f"ada {number}" for number in range(0, at + 1, 3)]
            await until(lambda: recorder(dying).names == wanted)  # noqa: B023
        await until(lambda: empty(dying))
        await dying.crash()
        async with Stage(database, instance(Picky)).running() as heir:
            await heir.store(event(9))
            await until(lambda: recorder(heir).names == ["ada 9"])
            await stays(lambda: recorder(heir).names == ["ada 9"])
