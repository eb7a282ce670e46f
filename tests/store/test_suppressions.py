"""Suppressions read page by page: nothing left out where a change ends on a page's edge, nothing twice."""

from __future__ import annotations

import asyncio

import pytest

from gateway.model.identity import Identity, key_of
from gateway.privacy.suppressed import Suppressed
from gateway.store import suppressions
from gateway.store.database import Database
from gateway.store.suppressions import Suppressions


async def suppress(database: Database, names: list[str], *, lift: bool = False) -> None:
    store = Suppressions(database)
    keys = [key_of("w", Identity("userId", name).sk) for name in names]
    if lift:
        await store.lift("w", keys)
    else:
        await database.with_transaction(lambda session: store.add("w", keys, "erasure", session))


@pytest.mark.parametrize("page", [7, 8, 9, 100])
async def test_every_page_is_read_whole(store: Database, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(suppressions, "PAGE", page)
    for change in range(6):
        await suppress(store, [f"u{change} {number}" for number in range(7)])
    await suppress(store, ["u2 3"], lift=True)
    known = Suppressed(Suppressions(store))
    with known.bell() as bell:
        await asyncio.gather(known.look(), known.look())
        assert bell.rung.done()
    wanted = {f"u{change} {number}" for change in range(6) for number in range(7)} - {"u2 3"}
    named = {f"u{change} {number}" for change in range(7) for number in range(8)}
    assert {name for name in named if known.has("w", Identity("userId", name))} == wanted
