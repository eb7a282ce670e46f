"""The seam over pymongo's own asyncio client, the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.driver_errors import translated
from gateway.store.shapes import Document, Stream


class PyMongoDatabase(Database):
    """Sockets on the event loop itself; about twice as fast as motor's threads."""

    def __init__(self, uri: str, name: str, options: dict[str, Any]) -> None:
        super().__init__(AsyncMongoClient(uri, **options), name)

    async def close(self) -> None:
        await self._client.close()

    async def _aggregate(
        self, collection: Any, pipeline: Sequence[Mapping[str, Any]], options: dict[str, Any]
    ) -> list[Document]:
        cursor = await collection.aggregate(pipeline, **options)
        found: list[Document] = await cursor.to_list(None)
        return found

    async def _start_session(self) -> Any:
        return self._client.start_session()

    async def _begin(self, session: Any, **options: Any) -> None:
        await session.start_transaction(**options)

    async def _open_stream(self, target: Any, pipeline: Sequence[Mapping[str, Any]], options: dict[str, Any]) -> Stream:
        return PyMongoStream(await target.watch(pipeline, **options))


class PyMongoStream(Stream):
    def __init__(self, changes: AsyncChangeStream[Document]) -> None:
        self._changes = changes

    async def next_batch(self, limit: int) -> list[Document]:
        batch: list[Document] = []
        with translated:
            while len(batch) < limit:
                change = await self._changes.try_next()
                if change is not None:
                    batch.append(change)
                # Only the cursor knows whether the next try would go to the server and wait there.
                if not self._changes._cursor._has_next():
                    break
        if not batch and not self._changes.alive:
            raise Unavailable("The change stream has ended.", hint="Open it again.")
        return batch

    async def close(self) -> None:
        await self._changes.close()
