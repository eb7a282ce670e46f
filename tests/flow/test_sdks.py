"""The published SDKs, unchanged, against a running gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.store.embedded import EmbeddedMongod
from tests.flow.conftest import RunningGateway, free_port
from tests.pace import PATIENCE

CALLS = """query {
  events(first: 50) { totalCount nodes { name at ... on Event {
    type userId anonymousId messageId source client { platform library libraryVersion }
  } } }
}"""


def everything(client: Any) -> int:
    """One of each call; how many there were."""
    client.identify("ada", {"name": "Ada", "plan": "pro"}, anonymous_id="anon-1")
    client.track("ada", "Product List Viewed", {"category": "lamps"})
    client.track("ada", "Product Added", {"name": "Desk lamp", "price": 39.5})
    client.page("ada", "Docs", "Home", {"url": "https://shop.example/"})
    client.screen("ada", "Shop", "Cart", {"items": 2})
    client.group("ada", "team-7", {"size": 4})
    client.alias("anon-2", "ada")
    client.track("ada", "Ünïcode ✓", {"quote": '"', "path": "a.b", "$odd": 1})
    return 8


def segment_client(gateway: RunningGateway, **options: Any) -> Any:
    from segment.analytics.client import Client

    return Client(gateway.write_key, host=gateway.url, **options)


def rudder_client(gateway: RunningGateway, **options: Any) -> Any:
    from rudderstack.analytics.client import Client

    return Client(gateway.write_key, host=gateway.url, **options)


def sdks(*columns: str) -> pytest.MarkDecorator:
    """Both SDKs, and the cells of the matrix that a test proves for them."""
    made = {"segment-analytics-python": segment_client, "rudder-sdk-python": rudder_client}
    return pytest.mark.parametrize(
        "make",
        [
            pytest.param(make, id=name, marks=pytest.mark.matrix("SDK", f"pypi:{name}", *columns))
            for name, make in made.items()
        ],
    )


@sdks("identify", "track", "page", "screen", "group", "alias")
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
async def test_every_call_arrives_once(running: RunningGateway, make: Any, gzip: bool) -> None:
    failures: list[Any] = []
    client = make(running, gzip=gzip, on_error=lambda error, items: failures.append(error))

    def send() -> int:
        sent = everything(client)
        client.flush()
        client.join()
        return sent

    sent = await asyncio.to_thread(send)
    assert failures == []
    data = running.until(CALLS, lambda data: data["events"]["totalCount"] >= sent)
    events = data["events"]["nodes"]
    assert data["events"]["totalCount"] == sent
    kinds = sorted(event["type"] for event in events)
    assert kinds == ["ALIAS", "GROUP", "IDENTIFY", "PAGE", "SCREEN", "TRACK", "TRACK", "TRACK"]
    assert {event["name"] for event in events} >= {"Product Added", "Home", "Cart", "Ünïcode ✓"}
    for event in events:
        assert event["client"]["platform"] == "SERVER"
        assert event["client"]["library"] == "analytics-python"
        assert event["client"]["libraryVersion"]
    user = running.until(
        """{ user(by: {userId: "ada"}) { eventCount traits journey(map: "purchase") { stage { key } }
             identities { type value } } }""",
        lambda data: data["user"] and data["user"]["eventCount"] == sent,
    )["user"]
    assert user["journey"]["stage"]["key"] == "cart"
    assert user["traits"]["plan"] == "pro"
    assert {"type": "ANONYMOUS_ID", "value": "anon-2"} in user["identities"]


@pytest.fixture
def requests_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Status of every HTTP answer the SDKs' `requests` library gets."""
    import requests

    statuses: list[int] = []
    send = requests.Session.send

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = send(self, *arguments, **options)
        statuses.append(answer.status_code)
        return answer

    monkeypatch.setattr(requests.Session, "send", counted)
    return statuses


@sdks("batch")
async def test_nothing_is_retried_needlessly(running: RunningGateway, make: Any, requests_seen: list[int]) -> None:
    client = make(running)

    def send() -> None:
        for number in range(250):
            client.track("ada", "Product Viewed", {"number": number})
        client.flush()
        client.join()

    await asyncio.to_thread(send)
    assert set(requests_seen) == {200}
    running.until(CALLS, lambda data: data["events"]["totalCount"] == 250)
    assert len(requests_seen) <= 10


def wait_for(status: int, seen: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while status not in seen:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@sdks("retry")
async def test_a_stopped_mongod_makes_them_retry_and_lose_nothing(
    tmp_path: Path, mongod_binary: Path | None, make: Any, requests_seen: list[int]
) -> None:
    mongod = await EmbeddedMongod.start(tmp_path, mongod=mongod_binary)
    assert mongod.pid is not None
    own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    gateway = RunningGateway({**own, "GATEWAY_MONGO_URI": mongod.uri}, free_port())
    try:
        await asyncio.to_thread(gateway.set_up)
        client = make(gateway)

        def send() -> None:
            for number in range(30):
                client.track("ada", "Product Viewed", {"number": number})
            client.flush()
            client.join()

        os.kill(mongod.pid, signal.SIGSTOP)
        sending = asyncio.create_task(asyncio.to_thread(send))
        await asyncio.to_thread(wait_for, 503, requests_seen)
        os.kill(mongod.pid, signal.SIGCONT)
        await sending
        assert requests_seen[0] == 503
        assert requests_seen[-1] == 200
        gateway.until(CALLS, lambda data: data["events"]["totalCount"] == 30)
    finally:
        os.kill(mongod.pid, signal.SIGCONT)
        if gateway.process is not None:
            await asyncio.to_thread(gateway.stop)
        await mongod.stop()
