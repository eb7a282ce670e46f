"""Whether the process lives and may be sent work. A watch looks once a second; who asks gets what it saw last.

So the answer costs nothing, however often somebody asks, and what changes is logged whether somebody asks or not.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from hmac import compare_digest
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.app.disk import DiskGuard
from gateway.app.metrics import Metrics
from gateway.app.roles import Duties
from gateway.clock import monotonic
from gateway.errors import GatewayError
from gateway.live.hub import Hub
from gateway.pipeline.owner import Deriver
from gateway.settings import Settings
from gateway.store.database import Database, Document
from gateway.store.derivation import DerivationStatus

log = logging.getLogger("gateway.app")

INTERVAL_SECONDS = 1.0
#: How long MongoDB may take to say hello, and how old what it said may be.
HELLO_SECONDS = 2.0
STALE_SECONDS = 5.0
#: How far the majority of the replica set may be behind its primary.
MAJORITY_LAG_SECONDS = 10
#: How long derivation may take no step while no other process has the lease.
SILENT_SECONDS = 30.0
#: Counted no further, and only once derivation is that late.
MOST_BEHIND = 100_000
MOST_SET_ASIDE = 10_000
_LATE_SECONDS = 2.0
_SUMMARY_SECONDS = 60.0
_IN_TROUBLE = {
    "derivation": "derivation is",
    "plugins": "plugins are",
    "snapshots": "snapshots of KPIs are",
}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

Check = dict[str, Any]
Checks = dict[str, Check]


class Watch:
    """Looks after one process: MongoDB, the feed, derivation."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        deriver: Deriver,
        duties: Duties,
        disk: DiskGuard,
        status: DerivationStatus,
    ) -> None:
        self._database = database
        self._hub = hub
        self._deriver = deriver
        self._duties = duties
        self._disk = disk
        self._status = status
        self._set_aside: int | None = None
        self._incidents: int | None = None
        self._asking: asyncio.Task[Document] | None = None
        self._mongodb: Check = {"ok": False, "reason": "not asked yet"}
        self._mongodb_at = 0.0
        self._failing: frozenset[str] | None = None
        self._began = monotonic()
        self._behind: float | None = None
        #: What is wrong with plugins and instances; told, and no reason to send nobody here.
        self.plugins: list[str] = []
        #: Which KPIs cannot be written down, and why; told as well.
        self.snapshots: Callable[[], list[str]] = list
        self.draining = False
        self.late_seconds = 0.0
        #: Codes of refusals with their numbers; whoever serves puts its own here.
        self.refused: dict[str, int] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        summary_at = monotonic() + _SUMMARY_SECONDS
        while True:
            await self.look()
            began = monotonic()
            if began >= summary_at:
                summary_at = began + _SUMMARY_SECONDS
                self._sum_up()
            await asyncio.sleep(INTERVAL_SECONDS)
            self.late_seconds = max(0.0, monotonic() - began - INTERVAL_SECONDS)

    async def look(self) -> None:
        """Ask MongoDB once and log what has changed."""
        self._mongodb = await self._ask()
        self._mongodb_at = monotonic()
        lag = self._deriver.lag_seconds()
        self._behind = None if lag is None else 0.0
        if lag is not None and lag > _LATE_SECONDS and self._mongodb["ok"]:
            with suppress(GatewayError):
                self._behind = await self._deriver.count_behind(at_most=MOST_BEHIND)
        if self._duties.derives and self._mongodb["ok"]:
            with suppress(GatewayError):
                self._set_aside = await self._status.count_set_aside(at_most=MOST_SET_ASIDE)
                self._incidents = await self._status.count_open()
        self._tell()

    def _tell(self) -> None:
        """Log what has changed. That a process is not ready as it starts is nothing to tell."""
        checks = self.checks()
        # What is wrong with the disk its guard tells.
        reasons = {name: check["reason"] for name, check in checks.items() if not check["ok"] and name != "disk"}
        failing = frozenset(reasons)
        first, changed = self._failing is None, failing != self._failing
        self._failing = failing
        if self.draining or not changed or (failing and first):
            return
        if failing:
            said = "the process is not ready"
            if self.ready(checks):
                said = next((f"{name} in trouble" for part, name in _IN_TROUBLE.items() if part in failing), said)
            log.warning(said, extra={"reasons": reasons})
        else:
            log.info("the process is ready")

    def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()

    def checks(self) -> Checks:
        """Each check with `ok`, and with `reason` when it is not."""
        checks: Checks = {"mongodb": self._mongodb}
        if self._mongodb["ok"] and monotonic() - self._mongodb_at > STALE_SECONDS:
            checks["mongodb"] = _bad("asked too long ago")
        if self._duties.answers:
            checks["live"] = {"ok": True} if self._hub.following else _bad("the feed is not followed")
        if self._duties.derives:
            checks["derivation"] = self._derivation()
        if self._duties.collects or self._duties.answers:
            checks["disk"] = {"ok": True} if self._disk.reason is None else _bad(self._disk.reason)
        if self.plugins:
            checks["plugins"] = _bad("; ".join(self.plugins))
        if failing := self.snapshots():
            checks["snapshots"] = _bad(f"KPIs that are not written down: {'; '.join(failing)}")
        checks["accepting"] = _bad("the process stops") if self.draining else {"ok": True}
        return checks

    def ready(self, checks: Checks) -> bool:
        """Whether the process may be sent work. Derivation in trouble is told, and no reason to turn events away; a
        disk that is nearly full is the same for every process, and each answers for itself."""
        works = self._duties.collects or self._duties.answers
        told = {"disk", "plugins", "snapshots"} | ({"derivation"} if works else set())
        return all(check["ok"] for name, check in checks.items() if name not in told)

    def gauges(self) -> Iterable[tuple[str, str, float | None]]:
        """What /metrics reads: (name, explanation, value)."""
        checks = self.checks()
        yield "ready", "1 while /readyz answers 200.", float(self.ready(checks))
        yield "mongodb_up", "1 while MongoDB's primary answers and a majority confirms.", float(checks["mongodb"]["ok"])
        yield "mongodb_disk_free_percent", "Free space on MongoDB's disk.", self._disk.free_percent
        yield "event_loop_delay_seconds", "How late the event loop came to its last second.", self.late_seconds
        if self._duties.derives:
            lease = self._deriver.lease
            yield (
                "derivation_lanes_held",
                "Lanes of derivation this process owns.",
                float(len(lease.lanes) if lease else 0),
            )
            yield "derivation_lag_seconds", "Age of the oldest event not derived yet.", self._deriver.lag_seconds()
            yield "derivation_events_behind", f"Events not derived yet, counted up to {MOST_BEHIND:,}.", self._behind
            aside, open_ = self._set_aside, self._incidents
            yield (
                "users_set_aside",
                f"Users whose events do not fold, in the whole database, counted up to {MOST_SET_ASIDE:,}.",
                None if aside is None else float(aside),
            )
            yield (
                "derivation_incidents_open",
                "Incidents of derivation, in the whole database, that have not ended.",
                None if open_ is None else float(open_),
            )
            head = None if lease is None else float(sum(lease.heads.values()))
            yield "feed_head", "Rows ever written to the feed, over the lanes this process owns.", head

    async def _ask(self) -> Check:
        # One question at a time: what a frozen server has not answered is waited for, not asked again.
        asking = self._asking = self._asking or asyncio.create_task(self._database.hello())
        await asyncio.wait([asking], timeout=HELLO_SECONDS)
        if not asking.done():
            return _bad(f"no answer within {HELLO_SECONDS:.0f} s")
        self._asking = None
        try:
            hello = asking.result()
        except (GatewayError, asyncio.CancelledError):
            return _bad("no primary answers")
        if not hello.get("isWritablePrimary"):
            return _bad("the member that answers takes no writes")
        wrote = hello.get("lastWrite", {})
        lag = wrote["opTime"]["ts"].time - wrote["majorityOpTime"]["ts"].time if "majorityOpTime" in wrote else 0
        return _bad("a majority of members does not confirm writes") if lag > MAJORITY_LAG_SECONDS else {"ok": True}

    def _derivation(self) -> Check:
        deriver = self._deriver
        lanes = len(deriver.lease.lanes) if deriver.lease else 0
        found: Check = {"ok": True, "state": "deriving" if lanes else "standby", "lanes": lanes}
        lag = deriver.lag_seconds()
        if lag is not None:
            found["lagSeconds"] = round(lag, 3)
        found |= {"setAside": self._set_aside} if self._set_aside else {}
        found |= {"openIncidents": self._incidents} if self._incidents else {}
        if monotonic() - max(deriver.heard_of, self._began) > SILENT_SECONDS:
            found |= _bad("derivation makes no progress")
        return found

    def _sum_up(self) -> None:
        if self.refused:
            log.info("requests were refused in the last minute", extra={"codes": dict(self.refused)})
            self.refused.clear()


def health_routes(watch: Watch, metrics: Metrics, settings: Settings) -> list[Route]:
    """GET /healthz, /readyz and, unless it is off, /metrics: no credential, and nothing in them that is secret."""

    async def healthz(request: Request) -> Response:
        return _answer({"alive": True})

    async def readyz(request: Request) -> Response:
        checks = watch.checks()
        ready = watch.ready(checks)
        return _answer({"ready": ready, "role": settings.role, "checks": checks}, 200 if ready else 503)

    async def exposition(request: Request) -> Response:
        if not _may_read(request, settings):
            message = "Metrics are read from this machine, or with GATEWAY_METRICS_TOKEN as a bearer token."
            return _answer({"code": "FORBIDDEN", "message": message}, 403)
        body, content_type = metrics.text(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    return routes if settings.metrics == "off" else [*routes, Route("/metrics", exposition)]


def _answer(content: object, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"} | ({"retry-after": "1"} if status == 503 else {})
    return JSONResponse(content, status, headers)


def _may_read(request: Request, settings: Settings) -> bool:
    """Whoever has the token; everybody when metrics are `on`; else this machine, but not through a proxy on it."""
    if settings.metrics == "on":
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if settings.metrics_token and scheme.lower() == "bearer":
        return compare_digest(token.strip().encode(), settings.metrics_token.encode())
    if any(name in request.headers for name in _FORWARDED):
        return False
    if request.client is None:
        return False  # a socket in the file system is a proxy's door
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _bad(reason: str) -> Check:
    return {"ok": False, "reason": reason}
