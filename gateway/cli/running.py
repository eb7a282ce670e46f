"""What `serve` does. Apart from it, because this loads all of the gateway: help, and what is wrong with a setting, need
not wait for that."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack
from typing import Any

import click

from gateway import __version__
from gateway.app.building import Gateway, open_gateway, open_spans
from gateway.app.logs import Form
from gateway.app.serving import listen, on_signals, serving
from gateway.cli.demo import Demo
from gateway.settings import UNIX, Settings

log = logging.getLogger("gateway.cli")

#: Of new objects the collector of cycles looks through so many at a time; a batch of events is hundreds at once.
_YOUNG_OBJECTS = 10_000


async def run(settings: Settings, *, demo: bool, form: Form) -> None:
    """Serve until a signal comes, or the server or the embedded mongod ends. Raises SetupError with what to mend."""
    # The port first: a taken one must be known before a database is started.
    listener = listen(settings.host, settings.port)
    stopped: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    with on_signals(stopped.set_result):
        async with AsyncExitStack() as stack:
            spans = await stack.enter_async_context(open_spans(settings))
            gateway = await stack.enter_async_context(open_gateway(settings, spans, serves=True))
            await stack.enter_async_context(gateway.deriving())
            server = await stack.enter_async_context(serving(gateway, listener))
            url = settings.host if settings.host.startswith(UNIX) else f"http://{settings.host}:{settings.port}"
            if demo:
                await stack.enter_async_context(Demo(gateway, url).playing())
            else:
                await _say_served(gateway, url, form)
            _keep_what_is_there()
            ends: list[asyncio.Future[Any]] = [stopped, server.task]
            if gateway.keeping is not None:
                ends.append(gateway.keeping)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if gateway.keeping is not None and gateway.keeping.done():
                gateway.keeping.result()  # raises: without its mongod the process is of no use
            _say_stopping(form)
            # In a terminal nobody waits for a load balancer.
            if stopped.done() and stopped.result() is signal.SIGTERM:
                await server.drain(settings.drain_seconds)
    if form == "json":
        log.info("the gateway has stopped")


async def _say_served(gateway: Gateway, url: str, form: Form) -> None:
    settings = gateway.settings
    hint = "There is no workspace yet: `journey-gateway init` makes one with keys."
    empty = gateway.duties.collects and not await gateway.keyring.workspaces()
    if form == "json":
        said = {"version": __version__, "role": settings.role, "address": url, "database": settings.database}
        log.info("the gateway serves", extra=said)
        if empty:
            log.info(hint)
        return
    role = "" if settings.role == "all" else f", role {settings.role}"
    click.echo(f"Journey Gateway serves {url}{role}")
    if empty:
        click.echo(hint)


def _keep_what_is_there() -> None:
    """Spare the collector of cycles what was made at the start: intake spent a third of its CPU looking through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def _say_stopping(form: Form) -> None:
    if form == "json":
        log.info("the gateway stops: requests under way are finished first")
    else:
        click.echo("\nStopping: requests under way are finished first.")
