"""What a contract is in GraphQL: whether the API can be built with it, its SDL, and code generators' configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.app.contracts import contract_folder
from gateway.app.plugins import load_plugins
from gateway.contract import Contract, load_contract
from gateway.settings import Settings, read_settings

# The API is loaded where it is built: it takes longer than most of what `contract` does.
if TYPE_CHECKING:
    from gateway.api.schema import Schema


def schema_of(contract: Contract, settings: Settings | None = None) -> Schema:
    """The schema that gateways with these settings serve under the contract. Raises ContractError when none can be."""
    from gateway.api.schema import build_schema

    given = settings if settings is not None else read_settings()
    return build_schema(contract, added=load_plugins(given, refuse=False).host.graphql)


def sdl_of(contract: Contract) -> str:
    """All of the API as text, with the types of the plan: what /schema.graphql serves."""
    return schema_of(contract).sdl


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--schema",
    "source",
    metavar="URL|FILE",
    default="http://127.0.0.1:8000/schema.graphql",
    show_default=True,
    help="Where the generator reads the schema.",
)
@click.option("--documents", default="src/**/*.{ts,tsx}", show_default=True, help="Where your queries are.")
@click.option("--output", default="./src/gql/", show_default=True, help="The folder that the generator writes.")
def codegen(folder: Path | None, source: str, documents: str, output: str) -> None:
    """Print a configuration of graphql-codegen (client preset) for the API with the contract in FOLDER (default: the
    one that is set), with every scalar mapped to TypeScript.

    \b
    Examples:
      journey-gateway contract codegen > codegen.ts
      journey-gateway contract export --format sdl --output schema.graphql
      journey-gateway contract codegen --schema schema.graphql > codegen.ts
    """
    from gateway.api.typescript import codegen_config

    loaded = load_contract(folder if folder is not None else contract_folder(read_settings()))
    click.echo(codegen_config(schema_of(loaded), source=source, documents=documents, output=output), nl=False)
