"""Versions of the contract: dense numbers whoever applies at the same time, nothing for what counts already."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.contract import Contract, find_schema_root, load_contract, load_texts
from gateway.pipeline.contracts import Contracts, InForce, load_version
from gateway.store import collections
from gateway.store.contracts import COLLECTION, Versions
from gateway.store.database import Database
from tests.pace import PATIENCE

SHOP = load_contract(find_schema_root() / "shop")


def other(note: str) -> Contract:
    """The shop's contract with another text of its map."""
    path = "journeys/purchase.yaml"
    return load_texts("shop", {**SHOP.files, path: SHOP.files[path].replace("name: Buying", f"name: {note} buying")})


@pytest.fixture
async def versions(database: Database) -> Versions:
    await collections.prepare(database)
    return Versions(database)


async def test_what_is_applied_is_what_is_read(versions: Versions) -> None:
    assert await versions.newest() is None
    assert await versions.newest_number() == 0
    applied, fresh = await versions.apply(SHOP, now=7, by="start", note="why")
    assert fresh
    assert await versions.newest() == await versions.get(1) == applied
    assert (applied.number, applied.applied_at, applied.applied_by, applied.note) == (1, 7, "start", "why")
    again = load_version(applied)
    assert again == SHOP
    assert (again.hash, again.journeys_hash) == (applied.hash, applied.journeys_hash)


async def test_the_same_content_changes_nothing_and_a_former_one_is_a_new_version(versions: Versions) -> None:
    await versions.apply(SHOP, now=1, by="test")
    kept, fresh = await versions.apply(SHOP, now=2, by="test")
    assert (kept.number, kept.applied_at, fresh) == (1, 1, False)
    await versions.apply(other("Quick"), now=3, by="test")
    back, fresh = await versions.apply(SHOP, now=4, by="test")
    assert (back.number, fresh) == (3, True)
    heads = await versions.heads()
    assert [head.number for head in heads] == [3, 2, 1]
    assert replace(heads[0], files=back.files) == back


async def test_those_who_apply_at_once_come_one_behind_the_other(versions: Versions, database: Database) -> None:
    wanted = [other(f"N{number}") for number in range(8)]
    done = await asyncio.gather(*(versions.apply(one, now=1, by="test") for one in wanted * 2))
    rows = await database.find(COLLECTION, {}, sort=[("_id", 1)])
    assert [row["_id"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["hash"] for row in rows} == {one.hash for one in wanted}
    assert sorted(version.number for version, fresh in done if fresh) == [row["_id"] for row in rows]
    assert all(before["hash"] != after["hash"] for before, after in pairwise(rows))


async def test_a_holder_takes_over_what_another_process_applies(versions: Versions) -> None:
    first, _ = await versions.apply(SHOP, now=1, by="test")
    held = Contracts(versions, InForce(first.number, SHOP))
    heard = asyncio.Event()
    assert not await held.look()
    async with held.following():
        with held.listening(heard.set):
            await versions.apply(other("Quick"), now=2, by="test")
            async with asyncio.timeout(PATIENCE):
                await heard.wait()
    assert held.version.number == 2
    assert held.current.journeys["purchase"].name.startswith("Quick")
    assert held.version.hash == other("Quick").hash


async def test_a_version_that_does_not_load_leaves_the_one_before_it(versions: Versions, database: Database) -> None:
    first, _ = await versions.apply(SHOP, now=1, by="test")
    held = Contracts(versions, InForce(first.number, SHOP))
    newer = {**SHOP.files, "flags/new.yaml": "key: new\n"}
    await versions.apply(Contract("shop", {}, {}, files=newer), now=2, by="a newer gateway")
    assert not await held.look()
    assert (held.version.number, held.unreadable) == (1, 2)
    await versions.apply(other("Quick"), now=3, by="test")
    assert await held.look()
    assert (held.version.number, held.unreadable) == (3, None)
    await database.delete_many(COLLECTION, {})
    assert not await held.look()
    assert held.version.number == 3
