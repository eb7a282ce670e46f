"""`serve` and `page`: start the gateway, with the demo or without."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import click
import uvloop

from gateway.app.building import open_gateway
from gateway.app.serving import listen, on_signals, serving
from gateway.cli.demo import Demo, demo_url, page_address
from gateway.settings import Settings, read_settings


@click.command()
@click.option("--demo", is_flag=True, help="With sample data: a made-up shop's visitors in the workspace `demo`.")
@click.option("--host", help="Address to listen on (GATEWAY_HOST).")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on (GATEWAY_PORT).")
@click.option("--production", is_flag=True, help="No GraphQL IDE (GATEWAY_ENV=production).")
def serve(demo: bool, host: str | None, port: int | None, production: bool) -> None:
    """Start the gateway; Ctrl-C drains and stops it.

    \b
    Examples:
      journey-gateway serve --demo
      GATEWAY_MONGO_URI=mongodb://db/?replicaSet=rs0 journey-gateway serve --port 9000
    """
    settings = read_settings()
    settings = replace(
        settings,
        host=host or settings.host,
        port=port or settings.port,
        env="production" if production else settings.env,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, demo=demo))


async def _serve(settings: Settings, *, demo: bool) -> None:
    # The port first: a taken one must be known before a database is started.
    listener = listen(settings.host, settings.port)
    stop = asyncio.Event()
    with on_signals(stop.set):
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(open_gateway(settings))
            await stack.enter_async_context(gateway.deriving())
            server = await stack.enter_async_context(serving(gateway, listener))
            url = f"http://{settings.host}:{settings.port}"
            if demo:
                await stack.enter_async_context(Demo(gateway, url).playing())
            else:
                click.echo(f"Journey Gateway serves {url}")
                if not await gateway.keyring.workspaces():
                    click.echo("There is no workspace yet: `journey-gateway init` makes one with keys.")
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait([waiting, server], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            click.echo("\nStopping: requests under way are finished first.")


@click.command()
def page() -> None:
    """Print a fresh address of the demo's page (each opens it once)."""
    settings = read_settings()
    asyncio.run(_page(settings))


async def _page(settings: Settings) -> None:
    url = demo_url(settings)
    async with open_gateway(settings) as gateway:
        click.echo(await page_address(gateway, url))
