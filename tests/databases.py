"""Databases of the run's mongod, lent to one test after another.

A database has some ninety collections and indexes, and making them costs mongod more than most tests do. So a database
that a test gives back is emptied for a later one. One whose shape a test has changed (a collection or an index more or
less, made anew or with other options) is dropped, and so is one that somebody still wrote to after it was emptied.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.errors import Unavailable
from gateway.store import collections
from gateway.store.database import Document, connect

#: A database waits until so many others have been given back: time for what its test has left behind to end.
_RESTING = 3

_TRIES = 20

#: To delete more documents than these takes longer than to make the collections anew.
_MANY = 2_000


@dataclass(frozen=True, slots=True)
class _Shape:
    """Every collection with its options and the id that mongod gave it when it was made, and how many indexes."""

    collections: tuple[str, ...]
    indexes: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """One that was empty when it had this shape."""

    name: str
    shape: _Shape


_KEPT: dict[str, Databases] = {}


@asynccontextmanager
async def keeping_databases(uri: str) -> AsyncIterator[None]:
    """Meanwhile what `lend` has lent of this mongod is lent again."""
    _KEPT[uri] = databases = Databases(uri)
    try:
        yield
    finally:
        del _KEPT[uri]
        await databases.close()


@asynccontextmanager
async def lend(uri: str) -> AsyncIterator[str]:
    """The name of a database that holds nothing and has every collection and index. It is nobody else's meanwhile;
    whoever writes to it must have ended when it is given back. Of a mongod whose databases are not kept it is new."""
    if uri in _KEPT:
        async with _KEPT[uri].lend() as name:
            yield name
        return
    async with keeping_databases(uri), lend(uri) as name:
        yield name


class Databases:
    """The databases of one mongod."""

    def __init__(self, uri: str, resting: int = _RESTING) -> None:
        self._uri = uri
        self._least = resting
        self._server = connect(uri, "admin")
        self._resting: deque[_Ready] = deque()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[str]:
        """One for as long as this is open."""
        lent = await self._take()
        try:
            yield lent.name
        finally:
            await self._give_back(lent)

    async def close(self) -> None:
        """Drop those that nobody has."""
        try:
            with suppress(Unavailable):
                while self._resting:
                    await self._drop(self._resting.popleft().name)
        finally:
            await self._server.close()

    async def _take(self) -> _Ready:
        while len(self._resting) > self._least:
            rested = self._resting.popleft()
            shape, _ = await self._look(rested.name)
            if shape == rested.shape and not await self._filled(rested.name):
                return rested
            await self._drop(rested.name)
        return await self._make()

    async def _make(self) -> _Ready:
        name = f"test_{uuid.uuid4().hex}"
        database = connect(self._uri, name, beside=True)
        try:
            await collections.prepare(database)
        finally:
            await database.close()
        shape, _ = await self._look(name)
        return _Ready(name, shape)

    async def _give_back(self, lent: _Ready) -> None:
        with suppress(Unavailable):  # the whole server goes when the tests have ended
            shape, documents = await self._look(lent.name)
            if shape != lent.shape or documents > _MANY:
                await self._drop(lent.name)
                return
            filled = await self._filled(lent.name)
            await asyncio.gather(*(self._empty(lent.name, collection) for collection in filled))
            self._resting.append(lent)

    async def _look(self, name: str) -> tuple[_Shape, int]:
        """The shape, and about how many documents there are."""
        listed = await self._ask({"listCollections": 1, "cursor": {"batchSize": 1_000}}, on=name)
        found = tuple(sorted(repr(each) for each in listed["cursor"]["firstBatch"]))
        stats = await self._ask({"dbStats": 1}, on=name)
        return _Shape(found, int(stats["indexes"])), int(stats["objects"])

    async def _filled(self, name: str) -> list[str]:
        """The collections that hold anything."""
        first, *others = (
            (each.name, [{"$limit": 1}, {"$project": {"_id": {"$literal": each.name}}}])
            for each in collections.COLLECTIONS
        )
        pipeline = [*first[1], *({"$unionWith": {"coll": other, "pipeline": rows}} for other, rows in others)]
        asked = {"aggregate": first[0], "pipeline": pipeline, "cursor": {"batchSize": 1_000}}
        return [row["_id"] for row in (await self._ask(asked, on=name))["cursor"]["firstBatch"]]

    async def _empty(self, name: str, collection: str) -> None:
        every = [{"q": {}, "limit": 0}]
        await self._ask({"delete": collection, "deletes": every, "writeConcern": {"w": "majority"}}, on=name)

    async def _ask(self, command: Document, *, on: str) -> Document:
        """Again when the client gives up: while tests run that need no event loop its watch over the server stands
        still, and then takes the server for dead."""
        for _ in range(_TRIES):
            try:
                return await self._server.admin(command, on=on)
            except Unavailable:
                await asyncio.sleep(0.1)
        return await self._server.admin(command, on=on)

    async def _drop(self, name: str) -> None:
        await self._ask({"dropDatabase": 1}, on=name)
