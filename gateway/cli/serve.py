"""`serve` and `page`: start the gateway, with the demo or without."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import click
import uvloop

from gateway.app.logs import set_up_logs
from gateway.cli.demo import demo_url, page_address
from gateway.cli.opened import open_gateway
from gateway.cli.options import setting_options
from gateway.configuration import Option
from gateway.errors import GatewayError
from gateway.settings import Settings, read_settings

log = logging.getLogger("gateway.cli")

_END_SECONDS = 5.0


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
    from gateway.cli.running import run

    form = set_up_logs(settings.log)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    runner.get_loop().set_exception_handler(_unforeseen)
    try:
        runner.run(run(settings, demo=demo, form=form))
    except (GatewayError, click.ClickException):
        raise
    except Exception:
        # Not left to the interpreter, which would print the error's words.
        log.exception("the gateway ends by a fault")
        sys.exit(1)
    finally:
        _close(runner)


def _close(runner: asyncio.Runner) -> None:
    """End what is left, in a bounded time: PyMongo's waits for a server may swallow a cancellation, and never end."""
    loop = runner.get_loop()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        _, left = loop.run_until_complete(asyncio.wait(left, timeout=_END_SECONDS))
    if not left:
        runner.close()
        return
    for task in left:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is known


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
