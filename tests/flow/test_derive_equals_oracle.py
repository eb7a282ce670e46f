"""Whatever the order of arrival, the batches and the repeats: what is derived is what the oracle says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.clock import Clock, FrozenClock
from gateway.contract import Contract, EventRule, JourneyMap, Stage
from gateway.contract.reading.segments import build_segment
from gateway.journeys.fold import fold
from gateway.model.event import Event, EventType
from gateway.model.identity import LANES, Identity
from gateway.pipeline import folding, refolding
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import Events, to_document
from gateway.store.lanes import Lanes, Lease, LeaseLost
from gateway.store.users import state_from
from tests import oracle
from tests.pace import PATIENCE
from tests.unit.journeys import oracle_segments

MINUTE = 60_000
CELL = 15 * MINUTE
DAY = 24 * 60 * MINUTE
LIMIT = 120 * MINUTE
START = 1_750_000_000_000
#: As files have them: by what somebody did in a time, by where they stand, and by both.
SEGMENTS: dict[str, dict[str, Any]] = {
    "lookers": {"did": {"event": "View", "atLeast": 2, "within": "2h"}},
    "idle": {"all": [{"did": {"event": "Add"}}, {"didNot": {"event": "Buy", "within": "1h"}}]},
    "shopping": {"any": [{"stage": {"map": "m", "stage": "cart", "status": "active"}}, {"did": {"event": "Other"}}]},
}
STAGES = [("browse", {"View"}), ("cart", {"Add"}), ("bought", {"Buy"})]


def contract() -> Contract:
    stages = tuple(
        Stage(
            key=key,
            label=key,
            enter=tuple(EventRule(id=f"m.{key}.{name}", event=name, where=()) for name in sorted(names)),
            touchpoints=(),
            optional=False,
            completes=key == "bought",
        )
        for key, names in STAGES
    )
    one = JourneyMap(
        key="m",
        version=1,
        name="m",
        persona="p",
        goal="g",
        owners=(),
        pain_points=(),
        abandoned_after=timedelta(milliseconds=LIMIT),
        stages=stages,
    )
    named = {"name": "S", "description": "d", "owners": ["ux"]}
    segments = {key: build_segment({"key": key, **named, "who": who}, {}) for key, who in SEGMENTS.items()}
    return Contract(name="test", journeys={"m": one}, kpis={}, segments=segments)


#: Ids that an event may say its sender had before: an alias always does, others now and then.
_FORMER: dict[str, list[str | None]] = {
    "alias": ["a1", "a3", "u1"],
    "track": [None] * 6 + ["a1", "u1"],
    "identify": [None] * 3 + ["a3"],
}


@st.composite
def plain_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Few identities and little time, so that links, ties, late events and ended sessions all happen."""
    count = draw(st.integers(1, 20))
    events = []
    for number in range(count):
        kind = draw(st.sampled_from(["track"] * 4 + ["identify", "identify", "alias", "merge", "split"]))
        if kind in ("merge", "split"):
            events.append(decided(draw, number, kind))
            continue
        user = (
            draw(st.sampled_from([None, "u1", "u2", "u3"]))
            if kind == "track"
            else draw(st.sampled_from(["u1", "u2", "u3"]))
        )
        anonymous: str | None = draw(st.sampled_from(["a1", "a2", "a3", "anonymous"]))
        if user is not None and draw(st.booleans()) and kind == "track":
            anonymous = None
        events.append(
            {
                "id": number.to_bytes(16, "big"),
                "type": kind,
                "name": draw(st.sampled_from(["View", "View", "Add", "Buy", "Other"])) if kind == "track" else kind,
                "userId": user,
                "anonymousId": anonymous,
                "previousId": draw(st.sampled_from(_FORMER[kind])),
                "at": START + draw(st.integers(0, 5)) * 30 * MINUTE + draw(st.integers(0, 1)),
                "seq": draw(st.integers(0, 6)),
            }
        )
    return events


def decided(draw: st.DrawFn, number: int, kind: str) -> dict[str, Any]:
    """An operator's decision about some identities, seen before or not."""
    named = [("userId", value) for value in ("u1", "u2", "u3")] + [("anonymousId", value) for value in ("a1", "a2")]
    chosen = draw(st.lists(st.sampled_from(named), min_size=2, max_size=4, unique=True))
    cut = draw(st.integers(1, len(chosen) - 1))
    stamps = {"at": START + draw(st.integers(0, 5)) * 30 * MINUTE, "seq": draw(st.integers(0, 6))}
    return {"id": number.to_bytes(16, "big"), "type": kind, "one": chosen[:cut], "other": chosen[cut:], **stamps}


def to_event(plain: dict[str, Any]) -> Event:
    if plain["type"] in ("merge", "split"):
        sides = {side: [Identity(*one).sk for one in plain[side]] for side in ("one", "other")}
        ((kind, value), *_) = plain["one"]
        about = {"userId": None, "anonymousId": None, "previousId": None, kind: value, "name": plain["type"]}
        return replace(to_event({**plain, **about, "type": "track"}), type=EventType(plain["type"]), properties=sides)
    return Event(
        id=plain["id"],
        workspace="w",
        source="s",
        message_id=plain["id"].hex(),
        type=EventType(plain["type"]),
        name=plain["name"],
        user_id=plain["userId"],
        anonymous_id=plain["anonymousId"],
        previous_id=plain["previousId"],
        at=plain["at"],
        seq=plain["seq"],
        received_at=plain["at"],
        content_hash=b"",
    )


def batches(events: list[dict[str, Any]], seed: int) -> Iterator[list[dict[str, Any]]]:
    """The events in any order, some twice, in batches of any size."""
    chance = random.Random(seed)
    arrival = events + [event for event in events if chance.random() < 0.2]
    chance.shuffle(arrival)
    while arrival:
        size = chance.randint(1, 8)
        yield arrival[:size]
        arrival = arrival[size:]


async def derived(database: Database) -> list[dict[str, Any]]:
    """The stored world in the oracle's words."""
    world = []
    for user in await database.find("users", {"movedTo": None}):
        identities = await database.find("identities", {"user": user["_id"]})
        visits = await database.find("sessions", {"user": user["_id"]}, sort=[("start", 1), ("_id", 1)])
        runs = await database.find("journeys", {"user": user["_id"]}, sort=[("run", 1)])
        world.append(
            {
                "identities": sorted((row["type"], row["value"]) for row in identities),
                "events": user["events"],
                "sessions": sorted((row["start"], row["end"], row["events"]) for row in visits),
                "journeys": [(row["status"], row["reached"], row["startedAt"]) for row in runs],
            }
        )
    return sorted(world, key=lambda person: person["identities"])


async def memberships(database: Database) -> list[tuple[list[tuple[str, str]], list[str]]]:
    """Everybody's identities with the segments they are in, which the feed has told, one step after the other."""
    heard: dict[str, set[str]] = {}
    for row in await database.find("feed", {"kind": "segment"}, sort=[("_id", 1)]):
        known = heard.setdefault(row["user"], set())
        assert row["entered"] != (row["segment"] in known), "each step once"
        known ^= {row["segment"]}
    found = []
    for user in await database.find("users", {"movedTo": None}):
        identities = await database.find("identities", {"user": user["_id"]})
        assert heard.pop(user["_id"], set()) == set(user["segments"])
        found.append((sorted((row["type"], row["value"]) for row in identities), user["segments"]))
    assert not any(heard.values()), "who is gone has left"
    return sorted(found)


def memberships_by_oracle(events: list[dict[str, Any]], as_of: int) -> list[tuple[list[tuple[str, str]], list[str]]]:
    maps = {"m": oracle.plain_map(STAGES, LIMIT)}
    found = []
    for identities, mine in oracle.lives(oracle.crowd(events), events):
        said = [{"properties": {}, "traits": {}, "client": {}, "consent": None, **event} for event in mine]
        inside = [key for key, who in sorted(SEGMENTS.items()) if oracle_segments.is_in(who, said, as_of, maps, {})]
        found.append((identities, inside))
    return sorted(found)


def deriver_of(database: Database, clock: Clock, *, lease_seconds: float = 3.0) -> Deriver:
    derivation = Derivation.of(database, Contracts.fixed(contract()))
    return Deriver(database, derivation, clock, lease_seconds=lease_seconds)


async def emptied(database: Database) -> Lanes:
    for name in ("events", "identities", "merges", "work", "users", "sessions", "journeys", "rollups", "feed", "lanes"):
        await database.delete_many(name, {})
    await database.delete_many("checkpoints", {})
    lanes = Lanes(database)
    await lanes.prepare()
    return lanes


async def derive_in(database: Database, arrival: Iterator[list[dict[str, Any]]], as_of: int) -> None:
    lanes, events = await emptied(database), Events(database)
    deriver = deriver_of(database, FrozenClock(as_of))
    lease = await lanes.acquire("test", 60)
    assert lease is not None
    for batch in arrival:
        mine = [to_event(plain) for plain in {plain["id"]: plain for plain in batch}.values()]
        await events.insert([to_document(event, escape=False) for event in mine])
        await deriver.apply(lease, mine)
        if await deriver.refold(lease):
            await refolded(deriver, lease)
        else:
            assert not await deriver.work_off(lease), "one owner leaves nothing to itself"


async def refolded(deriver: Deriver, lease: Lease) -> int:
    """Fold until nothing is held any more; how many transactions that took."""
    steps = 0
    while await deriver.refold(lease) or await deriver.work_off(lease):
        steps += 1
        assert steps < 1_000, "it comes to no end"
    return steps


@dataclass
class Owner:
    """A process that derives: its lanes, and the batches it has yet to see."""

    deriver: Deriver
    lease: Lease
    queue: list[list[Event]]

    async def step(self, chance: random.Random) -> None:
        try:
            if self.queue and chance.random() < 0.7:
                await self.deriver.apply(self.lease, self.queue[0], waiting=chance.random() < 0.5)
                self.queue.pop(0)
            elif chance.random() < 0.5:
                await self.deriver.refold(self.lease)
            else:
                await self.deriver.work_off(self.lease)
        except LeaseLost:
            pass  # a zombie: what it had in hand is its heir's

    async def finish(self) -> None:
        while self.queue:
            await self.deriver.apply(self.lease, self.queue.pop(0))


class Owners:
    """Processes that share the lanes any way, each behind by any number of batches, some of the time at once.

    Now and then one falls silent and another gets its lanes: which then reads all that was stored, from the start.
    """

    def __init__(self, database: Database, as_of: int, seed: int) -> None:
        self.database = database
        self.as_of = as_of
        self.chance = random.Random(seed)
        self.lanes = Lanes(database)
        self.stored: list[list[Event]] = []
        self.alive: list[Owner] = []
        self.zombies: list[Owner] = []

    async def begin(self) -> None:
        free = list(range(LANES))
        self.chance.shuffle(free)
        for cut in sorted(self.chance.sample(range(1, LANES), self.chance.randint(1, 3)), reverse=True):
            await self.join(free[cut:])
        await self.join(free)

    async def join(self, lanes: list[int]) -> None:
        lease = await self.lanes.acquire(f"owner {len(self.alive) + len(self.zombies)}", 60, lanes=lanes)
        if lease is not None:
            deriver = deriver_of(self.database, FrozenClock(self.as_of))
            self.alive.append(Owner(deriver, lease, list(self.stored)))

    async def take(self, events: list[Event]) -> None:
        self.stored.append(events)
        for owner in (*self.alive, *self.zombies):
            owner.queue.append(events)
        if self.chance.random() < 0.2:
            silent = self.alive.pop(self.chance.randrange(len(self.alive)))
            self.zombies.append(silent)
            lanes = list(silent.lease.lanes)
            past = [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}]
            await self.database.update_many("lanes", {"_id": f"process {silent.lease.owner}"}, past)
            await asyncio.gather(silent.step(self.chance), self.join(lanes))
            if not self.alive:
                await self.join(list(range(LANES)))
        busy = [owner for owner in (*self.alive, *self.zombies) if self.chance.random() < 0.5]
        await asyncio.gather(*(owner.step(self.chance) for owner in busy))

    async def finish(self) -> None:
        # A zombie that wrote while its heir was looking still has its lanes, as it would in life.
        for zombie in self.zombies:
            await self.lanes.refresh(zombie.lease)
        owners = [*self.alive, *(zombie for zombie in self.zombies if zombie.lease.lanes)]
        for owner in owners:
            owner.queue = list(self.stored)
            await owner.finish()
        while any([await refolded(owner.deriver, owner.lease) for owner in owners]):
            pass


async def derive_by_several(database: Database, arrival: Iterator[list[dict[str, Any]]], as_of: int, seed: int) -> None:
    await emptied(database)
    owners, events = Owners(database, as_of, seed), Events(database)
    await owners.begin()
    for batch in arrival:
        mine = [to_event(plain) for plain in {plain["id"]: plain for plain in batch}.values()]
        await events.insert([to_document(event, escape=False) for event in mine])
        await owners.take(mine)
    await owners.finish()


async def counted(database: Database) -> dict[tuple[str, str, int], int]:
    """The rollup cells as they are."""
    rows = await database.aggregate(
        "rollups",
        [{"$group": {"_id": {"kind": "$kind", "key": "$key", "start": "$start"}, "count": {"$sum": "$count"}}}],
    )
    return {(row["_id"]["kind"], row["_id"]["key"], row["_id"]["start"]): row["count"] for row in rows if row["count"]}


async def cells(database: Database, events: list[dict[str, Any]]) -> dict[tuple[str, str, int], int]:
    """The same worked out from the events, and from the journeys that are stored."""
    found: Counter[tuple[str, str, int]] = Counter()
    for plain in filter(told, events):
        denied = (plain.get("consent") or {}).get("analytics") is False
        for kind in ("event", "denied") if denied else ("event",):
            found[(kind, plain["name"], plain["at"] // CELL * CELL)] += 1
            found[(f"{kind} day", plain["name"], plain["at"] // DAY * DAY)] += 1
    for run in await database.find("journeys", {}):
        found.update(("stage", f"m.{visit['stage']}", visit["entered_at"] // CELL * CELL) for visit in run["visits"])
    return dict(found)


def told(plain: dict[str, Any]) -> bool:
    """An operator's word about users is no event of theirs."""
    return plain["type"] not in ("merge", "split")


async def told_once(database: Database, events: list[dict[str, Any]]) -> None:
    """The feed is dense in every lane, and announces every event exactly once."""
    rows = await database.find("feed", {})
    announced = sorted(bytes(row["event"]) for row in rows if row["kind"] == "event")
    assert announced == sorted(plain["id"] for plain in events if told(plain))
    lanes: dict[int, list[int]] = {}
    for row in rows:
        lanes.setdefault(row["lane"], []).append(row["seq"])
    assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in lanes.values())


async def test_feed_is_dense_and_announces_every_event_once(database: Database) -> None:
    await collections.prepare(database)
    plain: list[dict[str, Any]] = [
        {
            "id": number.to_bytes(16, "big"),
            "type": "track",
            "name": "View",
            "userId": f"u{number % 7}",
            "anonymousId": None,
            "previousId": None,
            "at": START + number * MINUTE,
            "seq": number,
        }
        for number in range(60)
    ]
    await derive_in(database, batches(plain, 3), START)
    await told_once(database, plain)


async def checkpoints_hold(database: Database) -> None:
    """Every checkpoint is what the events of its user up to there say."""
    maps, segments = contract().journeys, contract().grouping
    for row in await database.find("checkpoints", {}):
        rows = await database.find("identities", {"user": row["user"]})
        events = await Events(database).of_identities("w", [one["sk"] for one in rows])
        mine = [event for event in events if event.order <= (row["at"], row["seq"], bytes(row["key"]))]
        state = fold(row["user"], mine, maps, as_of=0, segments=segments).state
        assert state_from(row["state"]) == replace(state, segments=(), segments_until=None)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is bounded for users with very many events, for users with a few."""
    monkeypatch.setattr(folding, "MOST_EVENTS", 3)
    monkeypatch.setattr(folding, "MOST_OF_A_BATCH", 7)
    monkeypatch.setattr(folding, "CHECKPOINT_EVENTS", 2)
    for name in ("PAGE", "ROWS", "EVENTS"):
        monkeypatch.setattr(refolding, name, 2)


@pytest.mark.parametrize("owners", ["one owner", "several owners"])
@pytest.mark.parametrize("size", ["few events", "very many events"])
async def test_any_arrival_gives_the_oracles_world(
    database: Database, owners: str, size: str, request: pytest.FixtureRequest
) -> None:
    if size == "very many events":
        request.getfixturevalue("few_at_once")
    await collections.prepare(database)
    loop = asyncio.get_running_loop()

    async def compared(events: list[dict[str, Any]], seed: int, as_of: int) -> None:
        if owners == "one owner":
            await derive_in(database, batches(events, seed), as_of)
        else:
            await derive_by_several(database, batches(events, seed), as_of, seed)
        world = await derived(database)
        assert world == oracle.world(events, STAGES, LIMIT, as_of)
        assert await memberships(database) == memberships_by_oracle(events, as_of)
        assert await counted(database) == await cells(database, events)
        await told_once(database, events)
        assert not await database.count("work", {"pending": {"$ne": None}})
        assert not await database.count("users", {"refolding": True})
        await checkpoints_hold(database)

    @settings(
        max_examples=150 if size == "few events" else 75,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(plain_events(), st.integers(0, 1_000_000), st.sampled_from([0, 3, 30]))
    def check(events: list[dict[str, Any]], seed: int, hours: int) -> None:
        as_of = START + hours * 60 * MINUTE
        asyncio.run_coroutine_threadsafe(compared(events, seed, as_of), loop).result(PATIENCE)

    await asyncio.to_thread(check)
