"""Pulls: pages of other systems, stored through the one ingest function, and only then the state to go on from.

The process that owns an instance's lane of derivation pulls for it. Should two do so for a moment, or a process die
between a page and its state, the same page is stored again under the same ids: nothing is lost or doubled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gateway.clock import Clock, random_between
from gateway.connectors.failing import failure_of
from gateway.connectors.instances import Instance
from gateway.connectors.responses import as_message
from gateway.connectors.threads import Blocked, Late
from gateway.connectors.webhooks import source_of
from gateway.errors import GatewayError, PluginError
from gateway.model.alert import Severity
from gateway.pipeline.intake import Delivery, Intake
from gateway.plugin import HttpFailed, Page, PullSource
from gateway.store.alerts import Alerts
from gateway.store.connector_states import ConnectorStates

log = logging.getLogger("gateway.connectors")

#: How long one page may take, and how long a pull waits after it failed: doubling from the first to the last.
PAGE_SECONDS = 60.0
FIRST_SECONDS = 5.0
LONGEST_SECONDS = 900.0
_STATE = "pull"
_IDLE_SECONDS = 1.0
#: Failures in a row that are worth an alert; what has to be mended is at once.
_ALERT_FAILURES = 3


class Pulls:
    """Pulls for the instances of this process that fetch. `owns` says whether it is this process's turn."""

    def __init__(
        self,
        instances: Mapping[str, Instance],
        intake: Intake,
        states: ConnectorStates,
        clock: Clock,
        *,
        owns: Callable[[str, str], bool],
        alerts: Alerts,
    ) -> None:
        self._pulls = {
            name: _Pull(one, intake, states, clock, owns, alerts)
            for name, one in instances.items()
            if isinstance(one.connector, PullSource)
        }

    def hint(self, name: str) -> None:
        """Something may be there: pull now rather than in its turn."""
        if (pull := self._pulls.get(name)) is not None:
            pull.now.set()

    async def run(self) -> None:
        """Pull until cancelled."""
        await asyncio.gather(*(pull.run() for pull in self._pulls.values()))


class _Pull:
    def __init__(
        self,
        instance: Instance,
        intake: Intake,
        states: ConnectorStates,
        clock: Clock,
        owns: Callable[[str, str], bool],
        alerts: Alerts,
    ) -> None:
        self._instance = instance
        self._intake = intake
        self._states = states
        self._clock = clock
        self._owns = owns
        self._alerts = alerts
        self._alerted = True  # by a process before this one, for all that is known
        self.now = asyncio.Event()

    async def run(self) -> None:
        failures = 0
        while True:
            if not self._owns(self._instance.workspace, source_of(self._instance.name)):
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            self.now.clear()
            source: PullSource[Any] = self._instance.connector  # type: ignore[assignment]
            try:
                more = await self.pull()
                failures = 0
                await self._well()
                wait = 0.0 if more else source.every_seconds
            except Exception as error:
                failures += 1
                most = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures, 10))
                wait = random_between(int(most * 500), int(most * 1000)) / 1000
                await self._failed(error, failures, wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.now.wait()

    async def _failed(self, error: Exception, failures: int, wait: float) -> None:
        """Tell it; what does not pass by itself, or has not passed, raises an alert."""
        name = self._instance.name
        failure = failure_of(self._instance, "read", error)
        extra = {"instance": name, "again_seconds": round(wait), **failure.log_fields()}
        log.warning("pull failed", extra=extra)
        if _lasts(error) or failures >= _ALERT_FAILURES:
            self._alerted = True
            with suppress(GatewayError):
                await self._alerts.raise_alert(
                    self._instance.workspace,
                    f"pull/{name}",
                    self._clock,
                    severity=Severity.WARNING,
                    title=f"{name} brings nothing",
                    text=failure.message,
                    hint=failure.fix,
                    about=("connector", name),
                )

    async def _well(self) -> None:
        if self._alerted:
            await self._alerts.resolve(self._instance.workspace, f"pull/{self._instance.name}", self._clock)
            self._alerted = False

    async def pull(self) -> bool:
        """Fetch and store one page; whether the next is worth asking for at once. Raises whatever goes wrong."""
        instance = self._instance
        source: PullSource[Any] = instance.connector  # type: ignore[assignment]
        await instance.open()
        state = await self._states.get(instance.workspace, instance.name, _STATE)
        try:
            page = await instance.thread.call(lambda: source.read(state), PAGE_SECONDS)
        except (Late, Blocked):
            raise TimeoutError from None
        if not isinstance(page, Page):
            raise TypeError("read did not return a page")
        rows = [as_message(row) for row in page.rows]
        most = self._intake.max_batch_events
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            await self._intake.ingest(Delivery(instance.workspace, source_of(instance.name), part, correct_skew=False))
        if page.state != state:
            await self._states.put(instance.workspace, instance.name, _STATE, page.state)
        return page.more


def _lasts(error: Exception) -> bool:
    """Whether somebody has to mend it."""
    if isinstance(error, PluginError):
        return error.failure.category in ("auth", "config")
    return isinstance(error, HttpFailed) and error.final
