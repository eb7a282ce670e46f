"""Imports under way: the sequence base that keeps a file's order, and how far each came."""

from __future__ import annotations

from gateway.store.database import Database, Document

COLLECTION = "imports"


class Imports:
    """One row per (workspace, source, file content)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, key: bytes, workspace: str, base: int) -> Document:
        """The import's row; `base` is used if this file was not seen before."""
        row = await self._database.find_one_and_update(
            COLLECTION,
            {"_id": key, "workspace": workspace},
            {"$setOnInsert": {"base": base, "rows": 0}},
            upsert=True,
        )
        assert row is not None
        return row

    async def reached(self, key: bytes, workspace: str, rows: int) -> None:
        """All rows up to `rows` have an answer."""
        await self._database.update_one(COLLECTION, {"_id": key, "workspace": workspace}, {"$max": {"rows": rows}})

    async def finish(self, key: bytes, workspace: str) -> None:
        """Every row has an answer; the row stays for its `base`, and says `finished`."""
        await self._database.update_one(COLLECTION, {"_id": key, "workspace": workspace}, {"$set": {"finished": True}})
