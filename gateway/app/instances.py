"""Makes the instances of a process: each connector with its client, its state and its log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.clock import Clock
from gateway.connectors.calls import trace_calls
from gateway.connectors.failing import failure_of
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.errors import PluginError, PluginFailure
from gateway.plugin import Context, FlagProvider
from gateway.plugin.configuring import Configured, Plugged
from gateway.plugin.failures import traced
from gateway.store.connector_states import ConnectorStates

log = logging.getLogger("gateway.plugins")


@dataclass(frozen=True, slots=True)
class Made:
    """What could be made of the configuration: instances by name, and those that decide flags, opened, in its order."""

    plugged: Plugged
    instances: Mapping[str, Instance]
    providers: Sequence[Instance]


async def make_instances(
    plugged: Plugged, states: ConnectorStates, clock: Clock, beside: Mapping[str, Instance], *, trace: bool = False
) -> Made:
    """The instances that are configured, and those `beside`; one whose class raises as it is made, or that decides
    flags and does not open, is left out, and its record says why."""
    made: dict[str, Instance] = {}
    told = []
    for one in plugged.instances:
        failure = one.failure or _make(one, states, clock, made)
        told.append(one if failure is one.failure else replace(one, failure=failure))
    made |= beside
    if trace:
        for instance in made.values():
            trace_calls(instance.connector)
    opened, failures = await _open_flag_providers(made)
    told = [replace(one, failure=failures.get(one.name, one.failure)) for one in told]
    for one in told:
        if one.failure is not None:
            log.error("connector left out", extra={"instance": one.name, **one.failure.log_fields()})
    return Made(replace(plugged, instances=tuple(told)), made, opened)


def _make(one: Configured, states: ConnectorStates, clock: Clock, made: dict[str, Instance]) -> PluginFailure | None:
    assert one.kind is not None
    context = Context(
        instance=one.name,
        workspace=one.workspace,
        http=GuardedHttp(one.allow_hosts),
        state=_State(states, one.workspace, one.name, asyncio.get_running_loop()),
        clock=clock,
        log=logging.getLogger(f"gateway.connectors.{one.name}"),
    )
    try:
        made[one.name] = Instance(one.name, one.workspace, one.kind(one.config, context), frozenset(one.events))
    except Exception as error:
        return traced(
            PluginFailure(
                plugin=one.use,
                version=one.kind.manifest.version,
                operation=f"make {one.name}",
                category="bug",
                message=f"{one.kind.__name__} raised {type(error).__name__} as it was made.",
                fix="Connect in `open`, not in `__init__`; report it to the plugin's author.",
            )
        )
    return None


async def _open_flag_providers(
    instances: Mapping[str, Instance],
) -> tuple[list[Instance], dict[str, PluginFailure]]:
    opened: list[Instance] = []
    failures: dict[str, PluginFailure] = {}
    for name, instance in instances.items():
        if not isinstance(instance.connector, FlagProvider):
            continue
        try:
            await instance.open()
        except Exception as error:
            failures[name] = _not_opened(instance, error)
        else:
            opened.append(instance)
    return opened, failures


def _not_opened(instance: Instance, error: Exception) -> PluginFailure:
    failure = failure_of(instance, f"open {instance.name}", error)
    if isinstance(error, PluginError):
        return failure
    fix = f"Check the settings of [connectors.{instance.name}], and that the other side answers."
    return replace(failure, category="config" if failure.category == "config" else "remote", fix=fix)


class _State:
    """A connector's state; asked from the connector's thread, kept by the gateway's."""

    def __init__(self, states: ConnectorStates, workspace: str, instance: str, loop: asyncio.AbstractEventLoop) -> None:
        self._states = states
        self._workspace = workspace
        self._instance = instance
        self._loop = loop

    async def get(self, key: str) -> Any:
        asked = asyncio.run_coroutine_threadsafe(
            self._states.get(self._workspace, self._instance, f"own:{key}"), self._loop
        )
        return await asyncio.wrap_future(asked)

    async def put(self, key: str, value: Any) -> None:
        asked = asyncio.run_coroutine_threadsafe(
            self._states.put(self._workspace, self._instance, f"own:{key}", value), self._loop
        )
        await asyncio.wrap_future(asked)
