"""`serve` and `page`: start the gateway, with the demo or without."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

import click
import uvloop

from gateway import __version__
from gateway.app.building import Gateway, open_gateway, open_spans
from gateway.app.logs import Form, set_up_logs
from gateway.app.serving import listen, on_signals, serving
from gateway.cli.demo import Demo, demo_url, page_address
from gateway.cli.options import setting_options
from gateway.configuration import Option
from gateway.errors import GatewayError
from gateway.settings import UNIX, Settings, read_settings

log = logging.getLogger("gateway.cli")

#: Of new objects the collector of cycles looks through so many at a time; a batch of events is hundreds at once.
_YOUNG_OBJECTS = 10_000


@click.command()
@click.option("--demo", is_flag=True, help="With sample data: a made-up shop's visitors in the workspace `demo`.")
@setting_options("host", "port", "role", production=("env", "production"))
def serve(demo: bool, options: dict[str, Option]) -> None:
    """Start the gateway; Ctrl-C drains and stops it.

    \b
    Examples:
      journey-gateway serve --demo
      GATEWAY_MONGO_URI=mongodb://db/?replicaSet=rs0 journey-gateway serve --port 9000
    """
    settings = read_settings(options=options)
    if demo and settings.role != "all":
        raise click.UsageError("The demo needs the role `all`.")
    form = set_up_logs(settings.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_unforeseen)
        try:
            runner.run(_serve(settings, demo=demo, form=form))
        except (GatewayError, click.ClickException):
            raise
        except Exception:
            # Not left to the interpreter, which would print the error's words.
            log.exception("the gateway ends by a fault")
            sys.exit(1)


async def _serve(settings: Settings, *, demo: bool, form: Form) -> None:
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


def _unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio has to report; its own words quote what tasks hold."""
    log.error("a task failed", exc_info=context.get("exception"))


@click.command()
def page() -> None:
    """Print a fresh address of the demo's page (each opens it once)."""
    settings = read_settings()
    asyncio.run(_page(settings))


async def _page(settings: Settings) -> None:
    url = demo_url(settings)
    async with open_gateway(settings) as gateway:
        click.echo(await page_address(gateway, url))
