"""Answers are given again only as long as nothing came that could change them, and worked out once for all who ask."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from gateway.insights.columnar.scan import Scanned, Scans, Version
from gateway.insights.columnar.users import Users
from gateway.insights.remembering import Memory, Remembered, Together, bytes_of
from tests.api.gateway_api import Gateway, identify, track

RANGE = {"last": "7d"}
TREND = "query($input: TrendInput!) { trend(input: $input) { series { points { value } } } }"
VIEWERS: dict[str, Any] = {"range": RANGE, "interval": "WEEK", "events": [{"event": "View"}], "statistic": "UNIQUES"}
ERASE = """mutation { eraseUser(input: {user: {userId: "bob"}, reason: "asked for"}) { errors { code } } }"""
CONSENT = """mutation { setConsent(input: {user: {userId: "cyd"}, purposes: {analytics: DENIED}, source: "banner"}) {
  errors { code } } }"""


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each scan."""
    made: list[str] = []
    scan = Scans.scan

    async def counted(self: Scans, *given: Any) -> Scanned:
        made.append("scan")
        await asyncio.sleep(0)
        return await scan(self, *given)

    monkeypatch.setattr(Scans, "scan", counted)
    return made


async def viewers(gateway: Gateway, **more: object) -> int:
    found = await gateway.ask(TREND, await gateway.api_key(), input={**VIEWERS, **more})
    return int(sum(point["value"] for one in found["trend"]["series"] for point in one["points"]))


async def test_an_answer_holds_until_something_comes_that_changes_it(gateway: Gateway, scans: list[str]) -> None:
    await gateway.send(*(track("View", 10, userId=name) for name in ("ann", "bob", "cyd")))
    assert (await viewers(gateway), len(scans)) == (3, 1)
    assert (await viewers(gateway), len(scans)) == (3, 1)
    await gateway.send(track("Buy", 5, userId="dan"))
    assert (await viewers(gateway), len(scans)) == (3, 1), "somebody new does something else"
    await gateway.send(track("View", 5, anonymousId="phone"))
    assert (await viewers(gateway), len(scans)) == (4, 2)
    await gateway.send(identify(4, userId="ann", anonymousId="phone"))
    assert (await viewers(gateway), len(scans)) == (3, 3), "two have become one"
    assert (await viewers(gateway), len(scans)) == (3, 3)
    key = await gateway.api_key()
    await gateway.ask(ERASE, key)
    assert (await viewers(gateway), len(scans)) == (2, 4)
    await gateway.ask(CONSENT, key)
    gateway.clock.advance(10)
    await gateway.derive()
    assert (await viewers(gateway), len(scans)) == (1, 5)


async def test_what_depends_on_more_than_its_events_holds_until_anything_comes(
    gateway: Gateway, scans: list[str]
) -> None:
    await gateway.send(track("View", 10, userId="ann"), identify(10, userId="ann", traits={"plan": "free"}))
    by = {"by": {"trait": "plan"}}
    assert (await viewers(gateway, **by), len(scans)) == (1, 1)
    await gateway.send(identify(5, userId="ann", traits={"plan": "plus"}))
    assert (await viewers(gateway, **by), len(scans)) == (1, 2)


async def test_many_who_ask_at_once_are_answered_together(gateway: Gateway, scans: list[str]) -> None:
    await gateway.send(track("View", 10, userId="ann"))
    await gateway.api_key()
    asked = [asyncio.create_task(viewers(gateway)) for _ in range(12)]
    assert await asyncio.gather(*asked) == [1] * 12
    assert len(scans) == 1, "nothing came meanwhile"
    gateway.evaluator.questions.forget()
    # While the first is worked out, something comes: whoever asked before that may have either, but all are answered
    # by two scans.
    asked = [asyncio.create_task(viewers(gateway)) for _ in range(6)]
    while len(scans) == 1:  # noqa: ASYNC110 - until the first of them reads
        await asyncio.sleep(0)
    await gateway.send(track("View", 5, userId="bob"))
    asked += [asyncio.create_task(viewers(gateway)) for _ in range(6)]
    found = await asyncio.gather(*asked)
    assert found[6:] == [2] * 6, "whoever asked afterwards has it"
    assert set(found) <= {1, 2}
    assert len(scans) <= 4


async def test_what_is_read_together_is_read_after_all_have_asked() -> None:
    read: list[str] = []
    going = asyncio.Event()

    async def work(key: str) -> int:
        read.append(key)
        await going.wait()
        if key == "bad":
            raise ValueError
        return len(read)

    together = Together(work)
    first = [asyncio.create_task(together.ask("a")) for _ in range(3)]
    while not read:  # noqa: ASYNC110 - until it is under way
        await asyncio.sleep(0)
    later = asyncio.create_task(together.ask("a"))
    other = asyncio.create_task(together.ask("bad"))
    first[0].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    going.set()
    found = await asyncio.gather(*first, later, other, return_exceptions=True)
    assert read == ["a", "a", "bad"], "one read for three, another for who came while it was under way"
    assert [type(one) for one in found] == [asyncio.CancelledError, int, int, int, ValueError]


def test_memory_is_bounded_by_what_the_arrays_take() -> None:
    class Found:
        as_of = 0
        users = Users(high=np.zeros(100, np.uint64))

    def one(size: int) -> Remembered:
        return Remembered(Found(), Version(0, 0, ()), frozenset(), None, 0, bytes=size)

    memory = Memory(100_000)
    memory.keep(("w", "large"), one(60_000))
    assert memory.get(("w", "large")) is None
    for number in range(10):
        memory.keep(("w", str(number)), one(20_000))
        assert memory.bytes <= 100_000
    assert memory.get(("w", "0")) is None
    assert memory.get(("w", "9")) is not None
    assert bytes_of((Users(high=np.zeros(100, np.uint64)), {"a": np.zeros(3)})) == 800 + 24 + 16
