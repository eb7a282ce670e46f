"""What became of all that was sent: counts by workspace, source and hour.

Each process has rows of its own and writes numbers into them that only grow, so that a write whose outcome is unknown
is simply made again, and processes never wait for each other. `accepted` is written a moment late; of a process that
died before it wrote, the events themselves are counted: each carries the `run` of the process that stored it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pymongo

from gateway.model.event import Verdict
from gateway.model.scope import Scope
from gateway.store.database import INSERT_SECONDS, Database, Document, Session, UpdateOne

COLLECTION = "accounting"
HOUR_MS = 3_600_000
#: What is counted. `replayed`: events that left quarantine, which are in no other count.
COUNTS = (*(verdict.value for verdict in Verdict), "replayed")
#: A row that is open and that nobody has written for so long is of a process that died, or stands still.
STALE_MS = 60_000


@dataclass(slots=True)
class Totals:
    """What one process has counted of a source in an hour (ms); `key` is the row's alone.

    The row is open while `opened` is more than `closed`: its process may have acknowledged more than it has written.
    """

    key: bytes
    run: int
    workspace: str
    source: str
    hour: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    opened: int = 0
    closed: int = 0

    def operation(self, now: int) -> UpdateOne:
        numbers = {**self.counts, "opened": self.opened, "closed": self.closed, "writtenAt": now}
        return UpdateOne(
            {"_id": self.key, "workspace": self.workspace},
            {"$max": numbers, "$setOnInsert": {"source": self.source, "hour": self.hour, "run": self.run}},
            upsert=True,
        )


@dataclass(frozen=True, slots=True)
class SourceHour:
    """What became of what a source sent in the hour that begins at `hour` (ms), over all processes."""

    source: str
    hour: int
    counts: dict[str, int]

    @property
    def sent(self) -> int:
        return sum(number for name, number in self.counts.items() if name != "replayed")


class Accounting:
    """Rows: `_id`, `workspace`, `source`, `hour` (ms), `run`, one number for each of COUNTS, `opened`, `closed` and
    `writtenAt` (ms)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, totals: Sequence[Totals], now: int) -> None:
        """Durably write totals; older ones than those written change nothing. Raises Unavailable."""
        with pymongo.timeout(INSERT_SECONDS):
            await self._database.bulk_write(COLLECTION, [one.operation(now) for one in totals])

    async def hours(
        self, scope: Scope, between: tuple[int, int], now: int, *, source: str | None = None, limit: int
    ) -> list[SourceHour]:
        """Hours that begin in [from, to) (ms), the newest first and at most `limit`; `now` is the time."""
        wanted: Document = {"workspace": scope.workspace, "hour": {"$gte": between[0], "$lt": between[1]}}
        if source is not None:
            wanted["source"] = source
        await self._settle(scope.workspace, wanted, now)
        sums = {name: {"$sum": f"${name}"} for name in COUNTS}
        rows = await self._database.aggregate(
            COLLECTION,
            [
                {"$match": wanted},
                {"$group": {"_id": {"hour": "$hour", "source": "$source"}, **sums}},
                {"$sort": {"_id.hour": -1, "_id.source": 1}},
                {"$limit": limit},
            ],
            max_time_ms=5000,
        )
        return [
            SourceHour(row["_id"]["source"], row["_id"]["hour"], {name: row[name] for name in COUNTS}) for row in rows
        ]

    async def forgotten(self, workspace: str, events: Mapping[tuple[str, int, int], int], session: Session) -> None:
        """Accepted events by source, run and hour that are stored no longer: they count all the same."""
        operations = [
            UpdateOne(
                {
                    "workspace": workspace,
                    "source": source,
                    "run": run,
                    "hour": hour,
                    "$expr": {"$gt": ["$opened", "$closed"]},
                },
                {"$inc": {"erased": count}},
            )
            for (source, run, hour), count in events.items()
        ]
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)

    async def _settle(self, workspace: str, wanted: Document, now: int) -> None:
        """Count the events of processes that can no longer write what they acknowledged, and close their rows."""
        stale = await self._database.find(
            COLLECTION,
            {**wanted, "writtenAt": {"$lt": now - STALE_MS}, "$expr": {"$gt": ["$opened", "$closed"]}},
            max_time_ms=5000,
        )
        for row in stale:
            events = {
                "workspace": workspace,
                "source": row["source"],
                "run": row["run"],
                "receivedAt": {"$gte": row["hour"], "$lt": row["hour"] + HOUR_MS},
            }
            stored = await self._database.count("events", events, max_time_ms=30_000) + row.get("erased", 0)
            await self._database.update_one(
                COLLECTION,
                {"_id": row["_id"], "workspace": workspace},
                {"$max": {"accepted": stored, "closed": row["opened"]}},
            )
