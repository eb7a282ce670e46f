"""`init` and `import`: a workspace of one's own, and files into it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.access.keybook import checked_text
from gateway.cli.demo import WORKSPACE as DEMO
from gateway.cli.opened import open_gateway
from gateway.cli.options import json_option, print_json
from gateway.collect import presets
from gateway.collect.files import Importer, Mapping, Report
from gateway.collect.mapping import Preset
from gateway.collect.rows import RowFile
from gateway.errors import InvalidInput
from gateway.model.scope import PERMISSIONS
from gateway.settings import read_settings

if TYPE_CHECKING:
    from gateway.app.building import Gateway


@click.command()
@click.argument("workspace", default="main")
@json_option
def init(workspace: str, as_json: bool) -> None:
    """Make an empty WORKSPACE (default: main) with keys for your own data; or add keys to one there is.

    The keys are printed once: they are stored as hashes.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", workspace) or workspace == DEMO:
        raise InvalidInput(
            f"{workspace!r} cannot be a workspace of yours.",
            hint="Use small letters, digits and hyphens, and another name than `demo`.",
        )
    asyncio.run(_init(workspace, as_json=as_json))


async def _init(workspace: str, *, as_json: bool) -> None:
    async with open_gateway(read_settings()) as gateway:
        existed = workspace in await gateway.keyring.workspaces()
        write_key = await gateway.keyring.create_write_key(workspace, "main")
        api_key = await gateway.keyring.create_api_key(workspace, frozenset(PERMISSIONS))
        where = place(gateway)
    if as_json:
        print_json({"workspace": workspace, "writeKey": write_key, "apiKey": api_key})
    else:
        click.echo(f"Workspace  {workspace}\nWrite key  {write_key}\nAPI key    {api_key}")
    if existed:
        click.echo(f"The workspace {workspace} is there already: these keys are further ones of it.", err=True)
    click.echo(f"Stored in {where}. Keep the API key: it cannot be shown again.", err=True)


def place(gateway: Gateway) -> str:
    """Where the data is, without credentials."""
    settings = gateway.settings
    return f"the data folder {settings.data_dir.resolve()}" if settings.mongo_uri is None else "GATEWAY_MONGO_URI"


def _list_presets(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        for name, about in presets.about().items():
            click.echo(f"{name:<10} {about}")
        context.exit()


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--map", "pairs", multiple=True, metavar="FIELD=COLUMN", help="For example userId=user_id. Repeatable.")
@click.option("--rename-event", "renames", multiple=True, metavar="OLD=NEW", help="Give events other names.")
@click.option("--only-mapped", is_flag=True, help="Leave out columns without --map (else they become properties).")
@click.option("--preset", metavar="NAME", help="Read another tool's export; --map then replaces what it names.")
@click.option(
    "--list-presets", is_flag=True, is_eager=True, expose_value=False, callback=_list_presets, help="And stop."
)
@click.option("--time-zone", metavar="ZONE", help="Mixpanel: the project's zone, such as Europe/Berlin [default: UTC].")
@click.option("--trace-is", type=click.Choice(presets.TRACE_IS), help="XES: what a trace's name is [default: userId].")
@click.option("--classifier", metavar="NAME", help="XES: name events by this classifier of the log.")
@click.option("--only-complete", is_flag=True, help="XES: only events whose lifecycle:transition is `complete`.")
@click.option("--workspace", default="main", show_default=True)
@click.option("--source", default="import", show_default=True, help="Names the origin: a row counts once per source.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
@json_option
def import_file(
    file: Path,
    pairs: tuple[str, ...],
    renames: tuple[str, ...],
    only_mapped: bool,
    preset: str | None,
    time_zone: str | None,
    trace_is: presets.TraceIs | None,
    classifier: str | None,
    only_complete: bool,
    workspace: str,
    source: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import events from a CSV, NDJSON or XES FILE, gzipped or not.

    NDJSON without --map or --preset holds messages as SDKs send them, such as `export --format ndjson` writes. Of an
    XES log, traces are users; their attributes become properties named `case:…`. The same row is never counted twice:
    run the same command again after an interruption.

    \b
    Examples:
      journey-gateway import shop.csv.gz --map userId=user_id --map event=event --map timestamp=timestamp
      journey-gateway import archive.ndjson.gz --preset segment
      journey-gateway import orders.xes.gz --trace-is session --map userId=org:resource
    """
    if workspace == DEMO:
        raise InvalidInput("The demo's workspace takes no data of yours.", hint="Choose another: --workspace main.")
    source = checked_text("source", source, least=1)
    asked = presets.XesLog(trace_is or "userId", only_complete, classifier)
    mapping = Mapping.parse(
        pairs,
        renames,
        only_mapped=only_mapped,
        preset=_preset(file, preset, None if asked == presets.XesLog() else asked, time_zone),
    )
    if trace_is == "session" and not {"userId", "anonymousId"} & {*mapping.columns, *mapping.constants}:
        raise InvalidInput(
            "--trace-is session does not say who.", hint="Add --map userId=KEY, of an event or case:KEY of its trace."
        )
    report = asyncio.run(_import(file, mapping, workspace, source, dry_run=dry_run))
    if as_json:
        print_json(_as_json(report, dry_run=dry_run))
    else:
        _print(report, dry_run=dry_run)
    if report.refused or report.quarantined or report.conflict:
        raise SystemExit(1)


def _preset(file: Path, name: str | None, asked: presets.XesLog | None, zone: str | None) -> Preset | None:
    """The preset asked for; that of XES where nothing but the file itself asks for it."""
    if name is None and asked is None and zone is None:
        with RowFile(file) as rows:
            return presets.XesLog() if rows.kind == "xes" else None
    return presets.preset(name, xes=asked, zone=zone)


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
                await derived(gateway, workspace)
                return report


async def derived(gateway: Gateway, workspace: str) -> None:
    """Wait until all that was stored has become users and journeys."""
    with Console(stderr=True).status("Working out users, sessions and journeys"):
        await gateway.events.derived(workspace)


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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._progress.live.transient = kind is not None  # an error stands for itself
        self._progress.stop()

    def _advance(self, bytes_read: int, rows: int) -> None:
        elapsed = self._progress.tasks[0].elapsed or 1
        self._progress.update(self._task, completed=bytes_read, rate=f"{rows / elapsed:,.0f}")


_VERDICTS = ("accepted", "duplicate", "conflict", "quarantined", "refused")


def _as_json(report: Report, *, dry_run: bool) -> dict[str, object]:
    return {
        "dryRun": dry_run,
        "rows": report.rows,
        "resumedFrom": report.resumed_from,
        **{name: getattr(report, name) for name in _VERDICTS},
        "leftOut": report.left_out,
        "reasons": dict(report.reasons.most_common()),
        "samples": [{"row": sample.row, "code": sample.code, "message": sample.message} for sample in report.samples],
    }


def _print(report: Report, *, dry_run: bool) -> None:
    click.echo(f"{report.rows:,} rows read{' (dry run: nothing was written)' if dry_run else ''}")
    if report.resumed_from:
        click.echo(f"  went on behind row {report.resumed_from:,}")
    for name in _VERDICTS:
        click.echo(f"  {name:<12} {getattr(report, name):>10,}")
    if report.left_out:
        click.echo(f"  left out     {report.left_out:>10,}")
    for reason, count in report.reasons.most_common():
        click.echo(f"    {count:>8,}  {reason}", err=True)
    for sample in report.samples:
        click.echo(f"    {sample}", err=True)
