"""From tables of the configuration to instances: which connector, in which workspace, with which checked settings."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gateway.configuration import Tables
from gateway.errors import PluginFailure, SetupError
from gateway.plugin.configuration import Config, secrets_in
from gateway.plugin.connectors import Connector
from gateway.plugin.failures import traced
from gateway.plugin.host import Host

#: What every instance may have beside its connector's own settings.
COMMON = ("use", "workspace", "enabled", "allow_hosts", "events")
WORKSPACE = "main"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")


@dataclass(frozen=True, slots=True)
class Configured:
    """One instance as it is configured. `failure` says why it cannot be made; then `kind` and `config` may be None.

    `allow_hosts`: private hosts and networks that it may call all the same. `events`: names of the events it gets, if
    it is a destination; empty: all.
    """

    name: str
    workspace: str
    use: str
    kind: type[Connector[Any]] | None = None
    config: Config | None = None
    allow_hosts: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    failure: PluginFailure | None = None


@dataclass(frozen=True, slots=True)
class Plugged:
    """The host, and every enabled instance, those that cannot be made among them."""

    host: Host
    instances: tuple[Configured, ...] = ()

    @property
    def failures(self) -> list[PluginFailure]:
        """What is wrong with plugins and instances, in the order of the configuration."""
        plugins = [plugin.failure for plugin in self.host.plugins.values() if plugin.failure is not None]
        return [*plugins, *(one.failure for one in self.instances if one.failure is not None)]

    def by_workspace(self, workspace: str) -> Iterable[Configured]:
        """The instances of a workspace."""
        return (one for one in self.instances if one.workspace == workspace)


def check_workspaces(plugged: Plugged, tables: Tables, known: Collection[str]) -> Plugged:
    """The same, with a failure for each instance whose workspace there is not. While there is none at all, as before
    `init`, nobody can be wrong."""
    if not known:
        return plugged
    instances = (
        one
        if one.failure is not None or one.workspace in known
        else replace(one, failure=_no_workspace(one, tables, known))
        for one in plugged.instances
    )
    return replace(plugged, instances=tuple(instances))


def _no_workspace(one: Configured, tables: Tables, known: Collection[str]) -> PluginFailure:
    said = f"{one.name}.workspace: there is no workspace {one.workspace!r}."
    place = tables.place("connectors", one.name, "workspace") or tables.place(one.name, "workspace")
    close = difflib.get_close_matches(one.workspace, known, n=1)
    meant = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
    return traced(
        PluginFailure(
            plugin=one.use,
            version="" if one.kind is None else one.kind.manifest.version,
            operation=f"configure {one.name}",
            category="config",
            message=f"{place}: {said}" if place else said,
            fix=f"{meant} Or make it with `journey-gateway init {one.workspace}`, and restart.",
        )
    )


def plugins_named(tables: Tables) -> list[str]:
    """Plugins that the enabled instances use: what stands before the point of `use`."""
    return [
        use.partition(".")[0]
        for name, table in tables.values.items()
        if isinstance(use := table.get("use", name), str) and use and table.get("enabled", True) is not False
    ]


def configure(tables: Tables, host: Host) -> list[Configured]:
    """Every enabled instance, in the order of the configuration; what is wrong with one is said in its failure."""
    return [
        _configure(name, table, tables, host)
        for name, table in tables.values.items()
        if table.get("enabled", True) is not False
    ]


def _configure(name: str, table: Mapping[str, Any], tables: Tables, host: Host) -> Configured:
    use, workspace = table.get("use", name), table.get("workspace", WORKSPACE)
    base = Configured(
        name, workspace if isinstance(workspace, str) else WORKSPACE, use if isinstance(use, str) and use else "?"
    )

    def failed(message: str, fix: str, *path: str, version: str = "") -> Configured:
        place = tables.place("connectors", name, *path) or tables.place(name, *path)
        said = f"{place}: {message}" if place else message
        failure = PluginFailure(
            plugin=base.use, version=version, operation=f"configure {name}", category="config", message=said, fix=fix
        )
        return Configured(base.name, base.workspace, base.use, failure=traced(failure))

    if not _NAME.match(name):
        return failed(f"{name!r} cannot be the name of a connector.", "Use a-z, 0-9, _ and -, a letter first.")
    if (problem := _common_problem(table)) is not None:
        key, fix = problem
        return failed(f"{name}.{key} is not what it should be.", fix, key)
    kind = host.connectors.get(base.use)
    if kind is None:
        return failed(*_no_connector(base.use, host), "use")
    own = {key: value for key, value in table.items() if key not in COMMON}
    try:
        config = kind.Config.model_validate(own)
    except ValidationError as error:
        lines, first = _said(error, kind.Config, name)
        return failed(
            lines, f"`journey-gateway plugin check {name}` shows its settings.", *first, version=kind.manifest.version
        )
    for path, secret in secrets_in(config):
        try:
            secret.reveal()
        except SetupError as error:
            said = f"{'.'.join((name, *path))}: {error.message}"
            return failed(said, error.hint or "", *path, version=kind.manifest.version)
    return Configured(
        name,
        base.workspace,
        base.use,
        kind,
        config,
        tuple(table.get("allow_hosts", ())),
        tuple(table.get("events", ())),
    )


def _common_problem(table: Mapping[str, Any]) -> tuple[str, str] | None:
    for key in ("use", "workspace"):
        if key in table and not (isinstance(table[key], str) and table[key]):
            return key, "It must be a text."
    if not isinstance(table.get("enabled", True), bool):
        return "enabled", "It must be true or false."
    for key in ("allow_hosts", "events"):
        value = table.get(key, [])
        if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            return key, "It must be a list of texts."
    for one in table.get("allow_hosts", []):
        if not one or ("/" in one and not _is_network(one)):
            return "allow_hosts", f"{one!r} is neither a host nor a network: such as erp.internal, or 10.1.0.0/16."
    return None


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=True)
    except ValueError:
        return False
    return True


def _no_connector(use: str, host: Host) -> tuple[str, str]:
    plugin = host.plugins.get(use.partition(".")[0])
    if plugin is None:
        return f"The plugin of {use!r} is not loaded.", "GATEWAY_LOAD_PLUGINS names those that are; take it away."
    if plugin.failure is not None:
        return f"Its plugin does not load: {plugin.failure.message}", plugin.failure.fix
    known = [kind.manifest.name for kind in plugin.connectors]
    close = difflib.get_close_matches(use, known, n=1)
    fix = f"Did you mean {close[0]}?" if close else f"It has: {', '.join(known) or 'none'}."
    return f"The plugin {plugin.name} has no connector {use!r}.", fix


def _said(error: ValidationError, model: type[Config], name: str) -> tuple[str, tuple[str, ...]]:
    """What is wrong, one sentence per key, without any value; and the path of the first."""
    sentences: list[str] = []
    first: tuple[str, ...] = ()
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        path = tuple(str(part) for part in problem["loc"])
        first = first or path
        message = problem["msg"].removeprefix("Value error, ").rstrip(".")
        if problem["type"] == "extra_forbidden":
            known = _fields_at(model, path[:-1])
            close = difflib.get_close_matches(path[-1], known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            message = f"unknown key; {meant}"
        elif problem["type"] == "string_type":
            message = "it must be a text, in quotes"
        elif problem["type"] == "missing":
            message = "missing"
        elif problem["type"] == "string_pattern_mismatch" and (field := model.model_fields.get(path[0])):
            said = (field.description or "").rstrip(".")
            message = f"it does not have the form of what it is{f': {said}' if said else ''}"
        sentences.append(f"{'.'.join((name, *path))}: {message}{'' if message.endswith('?') else '.'}")
    return " ".join(sentences), first


def _fields_at(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The keys that a table of the configuration may have, at any depth."""
    for name in path:
        field = model.model_fields.get(name)
        # The key of a mapping is no field: the table below it is still of the same kind.
        found = None if field is None else _model_in(field.annotation)
        model = found or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
