"""A gateway's delivery without its doors: events are derived and delivered to destinations that a test makes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar

from gateway.clock import ServerClock
from gateway.connectors.delivery import Delivery
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.connectors.limits import Patience
from gateway.model.event import Event, EventType
from gateway.model.identity import digest
from gateway.pipeline.owner import Deriver
from gateway.plugin import (
    Capabilities,
    Config,
    Connector,
    Context,
    Delivered,
    Destination,
    Health,
    Item,
    ItemResult,
    Manifest,
    Message,
    Skip,
)
from gateway.privacy import Privacy
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import to_document
from gateway.store.lanes import Lanes
from tests.flow.test_derive_equals_oracle import deriver_of
from tests.pace import PATIENCE

WORKSPACE = "w"
#: Quick enough to test with; the proportions are the product's.
QUICK = Patience(
    first=0.02, longest=0.2, hours=0.0, attempts=3, bugs=2, check_seconds=0.2, probe_seconds=0.05, send_seconds=5.0
)

#: For what is tried as often as it takes.
ENDLESS = replace(QUICK, attempts=10_000)

Answering = Callable[[Sequence[Item]], Awaitable[Sequence[ItemResult]]]


class Empty(Config):
    """Nothing to configure."""


class NoState:
    """State that nobody asks for."""

    async def get(self, key: str) -> Any:
        return None

    async def put(self, key: str, value: Any) -> None:
        return None


class Recorder(Destination[Empty]):
    """Remembers what it was sent; `answer` decides."""

    manifest = Manifest(name="recorder", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty
    capabilities = Capabilities(partial=True, purpose=None)

    def __init__(self, config: Empty, context: Context) -> None:
        super().__init__(config, context)
        self.sent: list[list[Item]] = []
        self.got: list[Item] = []
        self.answer: Answering | None = None
        self.health = Health(True)
        self.checks = 0
        self.erased: list[set[str]] = []

    async def check(self) -> Health:
        self.checks += 1
        return self.health

    def map(self, message: Message) -> dict[str, Any] | Skip:
        if message.event is not None:
            return {"name": message.event.name, "user": message.user, "properties": dict(message.event.properties)}
        return {"kind": message.kind}

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        self.sent.append(list(items))
        results = await self.answer(items) if self.answer is not None else [Delivered() for _ in items]
        self.got += [item for item, one in zip(items, results, strict=True) if isinstance(one, Delivered)]
        return results

    async def erase(self, users: Any) -> None:
        self.erased.append(set(users))

    @property
    def names(self) -> list[str]:
        """The names of the events it has, in the order it got them."""
        return [item.message.event.name for item in self.got if item.message.event is not None]


def context(name: str, **changes: Any) -> Context:
    return Context(
        instance=name,
        workspace=WORKSPACE,
        http=changes.get("http") or GuardedHttp(["127.0.0.0/8"]),
        state=NoState(),
        clock=ServerClock(),
        log=logging.getLogger("test"),
    )


def instance(
    made: type[Connector[Any]] = Recorder, name: str = "sink", config: Config | None = None, events: Sequence[str] = ()
) -> Instance:
    return Instance(name, WORKSPACE, made(config or Empty(), context(name)), frozenset(events))


def capable(**changes: Any) -> type[Recorder]:
    """A recorder with other capabilities."""

    class Capable(Recorder):
        capabilities = replace(Recorder.capabilities, **changes)

    return Capable


def event(number: int, user: str = "ada", **changes: Any) -> Event:
    now = ServerClock().now()
    made = Event(
        id=digest("event", str(number)),
        workspace=WORKSPACE,
        source="s",
        message_id=str(number),
        type=EventType.TRACK,
        name=f"{user} {number}",
        user_id=user,
        anonymous_id=None,
        at=now + number,
        seq=number,
        received_at=now,
        content_hash=b"",
    )
    return replace(made, **changes)


class Stage:
    """One process: derives and delivers."""

    def __init__(self, database: Database, *instances: Instance, patience: Patience = QUICK) -> None:
        self.database = database
        self.clock = ServerClock()
        self.privacy = Privacy(database, self.clock)
        self.deriver: Deriver = deriver_of(database, self.clock, lease_seconds=2.0)
        self.instances: Mapping[str, Instance] = {one.name: one for one in instances}
        self.delivery = Delivery(
            database, self.instances, self.privacy, self.clock, lease=lambda: self.deriver.lease, patience=patience
        )
        self.deriver.told = self.delivery.wake
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Stage]:
        await collections.prepare(self.database)
        await Lanes(self.database).prepare()
        async with self.privacy.following():
            self._tasks = [asyncio.create_task(self.deriver.run()), asyncio.create_task(self.delivery.run())]
            try:
                # New instances begin where the feed is: nothing is stored before they have.
                await until(self._begun)
                yield self
            finally:
                await self.end()

    async def _begun(self) -> bool:
        found = await self.database.count("delivery_cursors", {"instance": {"$in": list(self.instances)}})
        return found == 16 * len(self.instances)

    async def end(self) -> None:
        """As a process ends: what is in hand is finished."""
        self.delivery.stop()
        self.deriver.stop()
        await asyncio.gather(*self._tasks)

    async def crash(self) -> None:
        """Delivery dies: nothing of its turns is finished, nothing noted. Its lanes go to others."""
        deriving, delivering = self._tasks
        self.deriver.stop()
        while not delivering.done():
            delivering.cancel()  # more than once: a driver in the middle of a read may swallow it
            await asyncio.wait({delivering}, timeout=1)
        await deriving
        self._tasks = []

    async def store(self, *events: Event) -> None:
        await self.database.insert_unordered("events", [to_document(one, escape=False) for one in events])

    async def rows(self, state: str | None = None) -> list[dict[str, Any]]:
        wanted = {} if state is None else {"state": state}
        return await self.database.find("lane_items", wanted, sort=[("queue", 1), ("seq", 1)])

    async def dead(self) -> list[dict[str, Any]]:
        return await self.database.find("dead_letters", {})

    async def state(self, name: str = "sink") -> dict[str, Any]:
        found = await self.database.find_one("destinations", {"_id": f"{WORKSPACE}/{name}"})
        assert found is not None
        return found


async def until(done: Callable[[], Any], *, seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while True:
            found = done()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def stays(done: Callable[[], Any], *, seconds: float = 0.5) -> None:
    """It stays so for a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                found = done()
                assert await found if asyncio.iscoroutine(found) else found
                await asyncio.sleep(0.02)
