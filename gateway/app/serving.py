"""The ASGI application, and the server that runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from gateway.api.context import Services
from gateway.api.schema import build_schema
from gateway.api.view import graphql_app
from gateway.app.building import Gateway
from gateway.collect.segment import routes
from gateway.collect.tokens import token_routes
from gateway.console.pages import page_routes
from gateway.errors import SetupError

_DRAIN_SECONDS = 10


def build_app(gateway: Gateway) -> Starlette:
    """Every door on one application."""
    graphql = graphql_app(build_schema(gateway.contract), services_of(gateway), gateway.settings)
    return Starlette(
        routes=[
            *routes(gateway.intake, gateway.keyring, gateway.settings),
            *token_routes(gateway.keyring, gateway.callers, gateway.tokens, gateway.identities, gateway.settings),
            Route("/graphql", graphql),
            WebSocketRoute("/graphql", graphql),
            *page_routes(),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(gateway.settings.cors_origins),
                allow_methods=["GET", "POST", "OPTIONS"],
                allow_headers=["authorization", "content-type", "content-encoding", "x-retry-count"],
                max_age=86_400,
            )
        ],
        exception_handlers={404: _not_found, Exception: _fault},
    )


def services_of(gateway: Gateway) -> Services:
    """What the API works with."""
    return Services(
        contract=gateway.contract,
        events=gateway.events,
        identities=gateway.identities,
        users=gateway.users,
        sessions=gateway.sessions,
        journeys=gateway.journeys,
        measures=gateway.measures,
        intake=gateway.intake,
        hub=gateway.hub,
        callers=gateway.callers,
        clock=gateway.clock,
    )


async def _not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse(
        {"code": "NOT_FOUND", "message": "There is nothing here. Events go to /v1/batch, queries to /graphql."},
        status_code=404,
    )


async def _fault(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"code": "INTERNAL", "message": "A fault of the gateway; its log says where."}, status_code=500)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SetupError when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise SetupError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint=f"Choose another port: --port {port + 1 if port < 65_535 else 8001}, or GATEWAY_PORT.",
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process stops once, in our order, and exits 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(gateway: Gateway, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Serve while this is open; the task ends when the server does."""
    config = uvicorn.Config(
        build_app(gateway),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = _Server(config)
    async with gateway.publishing():
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield task
        finally:
            # The sockets first: a subscription that ends before its socket would look finished for good.
            server.should_exit = True
            await task


@contextlib.contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on Ctrl-C and SIGTERM; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    caught = [signal.SIGINT, signal.SIGTERM]

    def first() -> None:
        for number in caught:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop()

    for number in caught:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
