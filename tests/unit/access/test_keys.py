"""Keys are recognised by hash, remembered for seconds, and forgotten in time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.access import keys as keys_module
from gateway.access.keys import KeyRing, WriteKey
from gateway.clock import FrozenClock
from gateway.errors import InvalidInput, Unauthenticated
from gateway.model.scope import PERMISSIONS, Scope
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.flow.doors import new_database

NOW = 1_710_325_274_000


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def ring(prepared: Database, clock: FrozenClock) -> KeyRing:
    return KeyRing(Keys(prepared), clock)


async def test_a_write_key_names_its_workspace_and_source(ring: KeyRing) -> None:
    key = await ring.create_write_key("acme", "web")
    assert key.startswith("wk_")
    assert await ring.write_key(key) == WriteKey("acme", "web")


async def test_an_api_key_opens_what_it_was_made_for_and_nothing_else(ring: KeyRing) -> None:
    key = await ring.create_api_key("acme", frozenset({"kpis:read"}))
    assert key.startswith("sk_")
    assert await ring.api_key(key) == Scope("acme", permissions=frozenset({"kpis:read"}))


async def test_a_permission_that_does_not_exist_is_refused(ring: KeyRing) -> None:
    with pytest.raises(InvalidInput, match="everything"):
        await ring.create_api_key("acme", frozenset({"kpis:read", "everything"}))


async def test_a_permission_that_no_longer_exists_opens_nothing(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PERMISSIONS, "old:read", "of an older release")
    key = await ring.create_api_key("acme", frozenset({"old:read", "kpis:read"}))
    monkeypatch.undo()
    assert (await ring.api_key(key)).permissions == {"kpis:read"}


async def test_no_value_is_stored(ring: KeyRing, prepared: Database) -> None:
    values = [
        await ring.create_write_key("acme", "web"),
        await ring.create_api_key("acme", frozenset()),
        await ring.create_page_code("acme", 5),
    ]
    stored = str(await prepared.find("keys", {}))
    assert not any(value in stored for value in values)


@pytest.mark.parametrize("value", ["", "wk_", "wk_unknown", "sk_unknown", "wk_\ud800", "wk_\0", "x" * 100_000])
async def test_what_is_no_key_opens_nothing(ring: KeyRing, value: str) -> None:
    with pytest.raises(Unauthenticated, match="not known"):
        await ring.write_key(value)
    with pytest.raises(Unauthenticated, match="not known"):
        await ring.api_key(value)


async def test_one_kind_of_key_is_not_taken_for_another(ring: KeyRing) -> None:
    write_key = await ring.create_write_key("acme", "web")
    api_key = await ring.create_api_key("acme", frozenset())
    code = await ring.create_page_code("acme", 5)
    for value in (write_key, code):
        with pytest.raises(Unauthenticated):
            await ring.api_key(value)
    for value in (api_key, code):
        with pytest.raises(Unauthenticated):
            await ring.write_key(value)
    for value in (write_key, api_key):
        with pytest.raises(Unauthenticated):
            await ring.take_page_code(value)


async def test_a_revoked_key_opens_for_five_more_seconds_at_most(
    ring: KeyRing, prepared: Database, clock: FrozenClock
) -> None:
    key = await ring.create_write_key("revoking", "web")
    await ring.write_key(key)
    await prepared.delete_many("keys", {"workspace": "revoking"})

    clock.advance(4_999)
    await ring.write_key(key)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await ring.write_key(key)


async def test_a_key_that_was_unknown_opens_a_second_after_it_was_made(
    ring: KeyRing, prepared: Database, clock: FrozenClock
) -> None:
    key = await KeyRing(Keys(prepared), clock).create_write_key("late", "web")
    row = await prepared.find_one("keys", {"workspace": "late"})
    assert row is not None
    await prepared.delete_many("keys", {"workspace": "late"})
    with pytest.raises(Unauthenticated):
        await ring.write_key(key)
    await prepared.insert_many("keys", [row])

    clock.advance(999)
    with pytest.raises(Unauthenticated):
        await ring.write_key(key)
    clock.advance(1)
    assert await ring.write_key(key) == WriteKey("late", "web")


async def test_only_so_many_keys_are_remembered_and_the_used_ones_stay(
    ring: KeyRing, prepared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "CACHED_KEYS", 3)
    used = await ring.create_write_key("crowded", "web")
    await ring.write_key(used)
    await prepared.delete_many("keys", {"workspace": "crowded"})
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await ring.write_key(f"wk_guess{number}")
        assert await ring.write_key(used) == WriteKey("crowded", "web"), "remembered, for it is no longer stored"
        assert len(ring._cached) <= 3


async def test_a_page_code_works_once(ring: KeyRing) -> None:
    code = await ring.create_page_code("acme", minutes=5)
    assert await ring.take_page_code(code) == "acme"
    with pytest.raises(Unauthenticated, match="used"):
        await ring.take_page_code(code)


async def test_a_page_code_expires(ring: KeyRing, clock: FrozenClock) -> None:
    code = await ring.create_page_code("acme", minutes=5)
    clock.advance(5 * 60_000)
    with pytest.raises(Unauthenticated, match="expired"):
        await ring.take_page_code(code)


async def test_workspaces_are_those_with_keys(ring: KeyRing) -> None:
    await ring.create_write_key("zeta", "web")
    assert "zeta" in await ring.workspaces()
