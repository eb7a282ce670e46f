"""The doors for events over a real database, called as a browser or an SDK would, without a socket."""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
from starlette.applications import Starlette

from gateway.access.callers import Callers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.clock import FrozenClock
from gateway.collect.segment import routes
from gateway.collect.tokens import token_routes
from gateway.model.event import Event
from gateway.model.scope import PERMISSIONS, Scope
from gateway.pipeline.intake import Intake
from gateway.settings import Settings
from gateway.store import collections
from gateway.store.database import Database, Document, connect
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.keys import Keys
from gateway.store.quarantine import Quarantine

NOW = 1_710_325_274_000
SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class Doors:
    """The HTTP doors of one workspace; the clock stands at NOW."""

    workspace: str
    client: httpx2.AsyncClient
    database: Database
    clock: FrozenClock
    keyring: KeyRing
    tokens: Tokens
    write_key: str
    api_key: str

    async def post(self, path: str, body: Any, *, key: str | None = None, **headers: str) -> httpx2.Response:
        """POST a body (bytes as they are, all else as JSON) with a write key."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"authorization": basic(self.write_key if key is None else key), "content-type": "application/json"}
        return await self.client.post(path, content=content, headers=given | headers)

    async def bare(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """POST without any credential but those given."""
        return await self.client.post(path, content=orjson.dumps(body), headers=headers)

    async def events(self) -> list[Event]:
        """Every stored event, oldest first."""
        return (await Events(self.database).page(Scope.system(self.workspace), limit=10_000))[::-1]

    async def quarantined(self) -> list[Document]:
        return await self.database.find("quarantine", {"workspace": self.workspace}, sort=[("code", 1)])


@asynccontextmanager
async def new_database(mongo_uri: str) -> AsyncIterator[Database]:
    """A prepared database for all tests of a module: each opens doors to a workspace of its own."""
    database = connect(mongo_uri, f"test_{uuid.uuid4().hex}")
    try:
        await collections.prepare(database)
        yield database
        await database.drop_database()
    finally:
        await database.close()


@asynccontextmanager
async def open_doors(database: Database, settings: Settings = SETTINGS) -> AsyncIterator[Doors]:
    """Doors of a new workspace, with a write key and an API key that may do everything."""
    workspace = f"w{uuid.uuid4().hex}"
    clock = FrozenClock(NOW)
    keyring, tokens = KeyRing(Keys(database), clock), Tokens("s" * 43, clock)
    write_key = await keyring.create_write_key(workspace, "web")
    api_key = await keyring.create_api_key(workspace, frozenset(PERMISSIONS))
    intake = Intake(
        Events(database),
        Quarantine(database),
        clock,
        max_event_bytes=settings.max_event_bytes,
        max_batch_events=settings.max_batch_events,
    )
    app = Starlette(
        routes=[
            *routes(intake, keyring, settings),
            *token_routes(keyring, Callers(keyring, tokens), tokens, Identities(database), settings),
        ]
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        yield Doors(workspace, client, database, clock, keyring, tokens, write_key, api_key)
        await intake.drain()


def basic(user: str) -> str:
    return "Basic " + b64encode(f"{user}:".encode()).decode()


def track(message_id: str, **rest: Any) -> dict[str, Any]:
    """A good event."""
    return {
        "type": "track",
        "event": "Product Viewed",
        "userId": "ada",
        "messageId": message_id,
        "timestamp": "2024-03-13T10:21:14Z",
        **rest,
    }
