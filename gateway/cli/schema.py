"""`schema export` and `schema check`: the API's SDL as a reviewed file."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

import click

from gateway.api.schema import print_sdl
from gateway.app.contracts import contract_folder
from gateway.contract import find_schema_root, load_contract
from gateway.settings import read_settings


@click.group()
def schema() -> None:
    """The API's SDL in schema/api.graphql."""


@schema.command()
def export() -> None:
    """Write the SDL."""
    file = _file()
    file.write_text(print_sdl())
    click.echo(f"wrote {file}")


@schema.command()
def check() -> None:
    """Fail if the file differs from the code, or the contract folder has a mistake."""
    load_contract(contract_folder(read_settings()))
    file = _file()
    stored = file.read_text() if file.exists() else ""
    if stored != print_sdl():
        click.echo("".join(unified_diff(stored.splitlines(True), print_sdl().splitlines(True), "file", "code")))
        click.echo("schema/api.graphql differs from the code: run `journey-gateway schema export`.", err=True)
        raise SystemExit(1)
    click.echo("schema/api.graphql is up to date; the contract has no mistakes")


def _file() -> Path:
    return find_schema_root() / "api.graphql"
