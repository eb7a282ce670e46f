"""Looks at the alert rules, each at its own pace, in one process at a time, and tells what has changed, once.

The owner of a workspace's lane of derivation looks. How a rule stands is changed by compare-and-set, in the transaction
that leaves word for the alert: of two that look at the same moment one is too late, and whoever dies in between has
changed nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from gateway.clock import Clock
from gateway.contract import AlertRule, Contract
from gateway.errors import GatewayError, Unavailable
from gateway.insights.alerting.machine import Happened, Phase, State, step
from gateway.insights.alerting.values import Values
from gateway.model.scope import Scope
from gateway.store.alert_states import AlertStates, RuleState
from gateway.store.alerts import Alerts
from gateway.store.database import Database, Session

log = logging.getLogger("gateway.insights")

#: What the key of each alert begins with; its lane decides who looks.
PREFIX = "rule"
ABOUT = "alert rule"
LOOK_SECONDS = 5.0


class _TooLate(Exception):
    """Somebody else has changed it."""


@dataclass(frozen=True, slots=True)
class RuleWatch:
    """Looks and tells. `owns` says whether it is this process's turn for a workspace and key."""

    database: Database
    values: Values
    contract: Callable[[], Contract]
    workspaces: Callable[[], Awaitable[list[str]]]
    clock: Clock
    owns: Callable[[str, str], bool]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                for workspace in await self.workspaces():
                    if self.owns(workspace, PREFIX):
                        await self.look(workspace)
            except Unavailable:
                pass  # the next look may reach it
            except Exception:
                log.exception("looking at the alert rules failed; trying again")

    async def look(self, workspace: str) -> int:
        """Look at the rules whose time has come; how many were looked at. Raises Unavailable."""
        rules, states = self.contract().alerts, AlertStates(self.database)
        known = await states.of(Scope.system(workspace))
        for key in known.keys() - rules.keys():
            await self._forget(workspace, known[key])
        looked = 0
        for key, rule in rules.items():
            if key not in known:
                await states.begin(workspace, key, rule.hash)
            stored = known.get(key, RuleState(key, rule.hash))
            now = self.clock.now()
            at = now - now % rule.every_ms
            if stored.rule == rule.hash and stored.looked_at is not None and stored.looked_at >= at:
                continue
            try:
                looked += await self._look_at(workspace, rule, stored, at)
            except GatewayError as error:  # one that takes too long, or is about too much, holds up no other
                log.warning("an alert rule could not be looked at", extra={"rule": key, "reason": error.code})
        return looked

    async def _look_at(self, workspace: str, rule: AlertRule, stored: RuleState, at: int) -> bool:
        measured = await self.values.measured(Scope.system(workspace), rule, at)
        changed = stored.rule != rule.hash  # another rule begins anew
        state = State() if changed else State(cast("Phase", stored.phase), stored.since, stored.looked_at)
        after, told = step(rule, state, at, measured)
        new = RuleState(rule.key, rule.hash, after.phase, after.since, at, after.value, after.n)
        ended = changed and stored.phase == "firing" and told != "fired"

        async def transact(session: Session) -> None:
            if not await AlertStates(self.database).change(workspace, stored, new, session):
                raise _TooLate
            if told is not None or ended:
                await self._tell(workspace, rule, after, "recovered" if ended else told, session)

        return await self._changed(transact)

    async def _forget(self, workspace: str, stored: RuleState) -> None:
        """A rule that is no more; what it has raised is over."""

        async def transact(session: Session) -> None:
            if not await AlertStates(self.database).remove(workspace, stored, session):
                raise _TooLate
            if stored.phase == "firing":
                await Alerts(self.database).resolve(workspace, alert_key(stored.key), self.clock, session)

        await self._changed(transact)

    async def _changed(self, transact: Callable[[Session], Awaitable[None]]) -> bool:
        try:
            await self.database.with_transaction(transact)
        except _TooLate:
            return False
        return True

    async def _tell(
        self, workspace: str, rule: AlertRule, state: State, told: Happened | None, session: Session
    ) -> None:
        alerts = Alerts(self.database)
        if told == "recovered":
            await alerts.resolve(workspace, alert_key(rule.key), self.clock, session)
            return
        value = "There is no data."
        if state.value is not None:
            value = f"It is {state.value:.4g}, from {state.n:,} observations."
        await alerts.raise_alert(
            workspace,
            alert_key(rule.key),
            self.clock,
            severity=rule.severity,
            title=rule.name,
            text=f"{value} {rule.definition}",
            hint=rule.hint or f"Ask its owners: {', '.join(rule.owners)}.",
            about=(ABOUT, rule.key),
            channels=rule.channels,
            session=session,
        )


def alert_key(rule: str) -> str:
    """What the alerts of a rule are called, for programs."""
    return f"{PREFIX}:{rule}"
