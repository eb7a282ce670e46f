"""What the tests of the driver seam share: a record of commands, and the server's own fail points."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from gateway.store.database import CommandListener, Database, Document, Stream
from tests.pace import PATIENCE


class Commands(CommandListener):
    """Every command sent, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append((event.command_name, dict(event.command)))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def count(self, name: str) -> int:
        return sum(1 for sent, _ in self.sent if sent == name)


@asynccontextmanager
async def failing(database: Database, *names: str, times: int = 1, **how: Any) -> AsyncIterator[None]:
    """The server's own fail point: the next `times` commands of these names fail as `how` says."""
    data = {"failCommands": list(names), **how}
    await database.admin({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})
    try:
        yield
    finally:
        await database.admin({"configureFailPoint": "failCommand", "mode": "off"})


def numbered(*numbers: int) -> list[Document]:
    return [{"_id": number, "n": number} for number in numbers]


async def stored(database: Database, collection: str = "events") -> list[Any]:
    return [found["_id"] for found in await database.find(collection, {}, sort=[("_id", 1)])]


async def take(stream: Stream, count: int) -> list[Document]:
    """Exactly the next `count` changes."""
    taken: list[Document] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await stream.next_batch(count - len(taken))
    return taken
