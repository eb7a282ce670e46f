"""Makes the instances of a process: each connector with its client, its state and its log."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from gateway.clock import Clock
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.errors import PluginFailure
from gateway.plugin import Context
from gateway.plugin.configuring import Configured, Plugged
from gateway.store.connector_states import ConnectorStates


def make_instances(plugged: Plugged, states: ConnectorStates, clock: Clock) -> tuple[Plugged, dict[str, Instance]]:
    """The instances by name; one whose class raises as it is made is left out, and the record says why."""
    made: dict[str, Instance] = {}
    told = []
    for one in plugged.instances:
        failure = one.failure or _make(one, states, clock, made)
        told.append(one if failure is one.failure else replace(one, failure=failure))
    return replace(plugged, instances=tuple(told)), made


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
        made[one.name] = Instance(one.name, one.workspace, one.kind(one.config, context))
    except Exception as error:
        return PluginFailure(
            plugin=one.use,
            version=one.kind.manifest.version,
            operation=f"make {one.name}",
            category="bug",
            message=f"{one.kind.__name__} raised {type(error).__name__} as it was made.",
            fix="Connect in `open`, not in `__init__`; report it to the plugin's author.",
        )
    return None


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
