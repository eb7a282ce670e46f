"""The book of keys: made once, listed without values, rotated with an overlap, revoked for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.access.keybook import OVERLAP_MS, KeyBook, KeyEntry
from gateway.access.keys import KeyRing, WriteKey
from gateway.clock import FrozenClock, random_id
from gateway.errors import InvalidInput, NotFound, Unauthenticated
from gateway.model.actor import Actor
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.flow.doors import new_database

NOW = 1_710_325_274_000
DAY = 86_400_000


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def keys(prepared: Database) -> Keys:
    return Keys(prepared)


@pytest.fixture
def book(keys: Keys, clock: FrozenClock) -> KeyBook:
    return KeyBook(keys, clock)


@pytest.fixture
def workspace() -> str:
    return f"w{random_id()}"


def ring(keys: Keys, clock: FrozenClock) -> KeyRing:
    """Another process, which remembers nothing."""
    return KeyRing(keys, clock)


async def test_a_write_key_has_what_it_was_made_with(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    made = await book.create_write_key(
        workspace,
        "web",
        label="  Shop ",
        origins=["https://Shop.example/", "https://shop.example"],
        rate=5,
        burst=7,
        user_hash=True,
        expires_at=NOW + DAY,
    )
    found = await ring(keys, clock).write_key(made.value)
    assert found == WriteKey(
        workspace, "web", ("https://shop.example",), 5, made.user_hash_secret, burst=7, expires_at=NOW + DAY
    )
    assert found.id == made.id
    (entry,) = await book.entries(workspace)
    assert entry == KeyEntry(
        id=made.id,
        kind="write",
        workspace=workspace,
        shown=made.value[:11],
        label="Shop",
        source="web",
        permissions=(),
        teams=(),
        origins=("https://shop.example",),
        rate=5,
        burst=7,
        user_hash=True,
        created_at=NOW,
        expires_at=NOW + DAY,
        revoked_at=None,
        last_used_at=None,
        replaced_by=None,
    )


async def test_a_key_speaks_for_teams_and_hands_them_on(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    made = await book.create_api_key(workspace, ["contract:read"], teams=["ux ", "backend", "ux"])
    assert (await ring(keys, clock).api_grant(made.value)).actor == Actor(made.id, ("backend", "ux"))
    fresh = await book.rotate(await book.find(workspace, made.id))
    assert (await ring(keys, clock).api_grant(fresh.value)).teams == ("backend", "ux")
    for teams in ([" "], ["a\n"], [f"t{number}" for number in range(21)]):
        with pytest.raises(InvalidInput):
            await book.create_api_key(workspace, ["contract:read"], teams=teams)


async def test_nothing_that_is_printed_or_stored_gives_a_key_away(
    book: KeyBook, prepared: Database, workspace: str
) -> None:
    write = await book.create_write_key(workspace, "web", user_hash=True)
    api = await book.create_api_key(workspace, ["kpis:read"])
    secrets = [write.value, api.value]
    assert write.user_hash_secret is not None
    shown = f"{write} {api} {await book.entries(workspace)}"
    assert not any(secret in shown for secret in [*secrets, write.user_hash_secret])
    stored = str(await prepared.find("keys", {"workspace": workspace}))
    assert not any(secret in stored for secret in secrets)
    assert not any(secret[12:] in stored for secret in secrets)
    key = WriteKey("w", "s", user_hash_secret=write.user_hash_secret)
    assert write.user_hash_secret not in repr(key)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": " "},
        {"source": "x" * 300},
        {"source": "a\nb"},
        {"label": "x" * 300},
        {"origins": ["shop.example"]},
        {"origins": [f"https://s{n}.example" for n in range(101)]},
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"burst": 10.0},
        {"rate": 1.0, "burst": 0.0},
        {"expires_at": NOW},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(book: KeyBook, workspace: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await book.create_write_key(workspace, **({"source": "web"} | wrong))
    assert await book.entries(workspace) == []


async def test_a_rotated_key_opens_beside_the_new_one_for_a_day(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    old = await book.create_write_key(
        workspace, "web", label="Shop", origins=["https://shop.example"], rate=5, user_hash=True
    )
    clock.advance(1_000)
    new = await book.rotate(await book.find(workspace, old.id))
    assert new.user_hash_secret is None, "the secret is the old one, and not shown again"
    before = await ring(keys, clock).write_key(old.value)
    after = await ring(keys, clock).write_key(new.value)
    assert before.expires_at == NOW + 1_000 + OVERLAP_MS
    assert after == WriteKey(workspace, "web", ("https://shop.example",), 5, old.user_hash_secret)
    first, second = await book.entries(workspace)
    assert (first.status(clock.now()), first.replaced_by, second.status(clock.now())) == ("rotated", new.id, "active")
    assert second.label == "Shop"
    clock.advance(OVERLAP_MS)
    with pytest.raises(Unauthenticated, match="has expired"):
        await ring(keys, clock).write_key(old.value)
    assert await ring(keys, clock).write_key(new.value) == after
    assert first.status(clock.now()) == "expired"


async def test_a_leaked_key_is_rotated_without_overlap(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    old = await book.create_write_key(workspace, "web", user_hash=True)
    new = await book.rotate(await book.find(workspace, old.value), overlap_ms=0, new_user_hash=True)
    with pytest.raises(Unauthenticated, match="was revoked"):
        await ring(keys, clock).write_key(old.value)
    found = await ring(keys, clock).write_key(new.value)
    assert found.user_hash_secret == new.user_hash_secret not in (None, old.user_hash_secret)


async def test_a_key_for_a_time_is_followed_by_one_for_as_long(
    book: KeyBook, clock: FrozenClock, workspace: str
) -> None:
    old = await book.create_api_key(workspace, ["kpis:read"], expires_at=NOW + 30 * DAY)
    clock.advance(29 * DAY + DAY // 2)
    new = await book.rotate(await book.find(workspace, old.id))
    assert new.expires_at == clock.now() + 30 * DAY
    first, second = await book.entries(workspace)
    assert first.expires_at == NOW + 30 * DAY, "an overlap makes no key live longer"
    assert second.permissions == ("kpis:read",)
    other = await book.rotate(second, expires_at=clock.now() + DAY)
    assert other.expires_at == clock.now() + DAY


async def test_only_a_key_that_opens_is_rotated(book: KeyBook, clock: FrozenClock, workspace: str) -> None:
    old = await book.create_api_key(workspace, [])
    new = await book.rotate(await book.find(workspace, old.id))
    with pytest.raises(InvalidInput, match="rotated") as refused:
        await book.rotate(await book.find(workspace, old.id))
    assert new.id in refused.value.hint
    await book.revoke(await book.find(workspace, new.id))
    with pytest.raises(InvalidInput, match="revoked"):
        await book.rotate(await book.find(workspace, new.id))
    assert len(await book.entries(workspace)) == 2


async def test_of_two_rotations_at_once_one_counts(book: KeyBook, workspace: str) -> None:
    made = await book.create_write_key(workspace, "web")
    entry = await book.find(workspace, made.id)
    done = await asyncio.gather(book.rotate(entry), book.rotate(entry), return_exceptions=True)
    assert [type(one) for one in done].count(InvalidInput) == 1
    assert len(await book.entries(workspace)) == 2


async def test_only_write_keys_have_a_secret_for_user_hashes(book: KeyBook, workspace: str) -> None:
    made = await book.create_api_key(workspace, frozenset({"kpis:read"}))
    with pytest.raises(InvalidInput, match="Only write keys"):
        await book.rotate(await book.find(workspace, made.id), new_user_hash=True)


async def test_a_revoked_key_says_so_and_keeps_the_time(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    made = await book.create_api_key(workspace, ["kpis:read"])
    await book.revoke(await book.find(workspace, made.id))
    clock.advance(1_000)
    await book.revoke(await book.find(workspace, made.id))
    with pytest.raises(Unauthenticated, match="was revoked"):
        await ring(keys, clock).api_key(made.value)
    (entry,) = await book.entries(workspace)
    assert (entry.revoked_at, entry.status(clock.now())) == (NOW, "revoked")


async def test_a_key_is_named_by_its_id_its_beginning_or_itself(book: KeyBook, workspace: str) -> None:
    made = await book.create_api_key(workspace, [])
    await book.create_api_key(workspace, [])
    for name in (made.id, made.value[:11], made.value):
        assert (await book.find(workspace, name)).id == made.id


@pytest.mark.parametrize("name", ["", "sk_", "0" * 16, "sk_unknown", "\ud800"])
async def test_another_name_finds_nothing(book: KeyBook, workspace: str, name: str) -> None:
    await book.create_api_key(workspace, [])
    with pytest.raises(NotFound):
        await book.find(workspace, name)


async def test_a_key_of_another_workspace_is_neither_listed_nor_found(book: KeyBook, workspace: str) -> None:
    made = await book.create_api_key("another", [])
    assert await book.entries(workspace) == []
    with pytest.raises(NotFound):
        await book.find(workspace, made.id)


async def test_keys_of_the_first_release_still_open(
    book: KeyBook, keys: Keys, clock: FrozenClock, workspace: str
) -> None:
    """Their rows have neither beginning, label nor end."""
    from gateway.access.values import hash_of

    await keys.add(hash_of("wk_old"), {"kind": "write", "workspace": workspace, "source": "web", "createdAt": 1})
    await keys.add(
        hash_of("sk_old"), {"kind": "api", "workspace": workspace, "permissions": ["kpis:read"], "createdAt": 2}
    )
    assert await ring(keys, clock).write_key("wk_old") == WriteKey(workspace, "web")
    assert (await ring(keys, clock).api_key("sk_old")).permissions == {"kpis:read"}
    first, second = await book.entries(workspace)
    assert (first.shown, first.label, first.status(NOW), second.permissions) == (None, "", "active", ("kpis:read",))
    new = await book.rotate(first)
    assert await ring(keys, clock).write_key(new.value) == WriteKey(workspace, "web")
