"""Closing the loop: what rules make of responses, once for each, and follow-ups whose time is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gateway.clock import Clock, FrozenClock
from gateway.contract import Contract
from gateway.contract.reactions import Reaction
from gateway.errors import Unavailable
from gateway.model.alert import Severity
from gateway.model.event import Event
from gateway.model.identity import digest, key_of
from gateway.model.response import RESPONDED
from gateway.model.scope import Scope
from gateway.store.alerts import Alerts
from gateway.store.database import Database, Session
from gateway.store.follow_ups import FollowUp, FollowUps

log = logging.getLogger("gateway.feedback")

#: What was answered longer ago than this, such as what is imported, is nothing to act on any more.
OLDEST_MS = 7 * 24 * 3600 * 1000
LOOK_SECONDS = 60.0
_MOST_AT_ONCE = 100


class Reacting:
    """Reacts to responses. `react` runs in the transaction that derives them: it happens once, or not at all."""

    def __init__(self, database: Database, alerts: Alerts) -> None:
        self.stored = FollowUps(database)
        self._alerts = alerts

    async def react(
        self, workspace: str, contract: Contract, events: Iterable[Event], now: int, session: Session
    ) -> None:
        """Do what rules say of these events, as of `now` (ms)."""
        fired = {
            reaction_id(event, rule): (event, rule)
            for event in events
            if event.name == RESPONDED and now - event.at <= OLDEST_MS
            for rule in contract.rules.values()
            if rule.fires(event.properties)
        }
        if not fired:
            return
        known = await self.stored.known(workspace, list(fired), session)
        fresh = {key: pair for key, pair in fired.items() if key not in known}
        planned = [one for key, (event, rule) in fresh.items() if (one := _follow_up(key, event, rule)) is not None]
        if planned:
            await self.stored.add(planned, session)
        for key, (event, rule) in fresh.items():
            if rule.tells is not None:
                await self._tell(workspace, key, event, rule, now, session)

    async def assign(self, scope: Scope, key: str, owner: str) -> FollowUp | None:
        """Give a follow-up to somebody else; None when there is none that is open."""
        return await self.stored.assign(scope, key, owner)

    async def resolve(self, scope: Scope, key: str, note: str | None, clock: Clock) -> FollowUp | None:
        """Note that it is done: tickets of it are closed; None when there is none that is open."""
        found = await self.stored.resolve(scope, key, note, clock.now())
        if found is not None:
            await self._alerts.resolve(scope.workspace, alert_key(key), clock)
            await self._alerts.resolve(scope.workspace, late_key(key), clock)
        return found

    async def tell_overdue(self, workspace: str, clock: Clock) -> int:
        """Raise an alert for each follow-up whose time is over; how many."""
        found = await self.stored.overdue(workspace, clock.now(), limit=_MOST_AT_ONCE)
        for one in found:
            # Raised again after a crash it is the same alert.
            await self._alerts.raise_alert(
                workspace,
                late_key(one.id),
                clock,
                severity=Severity.WARNING,
                title=f"A follow-up is overdue: {one.rule}",
                text=f"{one.owner} was to look after a response to {one.survey}.",
                hint="Look after it and call resolveFollowUp, or assignFollowUp to somebody else.",
                about=("followUp", one.id),
            )
            await self.stored.tell_late(workspace, one.id)
        return len(found)

    async def run(
        self, clock: Clock, workspaces: Callable[[], Awaitable[list[str]]], owns: Callable[[str, str], bool]
    ) -> None:
        """Look after what is overdue, until cancelled."""
        while True:
            try:
                for workspace in await workspaces():
                    if owns(workspace, "follow-ups"):
                        await self.tell_overdue(workspace, clock)
            except Unavailable:
                pass  # the next look may reach it
            except Exception as error:
                log.warning("looking after follow-ups failed", extra={"error": type(error).__name__})
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self, workspace: str, key: str, event: Event, rule: Reaction, now: int, session: Session) -> None:
        """Without personal data: who may see it finds the response by its id."""
        score = _score(event)
        said = f"A response to {rule.survey}" + ("" if score is None else f" with a score of {score:g}") + "."
        planned = "" if rule.follow_up is None else f" {rule.follow_up.owner} looks after it."
        await self._alerts.raise_alert(
            workspace,
            alert_key(key),
            FrozenClock(now),
            severity=rule.severity,
            title=rule.name,
            text=said + planned,
            hint=f"The response is response_{event.id.hex()}; resolveFollowUp once it is done.",
            about=("response", event.id.hex()),
            channels=rule.tells or (),
            session=session,
        )


def reaction_id(event: Event, rule: Reaction) -> str:
    """Of what one rule makes of one response: the same however often it is looked at."""
    return digest("reaction", event.workspace, event.id, rule.key).hex()


def alert_key(reaction: str) -> str:
    """The key of the alert by which connectors are told."""
    return f"reaction:{reaction}"


def late_key(reaction: str) -> str:
    """The key of the alert that it is overdue."""
    return f"overdue:{reaction}"


def _follow_up(key: str, event: Event, rule: Reaction) -> FollowUp | None:
    if rule.follow_up is None:
        return None
    due = event.at + int(rule.follow_up.due.total_seconds() * 1000)
    who = key_of(event.workspace, event.identity.sk).hex()
    return FollowUp(
        key, event.workspace, rule.key, rule.survey, event.id, who, _score(event), event.at, rule.follow_up.owner, due
    )


def _score(event: Event) -> float | None:
    found = event.properties.get("score")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
