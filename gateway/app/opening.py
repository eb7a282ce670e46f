"""The database of a process: MongoDB found or started, collections and indexes made, the clock set by its own.

Apart from `building`, so that a command which asks the database alone does not load the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC

from gateway.clock import ServerClock
from gateway.errors import GatewayError, SetupError, Unavailable
from gateway.settings import Settings
from gateway.store import collections
from gateway.store.database import CommandListener, Database, Document, connect
from gateway.store.embedded import EmbeddedMongod
from gateway.store.keeping import KeptMongod
from gateway.store.keys import Keys
from gateway.store.lanes import Lanes

_ANCHOR_SECONDS = 10.0
_HELLOS = 5
_LOOK_SECONDS = 5.0


@asynccontextmanager
async def open_mongod(settings: Settings) -> AsyncIterator[tuple[str, asyncio.Future[None] | None]]:
    """The address of MongoDB: the one that is set, or the embedded one's, kept running for as long as this is open."""
    if settings.mongo_uri is not None:
        yield settings.mongo_uri, None
        return
    mongod = await KeptMongod.start(settings.data_dir, mongod=settings.mongod)
    keeping = asyncio.create_task(mongod.keep())
    try:
        yield mongod.uri, keeping
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await mongod.stop()


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[tuple[Database, ServerClock]]:
    """The database, prepared, and its time: for commands. Raises SetupError with what to mend."""
    async with open_mongod(settings) as (uri, _), open_database(settings, uri) as opened:
        yield opened


async def known_workspaces(settings: Settings) -> list[str] | None:
    """The workspaces there are, for a look that starts nothing; None when no MongoDB runs or answers."""
    running = None if settings.mongo_uri else await EmbeddedMongod.running(settings.data_dir)
    uri = settings.mongo_uri or (running and running.uri)
    if not uri:
        return None
    database = connect(uri, settings.database, driver=settings.driver)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return await Keys(database).workspaces()
    except (GatewayError, TimeoutError):
        return None
    finally:
        await database.close()


@asynccontextmanager
async def open_database(
    settings: Settings, uri: str, *listeners: CommandListener
) -> AsyncIterator[tuple[Database, ServerClock]]:
    """The database at `uri`, prepared, and its time. Raises SetupError with what to mend."""
    database = connect(uri, settings.database, driver=settings.driver, listeners=listeners)
    try:
        await _prepare(database)
        clock = ServerClock()
        await _anchor(database, clock)
        yield database, clock
    finally:
        await database.close()


async def _prepare(database: Database) -> None:
    hello = await _first_hello(database)
    if "setName" not in hello:
        raise SetupError(
            "MongoDB runs alone; the gateway needs a replica set (one member is enough).",
            hint="Start mongod with --replSet rs0 and run rs.initiate() once.",
        )
    await collections.prepare(database)
    await Lanes(database).prepare()


async def _first_hello(database: Database) -> Document:
    """MongoDB's reply, waited for as long as an election or a busy machine may take: each try lasts two seconds."""
    for _ in range(_HELLOS):
        with suppress(Unavailable):
            return await database.hello()
    raise SetupError("MongoDB does not answer.", hint="Check GATEWAY_MONGO_URI, and that a member is primary.")


async def _anchor(database: Database, clock: ServerClock) -> None:
    """Tie the clock to mongod's; the quickest of three answers is the most exact."""
    answers = []
    for _ in range(3):
        asked = clock.monotonic()
        hello = await database.hello()
        answered = clock.monotonic()
        answers.append((answered - asked, hello["localTime"], asked, answered))
    _, local_time, asked, answered = min(answers, key=lambda answer: answer[0])
    clock.anchor(local_time.replace(tzinfo=UTC).timestamp() * 1000, asked, answered)


async def keep_time(database: Database, clock: ServerClock) -> None:
    task = asyncio.current_task()
    while task is not None and not task.cancelling():  # a driver may swallow the cancelling itself
        await asyncio.sleep(_ANCHOR_SECONDS)
        with suppress(GatewayError):
            await _anchor(database, clock)
