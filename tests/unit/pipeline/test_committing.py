"""Group commit over stores that fail in every way they can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput, StoreError, Unavailable
from gateway.model.event import Verdict
from gateway.pipeline.committing import Commit, GroupCommit
from gateway.store.database import Document, InsertOutcome, Timestamp


class Store:
    """Events in memory. `poison`: ids that make a whole insert fail; `refused`: ids refused one by one, with a code."""

    def __init__(
        self, *, poison: dict[bytes, Exception] | None = None, refused: dict[bytes, int] | None = None
    ) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.poison = poison or {}
        self.refused = refused or {}
        self.gate: asyncio.Event | None = None
        self.groups: list[int] = []
        self.away = False

    async def insert(self, documents: Sequence[Document]) -> InsertOutcome:
        self.groups.append(len(documents))
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        for document in documents:
            if document["_id"] in self.poison:
                raise self.poison[document["_id"]]
        duplicates = set()
        failed = {}
        for index, document in enumerate(documents):
            if document["_id"] in self.refused:
                failed[index] = self.refused[document["_id"]]
            elif document["_id"] in self.stored:
                duplicates.add(index)
            else:
                self.stored[document["_id"]] = document["hash"]
        inserted = frozenset(range(len(documents))) - duplicates - failed.keys()
        return InsertOutcome(inserted, frozenset(duplicates), failed, Timestamp(len(self.groups), 1))

    async def hashes(
        self, workspace: str, ids: Sequence[bytes], *, after: Timestamp | None = None
    ) -> dict[bytes, bytes]:
        assert after == Timestamp(len(self.groups), 1), "not read as of the insert that met the duplicates"
        return {key: self.stored[key] for key in ids if key in self.stored}


def event(key: int, content: bytes = b"c") -> Document:
    return {"_id": b"%d" % key, "workspace": "w", "hash": content}


def commits(store: Store) -> GroupCommit:
    return GroupCommit(store)  # type: ignore[arg-type]


async def test_requests_that_come_meanwhile_share_one_insert() -> None:
    store = Store()
    store.gate = asyncio.Event()
    group = commits(store)
    tasks = []
    for number in range(20):
        tasks.append(asyncio.create_task(group.store([event(number)])))
        await asyncio.sleep(0.001)
    store.gate.set()
    found = await asyncio.gather(*tasks)
    assert store.groups == [1, 1, 18], "one for each writer, and one for all who came meanwhile"
    assert all(one.verdicts == [Verdict.ACCEPTED] for one in found)
    await group.drain()


POISON = [StoreError("overflow", number=15), InvalidInput("cannot be encoded"), StoreError("bson", number=22)]


@given(st.integers(1, 12), st.sets(st.integers(0, 11)), st.sampled_from(POISON), st.booleans())
def test_poison_is_found_and_its_neighbours_are_stored(
    count: int, bad: set[int], error: Exception, whole: bool
) -> None:
    keys = {b"%d" % key for key in bad}
    store = Store(poison=dict.fromkeys(keys, error)) if whole else Store(refused=dict.fromkeys(keys, 2))
    found = asyncio.run(commits(store).store([event(key) for key in range(count)]))
    expected = [Verdict.QUARANTINED if key in bad else Verdict.ACCEPTED for key in range(count)]
    assert list(found.verdicts) == expected
    assert set(store.stored) == {b"%d" % key for key in range(count) if key not in bad}


async def test_a_refusal_that_is_no_event_s_fault_is_the_requester_s_alone() -> None:
    store = Store(refused={b"1": 8000})
    store.gate = asyncio.Event()
    group = commits(store)
    first = [asyncio.create_task(group.store([event(90 + number)])) for number in range(2)]
    tasks = [asyncio.create_task(group.store([event(number), event(10 + number)])) for number in range(3)]
    await asyncio.sleep(0.01)
    store.gate.set()
    found: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[1], StoreError)
    assert all(isinstance(one, Commit) and len(one.verdicts) == 2 for one in (found[0], found[2]))
    await asyncio.gather(*first)


@pytest.mark.parametrize("error", [Unavailable("no"), StoreError("disk", number=14031), RuntimeError("a fault")])
async def test_nothing_is_acknowledged_of_an_unknown_outcome_and_the_next_group_works(error: Exception) -> None:
    store = Store(poison={b"1": error})
    group = commits(store)
    with pytest.raises((Unavailable, StoreError)):
        await group.store([event(0), event(1)])
    assert (await group.store([event(2)])).verdicts == [Verdict.ACCEPTED]


async def test_duplicates_conflicts_and_what_has_gone_since() -> None:
    store = Store()
    group = commits(store)
    await group.store([event(1), event(2)])
    found = await group.store([event(1), event(2, b"other"), event(3), event(3), event(3, b"other")])
    assert list(found.verdicts) == [
        Verdict.DUPLICATE,
        Verdict.CONFLICT,
        Verdict.ACCEPTED,
        Verdict.DUPLICATE,
        Verdict.CONFLICT,
    ]
    assert found.time == Timestamp(2, 1)
    store.hashes = _nothing  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await group.store([event(1)])


async def _nothing(workspace: str, ids: Sequence[bytes], *, after: Timestamp | None = None) -> dict[bytes, bytes]:
    return {}


async def test_who_gives_up_waiting_does_not_disturb_the_others() -> None:
    store = Store()
    store.gate = asyncio.Event()
    group = commits(store)
    tasks = [asyncio.create_task(group.store([event(number)])) for number in range(6)]
    await asyncio.sleep(0.01)
    tasks[4].cancel()
    store.gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Commit) for one in found] == [True, True, True, True, False, True]
