"""Enrichers: asked in batches, cached, within a deadline, stale on error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from gateway.clock import FrozenClock
from gateway.connectors.enriching import Enrichments
from gateway.connectors.instances import Instance
from gateway.plugin import Config, Enriched, Enricher, Found, Health, Manifest
from tests.connectors.delivering import Empty, context

NOW = 1_795_255_200_000


class Crm(Enricher[Empty]):
    """Knows everybody whose mail begins with `a`."""

    manifest = Manifest(name="crm", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty
    batch = 3
    deadline_seconds = 0.5

    def __init__(self, config: Empty, made: Any) -> None:
        super().__init__(config, made)
        self.asked: list[list[str]] = []
        self.fails = False
        self.hangs = False
        self.blocks: threading.Event | None = None

    async def check(self) -> Health:
        return Health(True)

    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        return traits.get("email")

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        self.asked.append(list(keys))
        if self.blocks is not None:
            self.blocks.wait(30)
        if self.hangs:
            await asyncio.sleep(30)
        if self.fails:
            raise RuntimeError("down")
        return {key: Found({"owner": f"owner of {key}"}) for key in keys if key.startswith("a")}


@pytest.fixture
async def enrichments() -> AsyncIterator[Enrichments]:
    instance = Instance("crm", "w", Crm(Empty(), context("crm")))
    made = Enrichments(instance, FrozenClock(NOW))
    yield made
    await made.close()
    await instance.close()


def crm(enrichments: Enrichments) -> Crm:
    connector = enrichments._instance.connector
    assert isinstance(connector, Crm)
    return connector


async def ask(enrichments: Enrichments, *mails: str | None) -> list[Enriched]:
    return await asyncio.gather(*(enrichments.of([], {"email": mail} if mail else {}) for mail in mails))


async def test_users_asked_for_together_are_looked_up_together_and_once(enrichments: Enrichments) -> None:
    found = await ask(enrichments, "a1", "a2", "b", "a1", None)
    assert [one.status for one in found] == ["fresh", "fresh", "missing", "fresh", "missing"]
    assert found[0].fields == {"owner": "owner of a1"}
    assert found[0].fetched_at == NOW
    assert crm(enrichments).asked == [["a1", "a2", "b"]]
    await ask(enrichments, "a1", "b")
    assert len(crm(enrichments).asked) == 1


async def test_a_batch_has_no_more_keys_than_the_connector_takes(enrichments: Enrichments) -> None:
    await ask(enrichments, *(f"a{number}" for number in range(8)))
    assert sorted(map(len, crm(enrichments).asked)) == [2, 3, 3]


async def test_what_is_old_is_asked_again_and_told_as_stale_when_it_fails(enrichments: Enrichments) -> None:
    clock = enrichments._clock
    assert isinstance(clock, FrozenClock)
    await ask(enrichments, "a1")
    clock.advance(301_000)
    crm(enrichments).fails = True
    (found,) = await ask(enrichments, "a1")
    assert (found.status, found.fields, found.fetched_at) == ("stale", {"owner": "owner of a1"}, NOW)
    (never,) = await ask(enrichments, "a9")
    assert never.status == "unavailable"
    # It is left in peace for a while, then asked again.
    asked = len(crm(enrichments).asked)
    crm(enrichments).fails = False
    assert (await ask(enrichments, "a1"))[0].status == "stale"
    assert len(crm(enrichments).asked) == asked
    clock.advance(6_000)
    assert (await ask(enrichments, "a1"))[0].status == "fresh"


async def test_a_query_waits_no_longer_than_the_deadline(enrichments: Enrichments) -> None:
    crm(enrichments).hangs = True
    (found,) = await ask(enrichments, "a1")
    assert found.status == "unavailable"


async def test_one_that_blocks_its_thread_holds_up_no_query_and_no_loop(enrichments: Enrichments) -> None:
    free = crm(enrichments).blocks = threading.Event()
    try:
        asking = asyncio.create_task(ask(enrichments, "a1"))
        turns = 0
        while not asking.done():  # the gateway's loop goes on
            turns += 1
            await asyncio.sleep(0.01)
        assert turns > 1
        assert [one.status for one in await asking] == ["unavailable"]
        assert [one.status for one in await ask(enrichments, "a2")] == ["unavailable"]
    finally:
        free.set()


async def test_what_was_stale_for_long_is_forgotten(enrichments: Enrichments) -> None:
    clock = enrichments._clock
    assert isinstance(clock, FrozenClock)
    await ask(enrichments, "a1")
    clock.advance((300 + 901) * 1_000)
    await ask(enrichments, "a2")
    assert list(enrichments._cache) == ["a2"]


async def test_a_connector_is_opened_once_however_many_ask_first(
    enrichments: Enrichments, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    async def slowly() -> None:
        opened.append(1)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(crm(enrichments), "open", slowly)
    await ask(enrichments, "a1", "a2", "a3")
    assert opened == [1]
