"""Events that could not be accepted, kept as they came with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import StoreError
from gateway.store.database import Database, Document

COLLECTION = "quarantine"


class Quarantine:
    """Kept until somebody mends and replays them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rows: Sequence[Document]) -> None:
        """Durably keep rows; the same one twice is kept once. Raises Unavailable: nothing may be acknowledged."""
        if rows:
            outcome = await self._database.insert_unordered(COLLECTION, rows)
            if outcome.failed:
                raise StoreError("MongoDB refused a quarantined event.", number=next(iter(outcome.failed.values())))
