"""Identities that nothing is taken from any more. Only hashes are kept: who was erased cannot be read from them.

Every change gets the next number, so that a process that remembers all of them reads what is new behind the last one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.store.database import Database, Document, Session, UpdateOne

COLLECTION = "suppressions"

_CHANGES = "changes"
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """An identity, by its key, that is suppressed since this change, or no longer."""

    key: bytes
    suppressed: bool
    number: int


class Suppressions:
    """Rows: `_id` (the identity's key: `model.identity.key_of`), `workspace`, `erasure` (id), `lifted`, `number`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, workspace: str, keys: Collection[bytes], erasure: str, session: Session) -> None:
        """Suppress identities for an erasure."""
        await self._write(workspace, keys, {"erasure": erasure, "lifted": False}, session)

    async def lift(self, workspace: str, keys: Collection[bytes]) -> int:
        """Take events of these identities again; how many of them were suppressed."""

        async def transact(session: Session) -> int:
            found = await self.among(workspace, keys, session)
            await self._write(workspace, found, {"lifted": True}, session)
            return len(found)

        return await self._database.with_transaction(transact)

    async def among(self, workspace: str, keys: Collection[bytes], session: Session | None = None) -> dict[bytes, str]:
        """The suppressed ones among the keys, with the erasure that each belongs to."""
        wanted = {"_id": {"$in": list(keys)}, "workspace": workspace, "lifted": False}
        rows = await self._database.find(COLLECTION, wanted, session=session)
        return {bytes(row["_id"]): row["erasure"] for row in rows}

    async def number(self, session: Session | None = None) -> int:
        """The number of the last change; 0: there never was one."""
        row = await self._database.find_one(COLLECTION, {"_id": _CHANGES}, session=session)
        return 0 if row is None else int(row["count"])

    async def changes(self, after: int) -> list[Change]:
        """What changed next behind this number, in order; of one identity only the latest. All that has one number is
        there; ask again behind the last one until there is nothing."""
        rows = await self._database.find(
            COLLECTION,
            {"number": {"$gt": after}},
            sort=[("number", 1)],
            limit=PAGE,
            projection={"lifted": 1, "number": 1},
        )
        if len(rows) == PAGE:  # one change has far fewer identities than a page
            cut = rows[-1]["number"]
            rows = [row for row in rows if row["number"] < cut] or await self._database.find(
                COLLECTION, {"number": cut}
            )
        return [Change(bytes(row["_id"]), not row["lifted"], row["number"]) for row in rows]

    async def _write(self, workspace: str, keys: Collection[bytes], values: Document, session: Session) -> None:
        if not keys:
            return
        row = await self._database.find_one_and_update(
            COLLECTION,
            {"_id": _CHANGES},
            {"$inc": {"count": 1}, "$setOnInsert": {"workspace": None}},
            upsert=True,
            session=session,
        )
        assert row is not None
        changes = {"$set": {**values, "number": row["count"]}}
        await self._database.bulk_write(
            COLLECTION,
            [UpdateOne({"_id": key, "workspace": workspace}, changes, upsert=True) for key in keys],
            session=session,
        )
