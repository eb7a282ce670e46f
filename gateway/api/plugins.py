"""Plugins and connectors as operators see them; and the fields that plugins add to the schema."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import strawberry
from graphql import GraphQLField, GraphQLNonNull, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema
from strawberry.types.field import StrawberryField

from gateway.api.context import Context
from gateway.connectors.threads import ConnectorThread
from gateway.errors import PluginFailure as Failure
from gateway.errors import SetupError
from gateway.plugin import GraphqlFields, Policy, Source, attribute
from gateway.plugin.checking import kinds_of
from gateway.plugin.configuring import Configured
from gateway.plugin.host import Plugin as Loaded

#: How long a resolver of a plugin may take.
RESOLVER_SECONDS = 5.0

PLUGINS = Policy("workspace:read")

_HOST = Source.loader("plugins")


@strawberry.enum(description="What kind of trouble a plugin has: whose turn it is.")
class FailureCategory(Enum):
    """The categories of `gateway.errors.PluginFailure`."""

    AUTH = strawberry.enum_value("auth", description="Credentials are refused.")
    RATE_LIMIT = strawberry.enum_value("rate_limit", description="The other side wants fewer requests.")
    CONFIG = strawberry.enum_value("config", description="Its settings or its installation must be mended.")
    REMOTE = strawberry.enum_value("remote", description="The other side fails.")
    MAPPING = strawberry.enum_value("mapping", description="What is sent does not fit the other side.")
    BUG = strawberry.enum_value("bug", description="The plugin itself is at fault.")


@strawberry.type(description="Why a plugin or a connector is not in use, and what to do.")
class PluginFailure:
    """One record; the command line and the log show the same."""

    plugin: str = attribute(source=_HOST, policy=PLUGINS, description="The plugin.")
    version: str = attribute(source=_HOST, policy=PLUGINS, description="Its version, if it is known.")
    operation: str = attribute(source=_HOST, policy=PLUGINS, description="What failed.")
    category: FailureCategory = attribute(source=_HOST, policy=PLUGINS, description="Whose turn it is.")
    message: str = attribute(source=_HOST, policy=PLUGINS, description="What is wrong, for people.")
    fix: str = attribute(source=_HOST, policy=PLUGINS, description="What to do.")
    retryable: bool = attribute(source=_HOST, policy=PLUGINS, description="Whether it is tried again by itself.")
    trace_id: strawberry.ID = attribute(
        source=_HOST, policy=PLUGINS, description="By which the log has it: the request's, or one of its own."
    )


@strawberry.type(description="A configured connector.")
class ConnectorInstance:
    """One `[connectors.…]` table."""

    name: str = attribute(source=_HOST, policy=PLUGINS, description="Its name in the configuration.")
    connector: str = attribute(source=_HOST, policy=PLUGINS, description="Which connector it uses.")
    kinds: list[str] = attribute(
        source=_HOST,
        policy=PLUGINS,
        size=2,
        description="What it is: destination, webhook, pull, enricher, flags, alerts.",
    )
    failure: PluginFailure | None = attribute(
        source=_HOST, policy=PLUGINS, description="Why it is not in use; null when it is."
    )


@strawberry.type(description="A plugin that the configuration enables.")
class Plugin:
    """One plugin and the instances of its connectors in the caller's workspace."""

    name: str = attribute(source=_HOST, policy=PLUGINS, description="Its name.")
    version: str = attribute(source=_HOST, policy=PLUGINS, description="Its version, if it is known.")
    origin: str = attribute(source=_HOST, policy=PLUGINS, description="The package or file it comes from.")
    failure: PluginFailure | None = attribute(
        source=_HOST, policy=PLUGINS, description="Why it is not in use; null when it is."
    )
    instances: list[ConnectorInstance] = attribute(
        source=_HOST, policy=PLUGINS, size=5, description="Its configured connectors in this workspace."
    )


def plugins(context: Context) -> list[Plugin]:
    """What is enabled in this process."""
    instances = list(context.services.plugged.by_workspace(context.scope.workspace))
    trouble = context.services.flags.trouble(context.scope.workspace)
    return [_plugin(one, instances, trouble) for one in context.services.plugged.host.plugins.values()]


def _plugin(one: Loaded, instances: Sequence[Configured], trouble: Mapping[str, Failure]) -> Plugin:
    return Plugin(
        name=one.name,
        version=one.version,
        origin=one.origin,
        failure=plugin_failure(one.failure),
        instances=[
            ConnectorInstance(
                name=each.name,
                connector=each.use,
                kinds=[] if each.kind is None else kinds_of(each.kind),
                failure=plugin_failure(each.failure or trouble.get(each.name)),
            )
            for each in instances
            if each.use.partition(".")[0] == one.name
        ],
    )


def plugin_failure(found: Failure | None) -> PluginFailure | None:
    """The record as the API shows it."""
    if found is None:
        return None
    return PluginFailure(
        plugin=found.plugin,
        version=found.version,
        operation=found.operation,
        category=FailureCategory(found.category),
        message=found.message,
        fix=found.fix,
        retryable=found.retryable,
        trace_id=strawberry.ID(found.trace_id or ""),
    )


# -- fields of plugins -------------------------------------------------------------------------------------------------


def holders(added: Sequence[GraphqlFields]) -> list[type[Any]]:
    """The classes that hold plugins' fields, as GraphQL types: `join` moves their fields to where they belong."""
    made = []
    for fields in added:
        for place, kind in (("Query", fields.query), ("User", fields.user)):
            if kind is not None:
                made.append(_as_type(kind, _holder(fields, place)))
        made.extend(fields.types)
    return made


def join(schema: GraphQLSchema, added: Sequence[GraphqlFields]) -> None:
    """Move plugins' fields onto `Query` and `User`; their resolvers run in a thread of their plugin's.

    Raises SetupError when a field is there already, or cannot be null.
    """
    owners: dict[tuple[str, str], str] = {}
    for fields in added:
        thread = ConnectorThread(f"graphql {fields.prefix}")
        for name, kind in schema.type_map.items():
            if name.startswith(_capitalized(fields.prefix)) and isinstance(kind, GraphQLObjectType):
                for one in kind.fields.values():
                    _guard(one, thread)
        for place in ("Query", "User"):
            holder = schema.type_map.pop(_holder(fields, place), None)
            if not isinstance(holder, GraphQLObjectType):
                continue
            target = schema.type_map[place]
            assert isinstance(target, GraphQLObjectType)
            for name, one in holder.fields.items():
                if name in target.fields:
                    raise _is_there(fields, place, name, owners.get((place, name)))
                if isinstance(one.type, GraphQLNonNull):
                    raise SetupError(
                        f"{_named(fields)} adds {place}.{name}, which cannot be null.",
                        hint="Let its resolver return None too: it is null when the plugin fails.",
                    )
                target.fields[name] = one
                owners[place, name] = fields.plugin or fields.prefix


def _is_there(fields: GraphqlFields, place: str, name: str, owner: str | None) -> SetupError:
    whose = "it is the gateway's own" if owner is None else f"the plugin {owner!r} has added it"
    said = f"{_named(fields)} adds {place}.{name}, which is there already: {whose}."
    return SetupError(
        said, hint="Rename the plugin's field." if owner is None else "Rename it, or use one plugin only."
    )


def _named(fields: GraphqlFields) -> str:
    name = f"{fields.plugin!r} " if fields.plugin else ""
    return f"The plugin {name}with the prefix {fields.prefix!r}"


def _as_type(kind: type[Any], name: str) -> type[Any]:
    # Made once: a schema may be built more often, and Strawberry takes a class's fields away from it.
    if "__strawberry_definition__" in vars(kind):
        return kind
    return strawberry.type(kind, name=name, description="Fields of a plugin.")


def _guard(one: GraphQLField, thread: ConnectorThread) -> None:
    """Let a resolver run in a thread, within its time. Plain attributes run nobody's code."""
    definition = one.extensions.get("strawberry-definition")
    resolve = one.resolve
    if resolve is None or not isinstance(definition, StrawberryField) or definition.base_resolver is None:
        return
    one.resolve = _guarded(resolve, thread)


def _guarded(resolve: Callable[..., Any], thread: ConnectorThread) -> Callable[..., Awaitable[Any]]:
    async def guarded(source: object, info: GraphQLResolveInfo[Context], **arguments: object) -> object:
        context: Context = info.context
        context.home = asyncio.get_running_loop()

        async def called() -> object:
            found = resolve(source, info, **arguments)
            return await found if inspect.isawaitable(found) else found

        return await thread.call(called, RESOLVER_SECONDS)

    return guarded


def _holder(fields: GraphqlFields, place: str) -> str:
    return f"{_capitalized(fields.prefix)}{place}Fields"


def _capitalized(prefix: str) -> str:
    return f"{prefix[0].upper()}{prefix[1:]}"
