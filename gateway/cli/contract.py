"""`contract`: put a contract folder in force in every process, look at the versions there were."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.app.contracts import contract_folder
from gateway.app.opening import open_store
from gateway.cli.contract_api import codegen, schema_of
from gateway.cli.contract_changes import COMMANDS, forbidden
from gateway.cli.contract_files import check, export, init
from gateway.cli.infer import infer
from gateway.cli.options import json_option, print_json
from gateway.cli.trial import lasting, trial_as_json, trial_lines, try_on_users
from gateway.contract import Contract, Difference, differences, load_contract, not_raised
from gateway.contract.changes import classify
from gateway.errors import ContractError, NotFound
from gateway.pipeline.contracts import load_version
from gateway.pipeline.trial import ContractTrial
from gateway.settings import read_settings
from gateway.store.contracts import Version, Versions

#: Files that are told to be as they were before.
_MOST_TAKEN_BACK = 20
_SOON = "Every process takes it over within a second."


@click.group()
def contract() -> None:
    """The contract: its files, and its versions as they are stored: one counts, in every process."""


for _command in (init, check, export, codegen, *COMMANDS):
    contract.add_command(_command)


@contract.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--last", metavar="TIME", help="Dry run: also try the new maps on users seen so lately, such as 30d.")
@click.option("--allow-breaking", is_flag=True, help="Also what senders or clients have to be mended for.")
@click.option("--note", default="", help="Why, for those who read `contract list`.")
@json_option
def apply(folder: Path | None, dry_run: bool, last: str | None, allow_breaking: bool, note: str, as_json: bool) -> None:
    """Put the contract in FOLDER (default: the one that is set) in force, without a restart.

    A folder with a mistake is refused with file, line and key, and so is a map whose stages or rules have changed
    under a version that was not raised. A breaking change needs --allow-breaking; one that takes away what a KPI reads
    is refused always (`contract plan` says which is which). Where a map has changed, every journey is worked out anew
    while the gateway goes on.

    \b
    Examples:
      journey-gateway contract apply contracts/shop --dry-run --last 30d
      journey-gateway contract apply contracts/shop --note "checkout is two stages now"
    """
    if last is not None and not dry_run:
        raise click.UsageError("--last belongs to --dry-run.")
    span = None if last is None else lasting(last)
    settings = read_settings()
    wanted = load_contract(folder if folder is not None else contract_folder(settings))
    schema_of(wanted, settings)  # or no gateway could serve it

    async def run() -> None:
        async with open_store(settings) as (database, clock):
            versions = Versions(database)
            newest = await versions.newest()
            before = None if newest is None else _if_it_loads(newest)
            found = differences(before, wanted)
            problems = [
                *not_raised(before, wanted),
                *forbidden(classify(before, wanted), allow_breaking=allow_breaking),
            ]
            if dry_run:
                trial = None if span is None else await try_on_users(database, clock.now(), before, wanted, span)
                _show_dry_run(newest, wanted, found, trial, refused=bool(problems), as_json=as_json)
            if problems:
                raise ContractError(problems)
            if dry_run:
                if newest is not None:
                    await _tell_taken_back(versions, newest, wanted, clock.now())
                return
            version, fresh = await versions.apply(
                wanted,
                now=clock.now(),
                by="contract apply",
                note=note,
                onto=None if newest is None else newest.number,
            )
            refold = fresh and (newest is None or newest.journeys_hash != version.journeys_hash)
            _show_applied(version, found if fresh else [], fresh=fresh, refold=refold, as_json=as_json)
            if fresh and newest is not None:
                await _tell_taken_back(versions, newest, wanted, clock.now())

    asyncio.run(run())


@contract.command("list")
@json_option
def list_versions(as_json: bool) -> None:
    """List the versions, the newest, which counts, first."""

    async def read() -> list[Version]:
        async with open_store(read_settings()) as (database, _):
            return await Versions(database).heads()

    versions = asyncio.run(read())
    if as_json:
        print_json([_head(version) for version in versions])
        return
    for version in versions:
        when = datetime.fromtimestamp(version.applied_at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        note = f"  {version.note}" if version.note else ""
        click.echo(f"{version.number:>5}  {when}  {version.name:<12}  {version.applied_by:<14}{note}".rstrip())


@contract.command()
@click.argument("number", required=False, type=click.IntRange(1))
@json_option
def show(number: int | None, as_json: bool) -> None:
    """Print the files of version NUMBER (default: the one that counts)."""

    async def read() -> Version | None:
        async with open_store(read_settings()) as (database, _):
            versions = Versions(database)
            return await (versions.newest() if number is None else versions.get(number))

    version = asyncio.run(read())
    if version is None:
        raise NotFound(
            "There is no such version of the contract.", hint="`journey-gateway contract list` shows those there are."
        )
    if as_json:
        print_json({**_head(version), "files": version.files})
        return
    for path, text in version.files.items():
        click.echo(f"# {version.name}/{path}\n{text.rstrip()}\n")


contract.add_command(infer)


def _if_it_loads(version: Version) -> Contract | None:
    """The stored contract; None for one of a newer gateway, which may be replaced all the same."""
    try:
        return load_version(version)
    except ContractError:
        click.echo(f"Version {version.number}, which counts now, does not load in this gateway.", err=True)
        return None


async def _tell_taken_back(versions: Versions, newest: Version, wanted: Contract, now: int) -> None:
    """Say which files are what they were before a later version changed them: the folder may have been behind."""
    paths = sorted(newest.files.keys() | wanted.files.keys())
    differ = [path for path in paths if newest.files.get(path) != wanted.files.get(path)]
    for path in differ[:_MOST_TAKEN_BACK]:
        texts = await versions.texts(path, until=now + 1)
        said = [number for number, _, text in texts if number <= newest.number and text == wanted.files.get(path)]
        changed = next((number for number, _, _ in texts if said and number > said[-1]), None)
        head = None if changed is None else await versions.get(changed)
        if head is not None:
            click.echo(
                f"{path} is again what version {said[-1]} said; version {head.number}, applied by {head.applied_by}, "
                "had changed it. If that was not meant: `contract pull`, change and apply again.",
                err=True,
            )


def _show_applied(version: Version, found: list[Difference], *, fresh: bool, refold: bool, as_json: bool) -> None:
    if as_json:
        print_json({**_head(version), "applied": fresh, "differences": [asdict(one) for one in found]})
        return
    if not fresh:
        click.echo(f"Nothing to do: version {version.number} says the same.")
        return
    click.echo(f"Version {version.number} of the contract counts. {_SOON}")
    for line in _lines(found):
        click.echo(line)
    if refold:
        click.echo("Every journey is worked out anew while the gateway goes on.")


def _show_dry_run(
    newest: Version | None,
    wanted: Contract,
    found: list[Difference],
    trial: ContractTrial | None,
    *,
    refused: bool,
    as_json: bool,
) -> None:
    fresh = newest is None or newest.hash != wanted.hash
    if as_json:
        shown: dict[str, object] = {
            "dryRun": True,
            "current": None if newest is None else _head(newest),
            "wouldApply": fresh and not refused,
            "differences": [asdict(one) for one in found],
        }
        print_json(shown if trial is None else {**shown, "trial": trial_as_json(trial)})
        return
    if not fresh:
        assert newest is not None
        click.echo(f"Nothing would change: version {newest.number} says the same.")
        return
    becomes = "be refused" if refused else f"become version {1 if newest is None else newest.number + 1}"
    click.echo(f"It would {becomes} (dry run: nothing was written).")
    for line in _lines(found):
        click.echo(line)
    for line in () if trial is None else trial_lines(trial):
        click.echo(line)


def _lines(found: list[Difference]) -> Iterator[str]:
    for one in found:
        yield f"  {one.change:<8} {'KPI' if one.kind == 'kpi' else one.kind} {one.key}"
    if not found:
        yield "  Nothing that is read says anything else: only texts differ."


def _head(version: Version) -> dict[str, object]:
    return {
        "version": version.number,
        "name": version.name,
        "hash": version.hash,
        "journeysHash": version.journeys_hash,
        "appliedAt": datetime.fromtimestamp(version.applied_at / 1000, UTC).isoformat(),
        "appliedBy": version.applied_by,
        "note": version.note,
    }
