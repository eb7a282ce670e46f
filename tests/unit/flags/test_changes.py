"""What listeners hear of changed rules: everything once, in order, or that something is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.errors import InvalidInput
from gateway.flags import Changes, FlagChange, Lost
from gateway.flags.changes import KEPT
from gateway.plugin import FlagChanges
from tests.pace import PATIENCE
from tests.unit.flags.fakes import Made, always, made_flags


async def heard(listening: AsyncIterator[FlagChange]) -> FlagChange:
    async with asyncio.timeout(PATIENCE):
        return await anext(listening)


async def test_changes_come_in_order_and_resume_behind_a_cursor() -> None:
    changes = Changes()
    changes.tell("main", frozenset({"before"}))
    listening = changes.listen("main")
    first = await heard(listening)
    assert (first.keys, first.lost) == (frozenset(), None)
    changes.tell("main", frozenset({"a"}))
    changes.tell("other", frozenset({"x"}))
    changes.tell("main", None)
    assert (await heard(listening)).keys == frozenset({"a"})
    second = await heard(listening)
    assert second.keys is None
    again = changes.listen("main", first.cursor)
    assert [(await heard(again)).keys for _ in range(3)] == [frozenset(), frozenset({"a"}), None]
    behind = changes.listen("main", second.cursor)
    await heard(behind)
    changes.tell("main", frozenset({"b"}))
    assert (await heard(behind)).keys == frozenset({"b"})


async def test_more_than_is_kept_is_told_as_lost() -> None:
    changes = Changes()
    listening = changes.listen("main")
    cursor = (await heard(listening)).cursor
    for number in range(KEPT + 10):
        changes.tell("main", frozenset({str(number)}))
    assert (await heard(listening)).lost == Lost("EXPIRED", 10)
    assert (await heard(listening)).keys == frozenset({"10"})
    resumed = changes.listen("main", cursor)
    assert (await heard(resumed)).lost is None
    assert (await heard(resumed)).lost == Lost("EXPIRED", 10)


async def test_another_process_says_that_it_cannot_go_on() -> None:
    cursor = (await heard(Changes().listen("main"))).cursor
    assert (await heard(Changes().listen("main", cursor))).lost == Lost("OTHER_PROCESS", None)


@pytest.mark.parametrize("cursor", ["", "flags-x-1", "AAAA", "flags-" + "0" * 32 + "-"])
async def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor"):
        await heard(Changes().listen("main", cursor))


async def test_providers_are_followed_and_heard_again_after_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flags.deciding._AGAIN_SECONDS", 0.01)
    made, failures = Made(a=always(1)), 1

    async def failing() -> AsyncIterator[frozenset[str]]:
        nonlocal failures
        if failures:
            failures -= 1
            raise ValueError
        async for keys in made.told.listen():
            yield keys

    made.changes = failing  # type: ignore[method-assign]
    flags = made_flags(made)
    listening = flags.changes.listen("main")
    await heard(listening)
    async with flags.following():
        assert (await heard(listening)).keys is None  # what changed while nobody listened, nobody knows
        made.change("a", always(2))
        assert (await heard(listening)).keys == frozenset({"a"})
    assert not [task for task in asyncio.all_tasks() if "Flags._follow" in str(task.get_coro())]


async def test_news_come_over_from_threads_and_gather_while_nobody_listens() -> None:
    told = FlagChanges()
    told.tell(["a"])
    told.tell(["b"])
    listening = told.listen()
    async with asyncio.timeout(PATIENCE):
        assert await anext(listening) == {"a", "b"}
        thread = threading.Thread(target=told.tell, args=(["c"],))
        thread.start()
        assert await anext(listening) == {"c"}
        thread.join()
        told.tell()
        told.tell(["d"])
        assert await anext(listening) == frozenset()
