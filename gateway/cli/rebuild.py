"""`rebuild`: sessions and journeys again from their events, while the gateway goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.cli.data import place
from gateway.cli.opened import open_gateway
from gateway.cli.options import json_option, print_json
from gateway.cli.trial import lasting, trial_as_json, trial_lines, try_on_users
from gateway.contract import Contract, load_contract
from gateway.errors import InvalidInput
from gateway.pipeline import rebuilding
from gateway.pipeline.people import People
from gateway.pipeline.rebuilding import Rebuilder, Rebuilt
from gateway.pipeline.trial import ContractTrial, RebuildTrial, try_rebuild
from gateway.settings import read_settings
from gateway.store.exports import Exports, Selection
from gateway.store.rebuilds import Rebuilds

if TYPE_CHECKING:
    from gateway.app.building import Gateway


@click.command()
@click.option("--workspace", default="main", show_default=True)
@click.option("--user", metavar="ID", help="Only this user.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option(
    "--map",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Dry run: what the contract in FOLDER would have changed lately.",
)
@click.option("--last", default="30d", show_default=True, metavar="TIME", help="With --map: users seen so lately.")
@json_option
def rebuild(workspace: str, user: str | None, dry_run: bool, folder: Path | None, last: str, as_json: bool) -> None:
    """Work out sessions and journeys again from the stored events, while the gateway goes on.

    What comes out is what was there before, unless something was broken. Interrupted, it goes on where it was when it
    is called again.

    \b
    Examples:
      journey-gateway rebuild --dry-run
      journey-gateway rebuild --workspace main
      journey-gateway rebuild --map contracts/shop --dry-run --last 30d
    """
    if folder is not None:
        if not dry_run:
            raise click.UsageError("--map belongs to --dry-run; `contract apply` puts a folder in force.")
        if user is not None:
            raise click.UsageError("--map tries the contract on everybody: leave --user out.")
        tried = asyncio.run(_try_folder(workspace, load_contract(folder), lasting(last)))
        _show_trial(tried, as_json=as_json)
    elif dry_run:
        _show_differences(asyncio.run(_compare(workspace, user)), as_json=as_json)
    else:
        try:
            done = asyncio.run(_rebuild(workspace, user))
        except KeyboardInterrupt:
            click.echo("Interrupted: a running gateway finishes what is marked; the same command goes on.", err=True)
            raise SystemExit(1) from None
        _show_rebuilt(done, as_json=as_json)
        if done.set_aside:
            raise SystemExit(1)


async def _try_folder(workspace: str, wanted: Contract, span: int) -> ContractTrial:
    async with open_gateway(read_settings()) as gateway:
        await _check_workspace(gateway, workspace)
        now = gateway.clock.now()
        return await try_on_users(gateway.database, now, gateway.contract, wanted, span, workspace)


async def _compare(workspace: str, user: str | None) -> RebuildTrial:
    async with open_gateway(read_settings()) as gateway:
        await _check_workspace(gateway, workspace)
        people = People(Exports(gateway.database), gateway.identities)
        selection = Selection(workspace, gateway.clock.now())
        who = people.each(selection) if user is None else people.one(selection, await _found(gateway, workspace, user))
        columns = SpinnerColumn(), TextColumn("{task.completed:,} users compared")
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("compare", total=None)
            return await try_rebuild(
                who,
                gateway.sessions,
                gateway.journeys,
                selection,
                gateway.contract,
                progress=lambda users: progress.update(task, completed=users),
            )


async def _rebuild(workspace: str, user: str | None) -> Rebuilt:
    async with open_gateway(read_settings()) as gateway:
        await _check_workspace(gateway, workspace)
        rebuilder = _rebuilder(gateway)
        with _bar() as progress:
            # In case no other process derives.
            async with gateway.deriving():
                if user is not None:
                    return await rebuilder.one(workspace, user, progress)
                return await rebuilder.everybody(workspace, progress)


def _rebuilder(gateway: Gateway) -> Rebuilder:
    return Rebuilder(Rebuilds(gateway.database), gateway.users, gateway.clock)


async def _found(gateway: Gateway, workspace: str, user: str) -> str:
    return await _rebuilder(gateway).find(workspace, user)


async def _check_workspace(gateway: Gateway, workspace: str) -> None:
    if workspace not in await gateway.keyring.workspaces():
        raise InvalidInput(
            f"There is no workspace {workspace!r} in {place(gateway)}.", hint="Name one with --workspace."
        )


@contextmanager
def _bar() -> Iterator[rebuilding.Progress]:
    """Users that are folded anew, of all that are to be."""
    columns = (
        TextColumn("rebuild"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} of {task.fields[users]:,} users"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("rebuild", total=None, users=0)
        yield lambda users, done: progress.update(task, total=users or 1, completed=done, users=users)


def _show_rebuilt(done: Rebuilt, *, as_json: bool) -> None:
    if as_json:
        print_json({"users": done.users, "resumed": done.resumed, "setAside": done.set_aside})
        return
    click.echo(f"{done.users:,} users folded anew{', going on with a rebuild that was interrupted' * done.resumed}.")
    for user in done.set_aside:
        click.echo(f"  set aside: {user} (its events do not fold; the log says why)", err=True)


def _show_differences(trial: RebuildTrial, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "dryRun": True,
                "users": trial.users,
                "changedUsers": trial.changed_users,
                "changedSessions": trial.changed_sessions,
                "changedJourneys": trial.changed_journeys,
                "usersThatDoNotFold": trial.not_folding,
            }
        )
        return
    click.echo(f"{trial.users:,} users would be folded anew (dry run: nothing was written).")
    click.echo(
        f"  {trial.changed_users:,} of them would change: {trial.changed_sessions:,} sessions, "
        f"{trial.changed_journeys:,} journeys"
    )
    if trial.not_folding:
        click.echo(f"  {trial.not_folding:,} have events that do not fold")


def _show_trial(trial: ContractTrial, *, as_json: bool) -> None:
    if as_json:
        print_json({"dryRun": True, "trial": trial_as_json(trial)})
        return
    for line in trial_lines(trial):
        click.echo(line)
