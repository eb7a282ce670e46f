"""`contract diff`, `plan`, `pull`, `patch` and `digest`: what changes in a contract, and who changed what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gateway.app.contracts import contract_folder
from gateway.app.opening import open_store
from gateway.cli.options import json_option, print_json, writing_files
from gateway.contract import Contract, load_contract, load_texts, not_raised, parse_duration
from gateway.contract.changes import Change, Grade, classify, refusals, worst
from gateway.contract.patches import unified_diff
from gateway.contract.reading.kinds import KINDS
from gateway.errors import InvalidInput, NotFound
from gateway.model.scope import Scope
from gateway.quality.collaboration import Collaboration
from gateway.quality.digest import Digest
from gateway.settings import read_settings
from gateway.store.contracts import Version, Versions
from gateway.store.kpi_snapshots import KpiSnapshot

_COLOURS = {Grade.BREAKING: "red", Grade.DANGEROUS: "yellow", Grade.SAFE: "green"}

_folder = click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
_workspace = click.option("--workspace", default="main", show_default=True)
_fail_on = click.option(
    "--fail-on",
    type=click.Choice(["breaking", "dangerous", "never"]),
    default="breaking",
    show_default=True,
    help="Exit code 1 from this grade on; what is refused always fails, but with never.",
)


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@_fail_on
@json_option
def diff(before: str, after: str, fail_on: str, as_json: bool) -> None:
    """Say what changes from contract A to B: folders, or numbers of stored versions. Folders need no database.

    Every change is safe (nobody has to do anything), dangerous (numbers, or what people see, may change) or breaking
    (senders or clients of the API have to be mended), with the reason and what lives on it.

    \b
    Examples:
      journey-gateway contract diff main/contracts/shop contracts/shop
      journey-gateway contract diff 3 4 --json
    """
    old, new = asyncio.run(_both(before, after))
    found, problems = classify(old, new), not_raised(old, new)
    if as_json:
        print_json(_changes_as_json(found, problems))
    else:
        _show(found, problems)
    _end(found, problems, fail_on)


@click.command()
@_folder
@_fail_on
@json_option
def plan(folder: Path | None, fail_on: str, as_json: bool) -> None:
    """Say what `contract apply` of FOLDER (default: the one that is set) would change, against the version that counts.

    It also tells when the folder is behind: when others have applied a version since, over the API or from elsewhere.

    \b
    Examples:
      journey-gateway contract plan contracts/shop
      journey-gateway contract plan contracts/shop --fail-on dangerous --json
    """
    settings = read_settings()
    wanted = load_contract(folder if folder is not None else contract_folder(settings))

    async def read() -> tuple[Version | None, int | None]:
        async with open_store(settings) as (database, _):
            versions = Versions(database)
            return await versions.newest(), await versions.numbered(wanted.hash)

    newest, same = asyncio.run(read())
    before = None if newest is None else load_texts(newest.name, newest.files)
    found, problems = classify(before, wanted), not_raised(before, wanted)
    behind = newest is not None and same is not None and same != newest.number
    if as_json:
        current = None if newest is None else newest.number
        print_json({"current": current, "folder": same, "behind": behind, **_changes_as_json(found, problems)})
    elif newest is None:
        click.echo("Nothing is stored yet: the folder would become version 1.")
    elif newest.hash == wanted.hash:
        click.echo(f"Nothing would change: version {newest.number} says the same.")
    else:
        click.echo(f"Version {newest.number} counts; the folder would become version {newest.number + 1}.")
        _show(found, problems)
    if behind and newest is not None:
        said = f"The folder is version {same}. Version {newest.number}, applied by {newest.applied_by}, counts since"
        click.echo(f"{said} {_time(newest.applied_at)}: `contract pull` brings the folder up to date.", err=True)
    _end(found, problems, fail_on)


@click.command()
@_folder
@click.option("--force", is_flag=True, help="Also over changes of the folder that were never applied.")
def pull(folder: Path | None, force: bool) -> None:
    """Write the version that counts into FOLDER (default: the one that is set): what the API applied, as files.

    A folder with changes of its own is left alone, so that none is lost; files that are no contract's always are.

    \b
    Example:
      journey-gateway contract pull contracts/shop
    """
    settings = read_settings()
    folder = folder if folder is not None else contract_folder(settings)

    async def read() -> tuple[Version | None, bool]:
        async with open_store(settings) as (database, _):
            versions = Versions(database)
            known = _nothing_there(folder) or force
            return await versions.newest(), known or await versions.numbered(load_contract(folder).hash) is not None

    newest, known = asyncio.run(read())
    if newest is None:
        raise NotFound("No contract is stored yet.", hint="`journey-gateway contract apply` stores one.")
    if not known:
        raise InvalidInput(
            f"{folder} says what no stored version says: pulling would lose it.",
            hint="Apply it, or put it aside (git stash); --force writes over it.",
        )
    with writing_files():
        written, gone = _write(folder, newest)
    for path in written:
        click.echo(f"wrote   {path}")
    for path in gone:
        click.echo(f"deleted {path}")
    click.echo(f"{folder} is version {newest.number}.", err=True)


@click.command()
@click.argument("proposal")
@_workspace
def patch(proposal: str, workspace: str) -> None:
    """Print PROPOSAL (its id, from `proposals` of the API) as a patch that `git apply` takes in the contract's folder.

    \b
    Example:
      journey-gateway contract patch proposal_0f3c… | git -C contracts/shop apply
    """
    settings = read_settings()

    async def read() -> str:
        async with open_store(settings) as (database, clock):
            proposals = Collaboration.of(database, clock).proposals
            found = await proposals.get(Scope.system(workspace), proposal.removeprefix("proposal_"))
            return unified_diff(await proposals.before(found), found.files)

    click.echo(asyncio.run(read()), nl=False)


@click.command()
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="How far back: 7d, 24h, 4w.")
@click.option("--send", is_flag=True, help="Send it to the alert channels too; the same one is sent once.")
@_workspace
@json_option
def digest(since: str, send: bool, workspace: str, as_json: bool) -> None:
    """Say who changed what in the contract lately, what became of data requests, and which KPIs moved beyond chance.

    Each Monday (UTC) that of the week before goes to the alert channels by itself, if anything happened.

    \b
    Examples:
      journey-gateway contract digest
      journey-gateway contract digest --since 4w --json
    """
    try:
        span = parse_duration(since) // timedelta(milliseconds=1)
    except ValueError as error:
        raise InvalidInput(f"{since!r} is no time.", hint=f"{str(error).capitalize()}.") from None
    settings = read_settings()

    async def make() -> Digest:
        async with open_store(settings) as (database, clock):
            together, now = Collaboration.of(database, clock), clock.now()
            made = await together.digests.of(workspace, now - span, now + 1)
            if send:
                await together.digests.send(workspace, made)
            return made

    made = asyncio.run(make())
    if as_json:
        print_json(_digest_as_json(made))
    else:
        click.echo(made.title)
        for line in made.lines():
            click.echo(line)
    if send:
        click.echo("Sent: the process that owns the alert delivers it.", err=True)


COMMANDS = (diff, plan, pull, patch, digest)


def forbidden(found: Sequence[Change], *, allow_breaking: bool) -> list[str]:
    """A line for each change that may not be applied so."""
    refused = refusals(found)
    breaking = [str(one) for one in found if one.grade is Grade.BREAKING and not one.refused]
    if not breaking or allow_breaking:
        return refused
    return [*refused, *breaking, "Mend senders and clients first; --allow-breaking applies it all the same."]


def _show(found: Sequence[Change], problems: Sequence[str]) -> None:
    for one in found:
        grade = "refused" if one.refused else str(one.grade)
        click.echo(f"{click.style(f'{grade:<9}', fg=_COLOURS[one.grade])} {one.what} - {one.why}")
        if one.dependants and one.grade is not Grade.SAFE:
            click.echo(f"          lives on it: {', '.join(map(str, one.dependants))}")
    for line in problems:
        click.echo(f"{click.style('refused  ', fg='red')} {line}")
    counts = ((grade, sum(one.grade is grade for one in found)) for grade in reversed(Grade))
    click.echo(", ".join(f"{count} {grade}" for grade, count in counts), err=True)


def _end(found: Sequence[Change], problems: Sequence[str], fail_on: str) -> None:
    if fail_on != "never" and (problems or refusals(found) or worst(found).rank >= Grade(fail_on).rank):
        raise SystemExit(1)


def _changes_as_json(found: Sequence[Change], problems: Sequence[str]) -> dict[str, Any]:
    return {
        "grade": str(worst(found)),
        "refused": [*refusals(found), *problems],
        "changes": [
            {
                "kind": one.kind,
                "key": one.key,
                "change": one.change,
                "what": one.what,
                "grade": str(one.grade),
                "why": one.why,
                "refused": one.refused,
                "dependants": [{"kind": node.kind, "key": node.key} for node in one.dependants],
            }
            for one in found
        ],
    }


@dataclass(frozen=True, slots=True)
class _Named:
    """One side of a comparison."""

    number: int | None
    folder: Path | None

    @classmethod
    def of(cls, given: str) -> _Named:
        path = Path(given)
        if given.isascii() and given.isdigit() and not path.is_dir():
            return cls(int(given), None)
        return cls(None, path)


async def _both(before: str, after: str) -> tuple[Contract, Contract]:
    sides = (_Named.of(before), _Named.of(after))
    folders = [None if side.folder is None else load_contract(side.folder) for side in sides]
    numbers = [side.number for side in sides if side.number is not None]
    stored: dict[int, Contract] = {}
    if numbers:
        async with open_store(read_settings()) as (database, _):
            for number in numbers:
                version = await Versions(database).get(number)
                if version is None:
                    raise NotFound(
                        f"There is no version {number} of the contract.", hint="`contract list` shows those there are."
                    )
                stored[number] = load_texts(version.name, version.files)
    old, new = (
        folder if folder is not None else stored[side.number or 0] for side, folder in zip(sides, folders, strict=True)
    )
    return old, new


def _nothing_there(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _write(folder: Path, version: Version) -> tuple[list[Path], list[Path]]:
    """Make the contract's files those of the version; which were written, and which deleted."""
    home = folder.resolve()
    written: list[Path] = []
    for path, text in version.files.items():
        place = folder / path
        if not place.resolve().is_relative_to(home):
            raise InvalidInput(f"{path} leads out of {folder}: nothing is written there.")
        if place.is_file() and place.read_bytes() == text.encode():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())
        written.append(place)
    gone = [place for place in _contract_files(folder) if place.relative_to(folder).as_posix() not in version.files]
    for place in gone:
        place.unlink()
    return written, gone


def _contract_files(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.rglob("*")):
        if place.is_file() and any(kind.reads(place.relative_to(folder)) for kind in KINDS):
            yield place


def _digest_as_json(made: Digest) -> dict[str, Any]:
    return {
        "since": _time(made.since, exactly=True),
        "until": _time(made.until, exactly=True),
        "versions": [
            {
                "number": version.number,
                "appliedAt": _time(version.applied_at, exactly=True),
                "appliedBy": version.applied_by,
                "note": version.note,
                **({"changes": None} if changes is None else _changes_as_json(changes, ())),
            }
            for version, changes in made.versions
        ],
        "requests": [
            {
                "key": request.key,
                "title": request.title,
                "askedBy": request.asked_by,
                "status": step.status,
                "at": _time(step.said.at, exactly=True),
                "text": step.said.text,
            }
            for request, step in made.steps
        ],
        "kpis": [
            {
                "key": one.now.kpi,
                "cadence": one.now.cadence,
                "before": _snapshot_as_json(one.before),
                "now": _snapshot_as_json(one.now),
            }
            for one in made.moved
        ],
    }


def _snapshot_as_json(one: KpiSnapshot) -> dict[str, Any]:
    said = {"value": one.value, "n": one.n, "low": one.low, "high": one.high}
    return {"start": _time(one.start, exactly=True), **said}


def _time(at: int, *, exactly: bool = False) -> str:
    when = datetime.fromtimestamp(at / 1000, UTC)
    return when.isoformat() if exactly else when.strftime("%Y-%m-%d %H:%M UTC")
