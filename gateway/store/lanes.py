"""The lease of derivation, what has been derived (`work`), and the feed of what came of it.

One lease covers all lanes: its row names the owner, an epoch that every take-over raises, and the position in the
change stream. Every effect is written in a transaction that first writes this row under the owner's epoch, so that
a process that lost the lease without knowing cannot commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import Unavailable
from gateway.model.event import Event
from gateway.model.identity import LANES, lane_of
from gateway.model.journey import JourneyStep
from gateway.store.database import Database, Document, InsertOne, Session, Timestamp, UpdateOne

COLLECTION = "lanes"
WORK = "work"
FEED = "feed"

_LEASE = "derive"
_LANE_BITS = 48


class LeaseLost(Unavailable):
    """Another process derives now; what was about to be written was not."""


@dataclass(slots=True)
class Lease:
    """The right to derive, and the last feed position of each lane as this owner wrote it."""

    owner: str
    epoch: int
    offset: Timestamp | None
    heads: dict[int, int] = field(default_factory=dict)


class Lanes:
    """Lease, work and feed as the owner writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Create the rows that do not exist yet."""
        rows: list[Document] = [{"_id": lane, "seq": 0, "floor": 1} for lane in range(LANES)]
        rows.append({"_id": _LEASE, "owner": None, "epoch": 0, "until": None, "offset": None})
        await self._database.bulk_write(
            COLLECTION,
            [UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True) for row in rows],
        )

    async def acquire(self, owner: str, seconds: float) -> Lease | None:
        """Take the lease if nobody holds it; time is mongod's."""
        free = {"$or": [{"$eq": ["$until", None]}, {"$lt": ["$until", "$$NOW"]}, {"$eq": ["$owner", owner]}]}
        row = await self._database.find_one_and_update(
            COLLECTION,
            {"_id": _LEASE, "$expr": free},
            [{"$set": {"owner": owner, "epoch": {"$add": ["$epoch", 1]}, "until": _until(seconds)}}],
        )
        if row is None:
            return None
        heads = await self._database.find(COLLECTION, {"_id": {"$in": list(range(LANES))}})
        return Lease(owner, row["epoch"], row["offset"], {lane["_id"]: lane["seq"] for lane in heads})

    async def renew(
        self, lease: Lease, seconds: float, *, offset: Timestamp | None = None, session: Session | None = None
    ) -> None:
        """The fence: write the lease's row under our epoch, and the new position. Raises LeaseLost."""
        changes: Document = {"until": _until(seconds)}
        if offset is not None:
            changes["offset"] = offset
        result = await self._database.update_one(
            COLLECTION,
            {"_id": _LEASE, "owner": lease.owner, "epoch": lease.epoch},
            [{"$set": changes}],
            session=session,
        )
        if not result.matched:
            raise LeaseLost("Another process has taken over derivation.")

    async def release(self, lease: Lease) -> None:
        """Give the lease back, so that another process need not wait for it to run out."""
        await self._database.update_one(
            COLLECTION, {"_id": _LEASE, "owner": lease.owner, "epoch": lease.epoch}, {"$set": {"until": None}}
        )

    async def done(self, workspace: str, events: Collection[bytes], session: Session) -> set[bytes]:
        """Those of `events` that have been derived before."""
        rows = await self._database.find(
            WORK, {"workspace": workspace, "_id": {"$in": list(events)}}, projection={"_id": 1}, session=session
        )
        return {bytes(row["_id"]) for row in rows}

    async def record(self, workspace: str, users: Iterable[tuple[Event, str]], *, now: int, session: Session) -> None:
        """One row per derived event, in the lane of its user."""
        rows = [
            {"_id": event.id, "workspace": workspace, "user": user, "lane": lane_of(workspace, user), "doneAt": now}
            for event, user in users
        ]
        if rows:
            await self._database.insert_many(WORK, rows, session=session)

    async def publish(
        self, lease: Lease, rows: Sequence[tuple[str, Document]], *, now: int, session: Session
    ) -> dict[int, int]:
        """Append rows (with the user whose lane they belong to) to the feed.

        Returns the new heads; the caller adopts them once the transaction has committed.
        """
        heads: dict[int, int] = {}
        inserts = []
        for user, row in rows:
            lane = lane_of(row["workspace"], user)
            heads[lane] = heads.get(lane, lease.heads[lane]) + 1
            position = heads[lane]
            inserts.append(
                InsertOne({"_id": feed_id(lane, position), "lane": lane, "seq": position, "writtenAt": now, **row})
            )
        if inserts:
            await self._database.bulk_write(FEED, list(inserts), session=session)
            moves = [UpdateOne({"_id": lane}, {"$set": {"seq": head}}) for lane, head in heads.items()]
            await self._database.bulk_write(COLLECTION, list(moves), session=session)
        return heads

    async def expired(self, before: int) -> dict[int, int]:
        """The last position of each lane that was written before `before` (ms)."""
        rows = await self._database.aggregate(
            FEED,
            [
                {"$match": {"writtenAt": {"$lt": before}}},
                {"$sort": {"writtenAt": 1}},
                {"$limit": 20_000},
                {"$group": {"_id": "$lane", "seq": {"$max": "$seq"}}},
            ],
        )
        return {row["_id"]: row["seq"] for row in rows}

    async def trim(self, last: Mapping[int, int], session: Session) -> None:
        """Forget feed rows up to these positions, and say so in the lanes' floors."""
        for lane, position in last.items():
            gone = {"_id": {"$gte": feed_id(lane, 0), "$lte": feed_id(lane, position)}}
            await self._database.delete_many(FEED, gone, session=session)
            await self._database.update_one(
                COLLECTION, {"_id": lane}, {"$max": {"floor": position + 1}}, session=session
            )

    async def forget_work(self, before: int) -> int:
        """Forget rows of events that were derived before `before` (ms): their turn in the stream is long past."""
        return await self._database.delete_many(WORK, {"doneAt": {"$lt": before}})


def feed_id(lane: int, position: int) -> int:
    """The key of a feed row: sorts by lane, then position."""
    return lane << _LANE_BITS | position


def event_row(event: Event, user: str) -> Document:
    """The feed row that announces a stored event."""
    return {
        "workspace": event.workspace,
        "kind": "event",
        "user": user,
        "event": event.id,
        "name": event.name,
        "at": event.at,
    }


def journey_step_row(workspace: str, step: JourneyStep) -> Document:
    """The feed row that announces a step of a journey."""
    return {
        "workspace": workspace,
        "kind": "journey",
        "user": step.user,
        "journey": step.journey,
        "map": step.map,
        "run": step.run,
        "from": step.from_stage,
        "to": step.to_stage,
        "status": None if step.status is None else step.status.value,
        "event": step.event,
        "at": step.at,
    }


def _until(seconds: float) -> Document:
    return {"$add": ["$$NOW", int(seconds * 1000)]}
