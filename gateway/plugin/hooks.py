"""The hooks. Few, and the classes they return are rich; a hook is added together with a connector that uses it.

`register_…` hooks are called once, at the start, and are synchronous. A plugin is a module (or an object) with
functions of these names, marked with `hookimpl`, that the entry-point group `journey_gateway` names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import click
import pluggy

from gateway.plugin.connectors import Connector
from gateway.plugin.kpis import KpiFunction

#: pluggy's name of the project, and the entry-point group.
PROJECT = "journey_gateway"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class GraphqlFields:
    """Fields that a plugin adds. The classes hold only methods marked with `gateway.plugin.field`.

    Every field's name begins with `prefix`, and so do the names of the types they return. Each may be null: it is when
    its resolver raises or takes longer than five seconds. Resolvers run in a thread of their plugin's, with the API's
    object as `self`: `user_of(self)` is whose field of `user` it is, `enriched` tells what an enricher knows.
    The gateway sets `plugin`.
    """

    prefix: str
    query: type[Any] | None = None
    user: type[Any] | None = None
    types: tuple[type[Any], ...] = field(default=())
    plugin: str = ""


@hookspec
def register_connectors() -> Iterable[type[Connector[Any]]]:  # type: ignore[empty-body]
    """Return the classes of the plugin's connectors. Called once, before any instance is made."""


@hookspec
def register_graphql() -> GraphqlFields:  # type: ignore[empty-body]
    """Return fields for `Query` and `User`. Called once, when the schema is built."""


@hookspec
def register_kpi_functions() -> Iterable[KpiFunction]:  # type: ignore[empty-body]
    """Return the functions that KPIs of the contract may name. Called once, before any KPI is computed."""


@hookspec
def register_commands(group: click.Group) -> None:
    """Add commands to `journey-gateway`. Called once, when the command line is read."""
