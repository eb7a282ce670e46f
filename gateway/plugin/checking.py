"""Whether what a plugin registers can be used; what is wrong is said before anything is made of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import PluginError, PluginFailure
from gateway.plugin.capabilities import Capabilities
from gateway.plugin.configuration import Config
from gateway.plugin.connectors import (
    API_VERSION,
    AlertChannel,
    Connector,
    Destination,
    Enricher,
    FlagProvider,
    Manifest,
    PullSource,
    WebhookSource,
)
from gateway.plugin.failures import refused
from gateway.plugin.hooks import GraphqlFields
from gateway.plugin.kpis import KpiFunction

#: The kinds by the word that people use for them.
KINDS: Mapping[str, Any] = {
    "destination": Destination,
    "webhook": WebhookSource,
    "pull": PullSource,
    "enricher": Enricher,
    "flags": FlagProvider,
    "alerts": AlertChannel,
}


#: What a function of KPIs may be called behind its plugin's name.
_FUNCTION = re.compile(r"[a-z][A-Za-z0-9_]*\Z")


def kinds_of(connector: type[Connector[Any]]) -> list[str]:
    """What a connector is, in the words of KINDS."""
    return [word for word, kind in KINDS.items() if issubclass(connector, kind)]


def check_connector(plugin: str, connector: object, known: Mapping[str, type[Connector[Any]]]) -> type[Connector[Any]]:
    """The class, if it can be used. Raises PluginError."""
    if not (isinstance(connector, type) and issubclass(connector, Connector)):
        raise _refused(
            plugin, "", f"{connector!r} is no connector class.", "Return classes that derive from Connector."
        )
    manifest = getattr(connector, "manifest", None)
    name = connector.__name__
    if not isinstance(manifest, Manifest):
        raise _refused(plugin, "", f"{name} has no manifest.", "Give it `manifest = Manifest(name=…, …)`.")
    version = manifest.version
    if manifest.api > API_VERSION:
        said = f"{name} is made for version {manifest.api} of the plugin API; this gateway has {API_VERSION}."
        raise _refused(plugin, version, said, "Upgrade the gateway, or install an older version of the plugin.")
    if manifest.name != plugin and not manifest.name.startswith(f"{plugin}."):
        fix = f"Name it {plugin!r} or {plugin + '.something'!r}."
        raise _refused(plugin, version, f"{name} is named {manifest.name!r}, which is not the plugin's.", fix)
    if manifest.name in known:
        raise _refused(plugin, version, f"There are two connectors named {manifest.name!r}.", "Rename one.")
    if not kinds_of(connector):
        fix = f"Derive it from {', '.join(kind.__name__ for kind in KINDS.values())}."
        raise _refused(plugin, version, f"{name} is of no kind.", fix)
    if inspect.isabstract(connector):
        missing = ", ".join(sorted(connector.__abstractmethods__))
        raise _refused(plugin, version, f"{name} lacks {missing}.", "Write these methods.")
    config = getattr(connector, "Config", None)
    if not (isinstance(config, type) and issubclass(config, Config)):
        fix = "Derive its `Config` from gateway.plugin.Config."
        raise _refused(plugin, version, f"{name} has no configuration model.", fix)
    if issubclass(connector, Destination) and not isinstance(getattr(connector, "capabilities", None), Capabilities):
        raise _refused(plugin, version, f"{name} has no capabilities.", "Give it `capabilities = Capabilities(…)`.")
    return connector


def check_graphql(plugin: str, fields: object, others: Sequence[GraphqlFields]) -> GraphqlFields:
    """The fields with their plugin, if their prefix is theirs alone. Raises PluginError."""
    if not isinstance(fields, GraphqlFields):
        said = f"register_graphql returned {type(fields).__name__}."
        raise _refused(plugin, "", said, "Return gateway.plugin.GraphqlFields.")
    if not fields.prefix.isidentifier() or not fields.prefix[0].islower():
        fix = "A prefix is a name such as `acme`."
        raise _refused(plugin, "", f"{fields.prefix!r} cannot begin the names of fields.", fix)
    prefix = _camel(fields.prefix)
    for other in others:
        theirs = _camel(other.prefix)
        if prefix.startswith(theirs) or theirs.startswith(prefix):
            said = f"Its prefix {fields.prefix!r} and {other.prefix!r} of the plugin {other.plugin} clash."
            fix = f"Choose another prefix in {plugin} or in {other.plugin}, or use only one of them."
            raise _refused(plugin, "", said, fix)
    for kind in (fields.query, fields.user):
        for name, member in inspect.getmembers(kind) if kind is not None else ():
            shown = getattr(member, "graphql_name", None) or _camel(name)
            if not name.startswith("_") and not (name.startswith(fields.prefix) and shown.startswith(prefix)):
                fix = f"Begin its name with {fields.prefix!r}."
                raise _refused(plugin, "", f"The field {shown} does not have the plugin's prefix.", fix)
    for one in fields.types:
        if not one.__name__.lower().startswith(prefix.lower()):
            fix = f"Begin its name with {prefix[0].upper()}{prefix[1:]}."
            raise _refused(plugin, "", f"The type {one.__name__} does not have the plugin's prefix.", fix)
    return replace(fields, plugin=plugin)


def check_kpi_functions(plugin: str, given: object) -> tuple[KpiFunction, ...]:
    """The functions, if they can be used and each has a name of its own. Raises PluginError."""
    if not isinstance(given, Iterable):
        said = f"register_kpi_functions returned {type(given).__name__}."
        raise _refused(plugin, "", said, "Return a list of instances of KpiFunction.")
    found: dict[str, KpiFunction] = {}
    for one in given:
        checked = _kpi_function(plugin, one)
        if checked.name in found:
            said = f"There are two functions of KPIs named {checked.name!r}."
            raise _refused(plugin, checked.version, said, "Rename one.")
        found[checked.name] = checked
    return tuple(found.values())


def _kpi_function(plugin: str, one: object) -> KpiFunction:
    if not isinstance(one, KpiFunction):
        shown = one.__name__ if isinstance(one, type) else type(one).__name__
        fix = "Return instances of classes that derive from KpiFunction, such as [MedianHours()]."
        raise _refused(plugin, "", f"{shown} is no function of KPIs.", fix)
    kind = type(one).__name__
    for name in ("name", "brief", "version"):
        if not isinstance(getattr(one, name, None), str):
            raise _refused(plugin, "", f"{kind} has no {name}.", f"Give it `{name} = …`, a text.")
    prefix, _, function = one.name.rpartition(".")
    if prefix != plugin or not _FUNCTION.match(function):
        fix = f"Name it {plugin + '.something'!r}, of letters, digits and _ behind the dot."
        raise _refused(plugin, one.version, f"{kind} is named {one.name!r}.", fix)
    kind_of: object = one.kind  # whatever the class says
    if kind_of not in ("mean", "share"):
        raise _refused(plugin, one.version, f"{one.name} is of no kind.", "Give it `kind`: 'mean' or 'share'.")
    parameters: object = one.Parameters
    if not (isinstance(parameters, type) and issubclass(parameters, Config)):
        fix = "Derive its `Parameters` from gateway.plugin.Config."
        raise _refused(plugin, one.version, f"{one.name} has no model of its parameters.", fix)
    if inspect.iscoroutinefunction(one.observe):
        fix = "Write `def observe`, not `async def`."
        raise _refused(plugin, one.version, f"{one.name}: observe must not be asynchronous.", fix)
    return one


def _camel(name: str) -> str:
    """As GraphQL shows it: `acme_contact` is acmeContact."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _refused(plugin: str, version: str, message: str, fix: str) -> PluginError:
    return refused(
        PluginFailure(plugin=plugin, version=version, operation="register", category="bug", message=message, fix=fix)
    )
