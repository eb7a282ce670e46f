"""`plugins` and `plugin …`: which plugins and connectors there are, and whether they can be used."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click

from gateway.app.plugins import in_workspaces, load_plugins
from gateway.cli.options import json_option, print_json
from gateway.cli.scaffold import new
from gateway.cli.trying import attempt
from gateway.errors import GatewayError, PluginFailure
from gateway.plugin.checking import kinds_of
from gateway.plugin.configuring import Configured, Plugged
from gateway.plugin.host import Plugin, installed
from gateway.settings import Settings, read_settings


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List plugins: those installed, those in use, their connectors, and what is wrong.

    \b
    Examples:
      journey-gateway plugins
      journey-gateway plugins --json | jq '.instances[] | select(.failure)'
    """
    plugged = load_plugins(read_settings(), refuse=False)
    if as_json:
        print_json(_as_json(plugged))
        return
    rows = [_row(plugin) for plugin in plugged.host.plugins.values()]
    unused = sorted(installed().keys() - plugged.host.plugins.keys())
    for name, said in rows:
        click.echo(f"{name:<16} {said}")
    if unused:
        click.echo(f"Installed, not in use: {', '.join(unused)}.")
    for one in plugged.instances:
        click.echo(f"[connectors.{one.name}]  {_instance(one)}")
    if not rows and not unused:
        click.echo("No plugin is installed.")


@click.group()
def plugin() -> None:
    """Write, check and try plugins."""


plugin.add_command(new)
plugin.add_command(attempt)


@plugin.command()
@click.argument("instance", required=False)
@json_option
def check(instance: str | None, as_json: bool) -> None:
    """Check plugins and the settings of connectors; none is called. Exit code 2 when something is wrong.

    MongoDB is asked which workspaces there are, if it runs.

    With INSTANCE its settings are explained.
    """
    settings = read_settings()
    plugged = load_plugins(settings, refuse=False)
    workspaces = _workspaces(settings) if plugged.instances else []
    plugged = in_workspaces(plugged, settings, workspaces or (), refuse=False)
    wanted = [one for one in plugged.instances if instance in (None, one.name)]
    if instance is not None and not wanted:
        known = ", ".join(one.name for one in plugged.instances) or "none"
        raise click.UsageError(f"No connector {instance!r} is configured. There are: {known}.")
    failures = [one.failure for one in wanted if one.failure is not None] if instance else plugged.failures
    plugin_of = None if instance is None else wanted[0].use.partition(".")[0]
    failures += [one for one in _clashes(plugged, settings) if plugin_of in (None, one.plugin)]
    if as_json:
        said = [asdict(failure) for failure in failures]
        print_json({"ok": not failures, "workspacesCompared": workspaces is not None, "failures": said})
    else:
        if instance is not None:
            _explain(wanted[0], plugged)
        else:
            for one in plugged.host.kpi_functions.values():
                click.echo(f"{one.name} {one.version} (KPI function, {one.kind}): {one.brief}")
        for failure in failures:
            click.secho(f"{failure.plugin}: {failure.message}", fg="red", err=True)
            click.echo(failure.fix, err=True)
            click.echo(about(failure), err=True)
        if workspaces is None:
            click.echo("MongoDB does not run or answer: workspaces were not compared.", err=True)
        if not failures:
            click.echo("Plugins and connectors are in order.")
    if failures:
        raise SystemExit(2)


def _workspaces(settings: Settings) -> list[str] | None:
    from gateway.app.opening import known_workspaces

    return asyncio.run(known_workspaces(settings))


def _clashes(plugged: Plugged, settings: Settings) -> list[PluginFailure]:
    """Of what plugins add to the schema, beside the contract's types if that loads: `contract check` says why not."""
    added = plugged.host.graphql
    if not added:
        return []
    from gateway.api.clashing import clashes
    from gateway.api.schema import NO_CONTRACT, build_schema
    from gateway.app.contracts import contract_folder
    from gateway.contract import load_contract

    contract = NO_CONTRACT
    with suppress(GatewayError):
        loaded = load_contract(contract_folder(settings))
        build_schema(loaded)
        contract = loaded
    return clashes(contract, added)


def _explain(one: Configured, plugged: Plugged) -> None:
    kind = one.kind or plugged.host.connectors.get(one.use)
    if kind is None:
        return
    click.echo(f"{kind.manifest.name} {kind.manifest.version}: {kind.manifest.brief}")
    schema = kind.Config.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        needed = "required" if name in schema.get("required", ()) else f"default {field.get('default')!r}"
        shape = field.get("format") or field.get("type") or "see --json"
        click.echo(f"  {name:<24} {shape}, {needed}. {field.get('description', '')}".rstrip())


def about(failure: PluginFailure) -> str:
    """The rest of the record, in one line."""
    version = f" {failure.version}" if failure.version else ""
    again = ", tried again by itself" if failure.retryable else ""
    return f"({failure.plugin}{version}, {failure.operation}: {failure.category}{again}; trace {failure.trace_id})"


def _row(plugin: Plugin) -> tuple[str, str]:
    if plugin.failure is not None:
        return plugin.name, f"FAILED ({plugin.failure.operation}): {plugin.failure.message} {plugin.failure.fix}"
    connectors = ", ".join(f"{kind.manifest.name} ({'+'.join(kinds_of(kind))})" for kind in plugin.connectors)
    functions = ", ".join(f"{one.name} (KPI function)" for one in plugin.kpi_functions)
    return plugin.name, f"{plugin.version or '-'}  {plugin.origin}  {', '.join(filter(None, (connectors, functions)))}"


def _instance(one: Configured) -> str:
    if one.failure is not None:
        return f"FAILED: {one.failure.message} {one.failure.fix}"
    return f"{one.use} for workspace {one.workspace}"


def _as_json(plugged: Plugged) -> dict[str, Any]:
    def failure(found: PluginFailure | None) -> dict[str, Any] | None:
        return None if found is None else asdict(found)

    return {
        "plugins": [
            {
                "name": plugin.name,
                "version": plugin.version,
                "origin": plugin.origin,
                "connectors": [
                    {
                        "name": kind.manifest.name,
                        "version": kind.manifest.version,
                        "brief": kind.manifest.brief,
                        "kinds": kinds_of(kind),
                        "testLevel": kind.manifest.test_level,
                        "configuration": kind.Config.model_json_schema(),
                    }
                    for kind in plugin.connectors
                ],
                "kpiFunctions": [
                    {
                        "name": one.name,
                        "version": one.version,
                        "brief": one.brief,
                        "kind": one.kind,
                        "parameters": one.Parameters.model_json_schema(),
                    }
                    for one in plugin.kpi_functions
                ],
                "failure": failure(plugin.failure),
            }
            for plugin in plugged.host.plugins.values()
        ],
        "installed": sorted(installed()),
        "instances": [
            {"name": one.name, "use": one.use, "workspace": one.workspace, "failure": failure(one.failure)}
            for one in plugged.instances
        ],
    }
