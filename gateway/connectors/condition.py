"""How a destination is: delivering, broken (nothing gets through), or paused (its credentials are refused).

Over all processes one row says so. One process at a time may probe: a single item for a broken one, `check` for a
paused one. A pause also ends when the instance comes with another configuration.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from gateway.clock import Clock
from gateway.connectors.instances import Instance
from gateway.connectors.limits import Patience
from gateway.connectors.outcomes import Weather
from gateway.connectors.redaction import reason_of
from gateway.model.alert import Severity
from gateway.plugin import Destination
from gateway.store.alerts import Alerts
from gateway.store.deliveries import Deliveries, Standing, State

log = logging.getLogger("gateway.connectors")

#: A destination that is broken for so long is worth an alert.
_ALERT_MS = 60_000
_FIX = {
    "auth": "Renew its credentials or rights, then restart, or wait until its check is good again.",
    "open": "Mend its configuration; the log names the instance.",
    "refused": "Correct its address, or name a private one in `allow_hosts`; then what is owed goes out.",
    "blocked": "The connector waits without letting go of its thread: restart the process, and report the plugin.",
    "map_blocked": "The connector's map waits or never ends: restart the process, and report the plugin.",
    "bug": "Report it to the authors of the plugin; the dead letters can be replayed once it is mended.",
}


class Condition:
    """The condition of one instance, as this process knows it."""

    def __init__(
        self, deliveries: Deliveries, instance: Instance, alerts: Alerts, clock: Clock, patience: Patience
    ) -> None:
        self._deliveries = deliveries
        self._instance = instance
        self._alerts = alerts
        self._clock = clock
        self._patience = patience
        self._alerted = False
        #: Sends in a row that got nothing through, and probes that failed.
        self.failures = 0
        self._probes = 0
        connector = instance.connector
        self.standing = Standing(
            workspace=instance.workspace,
            instance=instance.name,
            connector=connector.manifest.name,
            kinds=tuple(sorted(instance.kinds)),
            erases=isinstance(connector, Destination) and connector.capabilities.erases,
            fingerprint=instance.fingerprint,
        )

    @property
    def fine(self) -> bool:
        """Whether it takes what it is sent, as far as is known."""
        return self.standing.state == "delivering"

    async def begin(self) -> None:
        """Make it known, with cursors of its own."""
        now = self._clock.now()
        self.standing = await self._deliveries.declare(replace(self.standing, since=now))
        await self._deliveries.begin(self._instance.workspace, self._instance.name, now)
        if self.fine:
            await self._resolve()

    async def look(self) -> None:
        """Take over what another process found."""
        found = await self._deliveries.standing(self.standing.workspace, self.standing.instance)
        if found is not None and found != self.standing:
            if found.state == "delivering":
                self.failures = self._probes = 0
            self.standing = replace(found, fingerprint=self.standing.fingerprint)

    async def wait_for_probe(self) -> float | None:
        """Seconds until it may be asked again; None: now, and it is us who asks."""
        now = self._clock.now()
        if self.standing.until > now:
            return (self.standing.until - now) / 1000
        again = now + int(1000 * (self._patience.send_seconds + self._patience.probe_seconds))
        if not await self._deliveries.may_probe(self.standing, now, again):
            await self.look()
            return self._patience.probe_seconds
        if self.standing.state == "paused":
            await self._check()
            return None if self.fine else self._patience.probe_seconds
        return None

    async def weigh(self, weather: Weather) -> float | None:
        """Take in what a turn's sends said; the seconds to leave it alone, None: go on."""
        if weather.stop == "auth":
            await self.paused(weather.code, weather.reason)
            return self._patience.probe_seconds
        if weather.stop == "throttled":
            self.failures = max(1, self.failures)
            pause = self._patience.pause_ms(1, weather.after) / 1000
            if not self.fine:
                await self._stop("broken", weather.code, weather.reason, int(pause * 1000))
            return max(pause, 0.05)
        if weather.succeeded and not weather.stop:
            await self.well()
            return None
        if not weather.stop and weather.failures == self.failures:
            return None
        self.failures = weather.failures
        if self.failures >= self._patience.failures or not self.fine:
            await self._broken(weather)
            return self._patience.probe_seconds
        return self._patience.pause_ms(max(1, self.failures), weather.after) / 1000 if weather.stop else None

    async def well(self) -> None:
        """Something got through."""
        self.failures = self._probes = 0
        if not self.fine:
            self.standing = await self._deliveries.resume(self.standing, self._clock.now())
            log.info("destination delivers again", extra={"instance": self.standing.instance})
            await self._resolve()

    async def paused(self, code: str, reason: str) -> None:
        """Its credentials are refused: nothing is sent until they are good again."""
        first = self.standing.state != "paused"
        await self._stop("paused", code, reason, int(self._patience.check_seconds * 1000))
        if first:
            log.warning("destination paused", extra={"instance": self.standing.instance, "code": code})
        await self._alert(Severity.CRITICAL, "is paused: its credentials are refused", reason, code)

    async def _broken(self, weather: Weather) -> None:
        first = self.fine
        self._probes += 1
        least = int(self._patience.probe_seconds * 1000)
        pause = max(least, self._patience.pause_ms(self._probes + 1, weather.after))
        await self._stop("broken", weather.code, weather.reason, pause)
        if first:
            log.warning("destination broken", extra={"instance": self.standing.instance, "code": weather.code})
        if self._clock.now() - self.standing.since >= _ALERT_MS or weather.code in _FIX:
            await self._alert(Severity.WARNING, "takes nothing", weather.reason, weather.code)

    async def _check(self) -> None:
        try:
            health = await self._instance.check()
            ok, said = health.ok, health.said
        except Exception as error:
            ok, said = False, f"check raised {type(error).__name__}"
        if ok:
            await self.well()
        else:
            await self.paused("auth", reason_of(said, secrets=self._instance.secrets()) or self.standing.reason)

    async def _stop(self, state: State, code: str, reason: str, pause_ms: int) -> None:
        now = self._clock.now()
        since = self.standing.since if self.standing.state == state else now
        hint = _FIX.get(code, "Nothing has to be done: it is tried again.")
        self.standing = replace(
            self.standing, state=state, since=since, until=now + pause_ms, code=code, reason=reason, hint=hint
        )
        await self._deliveries.stop(self.standing)

    async def _alert(self, severity: Severity, what: str, reason: str, code: str) -> None:
        name = self.standing.instance
        await self._alerts.raise_alert(
            self.standing.workspace,
            f"connector/{name}",
            self._clock,
            severity=severity,
            title=f"{name} {what}",
            text=reason,
            hint=_FIX.get(code, "Look whether the other side is up; it is tried again meanwhile."),
            about=("connector", name),
        )

    async def _resolve(self) -> None:
        await self._alerts.resolve(self.standing.workspace, f"connector/{self.standing.instance}", self._clock)
