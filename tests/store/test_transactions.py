"""Transactions: all or nothing, one snapshot, retried when it is safe, and bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.store.database import (
    Database,
    Session,
)
from tests.store.seam import failing, numbered, stored


async def test_a_transaction_commits_all_or_nothing(store: Database) -> None:
    async with store.transaction() as session:
        await store.insert_many("rows", numbered(1), session=session)
        await store.update_one("others", {"_id": 1}, {"$set": {"n": 1}}, upsert=True, session=session)
        assert await store.find_one("rows", {"_id": 1}) is None, "not before the commit"

    async def break_off(session: Session) -> None:
        await store.insert_many("rows", numbered(2), session=session)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await store.with_transaction(break_off)

    assert await stored(store, "rows") == [1]
    assert await stored(store, "others") == [1]


async def test_a_transaction_reads_one_snapshot(store: Database) -> None:
    await store.insert_many("rows", numbered(1))

    async with store.transaction() as session:
        assert len(await store.find("rows", {}, session=session)) == 1
        await store.insert_many("rows", numbered(2))
        assert len(await store.aggregate("rows", [], session=session)) == 1
    assert await stored(store, "rows") == [1, 2]


async def test_a_transaction_reads_lists_of_several_batches(store: Database) -> None:
    await store.insert_many("rows", numbered(*range(2500)))

    async def work(session: Session) -> tuple[int, int]:
        found = await store.find("rows", {}, session=session)
        return len(found), len(await store.aggregate("rows", [], session=session))

    assert await store.with_transaction(work) == (2500, 2500)


async def test_a_conflict_runs_the_work_again(store: Database) -> None:
    await store.insert_many("rows", numbered(0))
    runs = 0

    async def work(session: Session) -> int:
        nonlocal runs
        runs += 1
        row = await store.find_one("rows", {"_id": 0}, session=session)
        assert row is not None
        if runs == 1:
            await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}})
        await store.update_one("rows", {"_id": 0}, {"$set": {"n": row["n"] + 1}}, session=session)
        return int(row["n"])

    assert await store.with_transaction(work) == 10
    assert runs == 2
    assert await store.find_one("rows", {}) == {"_id": 0, "n": 11}


async def test_a_conflict_in_a_single_attempt_is_unavailable(store: Database) -> None:
    await store.insert_many("rows", numbered(0))

    async def attempt() -> None:
        async with store.transaction() as session:
            await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 1}}, session=session)

    async with store.transaction() as other:
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}}, session=other)
        with pytest.raises(Unavailable):
            await attempt()


@pytest.mark.parametrize("fault", [{"closeConnection": True}, {"writeConcernError": {"code": 64, "errmsg": "slow"}}])
async def test_a_commit_of_unknown_outcome_is_repeated_and_the_work_is_not(
    store: Database, fault: dict[str, Any]
) -> None:
    await store.create_collection("rows")
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.insert_many("rows", numbered(runs), session=session)

    async with failing(store, "commitTransaction", times=2, **fault):
        await store.with_transaction(work)

    assert runs == 1
    assert await stored(store, "rows") == [1]


async def test_a_commit_that_never_gets_through_ends_at_the_deadline_and_is_not_run_again(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.transactions.TRANSACTION_SECONDS", 0.5)
    await store.create_collection("rows")
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.insert_many("rows", numbered(runs), session=session)

    async with failing(store, "commitTransaction", times=10_000, closeConnection=True):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await store.with_transaction(work)
        assert time.monotonic() - started < 3
    await store.admin({"killAllSessions": []})  # the server still waits for the commit, and keeps the locks

    assert runs == 1


async def test_transactions_that_never_get_through_end_at_the_deadline(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.transactions.TRANSACTION_SECONDS", 0.5)
    await store.insert_many("rows", numbered(0))
    runs = 0

    async def work(session: Session) -> None:
        nonlocal runs
        runs += 1
        await store.find_one("rows", {"_id": 0}, session=session)
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 10}})
        await store.update_one("rows", {"_id": 0}, {"$inc": {"n": 1}}, session=session)

    started = time.monotonic()
    with pytest.raises(Unavailable):
        await store.with_transaction(work)

    assert runs > 1
    assert time.monotonic() - started < 3
