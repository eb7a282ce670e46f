"""Processes with separate roles on one database do together what one does alone, through the death of one of them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from tests.flow.conftest import ROOT, RunningGateway, free_port
from tests.flow.doors import basic
from tests.flow.served import serve
from tests.pace import PATIENCE

WATCH = "subscription { eventStored { event { ... on Event { messageId } } } }"


class Process:
    """One `serve --role …`."""

    def __init__(self, environment: dict[str, str], role: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = ["serve", "--role", role, "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ready(self, seconds: float = PATIENCE) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None
            try:
                answer = httpx2.get(f"{self.url}/readyz", timeout=10)
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()["checks"]
                    return found
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def processes(gateway_environment: dict[str, str]) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


async def heard(news: AsyncIterator[Any], wanted: set[str]) -> list[str]:
    """Message ids as they come, until all that are wanted have."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not wanted <= set(found):
            event = (await anext(news))["eventStored"]["event"]
            if event is not None:
                found.append(event["messageId"])
    return found


@pytest.mark.matrix("Start", "here", "a process per role")
@pytest.mark.timed
async def test_three_roles_work_together_and_a_second_deriver_takes_over(
    gateway_environment: dict[str, str], processes: list[Process]
) -> None:
    keys = RunningGateway(gateway_environment, 0)
    for line in keys.command("init").stdout.splitlines():
        if line.startswith("Write key"):
            keys.write_key = line.split()[-1]
        if line.startswith("API key"):
            keys.api_key = line.split()[-1]
    processes += [Process(gateway_environment, role) for role in ("collect", "derive", "derive", "api")]
    collect, one, other, api = processes
    assert set(collect.ready()) == {"mongodb", "disk", "accepting"}
    assert set(api.ready()) == {"mongodb", "live", "disk", "accepting"}
    deadline = time.monotonic() + PATIENCE
    while [process.ready()["derivation"]["lanes"] for process in (one, other)] != [8, 8]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)

    transport = WebsocketsTransport(
        url=f"ws://127.0.0.1:{api.port}/graphql",
        init_payload={"authorization": f"Bearer {keys.api_key}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with (
        Client(transport=transport) as session,
        httpx2.AsyncClient(base_url=collect.url, timeout=PATIENCE) as client,
    ):

        async def post(number: int) -> str:
            body = {"userId": f"u{number % 3}", "event": "Product Viewed", "messageId": f"m{number}"}
            answer = await client.post("/v1/track", json=body, headers={"authorization": basic(keys.write_key)})
            assert answer.status_code == 200, answer.text
            return f"m{number}"

        news = session.subscribe(gql(WATCH))
        await anext(news)
        first = {await post(number) for number in range(10)}
        got = await heard(news, first)
        one.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        second = {await post(number) for number in range(10, 20)}
        got += await heard(news, second)
        print(f"taken over within {time.monotonic() - killed:.1f} s")
        assert sorted(got) == sorted(first | second), "none is lost, none comes twice"
        journeys = await asyncio.to_thread(_journeys, api.url, keys.api_key)
        assert journeys == 3


def _journeys(url: str, api_key: str) -> int:
    answer = httpx2.post(
        f"{url}/graphql",
        json={"query": "{ journeys(first: 10) { nodes { id } } }"},
        headers={"authorization": f"Bearer {api_key}"},
        timeout=PATIENCE,
    ).json()
    assert "errors" not in answer, answer
    return len(answer["data"]["journeys"]["nodes"])


SERVED = {
    "collect": {"/v1/track": 401, "/v1/token": 400, "/graphql": 404, "/": 404},
    "derive": {"/v1/track": 404, "/v1/token": 404, "/graphql": 404, "/": 404},
    "api": {"/v1/track": 404, "/v1/token": 400, "/graphql": 401, "/": 405},
}


@pytest.mark.parametrize("role", SERVED)
async def test_what_a_role_does_not_serve_is_answered_with_the_role(mongo_uri: str, role: str) -> None:
    async with serve(mongo_uri, role=role) as served:
        for path, status in SERVED[role].items():
            answer = await served.client.post(path, json={"event": "x", "query": "{ me { id } }"})
            assert answer.status_code == status, (path, answer.text)
            if status == 404:
                assert answer.json()["code"] == "NOT_FOUND"
                assert f"`{role}`" in answer.json()["message"]
        assert (await served.client.get("/healthz")).status_code == 200
        status, found = await served.ready()
        assert found["role"] == role
