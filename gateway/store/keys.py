"""Credentials: write keys, API keys (hashed), one-time codes, and the secret that signs tokens and cursors."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import InvalidInput
from gateway.store.database import Database, Document, Session, UpdateOne

COLLECTION = "keys"

_CHANGES = "changes"
_KINDS = ("write", "api")
_HASH_BYTES = 32


class Keys:
    """Rows are `{_id: hash or name, workspace, kind, …}`; looking one up by its credential needs no workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: bytes) -> Document | None:
        """The credential with this hash."""
        return await self._database.find_one(COLLECTION, {"_id": key})

    async def find_by_id(self, workspace: str, start: bytes) -> Document | None:
        """The key whose hash begins with these bytes, by which keys are named."""
        first, last = start.ljust(_HASH_BYTES, b"\0"), start.ljust(_HASH_BYTES, b"\xff")
        return await self._database.find_one(
            COLLECTION, {"_id": {"$gte": first, "$lte": last}, "workspace": workspace, "kind": {"$in": _KINDS}}
        )

    async def of_workspace(self, workspace: str) -> list[Document]:
        """Its write and API keys, the oldest first."""
        return await self._database.find(
            COLLECTION, {"workspace": workspace, "kind": {"$in": _KINDS}}, sort=[("createdAt", 1), ("_id", 1)]
        )

    async def add(self, key: bytes, row: Document) -> None:
        await self._database.bulk_write(COLLECTION, [UpdateOne({"_id": key}, {"$setOnInsert": row}, upsert=True)])

    async def change(self, workspace: str, key: bytes, fields: Mapping[str, object]) -> None:
        """Set fields of a key, and let every process know."""
        await self._database.with_transaction(lambda session: self._change(workspace, key, fields, session))

    async def replace(
        self, workspace: str, key: bytes, fields: Mapping[str, object], new_key: bytes, row: Document
    ) -> None:
        """Add a key in place of another one and set fields of that one: both or neither.

        Raises InvalidInput when that one has been replaced or revoked meanwhile.
        """

        async def write(session: Session) -> None:
            still = {"_id": key, "workspace": workspace, "replacedBy": None, "revokedAt": None}
            taken = await self._database.update_one(COLLECTION, still, {"$set": dict(fields)}, session=session)
            if not taken.matched:
                raise InvalidInput("The key has been rotated or revoked meanwhile.", hint="`keys list` shows it.")
            await self._database.insert_many(COLLECTION, [{"_id": new_key, **row}], session=session)
            await self._change(workspace, key, fields, session)

        await self._database.with_transaction(write)

    async def changes(self) -> int:
        """How often keys have been changed: whoever remembers keys forgets them when it moves."""
        row = await self._database.find_one(COLLECTION, {"_id": _CHANGES})
        return 0 if row is None else int(row["count"])

    async def used(self, times: Mapping[tuple[str, bytes], int]) -> None:
        """Note when keys, named by workspace and hash, were used last."""
        await self._database.bulk_write(
            COLLECTION,
            [
                UpdateOne({"_id": key, "workspace": workspace}, {"$max": {"lastUsedAt": at}})
                for (workspace, key), at in times.items()
            ],
        )

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

    async def _change(self, workspace: str, key: bytes, fields: Mapping[str, object], session: Session) -> None:
        await self._database.update_one(
            COLLECTION, {"_id": key, "workspace": workspace}, {"$set": dict(fields)}, session=session
        )
        await self._database.update_one(
            COLLECTION,
            {"_id": _CHANGES},
            {"$inc": {"count": 1}, "$setOnInsert": {"kind": "changes", "workspace": None}},
            upsert=True,
            session=session,
        )
