"""How full MongoDB's disk is."""

from __future__ import annotations

from gateway.store.database import Database


async def free_percent(database: Database) -> float | None:
    """How much of the disk that holds this database is free; None where MongoDB does not say."""
    stats = await database.admin({"dbStats": 1}, on=database.name)
    total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
    return None if not total or used is None else max(0.0, 100 * (1 - used / total))
