"""The main job through the public doors: an event in, a journey out, watched live by an unchanged client (gql)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
from gql import Client, gql
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.typing import Subprotocol

from tests.flow.conftest import RunningGateway, free_port
from tests.pace import PATIENCE

JOURNEYS = """subscription Watch($after: Cursor) {
  journeyChanged(map: "purchase", after: $after) {
    cursor gap { reason missed } status from { key } to { key } journey { id run user { id } }
  }
}"""
EVENTS = """subscription Watch($after: Cursor) {
  eventStored(after: $after) { cursor gap { reason missed } event { id name } }
}"""


def socket(gateway: RunningGateway, token: str | None = None) -> WebsocketsTransport:
    return WebsocketsTransport(
        url=gateway.url.replace("http", "ws") + "/graphql",
        init_payload={"authorization": f"Bearer {token or gateway.api_key}"},
    )


async def collect(
    gateway: RunningGateway, query: str, field: str, enough: int, ready: asyncio.Event, after: str | None = None
) -> list[dict[str, Any]]:
    """The first `enough` changes; `ready` is set by the first message, which only carries a cursor."""
    seen: list[dict[str, Any]] = []
    request = gql(query)
    request.variable_values = {"after": after}
    async with Client(transport=socket(gateway)) as session:
        async for result in session.subscribe(request):
            ready.set()
            change = result[field]
            if change.get("journey") or change.get("event"):
                seen.append(change)
            if len(seen) >= enough:
                break
    return seen


def track(user: str, event: str, number: int = 0) -> dict[str, Any]:
    return {"type": "track", "userId": user, "event": event, "messageId": f"{user}-{event}-{number}"}


async def test_an_event_moves_a_journey_and_the_subscriber_sees_it(running: RunningGateway) -> None:
    ready = asyncio.Event()
    watching = asyncio.create_task(collect(running, JOURNEYS, "journeyChanged", 3, ready))
    await asyncio.wait_for(ready.wait(), 10)
    for event in ("Product Viewed", "Product Added", "Checkout Started"):
        await asyncio.to_thread(running.batch, track("ada", event))
    seen = await asyncio.wait_for(watching, 20)
    moves = [((change["from"] or {}).get("key"), change["to"]["key"]) for change in seen]
    assert moves == [(None, "browse"), ("browse", "cart"), ("cart", "checkout")]
    assert len({change["journey"]["id"] for change in seen}) == 1


async def test_a_dropped_subscription_goes_on_without_gap_or_repeat(running: RunningGateway) -> None:
    ready = asyncio.Event()
    first = asyncio.create_task(collect(running, EVENTS, "eventStored", 5, ready))
    await asyncio.wait_for(ready.wait(), 10)
    await asyncio.to_thread(running.batch, *(track(f"u{n % 4}", "Product Viewed", n) for n in range(5)))
    before = await asyncio.wait_for(first, 20)
    await asyncio.to_thread(running.batch, *(track(f"u{n % 4}", "Product Viewed", n) for n in range(5, 25)))
    running.until("{ events(first: 1) { totalCount } }", lambda data: data["events"]["totalCount"] == 25)
    again = collect(running, EVENTS, "eventStored", 20, asyncio.Event(), after=before[-1]["cursor"])
    after = await asyncio.wait_for(again, 20)
    ids = [change["event"]["id"] for change in before + after]
    assert len(ids) == len(set(ids)) == 25
    assert all(change["gap"] is None for change in before + after)


async def test_a_subscription_survives_a_restart_of_the_gateway(running: RunningGateway) -> None:
    ready = asyncio.Event()
    first = asyncio.create_task(collect(running, EVENTS, "eventStored", 1, ready))
    await asyncio.wait_for(ready.wait(), 10)
    await asyncio.to_thread(running.batch, track("ada", "Product Viewed", 1))
    cursor = (await asyncio.wait_for(first, 20))[-1]["cursor"]
    assert await asyncio.to_thread(running.stop) == 0
    await asyncio.to_thread(running.start)
    await asyncio.to_thread(running.batch, track("ada", "Product Viewed", 2))
    again = await asyncio.wait_for(collect(running, EVENTS, "eventStored", 1, asyncio.Event(), after=cursor), 20)
    assert again[0]["event"]["name"] == "Product Viewed"


async def test_a_second_process_serves_subscriptions_on_what_the_first_derives(running: RunningGateway) -> None:
    second = RunningGateway(running.environment, free_port(), running.write_key, running.api_key)
    await asyncio.to_thread(second.start)
    try:
        ready = asyncio.Event()
        watching = asyncio.create_task(collect(second, JOURNEYS, "journeyChanged", 1, ready))
        await asyncio.wait_for(ready.wait(), 10)
        await asyncio.to_thread(running.batch, track("eve", "Product Viewed"))
        assert (await asyncio.wait_for(watching, 20))[0]["to"]["key"] == "browse"
        assert await asyncio.to_thread(running.stop) == 0
        await asyncio.to_thread(second.batch, track("eve", "Product Added"))
        second.until(
            """{ user(by: {userId: "eve"}) { journey(map: "purchase") { stage { key } } } }""",
            lambda data: data["user"] and data["user"]["journey"]["stage"]["key"] == "cart",
        )
    finally:
        await asyncio.to_thread(second.stop)


async def test_the_same_on_motor(gateway_environment: dict[str, str]) -> None:
    gateway = RunningGateway({**gateway_environment, "GATEWAY_DRIVER": "motor"}, free_port())
    await asyncio.to_thread(gateway.set_up)
    try:
        ready = asyncio.Event()
        watching = asyncio.create_task(collect(gateway, JOURNEYS, "journeyChanged", 1, ready))
        await asyncio.wait_for(ready.wait(), 10)
        await asyncio.to_thread(gateway.batch, track("ada", "Product Viewed"))
        assert (await asyncio.wait_for(watching, 20))[0]["to"]["key"] == "browse"
    finally:
        assert await asyncio.to_thread(gateway.stop) == 0


async def test_queries_through_gql_over_http(running: RunningGateway) -> None:
    await asyncio.to_thread(running.batch, track("ada", "Product Viewed"), track("bob", "Product Viewed"))
    running.until("{ users { totalCount } }", lambda data: data["users"]["totalCount"] == 2)
    transport = HTTPXAsyncTransport(url=running.url + "/graphql", headers=running.api)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        result = await session.execute(gql("{ users(first: 1) { nodes { id eventCount } pageInfo { hasNextPage } } }"))
    assert result["users"]["pageInfo"]["hasNextPage"] is True
    assert result["users"]["nodes"][0]["eventCount"] == 1


async def test_me_opens_one_user_only(running: RunningGateway) -> None:
    await asyncio.to_thread(running.batch, track("ada", "Product Viewed"), track("bob", "Product Added"))
    users = running.until("{ users { nodes { id } } }", lambda data: len(data["users"]["nodes"]) == 2)["users"]["nodes"]
    answer = httpx2.post(running.url + "/v1/token", json={"userId": "ada"}, headers=running.api)
    token = answer.json()["token"]
    me = running.graphql("{ me { id traits } }", token=token)["me"]
    other = next(user["id"] for user in users if user["id"] != me["id"])
    assert running.graphql("query ($id: ID!) { node(id: $id) { id } }", token=token, id=other)["node"] is None
    refused = httpx2.post(
        running.url + "/graphql",
        json={"query": "{ users { nodes { id } } }"},
        headers={"authorization": f"Bearer {token}"},
    ).json()
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert not refused.get("data")


@asynccontextmanager
async def raw_socket(gateway: RunningGateway, query: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket without a client library, past `subscribe`."""
    address = gateway.url.replace("http", "ws") + "/graphql"
    async with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as raw:
        await raw.send(json.dumps({"type": "connection_init", "payload": gateway.api}))
        await raw.recv()
        await raw.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": query}}))
        yield raw


async def until_closed(raw: ClientConnection) -> tuple[list[str], Close | None]:
    """Everything that still comes, and how it was closed."""
    frames: list[str] = []
    with suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while True:
                frames.append(str(await raw.recv()))
    return frames, raw.protocol.close_rcvd


async def test_a_stopping_gateway_closes_sockets_and_ends_no_subscription(running: RunningGateway) -> None:
    """`complete` would tell clients not to come back; a close with 1001 tells them to."""
    async with raw_socket(running, EVENTS) as raw:
        await raw.recv()
        stopping = asyncio.create_task(asyncio.to_thread(running.stop))
        frames, close = await until_closed(raw)
        assert await stopping == 0
    assert close is not None
    assert close.code == 1001
    assert not any('"complete"' in frame for frame in frames)


async def test_a_syntax_error_over_a_socket_is_told(running: RunningGateway) -> None:
    async with raw_socket(running, "subscription{") as raw:
        frames, close = await until_closed(raw)
    assert "Syntax Error" in f"{frames} {close}"
