"""`config show`, `config check` and `config example`: what is set, from where, and what could be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import click
import orjson

from gateway.cli.options import json_option, print_json, setting_options
from gateway.configuration import Kind, Option, Reading, Tables
from gateway.configuration.reading import Problem
from gateway.errors import ContractError, GatewayError
from gateway.settings import FILE, READER, Settings, explained, look_up_settings

_WIDTH = 60
#: What stands in a table whose keys the settings do not know.
_LIKELY_TABLE = 'use = "segment"\nwrite_key = "env:SEGMENT_WRITE_KEY"'


@click.group()
def config() -> None:
    """Settings: command-line option, else environment (GATEWAY_PORT), else TOML file (port = 8000), else default."""


@config.command()
@setting_options("host", "port", "mongo_uri", "database", "data_dir", production=("env", "production"))
@click.option("--sources", is_flag=True, help="Say where each value comes from.")
@json_option
def show(options: dict[str, Option], sources: bool, as_json: bool) -> None:
    """Print every setting as the gateway would read it here, secrets hidden.

    Exit code 2 when a setting is wrong; what is wrong stands at its default.

    \b
    Examples:
      journey-gateway config show --sources
      journey-gateway config show --json | jq .settings.port.value
    """
    reading = look_up_settings(options=options)
    if as_json:
        print_json(_as_json(reading))
    else:
        _print_table(reading, sources=sources)
    if reading.problems:
        _complain(reading)
        raise SystemExit(2)


@config.command()
def check() -> None:
    """Say what is wrong with the settings; nothing is started. Exit code 2 when something is."""
    reading = look_up_settings()
    reading = replace(reading, problems=(*reading.problems, *asyncio.run(_unusable(reading.settings))))
    if reading.problems:
        _complain(reading)
        raise SystemExit(2)
    given = sum(origin.kind != "default" for origin in reading.origins.values())
    where = f", {reading.file} read" if reading.file else f", no {FILE} here"
    click.echo(f"The settings are in order ({given} given{where}).")


@config.command()
def example() -> None:
    """Print a TOML file with every setting at its default, ready to be edited.

    \b
    Example:
      journey-gateway config example > gateway.toml
    """
    click.echo(example_file(), nl=False)


def example_file() -> str:
    """Every setting as a comment: what it means, and its default or what a value looks like."""
    head = "# Settings of Journey Gateway. The environment (GATEWAY_PORT=9000) wins over this file.\n"
    head += '# A secret can stand in a file of its own: mongo_uri_file = "/run/secrets/mongo_uri"\n'
    parts = []
    # Tables last: what stands below the heading of one is part of it.
    for field in sorted(fields(Settings), key=lambda field: READER.kinds[field.name].tables):
        text = explained()[field.name]
        said = f"# {text[0].upper()}{text[1:]}\n"
        parts.append(said + "".join(f"# {line}\n" for line in _toml(field.name, field.default).splitlines()))
    return "\n".join([head, *parts])


def _toml(name: str, default: object) -> str:
    kind = READER.kinds[name]
    if kind.base is Tables:
        return f"[{name}.analytics]\n{_LIKELY_TABLE}"
    if kind.tables:
        inner = kind.inner or kind
        heading = f"[[{name}]]" if kind.inner else f"[{name}]"
        return "\n".join([heading, *(f"{key} = {_likely(each)}" for key, each in inner.fields.items())])
    return f"{name} = {_likely(kind) if default in (None, ()) else _value(default)}"


def _likely(kind: Kind) -> str:
    """What a value looks like: the example, which is the default where there is one."""
    if kind.inner is not None:
        parts = [part for part in kind.example.split(",") if part]
        return f"[{', '.join(map(_quoted, parts))}]"
    return kind.example if kind.base in (int, float, bool) and kind.example else _quoted(kind.example)


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _value(value: object) -> str:
    """A default in TOML, which says texts, numbers, booleans and lists of them as JSON does."""
    return orjson.dumps(list(value) if isinstance(value, tuple) else value, default=str).decode().replace(",", ", ")


async def _unusable(settings: Settings) -> list[Problem]:
    """What is well formed and still stops a start, looked at as a start does; nothing is connected to."""
    # Here: the other commands of this group must answer where a package that these need is missing.
    from gateway.app.contracts import contract_folder
    from gateway.contract import load_contract
    from gateway.pipeline.addresses import Addresses
    from gateway.store.database import connect
    from gateway.store.mongod_binary import find_mongod

    problems: list[Problem] = []
    with _noted(problems):
        load_contract(contract_folder(settings))
    with _noted(problems):
        Addresses(settings.ip, settings.country_database)
    if settings.mongo_uri is None and settings.mongod is not None:
        with _noted(problems):
            find_mongod(settings.mongod)
    elif settings.mongo_uri is not None and not settings.mongo_uri.startswith("mongodb+srv:"):  # asks DNS
        with _noted(problems):
            await connect(settings.mongo_uri, settings.database, driver=settings.driver).close()
    return problems


@contextmanager
def _noted(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except ContractError as error:
        problems += [Problem(f"contract: {problem}", "") for problem in error.problems]
    except GatewayError as error:
        problems.append(Problem(error.message, error.hint))


def _shown(reading: Reading[Settings], name: str) -> object:
    return READER.masked(name, getattr(reading.settings, name))


def _as_json(reading: Reading[Settings]) -> dict[str, object]:
    return {
        "file": str(reading.file) if reading.file else None,
        "settings": {
            name: {"value": _shown(reading, name), "source": origin.kind, "place": origin.place or None}
            for name, origin in reading.origins.items()
        },
        "problems": [{"message": problem.message, "fix": problem.hint} for problem in reading.problems],
    }


def _print_table(reading: Reading[Settings], *, sources: bool) -> None:
    """Name, value, and where it comes from; what is not a default stands out."""
    rows = []
    for name, origin in reading.origins.items():
        value = _shown(reading, name)
        said = "(unset)" if value is None else value if isinstance(value, str) else _value(value)
        rows.append((name, said, origin))
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, said, origin in rows:
        bold = origin.kind != "default"
        padded = said.ljust(min(values, _WIDTH)) if sources else said
        click.echo(f"{name:<{names}}  {click.style(padded, bold=bold)}" + (f"  {origin}" if sources else ""))


def _complain(reading: Reading[Settings]) -> None:
    for problem in reading.problems:
        click.secho(f"Error: {problem.message}", fg="red", err=True)
        if problem.hint:
            click.echo(f"  {problem.hint}", err=True)
