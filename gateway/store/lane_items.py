"""What did not go through: rows that are tried again, rows that wait behind them, and dead letters.

No row holds a payload: what is sent is read anew from `events` (or, for what is not an event, from the few keys of the
feed row that announced it), so that an erased event is gone here too. `queue` is whose order it belongs to: of one
queue one row is `pending`, the others are `waiting` behind it, in the order of `seq`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.model.identity import digest, lane_of
from gateway.store.database import Database, DeleteOne, Document, Operation, ReplaceOne, Session, UpdateOne

ITEMS = "lane_items"
DEAD = "dead_letters"

ItemState = Literal["pending", "waiting"]
#: Newest first.
NEWEST = [("diedAt", -1), ("_id", -1)]


@dataclass(slots=True)
class LaneItem:
    """One thing that an instance has yet to get. Times in ms; `seq` orders its queue.

    `about` is the feed row that announced it, without its place. `replay`: it is sent once more, by this replay.
    """

    key: str
    lane: int
    queue: str
    user: str
    seq: int
    kind: str
    about: Document
    since: int
    state: ItemState = "pending"
    attempts: int = 0
    due_at: int = 0
    code: str = ""
    reason: str = ""
    replay: str | None = None
    #: The row it was read from.
    row: bytes | None = None

    def row_id(self, workspace: str, instance: str) -> bytes:
        return self.row or digest(workspace, instance, self.key, self.replay or "")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What an instance never got: why, after how many attempts, and the shape of what was sent."""

    item: LaneItem
    died_at: int
    excerpt: str


@dataclass(slots=True)
class Changes:
    """What one turn changes: rows that are new or postponed, rows that are done, letters that died.

    `ended` are queues whose pending row went: what waits behind it is next.
    """

    kept: list[LaneItem] = field(default_factory=list)
    done: list[LaneItem] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.kept or self.done or self.dead)


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Which dead letters; what is None does not filter. Times (of death) in ms, `to` excluded."""

    instance: str | None = None
    codes: Sequence[str] | None = None
    user: str | None = None
    from_: int | None = None
    to: int | None = None
    ids: Sequence[bytes] | None = None

    def query(self, workspace: str) -> Document:
        wanted: Document = {"workspace": workspace}
        exact = {"instance": self.instance, "user": self.user}
        wanted |= {name: value for name, value in exact.items() if value is not None}
        if self.codes is not None:
            wanted["code"] = {"$in": list(self.codes)}
        if self.ids is not None:
            wanted["_id"] = {"$in": list(self.ids)}
        bounds = {"$gte": self.from_, "$lt": self.to}
        if bounded := {name: value for name, value in bounds.items() if value is not None}:
            wanted["diedAt"] = bounded
        return wanted


class LaneItems:
    """Rows of all instances; each is written by the owner of its lane, under the fence of its cursor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- by owners of lanes -------------------------------------------------------------------------------------

    async def write(self, workspace: str, instance: str, changes: Changes, session: Session) -> None:
        """Write what a turn changes, in the transaction of its cursors."""
        of = (workspace, instance)
        rows: list[Operation] = [_upsert(of, item) for item in changes.kept]
        rows += [DeleteOne(_id(of, item)) for item in changes.done]
        rows += [DeleteOne(_id(of, letter.item)) for letter in changes.dead]
        await self._database.bulk_write(ITEMS, rows, session=session)
        letters: list[Operation] = [
            ReplaceOne(_id(of, letter.item), _letter(of, letter), upsert=True) for letter in changes.dead
        ]
        await self._database.bulk_write(DEAD, letters, session=session)
        for queue in sorted(changes.ended):
            await self._wake_next(of, queue, session)

    async def due(
        self, workspace: str, instance: str, lanes: Collection[int], now: int, *, limit: int, replays: bool
    ) -> list[LaneItem]:
        """Rows of these lanes whose time has come, what came first first; of replays, or of what happens."""
        wanted = {
            "workspace": workspace,
            "instance": instance,
            "lane": {"$in": list(lanes)},
            "state": "pending",
            "dueAt": {"$lte": now},
            "replay": {"$ne": None} if replays else None,
        }
        rows = await self._database.find(ITEMS, wanted, sort=[("dueAt", 1), ("seq", 1)], limit=limit)
        return [_item(row) for row in rows]

    async def held_back(self, workspace: str, instance: str, queues: Collection[str]) -> set[str]:
        """Those of these queues in which something is tried again: what comes later waits behind it."""
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"workspace": workspace, "instance": instance, "queue": {"$in": list(queues)}}},
            {"$group": {"_id": "$queue"}},
        ]
        return {row["_id"] for row in await self._database.aggregate(ITEMS, pipeline)}

    async def lanes_with_rows(self, workspace: str, instance: str) -> set[int]:
        """Lanes in which something did not go through."""
        rows = await self._database.aggregate(
            ITEMS,
            [{"$match": {"workspace": workspace, "instance": instance}}, {"$group": {"_id": "$lane"}}],
        )
        return {row["_id"] for row in rows}

    async def next_due(self, workspace: str, instance: str, lanes: Collection[int]) -> int | None:
        """When the next row of these lanes is due (ms)."""
        wanted = {"workspace": workspace, "instance": instance, "lane": {"$in": list(lanes)}, "state": "pending"}
        row = await self._database.find_one(ITEMS, wanted, projection={"dueAt": 1}, sort=[("dueAt", 1)])
        return None if row is None else int(row["dueAt"])

    async def _wake_next(self, of: tuple[str, str], queue: str, session: Session) -> None:
        wanted = {"workspace": of[0], "instance": of[1], "queue": queue}
        row = await self._database.find_one(ITEMS, wanted, projection={"state": 1}, sort=[("seq", 1)], session=session)
        if row is not None and row["state"] == "waiting":
            key = {"_id": row["_id"], "workspace": of[0]}
            await self._database.update_one(ITEMS, key, {"$set": {"state": "pending", "dueAt": 0}}, session=session)

    # -- by whoever asks ----------------------------------------------------------------------------------------

    async def ask(self, workspace: str, items: Mapping[str, Iterable[LaneItem]], session: Session | None) -> int:
        """Leave rows with the owners of their lanes, by instance; those that are there stay as they are."""
        operations: list[Operation] = []
        for instance, rows in items.items():
            for item in rows:
                key = _id((workspace, instance), item)
                fresh = {name: value for name, value in _row((workspace, instance), item).items() if name not in key}
                operations.append(UpdateOne(key, {"$setOnInsert": fresh}, upsert=True))
        return (await self._database.bulk_write(ITEMS, operations, session=session)).upserted

    async def rows(
        self,
        workspace: str,
        *,
        state: ItemState,
        instance: str | None,
        limit: int,
        after: tuple[int, bytes] | None = None,
    ) -> list[Document]:
        """Rows in this state, what happened first first, behind `after` (since, _id)."""
        wanted: Document = {"workspace": workspace, "state": state}
        if instance is not None:
            wanted["instance"] = instance
        if after is not None:
            at, key = after
            wanted["$or"] = [{"since": {"$gt": at}}, {"since": at, "_id": {"$gt": key}}]
        return await self._database.find(ITEMS, wanted, sort=[("since", 1), ("_id", 1)], limit=limit, max_time_ms=5000)

    async def get(self, workspace: str, key: bytes) -> Document | None:
        """One row or dead letter by its id; None when it is neither."""
        wanted = {"_id": key, "workspace": workspace}
        return await self._database.find_one(ITEMS, wanted) or await self._database.find_one(DEAD, wanted)

    async def outstanding(self, workspace: str, replay: str, *, at_most: int) -> int:
        """How many rows of a replay are still to be sent, counted up to `at_most`."""
        return await self._database.count(ITEMS, {"workspace": workspace, "replay": replay}, limit=at_most)

    async def dead(
        self, workspace: str, wanted: DeadFilter, *, limit: int, before: tuple[int, bytes] | None = None
    ) -> list[Document]:
        """Dead letters, the newest first, that died before `before` (diedAt, _id)."""
        query = wanted.query(workspace)
        if before is not None:
            at, key = before
            older = {"$or": [{"diedAt": {"$lt": at}}, {"diedAt": at, "_id": {"$lt": key}}]}
            query = {"workspace": workspace, "$and": [query, older]}
        return await self._database.find(DEAD, query, sort=NEWEST, limit=limit, max_time_ms=5000)

    async def count_dead(self, workspace: str, wanted: DeadFilter, *, at_most: int) -> int:
        """How many dead letters there are, counted up to `at_most`."""
        return await self._database.count(DEAD, wanted.query(workspace), limit=at_most)

    async def counts(self, workspace: str) -> dict[str, dict[str, int]]:
        """Rows by instance and state (`pending`, `waiting`, `dead`)."""
        found: dict[str, dict[str, int]] = {}
        for place, state in ((ITEMS, "$state"), (DEAD, "dead")):
            pipeline: list[Mapping[str, Any]] = [
                {"$match": {"workspace": workspace}},
                {"$group": {"_id": {"instance": "$instance", "state": state}, "count": {"$sum": 1}}},
            ]
            for row in await self._database.aggregate(place, pipeline, max_time_ms=5000):
                found.setdefault(row["_id"]["instance"], {})[row["_id"]["state"]] = row["count"]
        return found

    async def revive(self, workspace: str, letters: Sequence[Document], now: int) -> int:
        """Dead letters are tried again, from their first attempt on; how many still were dead."""

        async def transact(session: Session) -> int:
            keys = [row["_id"] for row in letters]
            found = await self._database.find(DEAD, {"workspace": workspace, "_id": {"$in": keys}}, session=session)
            rows: list[Operation] = []
            for row in found:
                fresh = {name: row[name] for name in _COPIED}
                fresh |= {"state": "pending", "attempts": 0, "dueAt": now, "since": now, "code": "", "reason": ""}
                # A queue of its own: what has happened since is not held back by it.
                fresh |= {"queue": f"replay {bytes(row['_id']).hex()}", "replay": row.get("replay") or "dead letters"}
                rows.append(ReplaceOne({"_id": row["_id"], "workspace": workspace}, fresh, upsert=True))
            await self._database.bulk_write(ITEMS, rows, session=session)
            gone = {"workspace": workspace, "_id": {"$in": [row["_id"] for row in found]}}
            return await self._database.delete_many(DEAD, gone, session=session)

        return await self._database.with_transaction(transact)

    # -- erasure ------------------------------------------------------------------------------------------------

    async def erase(self, workspace: str, users: Collection[str]) -> tuple[int, int]:
        """Delete rows and dead letters of these users; how many of each. What lives on in a queue goes on."""
        wanted = {"workspace": workspace, "user": {"$in": list(users)}, "kind": {"$ne": "erase"}}
        return await self._database.delete_many(ITEMS, wanted), await self._database.delete_many(DEAD, wanted)

    async def ask_to_erase(self, workspace: str, erasure: str, round_: int, users: Collection[str], now: int) -> int:
        """Leave word with every instance that erases at its destination; how many there are."""
        wanted = {"workspace": workspace, "erases": True}
        rows = await self._database.find("destinations", wanted, projection={"instance": 1})
        key = f"erase {erasure} {round_}"
        item = LaneItem(
            key=key,
            lane=lane_of(workspace, erasure),
            queue=key,
            user="",
            seq=0,
            kind="erase",
            about={"users": sorted(users)},
            since=now,
        )
        await self.ask(workspace, {row["instance"]: [item] for row in rows}, None)
        return len(rows)


_COPIED = ("_id", "workspace", "instance", "lane", "user", "key", "seq", "kind", "about")


def _id(of: tuple[str, str], item: LaneItem) -> Document:
    return {"_id": item.row_id(*of), "workspace": of[0]}


def _upsert(of: tuple[str, str], item: LaneItem) -> Operation:
    return ReplaceOne(_id(of, item), _row(of, item), upsert=True)


def _row(of: tuple[str, str], item: LaneItem) -> Document:
    return {
        **_id(of, item),
        "instance": of[1],
        "lane": item.lane,
        "queue": item.queue,
        "user": item.user,
        "key": item.key,
        "seq": item.seq,
        "kind": item.kind,
        "about": item.about,
        "since": item.since,
        "state": item.state,
        "attempts": item.attempts,
        "dueAt": item.due_at,
        "code": item.code,
        "reason": item.reason,
        "replay": item.replay,
    }


def _letter(of: tuple[str, str], letter: DeadLetter) -> Document:
    row = _row(of, letter.item)
    del row["state"], row["dueAt"], row["queue"]
    return {**row, "diedAt": letter.died_at, "excerpt": letter.excerpt}


def _item(row: Document) -> LaneItem:
    return LaneItem(
        key=row["key"],
        lane=row["lane"],
        queue=row["queue"],
        user=row["user"],
        seq=row["seq"],
        kind=row["kind"],
        about=row["about"],
        since=row["since"],
        state=row["state"],
        attempts=row["attempts"],
        due_at=row["dueAt"],
        code=row["code"],
        reason=row["reason"],
        replay=row["replay"],
        row=bytes(row["_id"]),
    )
