"""Whatever happens to parts, a scan has what a plain reading of events and identities has.

Late events, duplicates, merges, splits, erasures and denials; parts that end anywhere, merged and built anew meanwhile;
writers that die between the file and the manifest, and two of them at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.clock import FrozenClock, ServerClock, random_id
from gateway.contract.rules import Condition, EventRule
from gateway.errors import Unavailable
from gateway.insights.columnar import parts
from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.folder import Folder
from gateway.insights.columnar.scan import Scanned, Scans
from gateway.insights.columnar.selecting import Selection
from gateway.insights.columnar.users import Directory
from gateway.insights.columnar.writer import Pace, Writer
from gateway.model.event import Event
from gateway.model.scope import Scope
from gateway.store import collections
from gateway.store.columnar import Changes, Hold, Manifests
from gateway.store.database import Database
from gateway.store.events import Events, to_document
from tests.flow.test_derive_equals_oracle import MINUTE, START, batches, plain_events, refolded, to_event
from tests.flow.test_erasure_equals_oracle import SOMEBODY, Named, Owners, erase
from tests.pace import PATIENCE

Plain = dict[str, Any]
Row = tuple[str, int, int, str, tuple[bool, ...], float | None, object, str | None]

W = Scope.system("w")
VALUES = [1, 1.0, True, "1", "x", None, [1], {"b": 2}, 2.5]
SELECTION = Selection(
    rules=(
        EventRule("all", "View"),
        EventRule("few", "View", (Condition("a", "equals", 1),)),
        EventRule("some", "Add", (Condition("a", "exists", True), Condition("a.b", "exists", False))),
        EventRule("bought", "Buy"),
    ),
    between=(START + 1, START + 120 * MINUTE),
    columns=("platform",),
    numbers=("a",),
    labels=("a",),
)


def event_of(plain: Plain) -> Event:
    """An event with properties, a platform and a word about consent that follow from its number."""
    event, number = to_event(plain), plain["id"][-1]
    if plain["type"] in ("merge", "split"):
        return event
    properties = {} if number % 5 == 0 else {"a": VALUES[number % len(VALUES)], "x.y": 1}
    denied = {"analytics": False} if number % 7 == 6 else None
    client = {"platform": "web"} if number % 2 else {}
    return replace(event, properties=properties, consent=denied, client=client)  # type: ignore[arg-type]


class Crash(Exception):
    """The process dies here."""


@dataclass
class Fragile(Writer):
    """A writer that may die after it has written its file, or after it has committed."""

    dies: str = ""

    async def _commit(self, held: Any, changes: Changes) -> None:
        if self.dies == "before":
            raise Crash
        await super()._commit(held, changes)
        if self.dies == "after":
            raise Crash


@dataclass
class World:
    """Owners that derive, writers of parts, and whoever scans."""

    database: Database
    folder: Folder
    engine: Engine
    chance: random.Random
    scans: Scans
    writers: list[Fragile] = field(default_factory=list)

    async def write(self) -> None:
        """One of the writers takes a step, or dies, or is taken for dead while it lives on."""
        writer, dice = self.chance.choice(self.writers), self.chance.random()
        if dice < 0.15:
            writer.dies = self.chance.choice(["before", "after"])
        elif dice < 0.3:
            await self.expire()
        elif dice < 0.4:
            await Manifests(self.database).ask_to_rebuild("w")
        await writer.turn("w", flush=self.chance.random() < 0.7)
        writer.dies = ""

    async def expire(self) -> None:
        """Whoever writes is taken for dead."""
        past = [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}]
        await self.database.update_many("columnar_manifest", {"kind": "head"}, past)

    async def settle(self) -> None:
        """Everything that has come is in parts, and nothing is left of what is not."""
        for writer in self.writers:
            await writer.release()
        await self.expire()  # what those that died still hold
        last = self.writers[0]
        quiet = 0
        while quiet < 3:  # a turn with nothing more to do may itself have made some
            quiet = 0 if await last.turn("w", flush=True) else quiet + 1
        assert not last.trouble
        manifest = await Manifests(self.database).read("w")
        assert sorted(self.folder.files("w")) == sorted(part.file for part in manifest.parts)
        if live := [self.folder.path(part.file) for part in manifest.live(manifest.head.current)]:
            query = "SELECT count(*), count(DISTINCT id) FROM read_parquet($files)"
            (counts,) = await self.engine.run(lambda cursor: cursor.execute(query, {"files": live}).fetchall())
            assert counts[0] == counts[1], "an event is in two parts"
        assert manifest.building is None
        assert not [part for part in manifest.parts if part.retired_at is not None]


async def naive(database: Database, announced_only: bool = False) -> list[Row]:
    """The same by a plain reading: one event after the other, by the meaning of the contract."""
    users = {row["sk"]: row["user"] for row in await database.find("identities", {})}
    suppressed = {bytes(row["_id"]) for row in await database.find("suppressions", {"lifted": False})}
    hidden = {row["sk"] for row in await database.find("identities", {}) if bytes(row["_id"]) in suppressed}
    told = {bytes(row["event"]) for row in await database.find("feed", {"kind": "event"})}
    found: list[tuple[Any, Row]] = []
    for row in await database.find("events", {}):
        key, properties = bytes(row["_id"]), row["properties"]
        matches = tuple(rule.matches(row["name"], properties) for rule in SELECTION.rules)
        start, end = SELECTION.between
        if not (any(matches) and start <= row["at"] < end) or row["sk"] not in users or row["sk"] in hidden:
            continue
        if (row.get("consent") or {}).get("analytics") is False or (announced_only and key not in told):
            continue
        a = properties.get("a", ...)
        number = float(a) if isinstance(a, int | float) and not isinstance(a, bool) else None
        label = ... if a is ... or isinstance(a, list | dict) else (type(a) is bool, a)
        user = users[row["sk"]]
        one = (user, row["at"], row["seq"], row["name"], matches, number, label, row["client"].get("platform"))
        found.append(((user, row["at"], row["seq"], key), one))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def told_of(scanned: Scanned) -> list[Row]:
    rows: list[Row] = []
    for place in range(len(scanned)):
        number = float(scanned.numbers["a"][place])
        code, platform = int(scanned.labels["a"][place]), int(scanned.labels["@platform"][place])
        value = ... if code < 0 else scanned.values["a"][code]
        rows.append(
            (
                scanned.ids_of([int(scanned.user[place])])[0],
                int(scanned.at[place]),
                int(scanned.seq[place]),
                scanned.names[scanned.name[place]],
                tuple(bool(column[place]) for column in scanned.matches),
                None if isnan(number) else number,
                ... if value is ... else (type(value) is bool, value),
                None if platform < 0 else str(scanned.values["@platform"][platform]),
            )
        )
    return rows


@asynccontextmanager
async def world_of(database: Database, path: Path, seed: int) -> AsyncIterator[World]:
    await database.delete_many("columnar_manifest", {})
    folder = Folder.open(str(path), "db")
    engine = Engine(folder, threads=1, memory_mb=200, at_once=2)
    clock, chance = ServerClock(), random.Random(seed)
    directory = Directory(database, clock)
    scans = Scans(database, folder, engine, directory, clock)
    pace = Pace(rows=chance.randint(1, 8), seconds=1e9, grace_seconds=0, most_rows=12)
    writers = [Fragile(database, folder, engine, FrozenClock(START), pace) for _ in range(2)]
    try:
        yield World(database, folder, engine, chance, scans, writers)
    finally:
        await directory.close()
        engine.close()


async def finish(owners: Owners, world: World) -> None:
    """Until all is derived and every erasure is done."""
    await owners.catch_up()
    for _ in range(100):
        while any([await refolded(deriver, lease) for deriver, lease in owners.owners]):
            pass
        for deriver, lease in owners.owners:
            await deriver.erase_due(lease, float("inf"))
        if not await world.database.count("erasures", {"status": "running"}):
            return
        await world.write()
    raise AssertionError(await world.database.find("erasures", {}))


async def test_a_scan_has_what_the_events_have(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MERGED_TOGETHER", 2)
    await collections.prepare(database)
    loop = asyncio.get_running_loop()

    async def compared(events: list[Plain], people: list[Named], seed: int) -> None:
        owners = Owners(database, random.Random(seed), START + 180 * MINUTE)
        await owners.start(several=False)
        async with world_of(database, tmp_path / random_id(), seed) as world:
            arrival = list(batches(events, seed))
            moments = [world.chance.randint(0, len(arrival)) for _ in people]
            erased: set[Named] = set()
            for number, batch in enumerate([*arrival, []]):
                for moment, who in zip(moments, people, strict=True):
                    if moment == number:
                        gone, said = await erase(database, who, owners.as_of)
                        erased |= gone
                        await owners.arrive(said)
                mine = [event_of(plain) for plain in {plain["id"]: plain for plain in batch}.values()]
                await Events(database).insert([to_document(event, escape=True) for event in mine])
                await owners.arrive(mine)
                for _ in range(world.chance.randint(0, 3)):
                    await world.write()
                if world.chance.random() < 0.3:
                    await bounded(world)
            await finish(owners, world)
            assert told_of(await world.scans.scan(W, SELECTION)) == await naive(database)
            await world.settle()
            assert told_of(await world.scans.scan(W, SELECTION)) == await naive(database)
            await nobody_erased(world, erased)

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(plain_events(), st.lists(SOMEBODY, max_size=1), st.integers(0, 1_000_000))
    def check(events: list[Plain], people: list[Named], seed: int) -> None:
        asyncio.run_coroutine_threadsafe(compared(events, people, seed), loop).result(PATIENCE)

    await asyncio.to_thread(check)


async def bounded(world: World) -> None:
    """In the middle of it all, a scan has what is derived, and nothing twice nor that is not stored."""
    least = await naive(world.database, announced_only=True)
    found = told_of(await world.scans.scan(W, SELECTION))
    most = await naive(world.database)
    for row in least:
        assert row in found
        most.remove(row)
        found.remove(row)
    for row in found:  # a rebuild reads what is stored before it is derived
        most.remove(row)


async def nobody_erased(world: World, erased: set[Named]) -> None:
    """No file has a row of theirs."""
    sks = [f"{'u' if kind == 'userId' else 'a'}:{value}" for kind, value in erased]
    manifest = await Manifests(world.database).read("w")
    held = await world.engine.run(lambda cursor: parts.holding(cursor, world.folder, manifest.parts, "w", sks))
    assert not held
    assert not await world.database.find("columnar_manifest", {"kind": "erasure"})


async def test_a_zombie_commits_nothing(database: Database, tmp_path: Path) -> None:
    await collections.prepare(database)
    manifests = Manifests(database)
    first = await manifests.acquire("w", "one", 60)
    assert first is not None
    assert await manifests.acquire("w", "two", 60) is None
    await manifests.release(first)
    second = await manifests.acquire("w", "two", 60)
    assert second == Hold("w", "two", first.epoch + 1)
    with pytest.raises(Unavailable):
        await manifests.commit(first, Changes(head={"current": 7}))
    with pytest.raises(Unavailable):
        await manifests.beat(first, 60)
    assert (await manifests.head("w")).current == 0
