"""Replays from the log: what is to be sent to an instance once more, and how far that has come.

A replay leaves rows of `lane_items` with the owners of their lanes, page by page. It belongs to the owner of its own
lane, and is written under that lane's epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gateway.model.event import OrderKey
from gateway.model.identity import lane_of
from gateway.store.database import Database, Document, Session
from gateway.store.lane_items import LaneItem, LaneItems
from gateway.store.lanes import LeaseLost

COLLECTION = "replays"


@dataclass(frozen=True, slots=True)
class Replay:
    """Events of [from_, to) by `at` (ms), of one user or of all, to one instance. `behind`: the last one left."""

    id: str
    workspace: str
    instance: str
    from_: int
    to: int
    user: str | None
    asked_at: int
    behind: OrderKey | None = None
    count: int = 0
    running: bool = True


class Replays:
    """Replays of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._items = LaneItems(database)

    async def add(self, replay: Replay) -> None:
        """A new one."""
        row = {
            "_id": replay.id,
            "workspace": replay.workspace,
            "lane": lane_of(replay.workspace, replay.id),
            "epoch": -1,
            "instance": replay.instance,
            "from": replay.from_,
            "to": replay.to,
            "user": replay.user,
            "askedAt": replay.asked_at,
            "behind": None,
            "count": 0,
            "running": True,
        }
        await self._database.insert_many(COLLECTION, [row])

    async def running(self, lanes: Collection[int]) -> list[tuple[int, Replay]]:
        """Those of these lanes that are not done, with their lanes."""
        rows = await self._database.find(COLLECTION, {"running": True, "lane": {"$in": list(lanes)}})
        return [(row["lane"], _replay(row)) for row in rows]

    async def go_on(self, replay: Replay, epoch: int, items: Iterable[LaneItem]) -> None:
        """Leave a page of rows, and say how far it has come, in one step. Raises LeaseLost."""

        async def transact(session: Session) -> None:
            key = {"_id": replay.id, "workspace": replay.workspace, "epoch": {"$lte": epoch}, "running": True}
            behind = None if replay.behind is None else list(replay.behind)
            row = {"behind": behind, "count": replay.count, "running": replay.running, "epoch": epoch}
            done = await self._database.update_one(COLLECTION, key, {"$set": row}, session=session)
            if not done.matched:
                raise LeaseLost("Another process replays now.")
            await self._items.ask(replay.workspace, {replay.instance: items}, session)

        await self._database.with_transaction(transact)


def _replay(row: Document) -> Replay:
    behind = row["behind"]
    return Replay(
        id=row["_id"],
        workspace=row["workspace"],
        instance=row["instance"],
        from_=row["from"],
        to=row["to"],
        user=row["user"],
        asked_at=row["askedAt"],
        behind=None if behind is None else (behind[0], behind[1], bytes(behind[2])),
        count=row["count"],
        running=row["running"],
    )
