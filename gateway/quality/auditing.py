"""Reads what the audit looks at, and looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.contract.plan import EventDefinition
from gateway.model.scope import Scope
from gateway.quality.audit import audit
from gateway.quality.facts import Looked
from gateway.quality.findings import AuditFinding
from gateway.quality.gathering import UNKNOWN
from gateway.quality.ids import Sender
from gateway.quality.volumes import HISTORY_DAYS
from gateway.store.accounting import HOUR_MS, Accounting
from gateway.store.catalog import DAY_MS, Catalog
from gateway.store.database import Database
from gateway.store.inspections import Inspections
from gateway.store.rollups import Rollups

#: The longest time that is audited at once.
MOST_DAYS = 92
#: Events whose ids are looked at, and of each finding whose senders are: the newest.
MOST_SENDERS = 50_000
_MOST_SHARED = 20_000
#: Findings that are traced to their senders in the stored events.
_MOST_TRACED = 25
#: Event types whose volumes are looked at: the most frequent.
MOST_VOLUMES = 300
_MOST_HOURS = 50_000


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in [from, to) ms, and how many event types and senders were looked at."""

    between: tuple[int, int]
    findings: list[AuditFinding]
    event_types: int
    senders: int


class Auditor:
    """Audits workspaces; raises Unavailable where that takes too long."""

    def __init__(self, database: Database) -> None:
        self._catalog = Catalog(database)
        self._rollups = Rollups(database)
        self._accounting = Accounting(database)
        self._inspections = Inspections(database)

    async def audit(
        self, scope: Scope, plan: Sequence[EventDefinition], between: tuple[int, int], now: int, *, ids: bool = True
    ) -> Audit:
        """Look at a range (ms, up to MOST_DAYS); without `ids` not at those of senders."""
        start, end = between
        seen = await self._catalog.page(scope)
        names = {one.name: one.count for one in sorted(seen, key=lambda one: one.count)[-MOST_VOLUMES:]}
        history = (start - start % HOUR_MS - HISTORY_DAYS * DAY_MS, end)
        senders = await self._senders(scope, between) if ids else []
        accounts = await self._accounting.hours(scope, (start - start % HOUR_MS, end + 1), now, limit=_MOST_HOURS)
        before = (min(2 * start - end, start - 7 * DAY_MS), start - start % HOUR_MS)
        looked = Looked(
            between,
            plan,
            seen,
            await self._catalog.days(scope, between),
            await self._rollups.hours(scope, names, history),
            senders,
            accounts,
            await self._accounting.hours(scope, before, now, limit=_MOST_HOURS),
        )
        findings = audit(looked)
        traced = 0
        for number, one in enumerate(findings):
            if one.event is not None and one.property is not None and traced < _MOST_TRACED:
                findings[number], traced = await self._traced(scope, one, between), traced + 1
        return Audit(between, findings, len(seen), len(senders))

    async def _senders(self, scope: Scope, between: tuple[int, int]) -> list[Sender]:
        rows = await self._inspections.senders(scope, between, limit=MOST_SENDERS)
        return [Sender(row.user_id, row.anonymous_id, row.platform or UNKNOWN, row.version) for row in rows]

    async def _traced(self, scope: Scope, one: AuditFinding, between: tuple[int, int]) -> AuditFinding:
        """With the platforms and app versions that the values come from."""
        assert one.event is not None
        assert one.property is not None
        shares = await self._inspections.shares(
            scope,
            one.event[1],
            between,
            one.property,
            rule=one.rule or "type",
            expected=one.expected,
            limit=_MOST_SHARED,
        )
        found = [(platform or UNKNOWN, version, count) for (platform, version), count in shares.items()]
        return replace(one, shares=tuple(sorted(found, key=lambda share: -share[2])[:10]))
