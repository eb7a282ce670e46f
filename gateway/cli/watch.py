"""`watch`: journeys as they move, one JSON line each, from any running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import click
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from gateway.errors import Forbidden, GatewayError, InvalidInput, Unauthenticated, Unavailable

_DENIED = 4403
_MOST_TRIES = 60

_MAPS = "{ journeyMaps { key } }"
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
    """Watch, through restarts of the gateway: each connection goes on behind the last cursor."""
    address = "ws" + url.removeprefix("http").rstrip("/") + "/graphql"
    tries = 0
    async for change in _changes(address, token, variables):
        if change is None:
            tries += 1
            if tries > _MOST_TRIES or variables["after"] is None:
                raise Unavailable(f"No gateway answers at {url}.", hint="Is it running? Check --url.")
            await asyncio.sleep(1)
            continue
        tries = 0
        variables["after"] = change["cursor"]
        if change["journey"] is None and change["gap"] is None:
            continue  # it only carries a cursor
        click.echo(orjson.dumps(change))
        if count is not None and (count := count - 1) == 0:
            return


async def _changes(address: str, token: str, variables: dict[str, Any]) -> AsyncIterator[dict[str, Any] | None]:
    """The payloads, and None whenever the connection was lost."""
    while True:
        try:
            async with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
                await socket.send(_message("connection_init", payload={"authorization": f"Bearer {token}"}))
                async for raw in socket:
                    message = orjson.loads(raw)
                    if message["type"] == "connection_ack":
                        if variables["map"] is not None:  # a map that nobody has would be watched in silence for ever
                            await socket.send(_message("subscribe", id="maps", payload={"query": _MAPS}))
                        subscription = {"query": _QUERY, "variables": variables}
                        await socket.send(_message("subscribe", id="1", payload=subscription))
                    elif message.get("id") == "maps":
                        _check_map(message, variables["map"])
                    elif message["type"] == "ping":
                        await socket.send(_message("pong"))
                    elif message["type"] == "error":
                        raise _refusal(message["payload"][0])
                    elif message["type"] == "next":
                        yield _change(message["payload"])
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == _DENIED:
                raise Unauthenticated(closed.rcvd.reason) from closed
        except (OSError, WebSocketException, Unavailable):
            pass
        yield None


def _check_map(message: dict[str, Any], wanted: str) -> None:
    """Raise InvalidInput when the answer lists the maps and the wanted one is not there; a token may not list them."""
    data = message.get("payload", {}).get("data") if message["type"] == "next" else None
    if data is None:
        return
    known = [journey_map["key"] for journey_map in data["journeyMaps"]]
    if wanted not in known:
        raise InvalidInput(f"There is no journey map {wanted!r}.", hint=f"Use one of: {', '.join(known)}.")


def _refusal(error: dict[str, Any]) -> GatewayError:
    """What the gateway says, as an error of ours: what passes, what another token mends, what was asked wrongly."""
    code, said = (error.get("extensions") or {}).get("code"), str(error["message"])
    kinds: tuple[type[GatewayError], ...] = (Unavailable, Unauthenticated, Forbidden)
    return next((kind(said) for kind in kinds if kind.code == code), InvalidInput(said))


def _message(kind: str, **rest: Any) -> str:
    return orjson.dumps({"type": kind, **rest}).decode()


def _change(payload: dict[str, Any]) -> dict[str, Any]:
    if payload.get("errors"):
        raise _refusal(payload["errors"][0])
    change: dict[str, Any] = payload["data"]["journeyChanged"]
    return change
