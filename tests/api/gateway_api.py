"""The API over a real database, called as a client would, without a socket; derivation runs when a test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import orjson
from starlette.types import ASGIApp

from gateway.access.callers import Callers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.api.context import Services
from gateway.api.schema import Schema, build_schema
from gateway.api.view import graphql_app
from gateway.clock import FrozenClock, ServerClock
from gateway.connectors.asking import Asking
from gateway.connectors.enriching import Enrichments
from gateway.connectors.kpi_functions import KpiFunctions
from gateway.contract import Contract, EventDefinition, load_contract
from gateway.feedback import Feedback
from gateway.flags import Flags
from gateway.insights.alerting import EvaluatedKpis, RuleValues
from gateway.insights.asking import Questions
from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.scan import Scans
from gateway.insights.columnar.users import Directory
from gateway.insights.kpis.evaluating import Evaluator
from gateway.live.consistency import Consistency
from gateway.live.hub import Hub
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.conforming import Conforming, Modes
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.erasures import Eraser
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.owner import Deriver
from gateway.plugin.configuring import Plugged
from gateway.plugin.host import Host
from gateway.privacy import Privacy
from gateway.quality.auditing import Auditor
from gateway.quality.collaboration import Collaboration
from gateway.quality.definitions import Definitions
from gateway.quality.gathering import Gathering
from gateway.settings import Settings
from gateway.store import collections
from gateway.store.accounting import Accounting
from gateway.store.alert_states import AlertStates
from gateway.store.alerts import Alerts
from gateway.store.catalog import Catalog
from gateway.store.database import Database
from gateway.store.derivation import DerivationStatus
from gateway.store.erasures import Erasures
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.identities import Identities
from gateway.store.keys import Keys
from gateway.store.kpi_snapshots import KpiSnapshots
from gateway.store.lanes import Lanes, Lease
from gateway.store.quarantine import Quarantine
from gateway.store.users import Journeys, Sessions, Users
from gateway.store.work import Work
from tests.pace import PATIENCE

SHOP = Path(__file__).parents[2] / "schema" / "shop"
WORKSPACE = "main"
SECRET = "a secret of more than thirty-two bytes for tests"
#: 2026-11-21T10:00:00Z
NOW = 1_795_255_200_000

Json = dict[str, Any]


@dataclass
class Gateway:
    """One workspace with its API; the clock stands at NOW."""

    database: Database
    contract: Contract
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOW))
    env: str = "production"
    flags: Flags = field(default_factory=Flags)
    plugged: Plugged = field(default_factory=lambda: Plugged(Host()))
    enrichments: dict[str, Enrichments] = field(default_factory=dict)
    #: Compare events with the contract's plan, and catalogue them.
    modes: Modes | None = None

    def __post_init__(self) -> None:
        database = self.database
        self.events, self.identities, self.users = Events(database), Identities(database), Users(database)
        self.sessions, self.journeys = Sessions(database), Journeys(database)
        self.keyring = KeyRing(Keys(database), self.clock)
        self.tokens = Tokens(SECRET, self.clock)
        self.quarantine, self.accounting = Quarantine(database), Accounting(database)
        accounts = Accounts(self.accounting, self.clock)
        self.privacy = Privacy(database, self.clock)
        contracts, catalog = Contracts.fixed(self.contract), Catalog(database)
        self.intake = Intake(
            self.events,
            self.quarantine,
            self.clock,
            accounts=accounts,
            privacy=self.privacy,
            conforming=None if self.modes is None else Conforming(contracts, self.modes),
            gathering=None if self.modes is None else Gathering(catalog, lambda: self.contract, self.clock),
        )
        self.eraser = Eraser(database, self.events, self.users, Erasures(database), self.privacy, self.clock)
        self.lanes = Lanes(database)
        self.deriver = Deriver(database, Derivation.of(database, Contracts.fixed(self.contract)), self.clock)
        self.hub = Hub(Feed(database), Events(database), SECRET)
        # Without parts: everything is read from MongoDB, as in a gateway that has just started.
        self.engine, self.directory = Engine(None, threads=1, memory_mb=256, at_once=1), Directory(database, self.clock)
        self.scans = Scans(database, None, self.engine, self.directory, self.clock)
        self.evaluator = Evaluator(
            Questions.of(self.scans, database, self.clock), KpiFunctions(self.plugged.host.kpi_functions)
        )
        collaboration = Collaboration.of(database, self.clock, build_schema)
        self.services = Services(
            contracts=Contracts.fixed(self.contract),
            events=self.events,
            identities=self.identities,
            users=self.users,
            sessions=self.sessions,
            journeys=self.journeys,
            intake=self.intake,
            quarantine=self.quarantine,
            accounting=self.accounting,
            derivation=DerivationStatus(database),
            hub=self.hub,
            consistency=Consistency(Feed(database), Work(database), ServerClock()),
            callers=Callers(self.keyring, self.tokens),
            clock=self.clock,
            privacy=self.privacy,
            eraser=self.eraser,
            flags=self.flags,
            feedback=Feedback(database, self.events, self.privacy, self.clock, SECRET),
            plugged=self.plugged,
            alerts=Alerts(database),
            catalog=Catalog(database),
            auditor=Auditor(database),
            asking=Asking(database, self.clock),
            collaboration=collaboration,
            questions=self.evaluator.questions,
            evaluator=self.evaluator,
            snapshots=KpiSnapshots(database),
            definitions=Definitions(collaboration.history),
            alert_states=AlertStates(database),
            rule_values=RuleValues(
                database, EvaluatedKpis(self.evaluator, lambda: self.contract), lambda: self.contract
            ),
            enrichments=self.enrichments,
        )
        added = self.plugged.host.graphql
        self.schema = build_schema(self.contract, added=added) if added else _built(self.contract)
        settings = Settings(env=self.env)  # type: ignore[arg-type]
        self.app = graphql_app(self.schema, self.services, settings)
        self._lease: Lease | None = None
        self._pending: list[bytes] = []

    async def prepare(self) -> None:
        await collections.prepare(self.database)
        await self.lanes.prepare()

    async def close(self) -> None:
        """Let the threads and streams of questions go."""
        await self.evaluator.functions.close()
        await self.directory.close()
        await asyncio.to_thread(self.engine.close)

    # -- callers ------------------------------------------------------------------------------------------------

    async def api_key(self, *permissions: str) -> str:
        """A header's value with an API key; without permissions named, with all."""
        return "Bearer " + await self.keyring.create_api_key(WORKSPACE, frozenset(permissions or PERMISSIONS))

    def token(self, **identity: str) -> str:
        """A header's value with an end user's token, such as token(userId="ann")."""
        ((kind, value),) = identity.items()
        one = Identity(kind, value)  # type: ignore[arg-type]
        return "Bearer " + self.tokens.mint_user(WORKSPACE, one, 60)

    # -- events -------------------------------------------------------------------------------------------------

    async def send(self, *messages: Json, workspace: str = WORKSPACE, derive: bool = True) -> list[str]:
        """Take events in and derive them; their global ids."""
        receipt = await self.intake.ingest(Delivery(workspace, "test", list(messages)))
        assert not receipt.problems, receipt.problems
        self._pending += receipt.ids
        if derive:
            await self.derive()
        return [f"event_{key.hex()}" for key in receipt.ids]

    async def derive(self) -> None:
        """Derive what came in, through every door."""
        if self._lease is None:
            self._lease = await self.lanes.acquire("test", 3600)
        assert self._lease is not None
        async for events in self.events.in_arrival_order(500):
            await self.deriver.apply(self._lease, events)
        await self.deriver.work_off(self._lease)

    # -- asking -------------------------------------------------------------------------------------------------

    async def post(self, body: object, authorization: str | None = None, **headers: str) -> httpx2.Response:
        """One request; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json", **headers}
        if authorization is not None:
            given["authorization"] = authorization
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post("/", content=content, headers=given)

    async def request(self, method: str, path: str, content: bytes = b"", /, **headers: str) -> httpx2.Response:
        """One request, without a body unless one is given."""
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=content, headers=headers)

    async def answer(self, query: str, authorization: str | None, **variables: object) -> Json:
        """Data and errors of an operation."""
        response = await self.post({"query": query, "variables": variables}, authorization)
        answer: Json = response.json()
        return answer

    async def ask(self, query: str, authorization: str | None, **variables: object) -> Json:
        """Data of an operation that has no errors."""
        answer = await self.answer(query, authorization, **variables)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data

    async def refusal(self, query: str, authorization: str | None, **variables: object) -> Json:
        """The one error of an operation."""
        answer = await self.answer(query, authorization, **variables)
        (error,) = answer["errors"]
        refusal: Json = error
        return refusal

    @asynccontextmanager
    async def socket(self, authorization: object = None, **init: object) -> AsyncIterator[Socket]:
        """An open WebSocket; with `authorization` past connection_init."""
        socket = Socket(self.app)
        await socket.open()
        try:
            if authorization is not None:
                await socket.send(type="connection_init", payload={"authorization": authorization})
                assert (await socket.receive())["type"] == "connection_ack"
            yield socket
        finally:
            await socket.hang_up()


class Socket:
    """The client's end of a WebSocket to an ASGI application."""

    def __init__(self, app: ASGIApp, origin: str | None = None) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Json] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self._headers = [(b"host", b"gateway")]
        if origin is not None:
            self._headers.append((b"origin", origin.encode()))
        self._task: asyncio.Task[None] | None = None

    async def open(self, *protocols: str) -> Json:
        """Shake hands; the application's first answer."""
        scope: Json = {
            "type": "websocket",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "http_version": "1.1",
            "headers": self._headers,
            "subprotocols": list(protocols or ("graphql-transport-ws",)),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "state": {},
        }
        await self._to_app.put({"type": "websocket.connect"})

        async def run() -> None:
            await self._app(scope, self._to_app.get, self._from_app.put)

        self._task = asyncio.create_task(run())
        return await self._next()

    async def send(self, **message: object) -> None:
        await self.send_text(orjson.dumps(message).decode())

    async def send_text(self, text: str) -> None:
        await self._to_app.put({"type": "websocket.receive", "text": text})

    async def receive(self) -> Json:
        """The next message."""
        event = await self._next()
        assert event["type"] == "websocket.send", event
        message: Json = orjson.loads(event["text"])
        return message

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close that comes next."""
        event = await self._next()
        assert event["type"] == "websocket.close", event
        return event["code"], event["reason"]

    async def subscribe(self, query: str, id: str = "1", **variables: object) -> None:
        await self.send(type="subscribe", id=id, payload={"query": query, "variables": variables})

    async def news(self) -> Json:
        """Data of the next message of a subscription."""
        message = await self.receive()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        data: Json = message["payload"]["data"]
        return data

    async def hang_up(self) -> None:
        await self._to_app.put({"type": "websocket.disconnect", "code": 1000})
        if self._task is not None:
            async with asyncio.timeout(PATIENCE):
                await self._task

    async def _next(self) -> Json:
        async with asyncio.timeout(PATIENCE):
            event: Json = await self._from_app.get()
        return event


@cache
def load_shop() -> Contract:
    """The shop with one map and the KPIs that are computed, so that tests can say what there is."""
    shop = load_contract(SHOP)
    kpis = {key: shop.kpis[key] for key in ("csat", "purchase_conversion", "session_length")}
    return replace(shop, journeys={"purchase": shop.journeys["purchase"]}, kpis=kpis)


#: Schemas by the plan that is in them: to build one takes longer than most tests.
_SCHEMAS: dict[frozenset[EventDefinition], Schema] = {}


def _built(contract: Contract) -> Schema:
    plan = frozenset(contract.events.values())
    if plan not in _SCHEMAS:
        _SCHEMAS[plan] = build_schema(contract)
    return _SCHEMAS[plan]


# -- messages -----------------------------------------------------------------------------------------------------


def at(minutes: float) -> str:
    """Minutes before NOW as the timestamp of a message."""
    from gateway.api.scalars import iso

    return iso(NOW - int(minutes * 60_000))


def track(event: str, minutes: float = 0, **more: object) -> Json:
    """A track call, `minutes` ago."""
    return {"type": "track", "event": event, "timestamp": at(minutes), **more}


def identify(minutes: float = 0, **more: object) -> Json:
    """An identify call, `minutes` ago."""
    return {"type": "identify", "timestamp": at(minutes), **more}
