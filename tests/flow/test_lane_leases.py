"""Lanes against a model: who holds a lane, and nobody else, can write its row; only of the dead can lanes be taken."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.model.identity import LANES
from gateway.store import collections
from gateway.store.database import Database, Session
from gateway.store.lanes import Lanes, Lease, LeaseLost
from tests.pace import PATIENCE

OWNERS = ("a", "b", "c")
LANE_SETS = st.sets(st.integers(0, 4), min_size=1, max_size=5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "write", "advance", "release", "forget", "die"]), st.sampled_from(OWNERS), LANE_SETS
    ),
    max_size=25,
)


class Model:
    """What is true: the holder and epoch of each lane, how often it was written, and which processes are alive."""

    def __init__(self) -> None:
        self.holder: dict[int, str | None] = dict.fromkeys(range(LANES))
        self.epoch = dict.fromkeys(range(LANES), 0)
        self.writes = dict.fromkeys(range(LANES), 0)
        self.alive: set[str] = set()

    def take(self, owner: str, lease: Lease, lanes: Collection[int]) -> None:
        self.alive.add(owner)
        for lane in lanes:
            if lane not in lease.lanes and self.holder[lane] not in self.alive - {owner}:
                self.holder[lane] = owner
                self.epoch[lane] += 1

    def holds(self, owner: str, lease: Lease, lanes: Collection[int]) -> bool:
        """Whether all of them are this owner's still, under the epoch it knows."""
        return all(
            lane in lease.lanes and self.holder[lane] == owner and lease.lanes[lane].epoch == self.epoch[lane]
            for lane in lanes
        )


async def play(database: Database, steps: list[tuple[str, str, set[int]]]) -> None:
    await database.delete_many("lanes", {})
    lanes, model = Lanes(database), Model()
    await lanes.prepare()
    leases = {owner: Lease(owner) for owner in OWNERS}
    for kind, owner, wanted in steps:
        lease = leases[owner]
        if kind == "take":
            model.take(owner, lease, wanted)
            await lanes.take(lease, wanted, await lanes.attend(owner, 60))
        elif kind == "release":
            mine = [lane for lane in wanted if lane in lease.lanes]
            model.holder |= {lane: None for lane in mine if model.holds(owner, lease, [lane])}
            await lanes.release(lease, mine)
        elif kind == "forget":  # a process of the same name that starts again
            leases[owner] = Lease(owner)
        elif kind == "die":
            model.alive.discard(owner)
            await database.update_many("lanes", {"_id": f"process {owner}"}, [{"$set": {"until": PAST}}])
        elif kind == "advance":
            assert await tried(lanes.advance(lease, None)) == model.holds(owner, lease, lease.lanes)
        else:
            expected = model.holds(owner, lease, wanted)
            heads = {lane: model.writes[lane] + 1 for lane in wanted}
            assert await tried(write(database, lanes, lease, wanted, heads)) == expected
            model.writes |= heads if expected else {}
    rows = await database.find("lanes", {"_id": {"$in": list(range(LANES))}})
    assert {row["_id"]: row["owner"] for row in rows} == model.holder
    assert {row["_id"]: row["epoch"] for row in rows} == model.epoch
    assert {row["_id"]: row["seq"] for row in rows} == model.writes
    for owner, lease in leases.items():
        await lanes.refresh(lease)
        assert all(model.holds(owner, lease, [lane]) for lane in lease.lanes)


PAST: Any = {"$subtract": ["$$NOW", 1]}


async def write(database: Database, lanes: Lanes, lease: Lease, wanted: Collection[int], heads: dict[int, int]) -> None:
    async def transact(session: Session) -> None:
        await lanes.fence(lease, wanted, heads=heads, offset=None, session=session)

    await database.with_transaction(transact)


async def tried(work: Any) -> bool:
    try:
        await work
    except LeaseLost:
        return False
    return True


async def test_who_holds_a_lane_and_nobody_else_can_write_it(database: Database) -> None:
    await collections.prepare(database)
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(STEPS)
    def check(steps: list[tuple[str, str, set[int]]]) -> None:
        asyncio.run_coroutine_threadsafe(play(database, steps), loop).result(PATIENCE)

    await asyncio.to_thread(check)
