"""The ASGI application, and the server that runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from gateway.api.context import Services
from gateway.api.graphiql import graphiql_routes
from gateway.api.ofrep import ofrep_routes
from gateway.api.sdl import sdl_route
from gateway.api.served import ServedSchema
from gateway.api.view import graphql_app
from gateway.app.building import Gateway
from gateway.app.cors import Cors
from gateway.app.exchanges import Exchanges
from gateway.app.health import health_routes
from gateway.app.listening import IDLE_SECONDS, allow_connections, connection_class, listen
from gateway.app.observed import Operations
from gateway.app.roles import Role
from gateway.clock import REQUEST_ID
from gateway.collect.hooks import hook_routes
from gateway.collect.rudderstack import rudderstack_routes
from gateway.collect.segment import routes
from gateway.collect.tokens import token_routes
from gateway.collect.vendors import vendor_routes
from gateway.connectors.asking import Asking
from gateway.console.pages import page_routes
from gateway.quality.auditing import Auditor
from gateway.quality.definitions import Definitions
from gateway.store.alert_states import AlertStates
from gateway.store.alerts import Alerts
from gateway.store.catalog import Catalog
from gateway.store.kpi_snapshots import KpiSnapshots

__all__ = ["Serving", "build_app", "listen", "on_signals", "services_of", "serving"]

#: How long requests under way may take when the server stops.
_FINISH_SECONDS = 10


def build_app(gateway: Gateway) -> Exchanges:
    """Every door of the process's role on one application, and what goes around all of them."""
    doors = Exchanges(gateway.metrics, gateway.spans, slow_seconds=gateway.settings.slow_seconds)
    gateway.watch.refused = doors.refused
    starlette = Starlette(
        routes=_routes(gateway, doors),
        exception_handlers={404: _not_found(gateway.settings.role), 405: _not_allowed, Exception: _fault},
    )
    # Around the answers to faults too: pages shall be able to read every answer.
    doors.app = Cors(starlette, origins=gateway.settings.cors_origins)
    return doors


def _routes(gateway: Gateway, doors: Exchanges) -> list[BaseRoute]:
    """What this process serves. A new door is one line in the function of its role."""
    duties = gateway.duties
    return [
        *(_collect_routes(gateway) if duties.collects else ()),  # first: they are asked for most
        *health_routes(gateway.watch, gateway.metrics, gateway.settings),
        *(_token_routes(gateway) if duties.mints else ()),
        *(_api_routes(gateway, doors) if duties.answers else ()),
    ]


def _collect_routes(gateway: Gateway) -> list[BaseRoute]:
    """The ways in for events: role `collect`."""
    return [
        *routes(gateway.intake, gateway.keyring, gateway.settings, gateway.contracts),
        *rudderstack_routes(gateway.intake, gateway.keyring, gateway.settings),
        *hook_routes(gateway.connectors.webhooks, gateway.intake, gateway.settings, gateway.clock),
        *vendor_routes(gateway.intake, gateway.keyring, gateway.settings, gateway.clock),
    ]


def _token_routes(gateway: Gateway) -> list[BaseRoute]:
    """Tokens for browsers: roles `collect` and `api`."""
    return [
        *token_routes(
            gateway.keyring,
            gateway.callers,
            gateway.tokens,
            gateway.identities,
            gateway.privacy.suppressed,
            gateway.settings,
        ),
    ]


def _api_routes(gateway: Gateway, doors: Exchanges) -> list[BaseRoute]:
    """GraphQL, OFREP and the page: role `api`."""
    observed = partial(Operations, doors, gateway.metrics, gateway.spans)
    services = services_of(gateway)
    schema = ServedSchema(gateway.contracts, [observed], gateway.connectors.plugged.host.graphql)
    graphql = graphql_app(schema, services, gateway.settings)
    return [
        *(Route(path, graphql) for path in ("/graphql", "/graphql/")),
        *(WebSocketRoute(path, graphql) for path in ("/graphql", "/graphql/")),
        *ofrep_routes(services, gateway.tokens),
        sdl_route(gateway.callers, gateway.settings, schema),
        *(graphiql_routes() if gateway.settings.env == "development" else ()),
        *page_routes(),
    ]


def services_of(gateway: Gateway) -> Services:
    """What the API works with."""
    return Services(
        contracts=gateway.contracts,
        events=gateway.events,
        identities=gateway.identities,
        users=gateway.users,
        sessions=gateway.sessions,
        journeys=gateway.journeys,
        intake=gateway.intake,
        quarantine=gateway.quarantine,
        accounting=gateway.accounting,
        derivation=gateway.derivation,
        hub=gateway.hub,
        consistency=gateway.consistency,
        callers=gateway.callers,
        clock=gateway.clock,
        privacy=gateway.privacy,
        eraser=gateway.eraser,
        plugged=gateway.connectors.plugged,
        enrichments=gateway.connectors.enrichments,
        alerts=Alerts(gateway.database),
        catalog=Catalog(gateway.database),
        auditor=Auditor(gateway.database),
        asking=Asking(gateway.database, gateway.clock),
        collaboration=gateway.collaboration,
        questions=gateway.evaluator.questions,
        evaluator=gateway.evaluator,
        snapshots=KpiSnapshots(gateway.database),
        definitions=Definitions(gateway.collaboration.history),
        alert_states=AlertStates(gateway.database),
        rule_values=gateway.rule_values,
        flags=gateway.connectors.flags,
        feedback=gateway.feedback,
    )


def _not_found(role: Role) -> Callable[[Request, Exception], Awaitable[Response]]:
    message = "There is nothing here. Events go to /v1/batch, queries to /graphql."
    if role != "all":
        message = f"There is nothing here: this process runs the role `{role}` and serves nothing else."

    async def not_found(request: Request, error: Exception) -> Response:
        return JSONResponse({"code": "NOT_FOUND", "message": message}, status_code=404)

    return not_found


async def _not_allowed(request: Request, error: Exception) -> JSONResponse:
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse(
        {"code": "METHOD_NOT_ALLOWED", "message": "Not with this method. Events are sent by POST to /v1/batch."},
        status_code=405,
        headers=headers,
    )


async def _fault(request: Request, error: Exception) -> JSONResponse:
    number = REQUEST_ID.get() or ""
    message = f"A fault of the gateway; its log says where: {number}."
    return JSONResponse({"code": "INTERNAL", "message": message, "requestId": number}, status_code=500)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process stops once, in our order, and exits 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server at work. Its task ends when it does."""

    def __init__(self, gateway: Gateway, server: uvicorn.Server, doors: Exchanges, task: asyncio.Task[None]) -> None:
        self._gateway = gateway
        self._server = server
        self._doors = doors
        self.task = task

    async def drain(self, seconds: float) -> None:
        """Say `not ready` for so long, and serve as ever: whoever sends requests here looks for another process."""
        self._gateway.watch.draining = True
        self._doors.drain()
        await asyncio.wait([self.task], timeout=seconds)

    async def stop(self) -> None:
        """Send WebSockets and event streams elsewhere, accept no more, finish the requests under way."""
        await self.drain(0)
        # The sockets first: a subscription that ends before its socket would look finished for good.
        await self._doors.end()
        self._server.should_exit = True
        await self.task


@contextlib.asynccontextmanager
async def serving(gateway: Gateway, listener: socket.socket) -> AsyncIterator[Serving]:
    """Serve while this is open."""
    settings = gateway.settings
    doors = build_app(gateway)
    most = allow_connections(settings.max_connections)
    config = uvicorn.Config(
        doors,
        http=connection_class(header_seconds=settings.header_seconds, most=most),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # they count only behind GATEWAY_TRUSTED_PROXIES: gateway/collect/peers.py
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    server = _Server(config)
    doors.limit(lambda: len(server.server_state.connections), most)
    async with gateway.publishing(), gateway.watching():
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        running = Serving(gateway, server, doors, task)
        try:
            yield running
        finally:
            await running.stop()


@contextlib.contextmanager
def on_signals(stop: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `stop` on Ctrl-C and SIGTERM; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    caught = [signal.SIGINT, signal.SIGTERM]

    def first(caught_one: signal.Signals) -> None:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop(caught_one)

    for number in caught:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
