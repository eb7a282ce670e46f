"""`contract init`, `contract check` and `contract export`: a contract as files, without a database."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from gateway.app.contracts import contract_folder
from gateway.cli.contract_api import schema_of, sdl_of
from gateway.cli.options import json_option, print_json, writing_files
from gateway.contract import Contract, find_schema_root, load_contract
from gateway.contract.checking import ContractFinding, check_contract
from gateway.contract.exporting import as_json_schema, as_markdown, as_mermaid
from gateway.errors import ContractError, NotFound
from gateway.settings import read_settings

_TEMPLATE = Path(__file__).parent / "templates" / "contract"

#: How `contract export` writes a contract.
FORMATS: dict[str, Callable[[Contract], str]] = {
    "jsonschema": as_json_schema,
    "markdown": as_markdown,
    "mermaid": as_mermaid,
    "sdl": sdl_of,
}
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}

_folder = click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("contract"))
def init(folder: Path) -> None:
    """Write a small contract of your own into FOLDER (default: contract), which names it. Every file says what it is.

    \b
    Examples:
      journey-gateway contract init contracts/webapp
      journey-gateway contract check contracts/webapp
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty: name a folder that is new.")
    with writing_files():
        shutil.copytree(_TEMPLATE, folder, dirs_exist_ok=True)
        # Editors complete and check by these: line 1 of every file points there.
        (folder / "meta").mkdir()
        for schema in sorted((find_schema_root() / "meta").glob("*.schema.json")):
            shutil.copyfile(schema, folder / "meta" / schema.name)
    for path in sorted(folder.rglob("*.*")):
        if path.parent.name != "meta":
            click.echo(str(path))
    click.echo(f"\nNext: change them, `journey-gateway contract check {folder}`, then `contract apply`.", err=True)


@click.command()
@_folder
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@json_option
def check(folder: Path | None, strict: bool, as_json: bool) -> None:
    """Check the contract in FOLDER (default: the one that is set): its files, its examples, and what they say of each
    other.

    An error is what could never happen: an event in a rule that nobody plans, an example that does not come out. A
    warning is what people would miss: a KPI without a word in the glossary, a survey that nothing triggers. A note is
    room for more: an event that nothing uses, a stage where nobody is asked. Exit code 1 with errors.

    \b
    Examples:
      journey-gateway contract check contracts/webapp --strict
      journey-gateway contract check --json
    """
    folder = folder if folder is not None else contract_folder(read_settings())
    try:
        loaded = load_contract(folder)
        schema_of(loaded)
        found = check_contract(loaded)
    except ContractError as error:
        found = [_problem(text) for text in error.problems]
    counts = {severity: sum(one.severity == severity for one in found) for severity in _COLOURS}
    failed = bool(counts["error"] or (strict and counts["warning"]))
    if as_json:
        print_json({"ok": not failed, **counts, "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            click.echo(f"{click.style(f'{one.severity:<8}', fg=_COLOURS[one.severity])} {one}")
        said = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items())
        click.echo(f"{folder}: {said}", err=True)
    if failed:
        raise SystemExit(1)


@click.command()
@_folder
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), required=True, help="What to write.")
@click.option("--map", "key", metavar="KEY", help="With mermaid: this journey map only.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: standard output.")
def export(folder: Path | None, form: str, key: str | None, output: Path | None) -> None:
    """Write the contract in FOLDER (default: the one that is set) for other tools and for reading.

    jsonschema: what the properties of each event have to be. mermaid: the journey maps as a flowchart. markdown: the
    catalogue of everything. sdl: the GraphQL schema with the types of the plan.

    \b
    Examples:
      journey-gateway contract export --format markdown --output CATALOGUE.md
      journey-gateway contract export contracts/webapp --format mermaid --map onboarding
    """
    if key is not None and form != "mermaid":
        raise click.UsageError("--map belongs to --format mermaid.")
    loaded = load_contract(folder if folder is not None else contract_folder(read_settings()))
    if key is not None and key not in loaded.journeys:
        raise NotFound("There is no such journey map.", hint=f"There is: {', '.join(loaded.journeys) or 'none'}.")
    text = FORMATS[form](loaded) if key is None else as_mermaid(loaded, [key])
    if output is None:
        click.echo(text, nl=False)
    else:
        with writing_files():
            output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}", err=True)


def _problem(text: str) -> ContractFinding:
    """What keeps a contract from loading, as a finding."""
    parts = re.fullmatch(r"(?P<file>.+?):(?P<line>\d+)(?: (?P<place>.+?))?: (?P<what>.+) - (?P<fix>.+)", text)
    if parts is None:
        return ContractFinding("error", "file", "", 1, "", text, "")
    place = parts["place"] or ""
    return ContractFinding("error", "file", parts["file"], int(parts["line"]), place, parts["what"], parts["fix"])
