"""Credentials: write keys, API keys (hashed), one-time codes, and the secret that signs tokens and cursors."""

from __future__ import annotations

from gateway.store.database import Database, Document, UpdateOne

COLLECTION = "keys"


class Keys:
    """Rows are `{_id: hash or name, workspace, kind, …}`; looking one up by its credential needs no workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: bytes) -> Document | None:
        """The credential with this hash."""
        return await self._database.find_one(COLLECTION, {"_id": key})

    async def add(self, key: bytes, row: Document) -> None:
        await self._database.bulk_write(COLLECTION, [UpdateOne({"_id": key}, {"$setOnInsert": row}, upsert=True)])

    async def take(self, key: bytes) -> Document | None:
        """Remove a one-time credential and return it; None when it is unknown or was taken before."""
        return await self._database.find_one_and_update(
            COLLECTION, {"_id": key, "taken": False}, {"$set": {"taken": True}}, returning="before"
        )

    async def workspaces(self) -> list[str]:
        """Every workspace that has a credential."""
        rows = await self._database.aggregate(
            COLLECTION, [{"$match": {"workspace": {"$ne": None}}}, {"$group": {"_id": "$workspace"}}]
        )
        return sorted(row["_id"] for row in rows)

    async def server_secret(self, fresh: str) -> str:
        """The installation's secret; `fresh` becomes it if there is none yet."""
        row = await self._database.find_one_and_update(
            COLLECTION,
            {"_id": "server-secret"},
            {"$setOnInsert": {"kind": "secret", "workspace": None, "secret": fresh}},
            upsert=True,
        )
        assert row is not None
        return str(row["secret"])
