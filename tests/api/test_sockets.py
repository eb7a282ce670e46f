"""The door over WebSocket: graphql-transport-ws, a credential in connection_init, readable refusals."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api import view
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, Json, Socket, load_shop

PING = "{ __typename }"


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_queries_and_mutations_run_here_too(gateway: Gateway, name: str) -> None:
    async with gateway.socket() as socket:
        await socket.send(type="connection_init", payload={name: await gateway.api_key()})
        assert await socket.receive() == {"type": "connection_ack"}
        await socket.subscribe("{ journeyMaps { key } }")
        assert await socket.news() == {"journeyMaps": [{"key": "purchase"}]}
        assert await socket.receive() == {"id": "1", "type": "complete"}
        await socket.subscribe('mutation { track(input: {event: "A", userId: "ann"}) { verdict } }', "2")
        assert await socket.news() == {"track": {"verdict": "ACCEPTED"}}


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"authorization": "Bearer wrong"}, {"authorization": 5}, {"token": "x"}, {"authorization": None}],
)
async def test_a_connection_without_a_good_credential_is_closed_with_the_reason(
    idle_gateway: Gateway, payload: object
) -> None:
    async with idle_gateway.socket() as socket:
        message = {"type": "connection_init"} if payload is None else {"type": "connection_init", "payload": payload}
        await socket.send(**message)
        code, reason = await socket.closed()
        assert code == 4403
        assert "credential" in reason or "token" in reason
        assert len(reason.encode()) <= 123


async def test_nothing_runs_before_connection_init(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket() as socket:
        await socket.subscribe(PING)
        assert await socket.closed() == (4401, "Unauthorized")


async def test_a_silent_connection_is_closed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "INIT_SECONDS", 0.05)
    gateway = Gateway(database, load_shop())
    async with gateway.socket() as socket:
        assert (await socket.closed())[0] == 4408


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "[]",
        "null",
        "nonsense",
        "{}",
        '{"type": 5}',
        '{"type": "start"}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": null}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{ __typename }"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": 1}}',
        '{"type": "complete"}',
        '{"type": "complete", "id": {}}',
        '{"type": "connection_init", "payload": 1}',
        "[" * 3000,
        '"' + "x" * 300_000 + '"',
    ],
)
async def test_what_is_no_message_closes_the_connection(idle_gateway: Gateway, text: str) -> None:
    async with idle_gateway.socket() as socket:
        await socket.send_text(text)
        assert (await socket.closed())[0] == 4400


async def test_a_second_connection_init_is_refused(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key()) as socket:
        await socket.send(type="connection_init", payload={"authorization": await idle_gateway.api_key()})
        assert (await socket.closed())[0] == 4429


async def test_only_graphql_transport_ws_is_spoken(idle_gateway: Gateway) -> None:
    socket = Socket(idle_gateway.app)
    accepted = await socket.open("graphql-ws")
    assert accepted.get("subprotocol") is None
    code, reason = await socket.closed()
    assert (code, "graphql-transport-ws" in reason) == (4406, True)
    await socket.hang_up()


async def test_a_connection_has_at_most_100_subscriptions(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key()) as socket:
        for number in range(101):
            await socket.subscribe("subscription { eventStored { cursor } }", str(number))
        kinds = [await socket.receive() for _ in range(101)]
        (refused,) = [message for message in kinds if message["type"] == "error"]
        (error,) = refused["payload"]
        assert "limit" in error["message"]
        assert error["extensions"] == {"code": "INVALID_INPUT", "hint": "Complete some, or open another connection."}


@pytest.mark.parametrize("payload", [{"query": "query a { me { id } }", "operationName": "b"}, {"query": ""}])
async def test_an_operation_that_is_not_there_is_the_caller_s_mistake(idle_gateway: Gateway, payload: Json) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key()) as socket:
        await socket.send(type="subscribe", id="1", payload=payload)
        (error,) = (await socket.receive())["payload"]
        assert error["message"] == "The query has no operation of this name, or none at all."
        assert error["extensions"]["code"] == "INVALID_INPUT"
        assert error["extensions"]["hint"]


async def test_a_reason_that_quotes_much_still_fits_into_its_frame(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key()) as socket:
        for _ in range(2):
            await socket.subscribe("subscription { eventStored { cursor } }", "ä" * 5_000)
        while (event := await socket._next())["type"] == "websocket.send":
            pass
        assert (event["code"], event["reason"][:14]) == (4409, "Subscriber for")
        assert len(event["reason"].encode()) <= 123


@pytest.mark.parametrize("number", ["9" * 5_000, "-" + "9" * 5_000, "0." + "3" * 5_000, "1e" + "9" * 5_000])
async def test_a_number_of_thousands_of_digits_is_the_caller_s_mistake(idle_gateway: Gateway, number: str) -> None:
    key = await idle_gateway.api_key()
    query = f"{{ events(first: {number}) {{ totalCount }} }}"
    async with idle_gateway.socket(key) as socket:
        await socket.subscribe(query)
        (told,) = (await socket.receive())["payload"]
    error = await idle_gateway.refusal(query, key)
    assert (error["extensions"]["code"], told["extensions"]["code"]) == ("INVALID_INPUT", "INVALID_INPUT")
    assert error["message"] == told["message"]
    assert len(error["message"]) < 200


async def test_digits_in_a_text_are_no_number(idle_gateway: Gateway) -> None:
    query = f'{{ journeyMap(key: "{"9" * 5_000}") {{ key }} }}'
    assert await idle_gateway.ask(query, await idle_gateway.api_key()) == {"journeyMap": None}


async def test_what_is_quoted_is_cut(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key()
    text = await idle_gateway.refusal(f'{{ events(first: "{"x" * 50_000}") {{ totalCount }} }}', key)
    variable = await idle_gateway.refusal("query($n: Int) { events(first: $n) { totalCount } }", key, n="x" * 50_000)
    for error in (text, variable):
        assert error["extensions"]["code"] == "INVALID_INPUT"
        assert "Int cannot represent" in error["message"]
        assert len(error["message"]) < 600


async def test_policy_and_limits_hold_here_too(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key("journeys:read")) as socket:
        await socket.subscribe("subscription { eventStored { event { name } } }")
        (error, *_) = (await socket.receive())["payload"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert error["message"] == "Subscription.eventStored needs the permission events:read."
        await socket.subscribe("subscription { journeyChanged { cursor journey { user { traits } } } }", "2")
        (error,) = (await socket.receive())["payload"]
        assert error["message"] == "User.traits needs the permission pii:read."


async def test_what_one_operation_read_is_not_what_the_next_one_gets(gateway: Gateway) -> None:
    from tests.api.gateway_api import track

    async with gateway.socket(gateway.token(userId="ann")) as socket:
        for count in (1, 2):
            await gateway.send(track("A", userId="ann"))
            await socket.subscribe("{ me { eventCount } }", str(count))
            assert await socket.news() == {"me": {"eventCount": count}}
            assert (await socket.receive())["type"] == "complete"


async def test_an_origin_that_is_not_allowed_is_refused(gateway: Gateway) -> None:
    gateway.app.allowed_origins = frozenset({"https://shop.example"})
    evil = Socket(gateway.app, "https://evil.example")
    assert (await evil.open())["type"] == "websocket.close"
    good = Socket(gateway.app, "https://shop.example")
    assert (await good.open())["type"] == "websocket.accept"
    await good.hang_up()
    await asyncio.sleep(0)
