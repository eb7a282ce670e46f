"""Keys are recognised by hash, remembered for seconds, and forgotten in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.access import keys as keys_module
from gateway.access.keys import KeyRing, WriteKey
from gateway.clock import FrozenClock
from gateway.errors import InvalidInput, RateLimited, Unauthenticated
from gateway.model.scope import PERMISSIONS, Scope
from gateway.store.database import Database, connect
from gateway.store.keys import Keys
from tests.flow.doors import new_database
from tests.store.seam import Commands, failing

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


async def test_a_key_that_ends_opens_until_then(ring: KeyRing, clock: FrozenClock) -> None:
    made = await ring.book.create_api_key("acme", ["kpis:read"], expires_at=NOW + 1_500)
    grant = await ring.api_grant(made.value)
    assert (grant.expires_at, grant.key) == (NOW + 1_500, made.id)
    clock.advance(1_499)
    await ring.api_key(made.value)
    clock.advance(1)  # although what is remembered is younger than 5 s
    with pytest.raises(Unauthenticated, match="has expired"):
        await ring.api_key(made.value)


async def test_only_keys_with_a_rate_are_slowed(ring: KeyRing) -> None:
    slow = await ring.write_key((await ring.book.create_write_key("acme", "web", rate=1, burst=2)).value)
    fast = await ring.write_key(await ring.create_write_key("acme", "web"))
    ring.spend(slow, 2)
    with pytest.raises(RateLimited):
        ring.spend(slow, 1)
    for _ in range(100):
        ring.spend(fast, 2_500)


async def test_the_minter_of_a_token_is_found_in_its_own_workspace_only(ring: KeyRing, clock: FrozenClock) -> None:
    made = await ring.book.create_write_key("acme", "web")
    await ring.check_minter("acme", made.id)
    for workspace, key in (("other", made.id), ("acme", "0" * 16), ("acme", ""), ("acme", "no id"), ("acme", "ab")):
        with pytest.raises(Unauthenticated, match="minted"):
            await ring.check_minter(workspace, key)
    await ring.book.revoke(await ring.book.find("acme", made.id))
    clock.advance(5_000)
    with pytest.raises(Unauthenticated, match="minted"):
        await ring.check_minter("acme", made.id)


# -- what other processes do ------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "NOTICE_SECONDS", 0.02)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["revoke", "rotate"])
async def test_a_change_in_another_process_is_noticed_although_the_clock_stands(
    ring: KeyRing, prepared: Database, clock: FrozenClock, how: str
) -> None:
    other = KeyRing(Keys(prepared), clock).book
    made = await other.create_api_key("acme", ["kpis:read"])
    async with ring.following():
        with ring.bell() as bell, ring.bell() as second:
            await asyncio.wait_for(bell.rung, 5)  # once at the start
            bell.hang()
            await ring.api_key(made.value)
            entry = await other.find("acme", made.id)
            await (other.revoke(entry) if how == "revoke" else other.rotate(entry, overlap_ms=0))
            await asyncio.wait_for(bell.rung, 5)
            assert second.rung.done()
            with pytest.raises(Unauthenticated, match="was revoked"):
                await ring.api_key(made.value)
        assert not ring._bells


@pytest.mark.usefixtures("quick")
async def test_a_use_is_written_in_the_background_and_once(
    mongo_uri: str, prepared: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "USES_SECONDS", 60.0)
    commands = Commands()
    database = connect(mongo_uri, prepared.name, listeners=[commands])
    ring = KeyRing(Keys(database), clock)
    made = [await ring.book.create_write_key("used", "web") for _ in range(2)]

    async def used() -> list[int | None]:
        return [(await ring.book.find("used", one.id)).last_used_at for one in made]

    before = commands.count("update")
    async with ring.following():
        for _ in range(50):
            await ring.write_key(made[0].value)
        await asyncio.sleep(0.1)
        assert (commands.count("update"), await used()) == (before, [None, None])
        clock.advance(59_000)  # not yet due: were it, the other task might write before the use is noted
        await ring.write_key(made[0].value)
        clock.advance(1_000)
        while await used() != [NOW + 59_000, None]:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.02)
        assert commands.count("update") == before + 1
        await ring.write_key(made[1].value)
    assert await used() == [NOW + 59_000, NOW + 60_000], "written at the end too"
    await database.close()


async def test_notes_that_could_not_be_written_are_kept(ring: KeyRing, prepared: Database) -> None:
    key = await ring.create_write_key("kept", "web")
    await ring.write_key(key)
    async with failing(prepared, "update", times=1, errorCode=8_000):
        with pytest.raises(Exception, match=r"\S"):
            await ring._uses.write()
    await ring._uses.write()
    assert (await ring.book.find("kept", key)).last_used_at == NOW


async def test_a_thousand_who_ask_at_once_wait_for_one_reading(
    mongo_uri: str, prepared: Database, clock: FrozenClock
) -> None:
    commands = Commands()
    database = connect(mongo_uri, prepared.name, listeners=[commands])
    ring = KeyRing(Keys(database), clock)
    key = await ring.create_api_key("acme", frozenset())
    await asyncio.gather(*(ring.api_key(key) for _ in range(1_000)))
    assert commands.count("find") == 1
    await database.close()


async def test_what_is_read_while_a_key_changes_is_not_remembered(ring: KeyRing) -> None:
    key = await ring.create_api_key("acme", frozenset({"kpis:read"}))
    reading = asyncio.create_task(ring.api_key(key))
    await asyncio.sleep(0)
    assert ring._reading
    await ring._notice()  # a change, as this process sees it
    await reading
    assert not ring._cached
    assert not ring._reading
