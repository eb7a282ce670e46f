"""`init` and `import`: a workspace of one's own, and files into it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.app.building import Gateway, open_gateway
from gateway.cli.demo import WORKSPACE as DEMO
from gateway.collect.files import Importer, Mapping, Report
from gateway.errors import InvalidInput
from gateway.model.scope import PERMISSIONS
from gateway.settings import read_settings


@click.command()
@click.argument("workspace", default="main")
def init(workspace: str) -> None:
    """Make an empty WORKSPACE (default: main) with keys for your own data; or add keys to one there is.

    The keys are printed once: they are stored as hashes.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", workspace) or workspace == DEMO:
        raise InvalidInput(
            f"{workspace!r} cannot be a workspace of yours.",
            hint="Use small letters, digits and hyphens, and another name than `demo`.",
        )
    asyncio.run(_init(workspace))


async def _init(workspace: str) -> None:
    async with open_gateway(read_settings()) as gateway:
        write_key = await gateway.keyring.create_write_key(workspace, "main")
        api_key = await gateway.keyring.create_api_key(workspace, frozenset(PERMISSIONS))
        where = place(gateway)
    click.echo(f"Workspace  {workspace}\nWrite key  {write_key}\nAPI key    {api_key}")
    click.echo(f"Stored in {where}. Keep the API key: it cannot be shown again.", err=True)


def place(gateway: Gateway) -> str:
    """Where the data is, without credentials."""
    settings = gateway.settings
    return f"the data folder {settings.data_dir.resolve()}" if settings.mongo_uri is None else "GATEWAY_MONGO_URI"


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--map", "pairs", multiple=True, metavar="FIELD=COLUMN", help="For example userId=user_id. Repeatable.")
@click.option("--rename-event", "renames", multiple=True, metavar="OLD=NEW", help="Give events other names.")
@click.option("--only-mapped", is_flag=True, help="Leave out columns without --map (else they become properties).")
@click.option("--workspace", default="main", show_default=True)
@click.option("--source", default="import", show_default=True, help="Names the origin: a row counts once per source.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
def import_file(
    file: Path,
    pairs: tuple[str, ...],
    renames: tuple[str, ...],
    only_mapped: bool,
    workspace: str,
    source: str,
    dry_run: bool,
) -> None:
    """Import events from a CSV or NDJSON FILE, gzipped or not.

    The same row is never counted twice: run the same command again after an interruption.

    \b
    Example:
      journey-gateway import shop.csv.gz --map userId=user_id --map event=event --map timestamp=timestamp
    """
    if workspace == DEMO:
        raise InvalidInput("The demo's workspace takes no data of yours.", hint="Choose another: --workspace main.")
    mapping = Mapping.parse(pairs, renames, only_mapped=only_mapped)
    report = asyncio.run(_import(file, mapping, workspace, source, dry_run=dry_run))
    _print(report, dry_run=dry_run)
    if report.refused or report.quarantined or report.conflict:
        raise SystemExit(1)


async def _import(file: Path, mapping: Mapping, workspace: str, source: str, *, dry_run: bool) -> Report:
    async with open_gateway(read_settings()) as gateway:
        if workspace not in await gateway.keyring.workspaces():
            raise InvalidInput(
                f"There is no workspace {workspace!r} in {place(gateway)}.",
                hint=f"`journey-gateway init {workspace}` makes it, with keys to read it by.",
            )
        importer = Importer(gateway.intake, gateway.imports, gateway.clock)
        with _bar(file) as advance:
            if dry_run:
                return await importer.preview(file, mapping, workspace, source, progress=advance)
            async with gateway.deriving():
                report = await importer.run(file, mapping, workspace, source, progress=advance)
                await _derived(gateway, workspace)
                return report


async def _derived(gateway: Gateway, workspace: str) -> None:
    """Wait until what was imported has become users and journeys."""
    with Console(stderr=True).status("Working out users, sessions and journeys"):
        while await gateway.events.underived(workspace):  # noqa: ASYNC110 - another process may derive
            await asyncio.sleep(0.2)


class _bar:
    """A progress bar over the file's bytes, with rows a second and the time that is left."""

    def __init__(self, file: Path) -> None:
        self._progress = Progress(
            TextColumn(file.name),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]} rows/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("import", total=file.stat().st_size, rate="0")

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _advance(self, bytes_read: int, rows: int) -> None:
        elapsed = self._progress.tasks[0].elapsed or 1
        self._progress.update(self._task, completed=bytes_read, rate=f"{rows / elapsed:,.0f}")


def _print(report: Report, *, dry_run: bool) -> None:
    click.echo(f"{report.rows:,} rows read{' (dry run: nothing was written)' if dry_run else ''}")
    if report.resumed_from:
        click.echo(f"  went on behind row {report.resumed_from:,}")
    for name in ("accepted", "duplicate", "conflict", "quarantined", "refused"):
        click.echo(f"  {name:<12} {getattr(report, name):>10,}")
    for reason, count in report.reasons.most_common():
        click.echo(f"    {count:>8,}  {reason}", err=True)
    for sample in report.samples:
        click.echo(f"    {sample}", err=True)
