"""The lanes of derivation: who owns which, how far each has come, and the feed rows their owners write.

Every user and every identity falls into one of 16 lanes. A lane's row names its owner, an epoch that every take-over
raises, its position in the change stream and its last feed position. Every effect is written in a transaction that
also writes the rows of the lanes it touches under their epochs (the fence), so that a process that lost a lane without
knowing cannot commit. A process is alive as long as its own row says so, by mongod's time: that row is written beside
the batches, so that a long one costs nobody its lanes, and never in conflict with a fence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from gateway.errors import Unavailable
from gateway.model.event import Event
from gateway.model.identity import LANES, lane_of
from gateway.model.journey import JourneyStep, SegmentStep
from gateway.store.database import Database, Document, Session, Timestamp, UpdateOne

COLLECTION = "lanes"
FEED = "feed"
ALL_LANES = frozenset(range(LANES))

_PROCESS = "process "
_LANE_BITS = 48


class LeaseLost(Unavailable):
    """Another process owns a lane now; what was about to be written was not."""


@dataclass(slots=True)
class Held:
    """One lane as its owner knows it: the epoch it was taken under, its position and its last feed position.

    `scanned` is how far a reading of all stored events has come that was begun at a cluster time: (time, received ms).
    """

    epoch: int
    offset: Timestamp | None
    head: int
    scanned: tuple[Timestamp, int] | None = None


@dataclass(slots=True)
class Lease:
    """The lanes one process owns. `contract` numbers the contract it folds under: lanes that are ahead are not its."""

    owner: str
    lanes: dict[int, Held] = field(default_factory=dict)
    contract: int = 0

    @property
    def heads(self) -> dict[int, int]:
        return {lane: held.head for lane, held in self.lanes.items()}

    def owns(self, workspace: str, key: str) -> bool:
        """Whether the lane of this key is one of ours."""
        return lane_of(workspace, key) in self.lanes

    def start(self) -> Timestamp | None:
        """Where the change stream must begin for all lanes; None when one has no position yet."""
        offsets = [held.offset for held in self.lanes.values()]
        known = [offset for offset in offsets if offset is not None]
        return min(known) if known and len(known) == len(offsets) else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the lanes are shared: processes that derive, lanes without a living owner, those owners that are dead, with
    the session of their last transaction, and the oldest position of all lanes."""

    processes: int
    free: frozenset[int]
    dead: Mapping[str, Document | None]
    position: Timestamp | None


class Lanes:
    """Leases and feed as the owners write them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prepare(self) -> None:
        """Create the rows that do not exist yet."""
        rows: list[Document] = [
            {"_id": lane, "seq": 0, "floor": 1, "owner": None, "epoch": 0, "offset": None, "contract": 0}
            for lane in range(LANES)
        ]
        await self._database.bulk_write(
            COLLECTION,
            [UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True) for row in rows],
        )

    # -- owning -------------------------------------------------------------------------------------------------

    async def live(self, owner: str, seconds: float, *, session: Document | None = None) -> None:
        """Say that this process derives, and in which session."""
        alive = {"until": {"$add": ["$$NOW", int(seconds * 1000)]}, "session": {"$literal": session}}
        await self._database.update_one(COLLECTION, {"_id": _PROCESS + owner}, [{"$set": alive}], upsert=True)

    async def attend(self, owner: str, seconds: float, *, session: Document | None = None) -> Standing:
        """Say that this process derives, in which session, and see how the lanes are shared."""
        await self.live(owner, seconds, session=session)
        live = {"$gt": ["$until", "$$NOW"]}  # null sorts before every date
        wanted = {"offset": 1, "owner": 1, "session": 1, "live": live}
        rows = await self._database.aggregate(COLLECTION, [{"$project": wanted}])
        lanes = [row for row in rows if isinstance(row["_id"], int)]
        processes = {row["_id"].removeprefix(_PROCESS): row for row in rows if isinstance(row["_id"], str)}
        living = {name for name, row in processes.items() if row["live"]} | {owner}
        offsets = [row["offset"] for row in lanes]
        owners = {row["owner"] for row in lanes} - {None} - living
        return Standing(
            processes=len(living),
            free=frozenset(row["_id"] for row in lanes if row["owner"] not in living),
            dead={name: processes.get(name, {}).get("session") for name in owners},
            position=None if None in offsets else min(offsets, default=None),
        )

    async def acquire(
        self, owner: str, seconds: float, *, lanes: Collection[int] = ALL_LANES, contract: int = 0
    ) -> Lease | None:
        """A lease on those of `lanes` that nobody holds; None when there is none."""
        lease = Lease(owner, contract=contract)
        await self.take(lease, lanes, await self.attend(owner, seconds))
        return lease if lease.lanes else None

    async def take(self, lease: Lease, lanes: Collection[int], standing: Standing) -> frozenset[int]:
        """Own those of `lanes` that nobody living holds, too; returns which. Two processes never get the same one."""
        wanted = [lane for lane in lanes if lane not in lease.lanes]
        await self._database.update_many(
            COLLECTION,
            {
                "_id": {"$in": wanted},
                "contract": {"$lte": lease.contract},
                "owner": {"$in": [None, lease.owner, *standing.dead]},
            },
            {"$set": {"owner": lease.owner, "contract": lease.contract}, "$inc": {"epoch": 1}},
        )
        rows = await self._database.find(COLLECTION, {"_id": {"$in": wanted}, "owner": lease.owner})
        lease.lanes |= {
            row["_id"]: Held(row["epoch"], row["offset"], row["seq"], _scan(row.get("scanned"))) for row in rows
        }
        return frozenset(row["_id"] for row in rows)

    async def refresh(self, lease: Lease) -> frozenset[int]:
        """Forget the lanes that were lost, which are returned, and read anew how far the others have come: a commit of
        unknown outcome may have moved them."""
        rows = await self._database.find(COLLECTION, {"_id": {"$in": list(lease.lanes)}, "owner": lease.owner})
        kept = {row["_id"]: row for row in rows if row["epoch"] == lease.lanes[row["_id"]].epoch}
        lost = frozenset(lease.lanes.keys() - kept.keys())
        for lane in lost:
            del lease.lanes[lane]
        for lane, row in kept.items():
            lease.lanes[lane].head, lease.lanes[lane].offset = row["seq"], row["offset"]
        return lost

    async def advance(
        self, lease: Lease, position: Timestamp | None, *, scanned: tuple[Timestamp, int] | None = None
    ) -> None:
        """All our lanes have come so far: in the change stream, or in a reading of all that is stored. Raises
        LeaseLost."""
        row: Document = {"$set": {"scanned": None if scanned is None else list(scanned)}}
        if position is not None:
            row["$max"] = {"offset": position}  # none yet is less than any
        await self._write_rows(lease, dict.fromkeys(lease.lanes, row))
        for held in lease.lanes.values():
            held.scanned = scanned
        if position is not None:
            _advance(lease, lease.lanes, position)

    async def release(self, lease: Lease, lanes: Collection[int] | None = None) -> None:
        """Give lanes back (None: all, for good), so that another process need not wait until this one is dead."""
        mine = _mine(lease, lease.lanes if lanes is None else lanes)
        if mine:
            await self._database.update_many(COLLECTION, {"$or": list(mine.values())}, {"$set": {"owner": None}})
        for lane in mine:
            del lease.lanes[lane]
        if lanes is None:
            await self._database.delete_many(COLLECTION, {"_id": _PROCESS + lease.owner})

    async def fence(
        self,
        lease: Lease,
        lanes: Collection[int],
        *,
        heads: Mapping[int, int],
        offset: Timestamp | None,
        session: Session,
    ) -> None:
        """Write the rows of these lanes under our epochs, in the transaction of their effects. Raises LeaseLost.

        That moves them to the contract we fold under: no process that only knows an older one gets them any more.
        """
        rows: dict[int, Document] = {}
        for lane in lanes:
            # The count makes it a write whatever else stays: only what is written can conflict with a take-over.
            rows[lane] = {"$set": {"contract": lease.contract}, "$inc": {"fenced": 1}}
            if lane in heads:
                rows[lane]["$set"]["seq"] = heads[lane]
            if offset is not None:
                rows[lane]["$max"] = {"offset": offset}
        await self._write_rows(lease, rows, session)

    def committed(
        self, lease: Lease, lanes: Collection[int], heads: Mapping[int, int], offset: Timestamp | None
    ) -> None:
        """Remember what the transaction has written."""
        for lane, head in heads.items():
            lease.lanes[lane].head = head
        if offset is not None:
            _advance(lease, lanes, offset)

    async def _write_rows(self, lease: Lease, rows: Mapping[int, Document], session: Session | None = None) -> None:
        mine = _mine(lease, rows)
        if len(mine) < len(rows):
            raise LeaseLost("A lane is not this process's any more.")
        result = await self._database.bulk_write(
            COLLECTION, [UpdateOne(mine[lane], row) for lane, row in rows.items()], session=session
        )
        if result.matched < len(rows):
            raise LeaseLost("Another process has taken over a lane.")

    # -- the feed -----------------------------------------------------------------------------------------------

    def heads_after(self, lease: Lease, rows: Sequence[tuple[str, Document]]) -> dict[int, int]:
        """The last feed positions once these rows (with the user whose lane they belong to) are published.

        The fence writes them, and it comes first: a process that lost a lane would use its numbers once more.
        """
        heads: dict[int, int] = {}
        for user, row in rows:
            lane = lane_of(row["workspace"], user)
            if lane not in lease.lanes:
                raise LeaseLost("A lane is not this process's any more.")
            heads[lane] = heads.get(lane, lease.lanes[lane].head) + 1
        return heads

    async def publish(self, lease: Lease, rows: Sequence[tuple[str, Document]], *, now: int, session: Session) -> None:
        """Append these rows to the feed, behind the fence of the same transaction; then `committed` remembers it."""
        positions = lease.heads
        inserts: list[Document] = []
        for user, row in rows:
            lane = lane_of(row["workspace"], user)
            position = positions[lane] = positions[lane] + 1
            inserts.append({"_id": feed_id(lane, position), "lane": lane, "seq": position, "writtenAt": now, **row})
        await self._database.insert_many(FEED, inserts, session=session)

    async def expired(self, lanes: Collection[int], before: int) -> dict[int, int]:
        """The last position of each of these lanes that was written before `before` (ms)."""
        rows = await self._database.aggregate(
            FEED,
            [
                {"$match": {"writtenAt": {"$lt": before}, "lane": {"$in": list(lanes)}}},
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


def _mine(lease: Lease, lanes: Iterable[int]) -> dict[int, Document]:
    """What finds the rows of these lanes as long as they are ours."""
    return {
        lane: {"_id": lane, "owner": lease.owner, "epoch": lease.lanes[lane].epoch}
        for lane in lanes
        if lane in lease.lanes
    }


def _advance(lease: Lease, lanes: Iterable[int], position: Timestamp) -> None:
    for lane in lanes:
        held = lease.lanes[lane]
        held.offset = position if held.offset is None else max(held.offset, position)


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


def segment_step_row(workspace: str, step: SegmentStep) -> Document:
    """The feed row that announces that a user has entered or left a segment."""
    return {
        "workspace": workspace,
        "kind": "segment",
        "user": step.user,
        "segment": step.segment,
        "entered": step.entered,
        "at": step.at,
    }


def _scan(stored: list[object] | None) -> tuple[Timestamp, int] | None:
    return None if stored is None else (cast("Timestamp", stored[0]), cast("int", stored[1]))
