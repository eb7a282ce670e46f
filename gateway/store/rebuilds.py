"""Rebuilds: which users are to be folded anew from their events, and how far the marking of them came.

A mark is a value of `users.maps` that no version of the maps has: the owner folds such a user from the start before
anything is added to it, and its sweep finds the others, as after a change of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model.identity import lane_of
from gateway.store.database import Database, Document, UpdateOne
from gateway.store.identities import IDENTITIES
from gateway.store.users import USERS

COLLECTION = "rebuilds"
#: Sorts behind every hash of maps.
MARK = "rebuild"


@dataclass(frozen=True, slots=True)
class Marking:
    """A rebuild under way: users up to `after` (by id) are marked, `users` of them; `whole`: all are."""

    after: str
    users: int
    whole: bool


class Rebuilds:
    """One row per workspace while a rebuild of it is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, workspace: str, now: int) -> Marking:
        """The rebuild under way, or a new one."""
        row = await self._database.find_one_and_update(
            COLLECTION,
            {"_id": workspace, "workspace": workspace},
            {"$setOnInsert": {"after": "", "users": 0, "whole": False, "startedAt": now}},
            upsert=True,
        )
        assert row is not None
        return Marking(row["after"], row["users"], row["whole"])

    async def reached(self, workspace: str, marking: Marking) -> None:
        fields = {"after": marking.after, "users": marking.users, "whole": marking.whole}
        await self._database.update_one(COLLECTION, {"_id": workspace, "workspace": workspace}, {"$set": fields})

    async def end(self, workspace: str) -> None:
        await self._database.delete_many(COLLECTION, {"_id": workspace, "workspace": workspace})

    async def next_users(self, workspace: str, after: str, limit: int) -> list[str]:
        """The users behind `after` that identities belong to, by id; at most `limit` identities are read."""
        rows = await self._database.find(
            IDENTITIES,
            {"workspace": workspace, "user": {"$gt": after}},
            projection={"_id": 0, "user": 1},
            sort=[("user", 1)],
            limit=limit,
        )
        return list(dict.fromkeys(row["user"] for row in rows))

    async def mark(self, workspace: str, users: Sequence[str]) -> None:
        """Have these users folded anew; those whose row was lost get one. Redirects stay what they are."""
        await self._database.bulk_write(
            USERS,
            [
                UpdateOne({"_id": user, "workspace": workspace, "movedTo": None}, {"$set": {"maps": MARK}})
                for user in users
            ],
        )
        rows = await self._database.find(
            USERS, {"workspace": workspace, "_id": {"$in": list(users)}}, projection={"_id": 1}
        )
        lost = set(users) - {row["_id"] for row in rows}
        fresh: list[Document] = [
            {
                "_id": user,
                "workspace": workspace,
                "lane": lane_of(workspace, user),
                "movedTo": None,
                "maps": MARK,
                "revision": 0,
            }
            for user in lost
        ]
        # One that its owner makes at the same moment counts, not this one.
        await self._database.insert_unordered(USERS, fresh)

    async def count_left(self, workspace: str, users: Sequence[str] | None = None) -> int:
        """How many are marked and not folded yet, of all or among `users`."""
        wanted: Document = {"workspace": workspace, "maps": MARK, "movedTo": None}
        if users is not None:
            wanted["_id"] = {"$in": list(users)}
        return await self._database.count(USERS, wanted)

    async def set_aside(self, workspace: str, users: Sequence[str] | None = None) -> list[str]:
        """Users whose events do not fold, or that have none; at most a hundred."""
        wanted: Document = {"workspace": workspace, "maps": None, "movedTo": None, "refolding": None}
        if users is not None:
            wanted["_id"] = {"$in": list(users)}
        rows = await self._database.find(USERS, wanted, projection={"_id": 1}, limit=100)
        return [row["_id"] for row in rows]
