"""Stopping under load: nothing that was acknowledged is lost, and every client goes on elsewhere."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import orjson
import pytest
import websockets

from gateway.app.exchanges import GOING, Exchanges
from gateway.app.metrics import Metrics
from gateway.app.spans import Spans
from tests.flow.conftest import ROOT, RunningGateway, free_port
from tests.flow.doors import basic
from tests.pace import PATIENCE

WATCH = """subscription Watch($after: Cursor) {
  eventStored(after: $after) { cursor gap { reason } event { ... on Event { messageId } } }
}"""


@pytest.fixture
def two(gateway_environment: dict[str, str]) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    """Two processes on one database; the first drains for two seconds."""
    first = RunningGateway(gateway_environment | {"GATEWAY_DRAIN_SECONDS": "2"}, free_port())
    second = RunningGateway(gateway_environment | {"GATEWAY_DRAIN_SECONDS": "0"}, free_port())
    first.set_up()
    second.write_key, second.api_key = first.write_key, first.api_key
    second.start()
    yield first, second
    for gateway in (first, second):
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.communicate(timeout=PATIENCE)


class Subscriber:
    """Follows the feed over WebSocket; keeps the cursor."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key
        self.cursor: str | None = None
        self.heard: list[str] = []
        self.gaps: list[object] = []
        self.joined = asyncio.Event()

    async def follow(self, port: int) -> tuple[int, str]:
        """Until the server closes; returns code and reason."""
        url, protocols = f"ws://127.0.0.1:{port}/graphql", [websockets.Subprotocol("graphql-transport-ws")]
        async with websockets.connect(url, subprotocols=protocols) as socket:
            hello = {"type": "connection_init", "payload": {"authorization": f"Bearer {self.api_key}"}}
            await socket.send(orjson.dumps(hello).decode())
            await socket.recv()
            payload = {"query": WATCH, "variables": {"after": self.cursor}}
            await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": payload}).decode())
            try:
                while True:
                    self._take(orjson.loads(await socket.recv()))
            except websockets.ConnectionClosed as closed:
                return (0, "no close frame") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            return
        assert message["type"] == "next", message
        news = message["payload"]["data"]["eventStored"]
        self.cursor = news["cursor"]
        self.joined.set()
        if news["gap"] is not None:
            self.gaps.append(news["gap"])
        if news["event"] is not None:
            self.heard.append(news["event"]["messageId"])


class Sender:
    """Posts one event after another; keeps what was acknowledged, and every other answer."""

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self.gateway = gateway
        self.name = name
        self.acknowledged: list[str] = []
        self.others: list[str] = []

    async def run(self) -> None:
        headers = {"authorization": basic(self.gateway.write_key)}
        async with httpx2.AsyncClient(base_url=self.gateway.url, headers=headers, timeout=PATIENCE) as client:
            for number in range(100_000):
                message_id = f"{self.name}-{number}"
                body = {"userId": f"u{number % 5}", "event": "View", "messageId": message_id}
                try:
                    answer = await client.post("/v1/track", json=body)
                except httpx2.ConnectError:
                    return  # nobody listens any more
                except httpx2.TransportError as cut:
                    self.others.append(type(cut).__name__)
                    return
                if answer.status_code == 200:
                    self.acknowledged.append(message_id)
                elif answer.status_code != 503:
                    self.others.append(str(answer.status_code))


@pytest.mark.timed
async def test_sigterm_under_load_loses_nothing_and_a_subscriber_goes_on_elsewhere(
    two: tuple[RunningGateway, RunningGateway],
) -> None:
    first, second = two
    assert first.process is not None
    subscriber = Subscriber(first.api_key)
    following = asyncio.create_task(subscriber.follow(first.port))
    await asyncio.wait_for(subscriber.joined.wait(), 60)
    senders = [Sender(first, f"s{number}") for number in range(4)]
    sending = [asyncio.create_task(sender.run()) for sender in senders]
    async with asyncio.timeout(PATIENCE):
        while any(len(sender.acknowledged) < 5 for sender in senders):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    first.process.send_signal(signal.SIGTERM)
    async with httpx2.AsyncClient(base_url=first.url, timeout=PATIENCE) as client:
        statuses = [(await client.get("/readyz")).status_code]
        while statuses[-1] == 200:
            statuses.append((await client.get("/readyz")).status_code)
        assert statuses[-1] == 503, "not ready while it still serves"
    acknowledged_then = sum(len(sender.acknowledged) for sender in senders)
    code, reason = await asyncio.wait_for(following, 60)
    assert (code, reason) == (1001, GOING)
    await asyncio.wait_for(asyncio.gather(*sending), 60)
    output = (await asyncio.to_thread(first.process.communicate, timeout=PATIENCE))[0]
    assert first.process.returncode == 0, output
    assert [other for sender in senders for other in sender.others] == []
    acknowledged = {message for sender in senders for message in sender.acknowledged}
    assert len(acknowledged) > acknowledged_then, "it went on serving while it was not ready"

    again = asyncio.create_task(subscriber.follow(second.port))
    async with asyncio.timeout(PATIENCE):
        while not acknowledged <= set(subscriber.heard):
            assert not again.done(), again.result()
            await asyncio.sleep(0.1)
    assert subscriber.gaps == []
    assert len(subscriber.heard) == len(set(subscriber.heard)), "nothing comes twice"
    again.cancel()
    await asyncio.wait([again])


def test_a_second_signal_ends_at_once(gateway_environment: dict[str, str]) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--role", "derive", "--port", str(port)],
        env=gateway_environment | {"GATEWAY_DRAIN_SECONDS": "600"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, 200)
        process.send_signal(signal.SIGTERM)
        wait_for(port, 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == -signal.SIGTERM
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)


def wait_for(port: int, status: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == status:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"/readyz did not answer {status}")


async def test_an_event_stream_is_ended_properly_and_new_ones_go_elsewhere() -> None:
    doors = Exchanges(Metrics("all"), Spans(), slow_seconds=9)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            await asyncio.sleep(0.01)

    doors.app = endless
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    def scope(path: str = "/x") -> dict[str, Any]:
        return {"type": "http", "method": "GET", "path": path, "headers": [(b"accept", b"text/event-stream")]}

    stream = asyncio.create_task(doors(scope(), receive, send))
    await asyncio.sleep(0.05)
    doors.drain()
    await doors.end()
    await asyncio.wait_for(stream, 10)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert [message["more_body"] for message in sent[1:]].count(False) == 1
    sent.clear()
    await doors(scope(), receive, send)
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
    assert orjson.loads(sent[1]["body"])["code"] == "UNAVAILABLE"
    sent.clear()
    await doors(scope("/graphql"), receive, send)
    assert sent[0]["status"] == 503
    (error,) = orjson.loads(sent[1]["body"])["errors"]
    assert error["message"] == GOING
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["hint"]
