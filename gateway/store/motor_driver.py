"""The seam over motor, for those who run it already. Motor calls pymongo's blocking client from a pool of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.driver_errors import translated
from gateway.store.shapes import Document, Stream


class MotorDatabase(Database):
    """Only what motor spells differently from pymongo's asyncio client."""

    def __init__(self, uri: str, name: str, options: dict[str, Any]) -> None:
        super().__init__(AsyncIOMotorClient(uri, **options), name)

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    async def _aggregate(
        self, collection: Any, pipeline: Sequence[Mapping[str, Any]], options: dict[str, Any]
    ) -> list[Document]:
        found: list[Document] = await collection.aggregate(pipeline, **options).to_list(None)
        return found

    async def _start_session(self) -> Any:
        return await self._client.start_session()

    async def _begin(self, session: Any, **options: Any) -> None:
        session.start_transaction(**options)

    async def _open_stream(self, target: Any, pipeline: Sequence[Mapping[str, Any]], options: dict[str, Any]) -> Stream:
        # Opened on the blocking collection: motor would take one hop between threads for every change.
        return MotorStream(await asyncio.to_thread(target.delegate.watch, pipeline, **options))


class MotorStream(Stream):
    """A blocking change stream, drained in a thread: one hop for a whole batch."""

    def __init__(self, changes: Any) -> None:
        self._changes = changes
        self._draining: asyncio.Future[list[Document]] | None = None

    async def next_batch(self, limit: int) -> list[Document]:
        self._draining = asyncio.ensure_future(asyncio.to_thread(self._drain, limit))
        with translated:
            batch = await asyncio.shield(self._draining)
        if not batch and not self._changes.alive:
            raise Unavailable("The change stream has ended.", hint="Open it again.")
        return batch

    def _drain(self, limit: int) -> list[Document]:
        batch: list[Document] = []
        while len(batch) < limit:
            change = self._changes.try_next()
            if change is not None:
                batch.append(change)
            # Only the cursor knows whether the next try would go to the server and wait there.
            if not self._changes._cursor._has_next():
                break
        return batch

    async def close(self) -> None:
        if self._draining is not None:
            # After a cancellation the thread may still be reading; a cursor must not be closed under it.
            await asyncio.wait([self._draining])
        await asyncio.to_thread(self._changes.close)
