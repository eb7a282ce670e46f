"""Silence, drift and loss raise alerts: the audit of the last day, every few minutes, in one process.

The owner of a workspace's lane of derivation looks. Should two do so for a moment, the alert is still one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.errors import Unavailable
from gateway.model.scope import Scope
from gateway.quality.auditing import Auditor
from gateway.quality.findings import AuditFinding, Kind
from gateway.store.alerts import Alerts
from gateway.store.catalog import DAY_MS
from gateway.store.keys import Keys

log = logging.getLogger("gateway.quality")

RAISED: tuple[Kind, ...] = ("silence", "type_drift", "loss")
#: What the key of each begins with; its lane decides who looks.
PREFIX = "audit"
_TITLES = {"silence": "Nothing comes any more", "type_drift": "Another type of value", "loss": "Events are lost"}
_ABOUT = {"silence": "event", "type_drift": "property", "loss": "source"}
#: More at once are one trouble, and the audit lists them.
_MOST_ALERTS = 50
_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class AuditAlerts:
    """Looks and raises. `owns` says whether it is this process's turn for a workspace and key."""

    auditor: Auditor
    alerts: Alerts
    keys: Keys
    contract: Callable[[], Contract]
    clock: Clock
    owns: Callable[[str, str], bool]

    async def run(self, minutes: float) -> None:
        """Look every so many minutes until cancelled."""
        while True:
            await asyncio.sleep(max(_IDLE_SECONDS, minutes * 60))
            try:
                for workspace in await self.keys.workspaces():
                    if self.owns(workspace, PREFIX):
                        await self.look(workspace)
            except Unavailable:
                pass  # the next look may reach it
            except Exception:
                log.exception("the audit for alerts failed; trying again later")

    async def look(self, workspace: str) -> None:
        """Raise what is wrong now and resolve what is well again, each once. Raises Unavailable."""
        scope, now = Scope.system(workspace), self.clock.now()
        plan = [*self.contract().events.values()]
        done = await self.auditor.audit(scope, plan, (now - DAY_MS, now), now, ids=False)
        wrong = {_key(one): one for one in done.findings if one.kind in RAISED}
        opened = await self.alerts.open_keys(workspace, f"{PREFIX}:")
        await self._raise(workspace, [one for key, one in wrong.items() if key not in opened][:_MOST_ALERTS])
        for key in opened - wrong.keys():
            await self.alerts.resolve(workspace, key, self.clock)

    async def _raise(self, workspace: str, findings: Sequence[AuditFinding]) -> None:
        for one in findings:
            await self.alerts.raise_alert(
                workspace,
                _key(one),
                self.clock,
                severity=one.severity,
                title=f"{_TITLES[one.kind]}: {one.subject}",
                text=one.message,
                hint=f"{one.fix} `journey-gateway audit` says more.",
                about=(_ABOUT[one.kind], one.subject),
            )


def _key(one: AuditFinding) -> str:
    return f"{PREFIX}:{one.kind}:{one.subject}"
