"""An event type is added to two running gateways: both serve it typed, and what watches goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx2
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from graphql import build_client_schema, build_schema, get_introspection_query, print_type

from tests.flow.conftest import RunningGateway
from tests.flow.test_contract import database, environment, folder, gateways
from tests.pace import PATIENCE

__all__ = ["database", "environment", "folder", "gateways"]

PROPERTY = "  - {key: wish_count, type: integer, brief: How many wishes., minimum: 0, maximum: 9}\n"
EVENT = """\
name: Wish Granted
major: 1
brief: A wish came true.
owners: [shop-web]
properties:
  - {property: wish_count, required: true}
"""
WATCH = "subscription { eventStored { event { __typename name } } }"
TYPED = """{ events(where: {wishGranted: {wishCount: {gte: 3}}}) { nodes {
    __typename ... on WishGrantedEvent { wishGranted { wishCount } } } } }"""


def client(gateway: RunningGateway) -> Client:
    return Client(
        transport=WebsocketsTransport(
            url=f"ws://127.0.0.1:{gateway.port}/graphql",
            init_payload={"authorization": f"Bearer {gateway.api_key}"},
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        )
    )


def sdl(gateway: RunningGateway) -> httpx2.Response:
    return httpx2.get(
        f"{gateway.url}/schema.graphql", headers={"authorization": f"Bearer {gateway.api_key}"}, timeout=PATIENCE
    )


def wish(count: int) -> dict[str, Any]:
    return {"type": "track", "event": "Wish Granted", "userId": "ann", "properties": {"wish_count": count}}


async def test_an_event_type_is_added_to_two_running_gateways(gateways: list[RunningGateway], folder: Path) -> None:
    before = sdl(gateways[0])
    heard: list[list[Any]] = [[], []]

    async def listen(news: AsyncIterator[Any], told: list[Any]) -> None:
        async for message in news:
            told.append(message["eventStored"]["event"])

    async def comes(count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while any(len(told) < count for told in heard):
                assert not any(task.done() for task in listening)
                await asyncio.sleep(0.02)

    async with client(gateways[0]) as one, client(gateways[1]) as other:
        sessions = (one, other)
        listening = [
            asyncio.create_task(listen(session.subscribe(gql(WATCH)), told))
            for session, told in zip(sessions, heard, strict=True)
        ]
        await comes(1)  # the first message only says where it begins
        gateways[0].batch(wish(3))
        await comes(2)

        properties = folder / "properties.yaml"
        properties.write_text(properties.read_text() + PROPERTY)
        (folder / "events" / "wish_granted.1.yaml").write_text(EVENT)
        done = await asyncio.to_thread(gateways[0].command, "contract", "apply", str(folder), "--json")
        assert json.loads(done.stdout)["version"] == 2
        applied = time.monotonic()
        asked = '{ __type(name: "WishGrantedEvent") { name } }'
        for gateway in gateways:
            await asyncio.to_thread(gateway.until, asked, lambda data: data["__type"] is not None)
        print(f"both gateways serve the new types {time.monotonic() - applied:.1f} s after `contract apply`")

        gateways[1].batch(wish(4), wish(2))
        await comes(4)
        for gateway in gateways:
            found = gateway.graphql(TYPED)["events"]["nodes"]
            assert sorted(one["wishGranted"]["wishCount"] for one in found) == [3, 4]
            assert {one["__typename"] for one in found} == {"WishGrantedEvent"}
        # Whoever watched before the change watches on, with the types of then, and has missed nothing.
        untyped = {"__typename": "UntypedEvent", "name": "Wish Granted"}
        assert heard == [[None, untyped, untyped, untyped]] * 2
        for task in listening:
            task.cancel()

    after = [sdl(gateway) for gateway in gateways]
    assert after[0].text == after[1].text
    assert "type WishGrantedEvent implements Event & Node" in after[0].text
    assert before.headers["etag"] != after[0].headers["etag"] == after[1].headers["etag"]
    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True, one_of=True)
    shown = build_client_schema(cast("Any", gateways[1].graphql(query)))
    exported = build_schema(after[1].text)
    assert shown.type_map.keys() == exported.type_map.keys()
    for name, kind in exported.type_map.items():
        if not name.startswith("__"):
            assert sorted(print_type(kind).splitlines()) == sorted(print_type(shown.type_map[name]).splitlines())
    written = gateways[0].command("contract", "export", str(folder), "--format", "sdl").stdout
    assert written == after[0].text
