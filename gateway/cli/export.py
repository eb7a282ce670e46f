"""`export`: a workspace's events as an XES log or as NDJSON."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Literal, cast

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from gateway.cli.data import derived, place
from gateway.cli.opened import open_gateway
from gateway.clock import random_secret
from gateway.errors import InvalidInput
from gateway.pipeline.export import Case, Exporter, Part
from gateway.pipeline.times import parse_time
from gateway.pipeline.wire import Pseudonyms
from gateway.settings import read_settings
from gateway.store.exports import Exports, Selection
from gateway.store.keys import Keys

if TYPE_CHECKING:
    from gateway.app.building import Gateway

Format = Literal["xes", "ndjson"]
_ENDINGS: dict[str, Format] = {".xes": "xes", ".ndjson": "ndjson", ".jsonl": "ndjson"}


@click.command()
@click.option("--workspace", default="main", show_default=True)
@click.option("--format", "form", type=click.Choice(["xes", "ndjson"]), help="Default: as the file's name ends.")
@click.option("--output", "-o", required=True, help="The file, gzipped if its name ends in .gz; - for standard output.")
@click.option("--from", "since", metavar="TIME", help="Only events from then on (ISO 8601; no zone means UTC).")
@click.option("--to", "until", metavar="TIME", help="Only events before then.")
@click.option("--source", help="Only events of this source.")
@click.option("--case", type=click.Choice(["user", "session", "journey"]), help="XES: a trace per … [default: user].")
@click.option("--map", "map_key", metavar="KEY", help="XES: the journey map of --case journey.")
@click.option("--pseudonymous", is_flag=True, help="Ids as keyed hashes; no traits, no context. Properties stay.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def export(
    workspace: str,
    form: Format | None,
    output: str,
    since: str | None,
    until: str | None,
    source: str | None,
    case: Case | None,
    map_key: str | None,
    pseudonymous: bool,
    force: bool,
) -> None:
    """Export a workspace's events: as an XES event log for process mining, or as NDJSON messages.

    An export holds personal data: ids, traits, context, properties. With --pseudonymous look through the properties
    yourself. `import` takes both formats back: the same users, sessions and journeys come out, what
    operators merged and split included (not with --source, nor by session or journey).

    \b
    Examples:
      journey-gateway export --output log.xes.gz
      journey-gateway export --output runs.xes.gz --case journey --map purchase
      journey-gateway export --format ndjson --output - --from 2026-01-01 | gzip > events.ndjson.gz
    """
    form = form or _form_of(output)
    if form == "ndjson" and (case or map_key):
        raise InvalidInput("--case and --map are for XES; NDJSON has no cases.", hint="Leave them out.")
    if (case == "journey") != (map_key is not None):
        raise InvalidInput(
            "--case journey and --map KEY go together.", hint="For example --case journey --map purchase."
        )
    window = (_moment("--from", since), _moment("--to", until))
    if output != "-" and Path(output).exists() and not force:
        raise InvalidInput(f"{output} exists.", hint="Name another file, or replace it with --force.")
    told = asyncio.run(_export(workspace, form, output, window, source, case or "user", map_key, pseudonymous))
    click.echo(f"{told:,} events exported to {'standard output' if output == '-' else output}", err=True)


def _form_of(output: str) -> Format:
    for ending, form in _ENDINGS.items():
        if output.removesuffix(".gz").endswith(ending):
            return form
    raise InvalidInput("Which format?", hint="Add --format xes or --format ndjson.")


def _moment(option: str, text: str | None) -> int | None:
    moment = None if text is None else parse_time(text)
    if text is not None and moment is None:
        raise InvalidInput(f"{option} {text!r} is not a time.", hint="For example 2026-01-01T00:00:00Z.")
    return moment


async def _export(
    workspace: str,
    form: Format,
    output: str,
    window: tuple[int | None, int | None],
    source: str | None,
    case: Case,
    map_key: str | None,
    pseudonymous: bool,
) -> int:
    async with open_gateway(read_settings()) as gateway:
        if workspace not in await gateway.keyring.workspaces():
            raise InvalidInput(
                f"There is no workspace {workspace!r} in {place(gateway)}.", hint="Name one with --workspace."
            )
        if map_key is not None and map_key not in gateway.contract.journeys:
            raise InvalidInput(
                f"There is no journey map {map_key!r}.", hint=f"There are: {', '.join(gateway.contract.journeys)}."
            )
        if form == "xes":
            async with gateway.deriving():
                await derived(gateway, workspace)
        since, until = window
        selection = Selection(workspace, gateway.clock.now(), since, until, source)
        exporter = await _exporter(gateway, pseudonymous=pseudonymous)
        parts = exporter.ndjson(selection) if form == "ndjson" else exporter.xes(selection, case=case, map_key=map_key)
        with opened(output) as stream:
            return await _write(parts, stream)


async def _exporter(gateway: Gateway, *, pseudonymous: bool) -> Exporter:
    pseudonyms = None
    if pseudonymous:
        pseudonyms = Pseudonyms(await Keys(gateway.database).server_secret(random_secret()))
    exports = Exports(gateway.database)
    return Exporter(exports, gateway.identities, gateway.sessions, gateway.journeys, pseudonyms=pseudonyms)


async def _write(parts: AsyncIterator[Part], stream: IO[bytes]) -> int:
    told = 0
    columns = SpinnerColumn(), TextColumn("{task.completed:,} events")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("export", total=None)
        async for part in parts:
            stream.write(part.data)
            told += part.events
            progress.update(task, completed=told)
    return told


@contextmanager
def opened(output: str) -> Iterator[IO[bytes]]:
    """The file to write, which appears whole or not at all and which its owner alone may read; `-`: standard output."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as part:
            written = Path(part.name)
            try:
                if path.suffix == ".gz":
                    # No name and no time inside: the same events give the same bytes.
                    with gzip.GzipFile("", "wb", 6, part, mtime=0) as zipped:
                        yield cast(IO[bytes], zipped)
                else:
                    yield part.file
                part.flush()
                os.fsync(part.fileno())
                written.replace(path)
            except BaseException:
                with suppress(OSError):
                    written.unlink()
                raise
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written ({error.strerror}).") from None
