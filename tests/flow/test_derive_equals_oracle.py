"""Whatever the order of arrival, the batches and the repeats: what is derived is what the oracle says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock
from gateway.contract import Contract, EventRule, JourneyMap, Stage
from gateway.model.event import Event, EventType
from gateway.pipeline.derive import Derivation
from gateway.pipeline.folding import Fold
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import Events, to_document
from gateway.store.identities import Identities
from gateway.store.lanes import Lanes
from gateway.store.users import Journeys, Sessions, Users
from tests import oracle

MINUTE = 60_000
LIMIT = 120 * MINUTE
START = 1_750_000_000_000
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
    return Contract(name="test", journeys={"m": one}, kpis={})


@st.composite
def plain_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Few identities and little time, so that links, ties, late events and ended sessions all happen."""
    count = draw(st.integers(1, 20))
    events = []
    for number in range(count):
        kind = draw(st.sampled_from(["track"] * 4 + ["identify", "identify", "alias"]))
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
                "previousId": draw(st.sampled_from(["a1", "a3", "u1"])) if kind == "alias" else None,
                "at": START + draw(st.integers(0, 5)) * 30 * MINUTE + draw(st.integers(0, 1)),
                "seq": draw(st.integers(0, 6)),
            }
        )
    return events


def to_event(plain: dict[str, Any]) -> Event:
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


async def derive_in(database: Database, arrival: Iterator[list[dict[str, Any]]], as_of: int) -> None:
    lanes = Lanes(database)
    for name in ("events", "identities", "merges", "work", "users", "sessions", "journeys", "feed", "lanes"):
        await database.delete_many(name, {})
    await lanes.prepare()
    events = Events(database)
    fold = Fold(events, Identities(database), Users(database), Sessions(database), Journeys(database), contract())
    deriver = Deriver(database, Derivation(lanes, fold), FrozenClock(as_of))
    lease = await lanes.acquire("test", 60)
    assert lease is not None
    for batch in arrival:
        mine = [to_event(plain) for plain in {plain["id"]: plain for plain in batch}.values()]
        await events.insert([to_document(event, escape=False) for event in mine])
        await deriver.apply(lease, mine)


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
    rows = await database.find("feed", {})
    told = sorted(bytes(row["event"]) for row in rows if row["kind"] == "event")
    assert told == [number.to_bytes(16, "big") for number in range(60)]
    lanes: dict[int, list[int]] = {}
    for row in rows:
        lanes.setdefault(row["lane"], []).append(row["seq"])
    assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in lanes.values())


async def test_any_arrival_gives_the_oracles_world(database: Database) -> None:
    await collections.prepare(database)
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(plain_events(), st.integers(0, 1_000_000), st.sampled_from([0, 3, 30]))
    def check(events: list[dict[str, Any]], seed: int, hours: int) -> None:
        as_of = START + hours * 60 * MINUTE
        run = asyncio.run_coroutine_threadsafe(derive_in(database, batches(events, seed), as_of), loop)
        run.result(30)
        expected = oracle.world(events, STAGES, LIMIT, as_of)
        assert asyncio.run_coroutine_threadsafe(derived(database), loop).result(30) == expected

    await asyncio.to_thread(check)
