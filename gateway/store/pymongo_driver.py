"""The seam over pymongo's own asyncio client, the default."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import pymongo.lock
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.store.driver_errors import translated
from gateway.store.shapes import Document, Stream


async def _wait_for(awaited: Awaitable[Any], timeout: float | None) -> Any:
    """As `asyncio.wait_for` of Python 3.12: it awaits in the caller's own task.

    That of 3.11 awaits in another one; when the caller is cancelled twice, that one is left behind and takes the
    lock of the driver's topology, which then nobody gives back: every later call of the client waits for ever.
    """
    async with asyncio.timeout(timeout):
        return await awaited


if sys.version_info < (3, 12):
    setattr(pymongo.lock, "wait_for", _wait_for)  # noqa: B010 - it is not of its public names


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
