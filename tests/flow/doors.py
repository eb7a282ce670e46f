"""The doors for events over a real database, called as a browser or an SDK would, without a socket."""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware

from gateway.access.callers import Callers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.app.cors import Cors
from gateway.clock import FrozenClock
from gateway.collect.rudderstack import rudderstack_routes
from gateway.collect.segment import routes
from gateway.collect.tokens import token_routes
from gateway.collect.vendors import vendor_routes
from gateway.contract import Contract, find_schema_root, load_contract
from gateway.model.event import Event
from gateway.model.scope import PERMISSIONS, Scope
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.addresses import Addresses
from gateway.pipeline.budget import Budget
from gateway.pipeline.conforming import Conforming, Modes
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.intake import Intake
from gateway.privacy.suppressed import Suppressed
from gateway.quality.gathering import Gathering
from gateway.settings import Settings
from gateway.store.accounting import Accounting
from gateway.store.catalog import Catalog
from gateway.store.database import Database, Document, connect
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.keys import Keys
from gateway.store.quarantine import Quarantine
from gateway.store.suppressions import Suppressions
from tests.databases import lend

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
    intake: Intake
    suppressed: Suppressed

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


@cache
def contract() -> Contract:
    """The sample contract."""
    return load_contract(find_schema_root() / "shop")


@asynccontextmanager
async def new_database(mongo_uri: str) -> AsyncIterator[Database]:
    """A database for all tests of a module: each opens doors to a workspace of its own."""
    async with lend(mongo_uri) as name:
        database = connect(mongo_uri, name)
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def open_doors(
    database: Database,
    settings: Settings = SETTINGS,
    *,
    workspace: str | None = None,
    plan: Contracts | None = None,
    modes: Modes | None = None,
) -> AsyncIterator[Doors]:
    """Doors of a new workspace, with a write key and an API key that may do everything. With a `plan` events are
    compared with it, and what they carry is catalogued."""
    workspace = workspace or f"w{uuid.uuid4().hex}"
    clock = FrozenClock(NOW)
    keyring, tokens = KeyRing(Keys(database), clock), Tokens("s" * 43, clock)
    write_key = await keyring.create_write_key(workspace, "web")
    api_key = await keyring.create_api_key(workspace, frozenset(PERMISSIONS))
    suppressed = Suppressed(Suppressions(database))
    intake = Intake(
        Events(database),
        Quarantine(database),
        clock,
        accounts=Accounts(Accounting(database), clock),
        budget=Budget(settings.intake_budget_bytes),
        max_event_bytes=settings.max_event_bytes,
        max_batch_events=settings.max_batch_events,
        addresses=Addresses(settings.ip, settings.country_database),
        conforming=None if plan is None else Conforming(plan, modes),
        gathering=None if plan is None else Gathering(Catalog(database), lambda: plan.current, clock),
    )
    app = Starlette(
        routes=[
            *routes(intake, keyring, settings, Contracts.fixed(contract())),
            *rudderstack_routes(intake, keyring, settings),
            *vendor_routes(intake, keyring, settings, clock),
            *token_routes(keyring, Callers(keyring, tokens), tokens, Identities(database), suppressed, settings),
        ],
        middleware=[Middleware(Cors, origins=settings.cors_origins)],
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        yield Doors(workspace, client, database, clock, keyring, tokens, write_key, api_key, intake, suppressed)
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
