"""Whoever is erased, whenever, by however many owners: what is left is what the oracle says of the other events."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.model.event import Event
from gateway.model.identity import LANES, Identity, key_of
from gateway.model.scope import Scope
from gateway.pipeline import erasing
from gateway.pipeline.erasures import Eraser
from gateway.pipeline.intake import Intake
from gateway.pipeline.owner import Deriver
from gateway.privacy import Privacy
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.erasures import Erasures
from gateway.store.events import Events, from_document, to_document
from gateway.store.identities import Identities
from gateway.store.lanes import Lease
from gateway.store.quarantine import Quarantine
from gateway.store.users import Users
from tests import oracle
from tests.flow.test_derive_equals_oracle import (
    LIMIT,
    MINUTE,
    STAGES,
    START,
    batches,
    cells,
    checkpoints_hold,
    counted,
    derived,
    deriver_of,
    emptied,
    few_at_once,
    plain_events,
    refolded,
    to_event,
    told,
)
from tests.pace import PATIENCE

__all__ = ["few_at_once"]

Plain = dict[str, Any]
Named = tuple[str, str]
SOMEBODY = st.sampled_from([("userId", f"u{n}") for n in (1, 2, 3)] + [("anonymousId", f"a{n}") for n in (1, 2, 3)])


def left(events: list[Plain], erased: set[Named]) -> list[Plain]:
    """The events without those of erased identities, and without what others say about these."""
    return [rest for plain in events if (rest := _left(plain, erased)) is not None]


def _left(plain: Plain, erased: set[Named]) -> Plain | None:
    if not told(plain):
        one, other = ([who for who in plain[side] if who not in erased] for side in ("one", "other"))
        empty = not (one and other) if plain["type"] == "split" else len({*one, *other}) < 2
        return None if empty else {**plain, "one": one, "other": other}
    sender = oracle.sender(plain)
    if sender in erased:
        return None
    said = oracle.edge(plain)
    if said is None or erased.isdisjoint(said):
        return plain
    return {**plain, ("anonymousId" if plain["type"] == "identify" else "previousId"): None}


@dataclass
class Owners:
    """Processes that share the lanes, each behind by any number of batches."""

    database: Database
    chance: random.Random
    as_of: int
    owners: list[tuple[Deriver, Lease]] = field(default_factory=list)
    queues: list[list[list[Event]]] = field(default_factory=list)

    async def start(self, several: bool) -> None:
        lanes = await emptied(self.database)
        for name in ("suppressions", "erasures", "consents", "quarantine"):
            await self.database.delete_many(name, {})
        free = list(range(LANES))
        self.chance.shuffle(free)
        while free:
            part = [free.pop() for _ in range(self.chance.randint(1, len(free)) if several else len(free))]
            lease = await lanes.acquire(f"owner {len(free)}", 60, lanes=part)
            assert lease is not None
            self.owners.append((deriver_of(self.database, FrozenClock(self.as_of)), lease))
            self.queues.append([])

    async def arrive(self, events: list[Event]) -> None:
        for queue in self.queues:
            queue.append(events)
        await asyncio.gather(*(self._step(number) for number in range(len(self.owners)) if self.chance.random() < 0.5))

    async def _step(self, number: int) -> None:
        deriver, lease = self.owners[number]
        dice = self.chance.random()
        if self.queues[number] and dice < 0.6:
            await deriver.apply(lease, self.queues[number].pop(0), waiting=self.chance.random() < 0.5)
        elif dice < 0.75:
            await deriver.erase_due(lease, 0)
        elif dice < 0.9:
            await deriver.refold(lease)
        else:
            await deriver.work_off(lease)

    async def catch_up(self) -> None:
        """Until every queue is empty; what owners leave each other may wait."""
        for (deriver, lease), queue in zip(self.owners, self.queues, strict=True):
            while queue:
                await deriver.apply(lease, queue.pop(0))
            if self.chance.random() < 0.5:
                await deriver.work_off(lease)

    async def finish(self) -> None:
        """Until every queue is empty, nothing waits and every erasure is done."""
        await self.catch_up()
        for _ in range(100):
            while any([await refolded(deriver, lease) for deriver, lease in self.owners]):
                pass
            for deriver, lease in self.owners:
                await deriver.erase_due(lease, float("inf"))
            if not await self.database.count("erasures", {"status": "running"}):
                return
        raise AssertionError(await self.database.find("erasures", {}))


async def erase(database: Database, who: Named, as_of: int) -> tuple[set[Named], list[Event]]:
    """Erase whoever is behind an identity now; all their identities, and the event that says so."""
    clock, events, identity = FrozenClock(as_of), Events(database), Identity(*who)  # type: ignore[arg-type]
    privacy, identities = Privacy(database, clock), Identities(database)
    user = await identities.user_of(Scope.system("w"), identity)
    known = [] if user is None else (await identities.of_users(Scope.system("w"), [user]))[user]
    eraser = Eraser(database, events, Users(database), Erasures(database), privacy, clock, again_seconds=0)
    intake = Intake(events, Quarantine(database), clock, privacy=privacy)
    everybody = list(dict.fromkeys([identity, *known]))
    erasure = await eraser.erase(intake, Scope.system("w"), everybody, reason="asked for", by=None)
    rows = await database.find("events", {"sk": f"s:a:{erasure.id}"})
    return {(one.type, one.value) for one in everybody}, [from_document(row) for row in rows]


async def named_anew(database: Database, rest: list[Plain]) -> None:
    """Users are named after the first identity that the events that are left mention."""
    first: dict[Named, tuple[int, int, bytes]] = {}
    for plain in sorted(rest, key=oracle.order):
        mentioned = (oracle.sender(plain), *(oracle.edge(plain) or ()), *plain.get("one", ()), *plain.get("other", ()))
        for who in mentioned:
            if who is not None:
                first.setdefault(who, oracle.order(plain))
    for user in await database.find("users", {"movedTo": None}):
        rows = await database.find("identities", {"user": user["_id"]})
        people = [(row["type"], row["value"]) for row in rows]
        kind, value = min(people, key=lambda who: (first[who], who[0] != "userId", who[1]))
        assert user["_id"] == key_of("w", Identity(kind, value).sk).hex()


async def nothing_is_left(database: Database, erased: set[Named], events: list[Plain]) -> None:
    """No row of any collection names an erased identity, its event or its user; but its event's row by others may."""
    gone = {plain["id"] for plain in events if told(plain) and oracle.sender(plain) in erased}
    sks = {Identity(*who).sk for who in erased}  # type: ignore[arg-type]
    users = {key_of("w", sk).hex() for sk in sks}
    assert not await database.find("events", {"sk": {"$in": [*sks, *(f"s:{sk}" for sk in sks)]}})
    assert not await database.find("events", {"$or": [{f"properties.{s}": {"$in": [*sks]}} for s in ("one", "other")]})
    assert not await database.find("identities", {"$or": [{"sk": {"$in": [*sks]}}, {"group": {"$in": [*sks]}}]})
    mentions = ("a", "b", "group", "one", "other")
    assert not await database.find("merges", {"$or": [{name: {"$in": [*sks]}} for name in mentions]})
    assert not await database.find("users", {"$or": [{"_id": {"$in": [*users]}}, {"movedTo": {"$in": [*users]}}]})
    for name in ("sessions", "journeys", "checkpoints", "feed"):
        assert not await database.find(name, {"user": {"$in": [*users]}}), name
    assert not await database.find("feed", {"event": {"$in": [*gone]}, "kind": "event"})
    assert not await database.find("work", {"$or": [{"_id": {"$in": [*gone]}}, {"pending": {"$ne": None}}]})
    assert not await database.find("erasures", {"sks": {"$exists": True}})


async def told_once(database: Database, events: list[Plain]) -> None:
    """The feed is dense in every lane all the same, and announces what is left exactly once."""
    rows = await database.find("feed", {})
    announced = sorted(bytes(row["event"]) for row in rows if row["kind"] == "event")
    assert announced == sorted(plain["id"] for plain in events if told(plain))
    lanes: dict[int, list[int]] = {}
    for row in rows:
        lanes.setdefault(row["lane"], []).append(row["seq"])
        assert row["kind"] != "erased" or row.keys() == {"_id", "lane", "seq", "writtenAt", "workspace", "kind"}
    assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in lanes.values())


@pytest.mark.parametrize("several", [False, True], ids=["one owner", "several owners"])
@pytest.mark.parametrize("size", ["few events", "very many events"])
async def test_erased_at_any_moment_leaves_the_oracles_world(
    database: Database, several: bool, size: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if size == "very many events":
        request.getfixturevalue("few_at_once")
    monkeypatch.setattr(erasing, "CHUNK", 2)
    await collections.prepare(database)
    loop = asyncio.get_running_loop()

    async def compared(events: list[Plain], people: list[Named], seed: int, as_of: int) -> None:
        chance = random.Random(seed)
        owners = Owners(database, chance, as_of)
        await owners.start(several)
        arrival = list(batches(events, seed))
        # The last batches come when all erasures are done.
        last = chance.randint(0, len(arrival))
        moments = sorted(chance.randint(0, last) for _ in people)
        erased: set[Named] = set()
        for number in range(len(arrival) + 1):
            while moments and moments[0] == number:
                moments.pop(0)
                if chance.random() < 0.7:
                    await owners.catch_up()
                who, said = await erase(database, people[len(moments)], as_of)
                erased |= who
                await owners.arrive(said)
            if number == last:
                await owners.finish()
            if number < len(arrival):
                # Past an intake that did not know yet.
                mine = [to_event(plain) for plain in {plain["id"]: plain for plain in arrival[number]}.values()]
                await Events(database).insert([to_document(event, escape=False) for event in mine])
                await owners.arrive(mine)
        await owners.finish()
        rest = left(events, erased)
        assert await derived(database) == oracle.world(rest, STAGES, LIMIT, as_of)
        assert await counted(database) == await cells(database, rest)
        await named_anew(database, rest)
        await told_once(database, rest)
        await nothing_is_left(database, erased, events)
        await checkpoints_hold(database)

    @settings(
        max_examples=40 if several else 80,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(plain_events(), st.lists(SOMEBODY, min_size=1, max_size=2), st.integers(0, 1_000_000))
    def check(events: list[Plain], people: list[Named], seed: int) -> None:
        coroutine = compared(events, people, seed, START + 180 * MINUTE)
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    await asyncio.to_thread(check)
