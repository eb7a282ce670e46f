"""Subscriptions: each change once, resumable by cursor, of one's own user only."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api import following
from gateway.api.context import Context
from gateway.errors import Unavailable
from tests.api.gateway_api import Gateway, Json, Socket, identify, track

JOURNEYS = """subscription($map: ID, $stage: ID, $user: UserBy, $after: Cursor) {
  journeyChanged(map: $map, stage: $stage, user: $user, after: $after) {
    cursor gap { reason missed resumeFrom } journey { id status stage { key } } from { key } to { key } status at
    user { id } } }"""
EVENTS = """subscription($filter: EventStoredFilter, $after: Cursor) {
  eventStored(filter: $filter, after: $after) { cursor gap { reason missed } event { name user { id } } } }"""


async def started(socket: Socket, query: str, id: str = "1", **variables: object) -> str:
    """Subscribe and take the first message, which has a cursor and the one user that is watched, but no change."""
    await socket.subscribe(query, id, **variables)
    (change,) = (await socket.news()).values()
    assert {value for key, value in change.items() if key not in ("cursor", "user")} == {None}
    cursor: str = change["cursor"]
    return cursor


async def event_names(socket: Socket, count: int) -> list[str]:
    changes = [(await socket.news())["eventStored"] for _ in range(count)]
    return [change["event"]["name"] for change in changes]


async def silent(socket: Socket) -> bool:
    """Whether nothing more comes; news take milliseconds."""
    try:
        async with asyncio.timeout(0.3):
            await socket.receive()
    except TimeoutError:
        return True
    return False


async def test_a_tool_sees_journeys_move(gateway: Gateway) -> None:
    async with gateway.socket(await gateway.api_key()) as socket:
        await started(socket, JOURNEYS)
        await gateway.send(track("Product Viewed", 2, userId="ann"))
        began = (await socket.news())["journeyChanged"]
        assert (began["from"], began["to"], began["status"]) == (None, {"key": "browse"}, "ACTIVE")
        assert began["at"] == "2026-11-21T09:58:00.000Z"
        await gateway.send(track("Order Completed", 1, userId="ann"))
        bought = (await socket.news())["journeyChanged"]
        assert (bought["from"], bought["to"], bought["status"]) == (
            {"key": "browse"},
            {"key": "purchased"},
            "COMPLETED",
        )
        assert bought["journey"] == {"id": began["journey"]["id"], "status": "COMPLETED", "stage": {"key": "purchased"}}
        assert bought["user"] == began["user"]
        assert bought["gap"] is None


async def test_a_subscription_goes_on_where_it_stopped(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with gateway.socket(key) as socket:
        cursor = await started(socket, EVENTS)
        await gateway.send(track("A", 9, userId="ann"))
        first = (await socket.news())["eventStored"]
        assert first["event"]["name"] == "A"
    await gateway.send(*(track(f"missed {number}", 8 - number, userId=f"u{number}") for number in range(5)))
    async with gateway.socket(key) as socket:
        await socket.subscribe(EVENTS, after=first["cursor"])
        assert sorted(await event_names(socket, 5)) == [f"missed {number}" for number in range(5)]
        assert (await socket.news())["eventStored"]["event"] is None
        await gateway.send(track("live", userId="ann"))
        assert await event_names(socket, 1) == ["live"]
        await socket.subscribe(EVENTS, "2", after=cursor)
        assert len(await event_names(socket, 7)) == 7


async def test_a_subscription_hears_only_what_it_asked_for(gateway: Gateway) -> None:
    async with gateway.socket(await gateway.api_key()) as socket:
        await started(socket, EVENTS, filter={"names": ["A"], "user": {"userId": "ann"}})
        await gateway.send(track("B", 3, userId="ann"), track("A", 2, userId="bob"), track("A", 1, userId="ann"))
        assert await event_names(socket, 1) == ["A"]
        await started(socket, JOURNEYS, "2", stage="cart")
        await gateway.send(track("Product Viewed", 1, userId="bob"), track("Product Added", userId="bob"))
        assert (await socket.news())["journeyChanged"]["to"] == {"key": "cart"}
        assert await silent(socket)


async def test_an_end_user_hears_of_nobody_else(gateway: Gateway) -> None:
    await gateway.send(track("Product Viewed", 5, userId="ann"))
    async with gateway.socket(gateway.token(userId="ann")) as socket:
        await started(socket, JOURNEYS)
        await started(socket, EVENTS, "2")
        await gateway.send(track("Product Viewed", 4, userId="bob"), track("Home", 3, userId="ann"))
        assert await event_names(socket, 1) == ["Home"]
        assert await silent(socket)
        for by in ({"userId": "bob"}, {"anonymousId": "ann"}, {"id": "user_" + "0" * 32}):
            await socket.subscribe(EVENTS, "3", filter={"user": by})
            (error,) = (await socket.receive())["payload"]["errors"]
            assert error["extensions"]["code"] == "FORBIDDEN", by
            assert (await socket.receive())["type"] == "complete"
        await started(socket, EVENTS, "4", filter={"user": {"userId": "ann"}})


async def test_a_newcomer_hears_of_their_first_event(gateway: Gateway) -> None:
    async with gateway.socket(gateway.token(anonymousId="new")) as socket:
        await started(socket, JOURNEYS)
        await gateway.send(track("Product Viewed", anonymousId="new"))
        assert (await socket.news())["journeyChanged"]["to"] == {"key": "browse"}


@pytest.fixture
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "CHECK_SECONDS", 0.05)


async def moved(gateway: Gateway) -> None:
    """ann's user moves to the id of the older a1."""
    await gateway.send(track("Home", 60, anonymousId="a1"))
    await gateway.send(identify(2, anonymousId="a1", userId="ann"))
    await gateway.send(track("after", 1, userId="ann"))


@pytest.mark.usefixtures("checked_often")
@pytest.mark.parametrize("by", [{"userId": "ann"}, {"id": True}, None])
async def test_a_subscription_follows_its_user_to_another_id(gateway: Gateway, by: Json | None) -> None:
    await gateway.send(track("before", 30, userId="ann"))
    key = await gateway.api_key()
    if by == {"id": True}:
        by = {"id": (await gateway.ask('{ user(by: {userId: "ann"}) { id } }', key))["user"]["id"]}
    authorization = gateway.token(userId="ann") if by is None else key
    async with gateway.socket(authorization) as socket:
        await started(socket, EVENTS, filter={"names": ["after"], "user": by})
        await moved(gateway)
        change = (await socket.news())["eventStored"]
        while change["event"] is None:
            change = (await socket.news())["eventStored"]
        assert change["event"]["name"] == "after"
        assert change["gap"] is None


@pytest.mark.usefixtures("checked_often")
async def test_a_subscription_ends_with_its_token(gateway: Gateway) -> None:
    async with gateway.socket(gateway.token(userId="ann")) as socket:
        await started(socket, EVENTS)
        gateway.clock.advance(61 * 60_000)
        message = await socket.receive()
        (error,) = message["payload"]["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await socket.receive())["type"] == "complete"


@pytest.mark.usefixtures("checked_often")
async def test_a_visitors_subscription_ends_when_the_visitor_is_known(gateway: Gateway) -> None:
    async with gateway.socket(gateway.token(anonymousId="a1")) as socket:
        await started(socket, EVENTS, filter={"names": ["never"]})
        await gateway.send(identify(anonymousId="a1", userId="ann"))
        message = await socket.receive()
        while "errors" not in message["payload"]:
            message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def away(self: Context) -> None:
    raise Unavailable("MongoDB does not answer.")


async def test_a_message_that_cannot_be_read_is_the_last_one_and_comes_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.socket(gateway.token(anonymousId="a1")) as socket:
        cursor = await started(socket, EVENTS)
        with monkeypatch.context() as broken:
            broken.setattr(Context, "check_visitor", away)
            await gateway.send(track("Home", anonymousId="a1"))
            payload = (await socket.receive())["payload"]
            assert payload["data"] is None
            assert payload["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert (await socket.receive())["type"] == "complete"
        await socket.subscribe(EVENTS, "2", after=cursor)
        assert (await socket.news())["eventStored"]["event"]["name"] == "Home"


async def test_a_made_up_cursor_is_refused(gateway: Gateway) -> None:
    async with gateway.socket(await gateway.api_key()) as socket:
        await socket.subscribe(EVENTS, after="AAAA")
        (error,) = (await socket.receive())["payload"]["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("name", ["id", "userId", "anonymousId"])
async def test_a_user_that_is_empty_is_refused_with_what_to_send(gateway: Gateway, name: str) -> None:
    journeys = "subscription($user: UserBy) { journeyChanged(user: $user) { cursor } }"
    async with gateway.socket(await gateway.api_key()) as socket:
        asked: list[tuple[str, Json]] = [
            (EVENTS, {"filter": {"user": {name: ""}}}),
            (journeys, {"user": {name: ""}}),
        ]
        for number, (query, variables) in enumerate(asked):
            await socket.subscribe(query, str(number), **variables)
            (error,) = (await socket.receive())["payload"]["errors"]
            assert (error["extensions"]["code"], "userId" in error["extensions"]["hint"]) == ("INVALID_INPUT", True)
            assert (await socket.receive())["type"] == "complete"


async def test_what_was_lost_is_told(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with gateway.socket(key) as socket:
        cursor = await started(socket, EVENTS)
    await gateway.send(track("lost", 2, userId="ann"))
    lease = await gateway.lanes.acquire("test", 3600)
    assert lease is not None
    last = {lane: head for lane, head in lease.heads.items() if head}
    await gateway.database.with_transaction(lambda session: gateway.lanes.trim(last, session))
    async with gateway.socket(key) as socket:
        await socket.subscribe(EVENTS, after=cursor)
        change = (await socket.news())["eventStored"]
        assert change["gap"] == {"reason": "EXPIRED", "missed": 1}
        assert change["event"] is None


async def test_ending_a_subscription_leaves_nothing_behind(gateway: Gateway) -> None:
    async with gateway.socket(await gateway.api_key()) as socket:
        await started(socket, EVENTS)
        await socket.send(type="complete", id="1")
        await started(socket, JOURNEYS, "1")
    assert not any(gateway.hub._subscribers.values())


async def test_a_visitor_who_links_itself_to_somebody_hears_nothing_of_them(gateway: Gateway) -> None:
    """The elder of two users gives the id that both live on under: a backdated event makes that the attacker's."""
    whole = """subscription { eventStored { event { name user { traits identities { value }
      events(first: 50) { nodes { name properties } } sessions { nodes { start } } } } } }"""
    await gateway.send(identify(5, userId="ann", traits={"email": "ann@example.com"}), track("Secret", 4, userId="ann"))
    async with gateway.socket(gateway.token(anonymousId="attacker")) as socket:
        await socket.subscribe(whole)
        await socket.receive()
        await gateway.send(track("Home", 9_000, anonymousId="attacker"))
        heard = [str(await socket.receive())]
        await gateway.send(identify(1, anonymousId="attacker", userId="ann"))
        await gateway.send(track("Later", 0, userId="ann"))
        message = await socket.receive()
        while message["type"] == "next":
            heard.append(str(message))
            if "errors" in message["payload"]:
                break
            message = await socket.receive()
    assert not any(secret in text for text in heard for secret in ("ann", "Secret", "Later"))
    assert "FORBIDDEN" in heard[-1]
