"""What connectors remember: a few JSON values per instance."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.errors import InvalidInput
from gateway.model.identity import digest
from gateway.store.database import Database

COLLECTION = "connector_states"
#: A state is a place to go on from, no store of its own.
MAX_BYTES = 100_000


class ConnectorStates:
    """One row per instance and key. Values are kept as JSON text: their keys may be anything."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, workspace: str, instance: str, key: str) -> Any:
        """The value, or None."""
        row = await self._database.find_one(COLLECTION, {"_id": _id(workspace, instance, key), "workspace": workspace})
        return None if row is None else orjson.loads(row["value"])

    async def put(self, workspace: str, instance: str, key: str, value: Any) -> None:
        """Keep a JSON value; None removes it. Raises InvalidInput for what is no JSON, or too large."""
        wanted = {"_id": _id(workspace, instance, key), "workspace": workspace}
        if value is None:
            await self._database.delete_many(COLLECTION, wanted)
            return
        try:
            text = orjson.dumps(value).decode()
        except TypeError:
            raise InvalidInput("The state of a connector must be JSON values.") from None
        if len(text) > MAX_BYTES:
            raise InvalidInput(f"The state of a connector may have {MAX_BYTES:,} bytes; this has {len(text):,}.")
        row = {"instance": instance, "key": key, "value": text}
        await self._database.update_one(COLLECTION, wanted, {"$set": row}, upsert=True)


def _id(workspace: str, instance: str, key: str) -> bytes:
    return digest(workspace, instance, key)
