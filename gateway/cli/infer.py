"""`contract infer`: a first tracking plan out of what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from gateway.app.opening import open_store
from gateway.cli.options import json_option, print_json, writing_files
from gateway.cli.trial import lasting
from gateway.collect import presets
from gateway.collect.files import Mapping, read_messages
from gateway.contract import load_texts
from gateway.contract.finding import NAMELESS
from gateway.contract.validation import Plan
from gateway.errors import InvalidInput, NotFound
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.quality.drafting import files_of
from gateway.quality.inferring import Draft, Inference
from gateway.settings import read_settings
from gateway.store.events import readable
from gateway.store.exports import Exports, Selection
from gateway.store.keys import Keys

#: Call, name, context and values of an event.
Sent = tuple[str, str, dict[str, Any], dict[str, Any]]
#: Begins to read from the start, each time it is called.
Log = Callable[[], AsyncIterator[Sent]]
_NO_LIMIT = 1 << 30


@dataclass(slots=True)
class _Drafted:
    draft: Draft
    events: int = 0
    fitting: int = 0
    files: dict[str, str] = field(default_factory=dict)


@click.command()
@click.option(
    "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="The contract folder to begin."
)
@click.option(
    "--from",
    "paths",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file as `import` reads it, instead of a workspace. Repeatable.",
)
@click.option("--map", "pairs", multiple=True, metavar="FIELD=COLUMN", help="As `import` has it.")
@click.option("--rename-event", "renames", multiple=True, metavar="OLD=NEW", help="As `import` has it.")
@click.option("--only-mapped", is_flag=True, help="As `import` has it.")
@click.option("--preset", metavar="NAME", help="As `import` has it.")
@click.option("--workspace", default="main", show_default=True)
@click.option(
    "--range", "span", default="28d", show_default=True, metavar="TIME", help="How far back the workspace is read."
)
@click.option("--owner", default="TODO", show_default=True, help="Who owns the events until somebody does.")
@json_option
def infer(
    output: Path,
    paths: tuple[Path, ...],
    pairs: tuple[str, ...],
    renames: tuple[str, ...],
    only_mapped: bool,
    preset: str | None,
    workspace: str,
    span: str,
    owner: str,
    as_json: bool,
) -> None:
    """Draft events/ and properties.yaml from what is sent: a plan that accepts all of it.

    It says types, what is always there and the few values that some texts have; what means two things or looks like
    another name for the same is pointed out. What everything means stands there as TODO.

    \b
    Examples:
      journey-gateway contract infer --workspace main --range 28d --output contracts/mine
      journey-gateway contract infer --from shop.csv.gz --map userId=user_id --map event=event --output contracts/mine
    """
    _check_free(output)
    if paths:
        mapping = Mapping.parse(pairs, renames, only_mapped=only_mapped, preset=_preset(preset))
        done = asyncio.run(_drafted(lambda: _of_files(paths, mapping), output.name, owner))
    else:
        if pairs or renames or only_mapped or preset:
            raise click.UsageError("--map, --rename-event, --only-mapped and --preset belong to --from.")
        done = asyncio.run(_of_workspace(workspace, lasting(span), output.name, owner))
    if not done.draft.events:
        raise NotFound(
            "There are no events to draft a plan from.", hint="Read further back (--range), or a file (--from)."
        )
    with writing_files():
        for path, text in done.files.items():
            (output / path).parent.mkdir(parents=True, exist_ok=True)
            (output / path).write_text(text, encoding="utf-8")
    _show(done, output, as_json=as_json)


def _check_free(output: Path) -> None:
    taken = [name for name in ("properties.yaml", "events") if (output / name).exists()]
    if taken:
        raise InvalidInput(
            f"{output / taken[0]} is there already.", hint="Give another folder: nothing is overwritten."
        )


def _preset(name: str | None) -> Any:
    return None if name is None else presets.preset(name, xes=None, zone=None)


async def _of_workspace(workspace: str, span: int, name: str, owner: str) -> _Drafted:
    async with open_store(read_settings()) as (database, clock):
        if workspace not in await Keys(database).workspaces():
            raise NotFound(
                f"There is no workspace {workspace!r}.", hint=f"`journey-gateway init {workspace}` makes it."
            )
        now = clock.now()

        async def events() -> AsyncIterator[Sent]:
            async for page in Exports(database).events(Selection(workspace, now, since=now - span, until=now)):
                for one in page:
                    values = one.traits if one.type.value in NAMELESS else one.properties
                    yield one.type.value, one.name, one.context, values

        return await _drafted(events, name, owner)


async def _of_files(paths: tuple[Path, ...], mapping: Mapping) -> AsyncIterator[Sent]:
    origin = Origin("infer", "infer", 0, None, _NO_LIMIT, correct_skew=False, decisions=True)
    for path in paths:
        for message in read_messages(path, mapping):
            try:
                row = read_message(message, origin, seq=0, fallback_id=lambda: "")
            except Unacceptable:
                continue  # it would be quarantined, whatever the plan says
            values = row["traits" if row["type"] in NAMELESS else "properties"]
            yield row["type"], row["name"], row["context"], readable(values) if "escaped" in row else values


async def _drafted(log: Log, name: str, owner: str) -> _Drafted:
    """The plan, and how much of the same log it accepts."""
    inference = Inference()
    async for kind, event, _, values in log():
        inference.add(kind, event, values)
    draft = inference.draft(owner)
    files = files_of(draft)
    done = _Drafted(draft, files=files)
    plan = Plan(load_texts(name, files).events.values() if files else ())
    async for kind, event, context, values in log():
        done.events += 1
        planned = plan.find(kind, event, context)
        done.fitting += planned is None or planned.fits(values)
    return done


def _show(done: _Drafted, output: Path, *, as_json: bool) -> None:
    notes = {subject: [*several] for subject, several in done.draft.notes.items()}
    if as_json:
        shown = {"events": len(done.draft.events), "properties": len(done.draft.properties), "read": done.events}
        print_json({**shown, "accepted": done.fitting, "files": [*done.files], "notes": notes})
        return
    click.echo(f"{len(done.draft.events):,} events and {len(done.draft.properties):,} properties drafted in {output}.")
    click.echo(f"The plan accepts {done.fitting:,} of the {done.events:,} events it was made from.")
    for subject, several in notes.items():
        for note in several:
            click.echo(f"  {subject}: {note}", err=True)
    click.echo("Next: replace each TODO, add owners and journeys, then `journey-gateway contract apply`.", err=True)
