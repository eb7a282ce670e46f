"""Versions of the contract go back and forth under load: nothing is lost, nothing fails, what watches goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
from gql import gql

from gateway.contract import Contract, load_contract
from gateway.store.contracts import Versions
from gateway.store.database import Database
from tests.flow.conftest import RunningGateway
from tests.flow.test_contract import database, environment, folder, gateways
from tests.flow.test_typed_contract import EVENT, PROPERTY, client
from tests.pace import PATIENCE

__all__ = ["database", "environment", "folder", "gateways"]

VERSIONS = 6
BATCH, EVERY = 25, 0.05  # 500 events a second
KNOWN = '{ __type(name: "WishGrantedEvent") { name } }'
TYPED = "{ events(first: 1, where: {wishGranted: {wishCount: {gte: 0}}}) { nodes { ... on WishGrantedEvent { wishGranted { wishCount } } } } }"  # noqa: E501
WATCH = "subscription { eventStored { gap { reason } event { messageId } } }"


class Load:
    """Sends and asks until it is stopped; keeps what was acknowledged."""

    def __init__(self, gateways: list[RunningGateway], http: httpx2.AsyncClient) -> None:
        self.gateways, self.http = gateways, http
        self.sent: list[str] = []
        self.asked = 0
        self.over = asyncio.Event()

    async def send(self) -> None:
        number, due = 0, time.monotonic()
        while not self.over.is_set():
            gateway = self.gateways[number % 2]
            batch: list[dict[str, Any]] = [
                {
                    "type": "track",
                    "event": "Wish Granted",
                    "userId": f"user-{number % 7}",
                    "messageId": f"m-{number}-{one}",
                    "properties": {"wish_count": one % 9},
                }
                for one in range(BATCH)
            ]
            answer = await self.http.post(
                f"{gateway.url}/v1/batch", json={"batch": batch}, auth=(gateway.write_key, ""), timeout=PATIENCE
            )
            assert (answer.status_code, answer.json()["accepted"]) == (200, BATCH), answer.text
            self.sent += [one["messageId"] for one in batch]
            number, due = number + 1, due + EVERY
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def ask(self) -> None:
        while not self.over.is_set():
            for gateway in self.gateways:
                assert "errors" not in (await self.answer(gateway, "{ events(first: 5) { nodes { name at } } }"))
                self.asked += 1
            await asyncio.sleep(EVERY)

    async def answer(self, gateway: RunningGateway, query: str) -> Any:
        answer = await self.http.post(
            f"{gateway.url}/graphql",
            json={"query": query},
            headers={"authorization": f"Bearer {gateway.api_key}"},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


async def served(load: Load, gateway: RunningGateway, typed: bool) -> float:
    """When it was served."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await load.answer(gateway, KNOWN)
            if (answer["data"]["__type"] is not None) == typed:
                return time.monotonic()
            await asyncio.sleep(0.01)


def events(told: list[Any]) -> list[str]:
    """Those that were told. The first message, and one behind what was caught up on, only say where it goes on."""
    return [one["event"]["messageId"] for one in told if one["event"] is not None]


async def back_and_forth(load: Load, database: Database, plain: Contract, wishing: Contract) -> list[float]:
    """Seconds from each version's acknowledgment until both gateways serve its types."""
    found = []
    for number in range(VERSIONS):
        typed = number % 2 == 0
        version, new = await Versions(database).apply(wishing if typed else plain, now=number, by="test")
        applied = time.monotonic()
        assert new, version.number
        both = await asyncio.gather(*(served(load, gateway, typed) for gateway in load.gateways))
        found.append(max(both) - applied)
        for gateway in load.gateways:
            assert ("errors" in (await load.answer(gateway, TYPED))) != typed
        await asyncio.sleep(number * 0.13)  # not in step with the looks for versions
    return found


async def test_versions_go_back_and_forth_under_load(
    gateways: list[RunningGateway], folder: Path, database: Database
) -> None:
    plain = load_contract(folder)
    (folder / "properties.yaml").write_text((folder / "properties.yaml").read_text() + PROPERTY)
    (folder / "events" / "wish_granted.1.yaml").write_text(EVENT)
    wishing = load_contract(folder)
    heard: list[list[Any]] = [[], []]

    async def listen(news: AsyncIterator[Any], told: list[Any]) -> None:
        async for message in news:
            told.append(message["eventStored"])

    async with client(gateways[0]) as one, client(gateways[1]) as other, httpx2.AsyncClient() as http:
        listening = [
            asyncio.create_task(listen(session.subscribe(gql(WATCH)), told))
            for session, told in zip((one, other), heard, strict=True)
        ]
        async with asyncio.timeout(PATIENCE):
            while not all(heard):
                assert not any(task.done() for task in listening)
                await asyncio.sleep(0.02)
        load = Load(gateways, http)
        work = [asyncio.create_task(load.send()), asyncio.create_task(load.ask())]
        times = await back_and_forth(load, database, plain, wishing)
        load.over.set()
        await asyncio.gather(*work)
        async with asyncio.timeout(PATIENCE):
            while any(len(events(told)) < len(load.sent) for told in heard):
                assert not any(task.done() for task in listening)
                await asyncio.sleep(0.05)
        for task in listening:
            task.cancel()
    shown = " ".join(f"{one:.2f}" for one in times)
    print(f"under {len(load.sent):,} events and {load.asked:,} queries, versions were served after {shown} s")
    for told in heard:
        assert [one["gap"] for one in told] == [None] * len(told)
        assert sorted(events(told)) == sorted(load.sent), "each once, none lost"
