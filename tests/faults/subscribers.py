"""Subscribers over WebSocket that come back with their cursor, whatever ends the connection."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import websockets

from tests.faults.gateways import Gateway

EVENTS = """subscription ($after: Cursor) {
  eventStored(after: $after) { cursor gap { reason missed } event { id } }
}"""
JOURNEYS = """subscription ($after: Cursor) {
  journeyChanged(after: $after) { cursor gap { reason missed } from { key } to { key } status at }
}"""
_QUIET = (OSError, TimeoutError, EOFError, websockets.WebSocketException)
_PING_SECONDS = 2.0


@dataclass(slots=True)
class Heard:
    """What one subscriber heard, in order: ids of events, or (from, to, status, at) of journeys' steps."""

    kind: str
    news: list[Any] = field(default_factory=list)
    #: How many feed rows the gateway said were lost.
    missed: int = 0
    gaps: int = 0
    connections: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)


class Subscriber:
    """Follows the feed of one kind through any gateway; `heard` says what came."""

    def __init__(self, kind: str, gateways: list[Gateway], api_key: str, seed: int) -> None:
        self.heard = Heard(kind)
        self.joined = asyncio.Event()
        self._query, self._field = (EVENTS, "eventStored") if kind == "event" else (JOURNEYS, "journeyChanged")
        self._gateways = gateways
        self._api_key = api_key
        self._chance = random.Random(f"subscriber {kind} {seed}")
        self._cursor: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        gateway = self._chance.choice(self._gateways)
        while True:
            try:
                await self._listen(gateway)
                self.heard.ends["completed"] += 1
            except websockets.ConnectionClosed as closed:
                self.heard.ends[f"closed {closed.rcvd.code if closed.rcvd else 'without a word'}"] += 1
            except _QUIET as error:
                self.heard.ends[type(error).__name__] += 1
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))
            gateway = self._chance.choice(self._gateways)

    async def _listen(self, gateway: Gateway) -> None:
        """One connection, until it ends or the subscription is refused; now and then left without a reason."""
        async with websockets.connect(
            gateway.url.replace("http", "ws") + "/graphql",
            subprotocols=[websockets.Subprotocol("graphql-transport-ws")],
            open_timeout=5,
            close_timeout=1,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            proxy=None,
        ) as socket:
            await _send(socket, type="connection_init", payload={"authorization": f"Bearer {self._api_key}"})
            async with asyncio.timeout(5):
                await socket.recv()
            payload = {"query": self._query, "variables": {"after": self._cursor}}
            await _send(socket, type="subscribe", id="1", payload=payload)
            self.heard.connections += 1
            leave_at = time.monotonic() + self._chance.uniform(5, 60)
            async for frame in socket:
                message = orjson.loads(frame)
                if message["type"] == "ping":
                    await _send(socket, type="pong")
                elif message["type"] != "next" or not self._take(message["payload"]):
                    self.heard.ends[_said(message)] += 1
                    return
                if time.monotonic() > leave_at:
                    return

    def _take(self, payload: dict[str, Any]) -> bool:
        """Whether it was a message to go on from."""
        change = (payload.get("data") or {}).get(self._field)
        if payload.get("errors") or change is None:
            return False
        self._cursor = change["cursor"]
        self.joined.set()
        if change["gap"] is not None:
            self.heard.gaps += 1
            self.heard.missed += change["gap"]["missed"] or 0
        if self._field == "eventStored":
            if change["event"] is not None:
                self._note(change["event"]["id"].removeprefix("event_"))
        elif change["at"] is not None:
            stages = [None if change[end] is None else change[end]["key"] for end in ("from", "to")]
            at = round(datetime.fromisoformat(change["at"]).timestamp() * 1000)
            self._note((*stages, change["status"] and change["status"].lower(), at))
        return True

    def _note(self, news: Any) -> None:
        self.heard.news.append(news)
        self.heard.times.append(time.monotonic())


def _said(message: dict[str, Any]) -> str:
    """An end of the subscription in few words."""
    payload = message.get("payload")
    errors = payload.get("errors") if isinstance(payload, dict) else payload
    code = errors[0].get("extensions", {}).get("code", "") if errors else ""
    return f"{message['type']} {code}".strip()


async def _send(socket: websockets.ClientConnection, **message: Any) -> None:
    await socket.send(orjson.dumps(message).decode())
