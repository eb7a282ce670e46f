"""One gateway process, put together: store, clock, pipeline, hub and doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from gateway.access.callers import Callers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.clock import ServerClock, random_secret
from gateway.contract import Contract, find_schema_root, load_contract
from gateway.errors import SetupError, Unavailable
from gateway.live.hub import Hub
from gateway.pipeline.derive import Derivation
from gateway.pipeline.folding import Fold
from gateway.pipeline.intake import Intake
from gateway.pipeline.owner import Deriver
from gateway.settings import Settings
from gateway.store import collections
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedMongod
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.identities import Identities
from gateway.store.imports import Imports
from gateway.store.keys import Keys
from gateway.store.lanes import Lanes
from gateway.store.measures import Measures
from gateway.store.quarantine import Quarantine
from gateway.store.users import Journeys, Sessions, Users

_ANCHOR_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything one process has. Made by `open_gateway`."""

    settings: Settings
    database: Database
    contract: Contract
    clock: ServerClock
    events: Events
    identities: Identities
    users: Users
    sessions: Sessions
    journeys: Journeys
    measures: Measures
    imports: Imports
    intake: Intake
    deriver: Deriver
    hub: Hub
    keyring: KeyRing
    tokens: Tokens
    callers: Callers

    @asynccontextmanager
    async def deriving(self) -> AsyncIterator[None]:
        """Derive in the background, as soon as no other process does."""
        task = asyncio.create_task(self.deriver.run())
        try:
            yield
        finally:
            self.deriver.stop()
            await task

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Follow the feed for subscriptions."""
        await self.hub.start()
        try:
            yield
        finally:
            await self.hub.stop()


@asynccontextmanager
async def open_mongod(settings: Settings) -> AsyncIterator[str]:
    """The address of MongoDB: the one that is set, or the embedded one's, started for as long as this is open."""
    if settings.mongo_uri is not None:
        yield settings.mongo_uri
        return
    mongod = await EmbeddedMongod.start(settings.data_dir, mongod=settings.mongod)
    try:
        yield mongod.uri
    finally:
        await mongod.stop()


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Connect, prepare the database, build. Raises SetupError or ContractError with what to mend."""
    contract = load_contract(contract_folder(settings))
    async with open_mongod(settings) as uri:
        database = connect(uri, settings.database, driver=settings.driver)
        try:
            await _prepare(database)
            clock = ServerClock()
            await _anchor(database, clock)
            gateway = await _build(settings, database, contract, clock)
            keeping_time = asyncio.create_task(_keep_time(database, clock))
            try:
                yield gateway
            finally:
                keeping_time.cancel()
                await gateway.intake.drain()
        finally:
            await database.close()


def contract_folder(settings: Settings) -> Path:
    """The folder of the contract that is set."""
    return find_schema_root(settings.schema_dir) / settings.contract


async def _prepare(database: Database) -> None:
    try:
        hello = await database.hello()
    except Unavailable as away:
        raise SetupError(
            "MongoDB does not answer.", hint="Check GATEWAY_MONGO_URI, and that a member is primary."
        ) from away
    if "setName" not in hello:
        raise SetupError(
            "MongoDB runs alone; the gateway needs a replica set (one member is enough).",
            hint="Start mongod with --replSet rs0 and run rs.initiate() once.",
        )
    await collections.prepare(database)
    await Lanes(database).prepare()


async def _build(settings: Settings, database: Database, contract: Contract, clock: ServerClock) -> Gateway:
    events, identities, users = Events(database), Identities(database), Users(database)
    sessions, journeys, keys = Sessions(database), Journeys(database), Keys(database)
    secret = await keys.server_secret(random_secret())
    keyring, tokens = KeyRing(keys, clock), Tokens(secret, clock)
    derivation = Derivation(Lanes(database), Fold(events, identities, users, sessions, journeys, contract))
    return Gateway(
        settings=settings,
        database=database,
        contract=contract,
        clock=clock,
        events=events,
        identities=identities,
        users=users,
        sessions=sessions,
        journeys=journeys,
        measures=Measures(database),
        imports=Imports(database),
        intake=Intake(
            events,
            Quarantine(database),
            clock,
            max_event_bytes=settings.max_event_bytes,
            max_batch_events=settings.max_batch_events,
        ),
        deriver=Deriver(
            database,
            derivation,
            clock,
            lease_seconds=settings.lease_seconds,
            feed_hours=settings.feed_hours,
        ),
        hub=Hub(Feed(database), events, secret),
        keyring=keyring,
        tokens=tokens,
        callers=Callers(keyring, tokens),
    )


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


async def _keep_time(database: Database, clock: ServerClock) -> None:
    task = asyncio.current_task()
    while task is not None and not task.cancelling():  # a driver may swallow the cancelling itself
        await asyncio.sleep(_ANCHOR_SECONDS)
        with suppress(Unavailable):
            await _anchor(database, clock)
