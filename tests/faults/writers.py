"""Writers over HTTP: batches of any size to any gateway, sent again at random, acknowledged or not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from tests.faults.gateways import Gateway
from tests.faults.history import History

#: A gateway that is frozen answers nobody; a person's SDK waits about as long.
TIMEOUT_SECONDS = 6.0
_PAUSE = (0.05, 0.3)
#: When so many messages wait to be derived, writers send few: acknowledgments still show how intake does.
MOST_BEHIND = 20_000
_SLOW_RATE = 50.0


@dataclass(slots=True)
class Writers:
    """Several at once. They write `rate` messages a second until `stop`, then finish what they have in hand."""

    history: History
    gateways: list[Gateway]
    write_key: str
    seed: int
    count: int = 8
    rate: float = 500.0
    behind: Callable[[], int] = int
    stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _due: float = 0.0

    def start(self) -> None:
        self._due = time.monotonic()
        for number in range(self.count):
            chance = random.Random(f"writer {self.seed} {number}")
            self._tasks.append(asyncio.create_task(self._write(chance)))

    async def stop(self) -> None:
        """Send no new messages; wait until those in hand are acknowledged or given up."""
        self.stopping = True
        await asyncio.gather(*self._tasks)

    async def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, chance: random.Random) -> None:
        auth = httpx2.BasicAuth(self.write_key, "")
        async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, auth=auth, trust_env=False) as client:
            gateway = chance.choice(self.gateways)
            while not self.stopping:
                slowly = self.behind() >= MOST_BEHIND  # asked once: a large batch at the slow rate is a long silence
                numbers = self._batch(chance, slowly)
                await self._pace(len(numbers), _SLOW_RATE if slowly else self.rate)
                gateway = await self._deliver(client, chance, gateway, numbers)

    def _batch(self, chance: random.Random, slowly: bool) -> list[int]:
        """New messages, some of them twice, and now and then some that were sent long ago."""
        sizes = (1, 5) if slowly else (1, 5, 20, 50, 100)
        numbers = list(self.history.next_numbers(chance.choice(sizes)))
        if chance.random() < 0.1:
            numbers += chance.sample(numbers, max(1, len(numbers) // 10))
        if chance.random() < 0.1:
            numbers += [chance.randrange(numbers[0] + 1) for _ in range(5)]
        if chance.random() < 0.1:
            chance.shuffle(numbers)
        return numbers

    async def _pace(self, count: int, rate: float) -> None:
        """Wait for this batch's turn; time that an outage took is not caught up all at once."""
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + count / rate
        await asyncio.sleep(max(0.0, self._due - now))

    async def _deliver(
        self, client: httpx2.AsyncClient, chance: random.Random, gateway: Gateway, numbers: list[int]
    ) -> Gateway:
        """Send until it is acknowledged, mostly; returns the gateway that did."""
        body = orjson.dumps({"batch": [self.history.plan.message(number) for number in numbers]})
        while True:
            began = self.history.sent(numbers)
            status, reply = await _post(client, gateway, body)
            if self.history.answered(numbers, gateway.number, status, reply, began=began):
                if chance.random() > 0.05:
                    return gateway
            elif self.stopping or chance.random() < 0.02:
                return gateway  # given up: nobody knows whether they are stored, and either is right
            if chance.random() < 0.7:
                gateway = chance.choice(self.gateways)
            await asyncio.sleep(chance.uniform(*_PAUSE))


async def _post(client: httpx2.AsyncClient, gateway: Gateway, body: bytes) -> tuple[int | str, dict[str, Any] | None]:
    """Status and JSON of the answer; the kind of failure where none came."""
    try:
        answer = await client.post(
            gateway.url + "/v1/batch", content=body, headers={"content-type": "application/json"}
        )
    except httpx2.TransportError as error:
        return type(error).__name__, None
    with suppress(orjson.JSONDecodeError):
        reply = orjson.loads(answer.content)
        if isinstance(reply, dict):
            return answer.status_code, reply
    return answer.status_code, None
