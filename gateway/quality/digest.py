"""The digest of a span of time: who changed what in the contract, what became of data requests, which KPIs moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.clock import Clock
from gateway.contract.changes import Change, Grade
from gateway.model.alert import Severity
from gateway.quality.history import History
from gateway.store.alerts import Alerts
from gateway.store.contracts import Version
from gateway.store.kpi_snapshots import KpiSnapshot, KpiSnapshots
from gateway.store.requests import Request, Requests, Step

DAY_MS = 24 * 3_600_000
_MOST_VERSIONS, _MOST_REQUESTS, _MOST_LINES = 50, 100, 20
_KIND = "digest"


@dataclass(frozen=True, slots=True)
class Moved:
    """A KPI whose latest snapshot of a span differs from the latest before it by more than chance: their intervals have
    nothing in common."""

    before: KpiSnapshot
    now: KpiSnapshot

    @property
    def line(self) -> str:
        """For people."""
        return (
            f"KPI {self.now.kpi} moved from {_told(self.before)} to {_told(self.now)},"
            f" {self.now.cadence} from {_day(self.before.start)} and {_day(self.now.start)}"
        )


@dataclass(frozen=True, slots=True)
class Digest:
    """What happened in [since, until) ms: versions, the oldest first, steps of requests, and KPIs that moved. None: a
    version that does not load here."""

    since: int
    until: int
    versions: tuple[tuple[Version, tuple[Change, ...] | None], ...]
    steps: tuple[tuple[Request, Step], ...]
    moved: tuple[Moved, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.versions and not self.steps and not self.moved

    @property
    def title(self) -> str:
        return f"The contract from {_day(self.since)} to {_day(self.until - 1)}"

    def lines(self) -> Iterator[str]:
        """For people: the worst changes of each version first."""
        for version, changes in self.versions:
            note = f": {version.note}" if version.note else ""
            yield f"version {version.number}, {_day(version.applied_at)}, by {version.applied_by}{note}"
            if changes is None:
                yield "  it does not load in this gateway"
                continue
            told = [one for one in changes if one.grade is not Grade.SAFE] or list(changes)
            yield from (f"  {one.grade}: {one.what}" for one in told[:_MOST_LINES])
            if len(changes) > len(told[:_MOST_LINES]):
                yield f"  and {len(changes) - len(told[:_MOST_LINES])} more"
        for request, step in self.steps:
            said = f": {step.said.text}" if step.said.text else ""
            yield f"data request {request.key} ({request.asked_by}) was {step.status}{said}"
        yield from (one.line for one in self.moved)
        if self.empty:
            yield "nothing was changed, nothing came of data requests, and no KPI moved"


class Digests:
    """Makes digests, and sends them to whoever hears alerts."""

    def __init__(
        self, history: History, requests: Requests, snapshots: KpiSnapshots, alerts: Alerts, clock: Clock
    ) -> None:
        self._history = history
        self._requests = requests
        self._snapshots = snapshots
        self._alerts = alerts
        self._clock = clock

    async def of(self, workspace: str, since: int, until: int) -> Digest:
        """What happened in [since, until) ms."""
        heads = await self._history.versions.heads_between(since=since, until=until, limit=_MOST_VERSIONS)
        versions = []
        for head in reversed(heads):
            changes = await self._history.changes(head.number)
            versions.append((head, None if changes is None else tuple(changes)))
        steps = [
            (request, step)
            for request in await self._requests.stepped(workspace, since, until, limit=_MOST_REQUESTS)
            for step in request.steps
            if since <= step.said.at < until
        ]
        steps.sort(key=lambda pair: pair[1].said.at)
        return Digest(since, until, tuple(versions), tuple(steps), await self._moved(workspace, since, until))

    async def _moved(self, workspace: str, since: int, until: int) -> tuple[Moved, ...]:
        """One of another definition is no other value: the version that changed it is told."""
        found = []
        for kpi, cadence in sorted(await self._snapshots.last(workspace)):
            now = await self._snapshots.newest(workspace, kpi, cadence, taken=(since, until))
            before = await self._snapshots.newest(workspace, kpi, cadence, taken=(0, since))
            if now is not None and before is not None and now.hash == before.hash and _apart(before, now):
                found.append(Moved(before, now))
        return tuple(found)

    async def send(self, workspace: str, digest: Digest) -> None:
        """As an alert, which stays open until the next digest: so that the same one is told once, whoever sends it."""
        key = _key(digest)
        for before in await self._alerts.open_about(workspace, _KIND):
            if before != key:
                await self._alerts.resolve(workspace, before, self._clock)
        await self._alerts.raise_alert(
            workspace,
            key,
            self._clock,
            severity=Severity.INFO,
            title=digest.title,
            text="\n".join(digest.lines()),
            hint="`journey-gateway contract digest` prints it; `contractChanges` has all of it.",
            about=(_KIND, "contract"),
        )

    async def send_weekly(self, workspace: str) -> bool:
        """Send that of the last whole week, Monday to Sunday (UTC), if it was not and something happened in it."""
        until = week_start(self._clock.now())
        since = until - 7 * DAY_MS
        if await self._alerts.has(workspace, _key_of(since, until)):
            return False
        digest = await self.of(workspace, since, until)
        if digest.empty:
            return False
        await self.send(workspace, digest)
        return True


def week_start(at: int) -> int:
    """The Monday 00:00 UTC at or before a moment, in ms."""
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day - timedelta(days=day.weekday())).timestamp() * 1000)


def _apart(one: KpiSnapshot, other: KpiSnapshot) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def _told(one: KpiSnapshot) -> str:
    return f"{one.value:.4g} (n = {one.n})"


def _key(digest: Digest) -> str:
    return _key_of(digest.since, digest.until)


def _key_of(since: int, until: int) -> str:
    return f"contract digest {_day(since)} {_day(until - 1)}"


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")
