"""`columnar`: the Parquet parts that numbers are computed from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import click

from gateway.app.columnar import Columnar, Standing
from gateway.app.opening import open_store
from gateway.cli.options import json_option, print_json
from gateway.errors import InvalidInput, SetupError
from gateway.insights.columnar.writer import Writer
from gateway.settings import read_settings
from gateway.store.columnar import Manifests
from gateway.store.keys import Keys

_POLL_SECONDS = 0.5

workspace_option = click.option("--workspace", default="main", show_default=True)


@click.group()
def columnar() -> None:
    """The columnar projection: every event in Parquet files, which numbers are computed from."""


@columnar.command()
@workspace_option
@json_option
def status(workspace: str, as_json: bool) -> None:
    """How far the parts are, and how large."""
    standing = asyncio.run(_status(workspace))
    if as_json:
        print_json(asdict(standing))
        return
    _show(standing)


@columnar.command()
@workspace_option
@click.option("--here", is_flag=True, help="The parts lie in this process's folder from now on; others are forgotten.")
def rebuild(workspace: str, here: bool) -> None:
    """Build the parts anew from the stored events, while the gateway goes on and the old ones are read."""
    _show(asyncio.run(_rebuild(workspace, here)))


@columnar.command()
@workspace_option
def compact(workspace: str) -> None:
    """Write what has no part yet, and make large parts of small ones, until nothing is left to do."""
    _show(asyncio.run(_compact(workspace)))


@columnar.command()
@workspace_option
@click.confirmation_option(prompt="Delete all parts? They can be built anew from the events.")
def drop(workspace: str) -> None:
    """Delete all parts: before GATEWAY_COLUMNAR_URL is set to `off` or to another folder."""
    asyncio.run(_drop(workspace))
    click.echo("The parts are deleted.")


@asynccontextmanager
async def _opened(workspace: str) -> AsyncIterator[Columnar]:
    settings = read_settings()
    async with open_store(settings) as (database, clock):
        if workspace not in await Keys(database).workspaces():
            raise InvalidInput(f"There is no workspace {workspace!r}.", hint="Name one with --workspace.")
        opened = Columnar.of(settings, database, clock)
        try:
            yield opened
        finally:
            if opened.writer is not None:
                await opened.writer.release()
            await opened.close()


def _writer(opened: Columnar) -> Writer:
    if opened.writer is None:
        raise SetupError("The columnar projection is switched off.", hint="Set GATEWAY_COLUMNAR_URL to a folder.")
    return opened.writer


async def _status(workspace: str) -> Standing:
    async with _opened(workspace) as opened:
        return await opened.standing(workspace)


async def _rebuild(workspace: str, here: bool) -> Standing:
    async with _opened(workspace) as opened:
        writer, manifests = _writer(opened), Manifests(opened.database)
        if here and not await writer.drop(workspace, here=True):
            raise SetupError("A running gateway writes the parts.", hint="Stop it, then say this again.")
        before = (await manifests.head(workspace)).numbered
        await manifests.ask_to_rebuild(workspace)
        while True:
            await _step(writer, workspace, flush=False)
            head = await manifests.head(workspace)
            if head.current > before:
                return await opened.standing(workspace)


async def _compact(workspace: str) -> Standing:
    async with _opened(workspace) as opened:
        writer = _writer(opened)
        quiet = 0
        while quiet < 2:
            quiet = 0 if await _step(writer, workspace, flush=True) else quiet + 1
        return await opened.standing(workspace)


async def _step(writer: Writer, workspace: str, *, flush: bool) -> bool:
    """A turn of ours; where a running gateway writes, it takes them."""
    more = await writer.turn(workspace, flush=flush)
    if trouble := writer.trouble.get(workspace):
        raise SetupError(f"The parts cannot be written: {trouble}")
    if not more:
        await asyncio.sleep(_POLL_SECONDS)
    return more


async def _drop(workspace: str) -> None:
    async with _opened(workspace) as opened:
        if not await _writer(opened).drop(workspace, here=False):
            raise SetupError("A running gateway writes the parts.", hint="Stop it, then say this again.")


def _show(one: Standing) -> None:
    click.echo(f"{one.workspace}: {one.state}, generation {one.generation}")
    each = f", {one.bytes / one.rows:.0f} bytes each" if one.rows else ""
    click.echo(f"  {one.parts:,} parts, {one.rows:,} events, {one.bytes / 1e6:,.1f} MB{each}")
    click.echo(
        f"  {one.behind:,} rows of the feed behind; the oldest event without a part is {one.lag_seconds:,.0f} s old"
    )
    if one.read is not None:
        click.echo(f"  being built: {one.read:,} events so far")
