"""When a credential ends, so does what runs on it: exactly at its end, and soon after it is revoked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.access import keys as keys_module
from gateway.clock import FrozenClock
from gateway.errors import Unavailable
from gateway.model.identity import Identity
from gateway.store.database import Database
from gateway.store.lanes import Lanes
from tests.api.event_source import streaming
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, Socket, load_shop, track
from tests.flow.doors import new_database

EVENTS = "subscription($after: Cursor) { eventStored(after: $after) { cursor event { name } } }"
ADA = Identity("userId", "ada")
SHOP = load_shop()


class MovingClock(FrozenClock):
    """A clock that goes, from the time it is given."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self._began = time.monotonic()

    def now(self) -> int:
        return self.at + int((time.monotonic() - self._began) * 1000)

    def monotonic(self) -> float:
        return self.now() / 1000


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    """One database for all: each test has a gateway, a clock and keys of its own."""
    async with new_database(mongo_uri) as database:
        await Lanes(database).prepare()
        yield database


@asynccontextmanager
async def serving(database: Database, clock: FrozenClock) -> AsyncIterator[Gateway]:
    gateway = Gateway(database, SHOP, clock=clock)
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()


@pytest.fixture
async def gateway(prepared: Database) -> AsyncIterator[Gateway]:
    async with serving(prepared, FrozenClock(NOW)) as gateway:
        yield gateway


@pytest.fixture
async def following(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """A gateway that follows changes of keys, as a served one does."""
    monkeypatch.setattr(keys_module, "NOTICE_SECONDS", 0.02)
    async with gateway.keyring.following():
        yield gateway


async def started(socket: Socket, after: str | None = None) -> str:
    await socket.subscribe(EVENTS, after=after)
    cursor: str = (await socket.news())["eventStored"]["cursor"]
    return cursor


async def ended(socket: Socket) -> dict[str, Any]:
    """The error that ends a subscription."""
    message = await socket.receive()
    while "errors" not in message.get("payload", {}):
        assert message["type"] == "next"
        message = await socket.receive()
    assert message["payload"]["data"] is None
    (error,) = message["payload"]["errors"]
    assert (await socket.receive())["type"] == "complete"
    found: dict[str, Any] = error
    return found


async def test_a_subscription_ends_at_the_very_end_of_its_token(prepared: Database) -> None:
    clock = MovingClock(NOW)
    async with serving(prepared, clock) as gateway:
        end = (clock.now() + 2_000) // 1000 * 1000
        token = gateway.tokens.mint_user(WORKSPACE, ADA, 60, at_latest=end)
        async with gateway.socket(f"Bearer {token}") as socket:
            await started(socket)
            error = await ended(socket)
            late = clock.now() - end
    assert error["message"] == "The token has expired."
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert "`after`" in error["extensions"]["hint"]
    assert 0 <= late < 1_500, "with the regular check alone it were 3 to 4 s"


async def test_what_comes_after_the_end_is_not_told(gateway: Gateway) -> None:
    async with gateway.socket(gateway.token(userId="ada")) as socket:
        cursor = await started(socket)
        await gateway.send(track("before", 2, userId="ada"))
        change = (await socket.news())["eventStored"]
        gateway.clock.advance(60 * 60_000)
        await gateway.send(track("after", 1, userId="ada"))
        assert (await ended(socket))["extensions"]["code"] == "UNAUTHENTICATED"
    async with gateway.socket(gateway.token(userId="ada")) as socket:  # with a new token nothing is missing
        await socket.subscribe(EVENTS, after=change["cursor"])
        assert (await socket.news())["eventStored"]["event"] == {"name": "after"}
        assert cursor != change["cursor"]


@pytest.mark.parametrize("how", ["its API key", "the API key that minted its token", "the write key that did"])
async def test_a_subscription_ends_when_a_key_is_revoked(following: Gateway, how: str) -> None:
    book, tokens = following.keyring.book, following.tokens
    if how == "the write key that did":
        made = await book.create_write_key(WORKSPACE, "web")
    else:
        made = await book.create_api_key(WORKSPACE, ["events:read"])
    minted = tokens.mint_user(WORKSPACE, ADA, 60, by=made.id)
    credential = made.value if how == "its API key" else minted
    other = await following.api_key()
    async with following.socket(f"Bearer {credential}") as socket, following.socket(other) as unharmed:
        await started(socket)
        await started(unharmed)
        await book.revoke(await book.find(WORKSPACE, made.id))
        error = await ended(socket)
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert "`after`" in error["extensions"]["hint"]
        await following.send(track("A", userId="ada"))
        assert (await unharmed.news())["eventStored"]["event"] == {"name": "A"}
    refused = await following.answer("{ __typename }", f"Bearer {credential}")
    assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_an_event_stream_ends_when_its_key_is_revoked(following: Gateway) -> None:
    book = following.keyring.book
    made = await book.create_api_key(WORKSPACE, ["events:read"])
    async with streaming(
        following.app,
        "POST",
        "/",
        {"query": EVENTS},
        authorization=f"Bearer {made.value}",
        accept="text/event-stream",
        content_type="application/json",
    ) as stream:
        await stream.data()
        await book.revoke(await book.find(WORKSPACE, made.id))
        told = await stream.told()
        assert told.data["errors"][0]["message"] == "The API key was revoked."
        assert (await stream.told()).event == "complete"
        assert await stream.read() is None


async def test_a_rotated_key_ends_its_subscriptions_with_the_overlap(following: Gateway) -> None:
    book = following.keyring.book
    made = await book.create_api_key(WORKSPACE, ["events:read"])
    async with following.socket(f"Bearer {made.value}") as socket:
        await started(socket)
        await book.rotate(await book.find(WORKSPACE, made.id), overlap_ms=60_000)
        await following.send(track("A", userId="ada"))
        assert (await socket.news())["eventStored"]["event"] == {"name": "A"}
        following.clock.advance(60_000)
        await following.send(track("B", userId="ada"))
        assert (await ended(socket))["message"] == "The API key has expired."


@pytest.mark.parametrize("how", ["expired", "revoked"])
async def test_a_socket_whose_credential_has_ended_is_closed_at_the_next_operation(
    following: Gateway, how: str
) -> None:
    """So that clients connect again, with a new credential."""
    book = following.keyring.book
    made = await book.create_api_key(WORKSPACE, ["journeys:read"], expires_at=NOW + 60_000)
    query = "{ journeyMaps { key } }"
    async with following.socket(f"Bearer {made.value}") as socket:
        await socket.subscribe(query)
        assert (await socket.news())["journeyMaps"]
        await socket.receive()
        if how == "expired":
            following.clock.advance(60_000)
        else:
            with following.keyring.bell() as bell:
                await book.revoke(await book.find(WORKSPACE, made.id))
                await bell.rung
        await socket.subscribe(query, "2")
        code, reason = await socket.closed()
        assert code == 4403
        assert how in reason


async def test_an_end_that_is_known_needs_no_database(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await gateway.keyring.book.create_api_key(WORKSPACE, ["events:read"], expires_at=NOW + 60_000)
    async with gateway.socket(f"Bearer {made.value}") as socket:
        await started(socket)

        async def away(authorization: str | None) -> None:
            raise Unavailable("MongoDB is away.")

        monkeypatch.setattr(gateway.services.callers, "grant_of", away)
        gateway.clock.advance(60_000)
        await gateway.send(track("A", userId="ada"))
        assert (await ended(socket))["message"] == "The credential has expired."


async def test_while_keys_cannot_be_read_a_subscription_goes_on(
    following: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await following.api_key()
    async with following.socket(key) as socket:
        await started(socket)

        async def away(authorization: str | None) -> None:
            raise Unavailable("MongoDB is away.")

        monkeypatch.setattr(following.services.callers, "grant_of", away)
        for bell in following.keyring._bells:
            bell.ring()
        await following.send(track("A", userId="ada"))
        assert (await socket.news())["eventStored"]["event"] == {"name": "A"}


async def test_subscriptions_leave_no_bells_behind(following: Gateway) -> None:
    async with following.socket(await following.api_key()) as socket:
        await started(socket)
        assert len(following.keyring._bells) == 1
        await socket.send(type="complete", id="1")
        await started(socket)
        assert len(following.keyring._bells) == 1
    assert not following.keyring._bells
