"""`watch`: journeys as they move, one JSON line each, from any running gateway."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import click
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from gateway.errors import Unavailable

_QUERY = """subscription Watch($map: ID, $after: Cursor) {
  journeyChanged(map: $map, after: $after) {
    cursor
    gap { reason missed }
    at
    status
    from { key }
    to { key }
    journey { id run map { key } user { id } }
  }
}"""


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--token", required=True, envvar="API_KEY", help="An API key or a user's token (or API_KEY).")
@click.option("--map", "journey_map", help="Only this journey map.")
@click.option("--after", help="Go on behind this cursor.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many changes.")
def watch(url: str, token: str, journey_map: str | None, after: str | None, count: int | None) -> None:
    """Watch journeys move: one JSON line per change, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(url, token, {"map": journey_map, "after": after}, count))


async def _watch(url: str, token: str, variables: dict[str, Any], count: int | None) -> None:
    address = "ws" + url.removeprefix("http").rstrip("/") + "/graphql"
    try:
        async with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
            await socket.send(_message("connection_init", payload={"authorization": f"Bearer {token}"}))
            async for raw in socket:
                message = orjson.loads(raw)
                if message["type"] == "connection_ack":
                    subscription = {"query": _QUERY, "variables": variables}
                    await socket.send(_message("subscribe", id="1", payload=subscription))
                elif message["type"] == "ping":
                    await socket.send(_message("pong"))
                elif message["type"] == "error":
                    raise Unavailable(message["payload"][0]["message"])
                elif message["type"] == "next" and _print(message["payload"]) and count is not None:
                    count -= 1
                    if count == 0:
                        return
    except ConnectionClosed as closed:
        raise Unavailable(f"The gateway closed the connection: {closed}") from closed
    except (OSError, WebSocketException) as error:
        raise Unavailable(f"No gateway answers at {url}.", hint="Is it running? Check --url.") from error


def _message(kind: str, **rest: Any) -> str:
    return orjson.dumps({"type": kind, **rest}).decode()


def _print(payload: dict[str, Any]) -> bool:
    """Print a change; False for a message that carries only a cursor."""
    if payload.get("errors"):
        raise Unavailable(payload["errors"][0]["message"])
    change = payload["data"]["journeyChanged"]
    if change["journey"] is None and change["gap"] is None:
        return False
    click.echo(orjson.dumps(change))
    return True
