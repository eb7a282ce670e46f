"""The driver seam: everything the gateway asks of MongoDB, over pymongo's async client or over motor.

Nothing else imports a MongoDB client. Documents are plain dicts, times are int64 milliseconds, and no exception of
a driver gets out: `errors.Unavailable` means that nothing was acknowledged and the same call may be made again,
`errors.StoreError` (with MongoDB's own number) that trying again does not help, `errors.InvalidInput` that a document
cannot be encoded, `errors.SetupError` that the operator must act. Writes are acknowledged by the journals of a
majority; reads outside of transactions see only what a majority holds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

import pymongo
from bson.binary import Binary
from bson.timestamp import Timestamp
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, ConfigurationError, OperationFailure
from pymongo.monitoring import CommandListener

from gateway.errors import SetupError, Unavailable
from gateway.store.client_options import client_options, options_told
from gateway.store.driver_errors import DUPLICATE_KEY, TRANSIENT_CODES, HistoryLost, standalone, translated
from gateway.store.shapes import (
    BulkResult,
    Document,
    Index,
    InsertOutcome,
    Operation,
    Projection,
    Session,
    Sort,
    Stream,
    Update,
    UpdateResult,
)
from gateway.store.transactions import MAJORITY, Transactions

__all__ = [
    "Binary",
    "BulkResult",
    "CommandListener",
    "Database",
    "DeleteMany",
    "DeleteOne",
    "Document",
    "Driver",
    "HistoryLost",
    "Index",
    "InsertOne",
    "InsertOutcome",
    "Operation",
    "Projection",
    "ReplaceOne",
    "Session",
    "Sort",
    "Stream",
    "Timestamp",
    "Update",
    "UpdateMany",
    "UpdateOne",
    "UpdateResult",
    "connect",
]

Driver: TypeAlias = Literal["pymongo", "motor"]

BATCH_SIZE = 1000
"""Documents asked for in one round trip (the server's own first batch is 101)."""
# An SDK gives up after 10 to 15 s: a key looked up and a batch inserted must be answered before that.
INSERT_SECONDS = 5.0
LOOK_UP_SECONDS = 3.0

_NAMESPACE_EXISTS = 48


class Database(Transactions):
    """One MongoDB database. One object per process, for one event loop; make it with `connect`."""

    def __init__(self, client: Any, name: str) -> None:
        self.name = name
        self._client = client
        self._database = client.get_database(name)
        self._collections: dict[str, Any] = {}
        #: Makes another one like this.
        self._again: Callable[[], Database]

    def beside(self) -> Database:
        """The same database by connections of its own, for the event loop of another thread. To be closed there."""
        return self._again()

    # -- reading ------------------------------------------------------------------------------------------------

    def key(self, workspace: str, key: Any) -> Document:
        """A filter that finds the row of this `_id`, which no two workspaces share, to update or replace it.

        A sharded cluster has to know where the row lies. Everything else finds it by the `_id` alone without asking
        its query planner, which would cost as much as the writing.
        """
        if self._client.topology_description.topology_type_name == "Sharded":
            return {"_id": key, "workspace": workspace}
        return {"_id": key}

    async def find(
        self,
        collection: str,
        filter: Mapping[str, Any],
        *,
        projection: Projection | None = None,
        sort: Sort | None = None,
        limit: int = 0,
        batch_size: int = BATCH_SIZE,
        session: Session | None = None,
        max_time_ms: int | None = None,
    ) -> list[Document]:
        """All matching documents, or the first `limit` of them (0: no limit), in the order of `sort`."""
        with translated:
            cursor = self._collection(collection).find(
                filter,
                projection,
                sort=sort,
                limit=limit,
                batch_size=min(limit, batch_size) if limit else batch_size,
                session=session,
                max_time_ms=max_time_ms,
            )
            found: list[Document] = await cursor.to_list(None)
            return found

    async def find_one(
        self,
        collection: str,
        filter: Mapping[str, Any],
        *,
        projection: Projection | None = None,
        sort: Sort | None = None,
        session: Session | None = None,
    ) -> Document | None:
        """The first matching document in the order of `sort`, or None; Unavailable after 3 s."""
        with translated, nullcontext() if session is not None else pymongo.timeout(LOOK_UP_SECONDS):
            found: Document | None = await self._collection(collection).find_one(
                filter, projection, sort=sort, session=session
            )
            return found

    async def aggregate(
        self,
        collection: str,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        session: Session | None = None,
        max_time_ms: int | None = None,
    ) -> list[Document]:
        """All documents the pipeline yields."""
        options: dict[str, Any] = {"batchSize": BATCH_SIZE, "session": session}
        if max_time_ms is not None:
            options["maxTimeMS"] = max_time_ms
        with translated:
            return await self._aggregate(self._collection(collection), pipeline, options)

    async def count(
        self, collection: str, filter: Mapping[str, Any], *, limit: int | None = None, max_time_ms: int | None = None
    ) -> int:
        """How many documents match, counting no further than `limit`."""
        options: dict[str, Any] = {}
        if limit is not None:
            options["limit"] = limit
        if max_time_ms is not None:
            options["maxTimeMS"] = max_time_ms
        with translated:
            return int(await self._collection(collection).count_documents(filter, **options))

    # -- writing ------------------------------------------------------------------------------------------------

    async def insert_unordered(self, collection: str, documents: Sequence[Document]) -> InsertOutcome:
        """Insert each document on its own account and say what became of it; the intake's one write.

        Retries for up to 5 s across elections and dropped connections; raises Unavailable when the outcome of even
        one document is unknown, and then nothing of the batch may be acknowledged (sending it again is safe).
        """
        count = len(documents)
        if not count:
            return InsertOutcome(frozenset(), frozenset(), {})
        failures: Sequence[Mapping[str, Any]] = ()
        with translated:
            session = await self._start_session()  # only a session tells the operationTime of the reply
            try:
                with pymongo.timeout(INSERT_SECONDS):
                    await self._collection(collection).insert_many(documents, ordered=False, session=session)
            except BulkWriteError as error:
                # Beside a write concern error even a duplicate is not known to be on a majority.
                if error.details.get("writeConcernErrors"):
                    raise
                failures = error.details["writeErrors"]
            finally:
                await session.end_session()
        return _outcome(count, failures, session.operation_time)

    async def insert_many(
        self, collection: str, documents: Sequence[Document], *, session: Session | None = None
    ) -> None:
        """Insert in order; raises at the first document that is refused, those before it are kept."""
        if documents:
            with translated:
                await self._collection(collection).insert_many(documents, ordered=True, session=session)

    async def bulk_write(
        self,
        collection: str,
        operations: Sequence[Operation],
        *,
        ordered: bool = False,
        session: Session | None = None,
    ) -> BulkResult:
        """Many writes in one round trip; raises StoreError when any of them is refused."""
        if not operations:
            return BulkResult(0, 0, 0, 0, 0)
        with translated:
            done = await self._collection(collection).bulk_write(operations, ordered=ordered, session=session)
        return BulkResult(
            done.matched_count, done.modified_count, done.upserted_count, done.deleted_count, done.inserted_count
        )

    async def update_one(
        self,
        collection: str,
        filter: Mapping[str, Any],
        update: Update,
        *,
        upsert: bool = False,
        session: Session | None = None,
    ) -> UpdateResult:
        """Update the first match, by operators or by a pipeline."""
        with translated:
            done = await self._collection(collection).update_one(filter, update, upsert=upsert, session=session)
        return UpdateResult(done.matched_count, done.modified_count, done.upserted_id is not None)

    async def update_many(
        self, collection: str, filter: Mapping[str, Any], update: Update, *, session: Session | None = None
    ) -> UpdateResult:
        """Update every match, by operators or by a pipeline."""
        with translated:
            done = await self._collection(collection).update_many(filter, update, session=session)
        return UpdateResult(done.matched_count, done.modified_count, upserted=False)

    async def find_one_and_update(
        self,
        collection: str,
        filter: Mapping[str, Any],
        update: Update,
        *,
        upsert: bool = False,
        returning: Literal["after", "before"] = "after",
        projection: Projection | None = None,
        session: Session | None = None,
    ) -> Document | None:
        """Update the first match and return it as it is after (or was before) the update; None without a match."""
        with translated:
            found: Document | None = await self._collection(collection).find_one_and_update(
                filter,
                update,
                projection,
                upsert=upsert,
                return_document=ReturnDocument.AFTER if returning == "after" else ReturnDocument.BEFORE,
                session=session,
            )
            return found

    async def delete_many(self, collection: str, filter: Mapping[str, Any], *, session: Session | None = None) -> int:
        """Delete every match; how many there were."""
        with translated:
            done = await self._collection(collection).delete_many(filter, session=session)
        return int(done.deleted_count)

    # -- watching -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(
        self,
        collection: str | None,
        pipeline: Sequence[Mapping[str, Any]] = (),
        *,
        start_at: Timestamp | None = None,
        full_document: bool = False,
        batch_size: int = BATCH_SIZE,
        max_await_ms: int = 1000,
    ) -> AsyncIterator[Stream]:
        """A change stream on one collection, or on the whole database for None.

        `start_at` is inclusive: changes at that very cluster time come again. `full_document` adds the document as it
        is now to updates; inserts carry theirs always. Raises HistoryLost or Unavailable, as `Stream.next_batch`.
        """
        options: dict[str, Any] = {
            "start_at_operation_time": start_at,
            "full_document": "updateLookup" if full_document else None,
            "batch_size": batch_size,
            "max_await_time_ms": max_await_ms,
        }
        target = self._database if collection is None else self._collection(collection)
        with translated:
            stream = await self._open_stream(target, list(pipeline), options)
        try:
            yield stream
        finally:
            await stream.close()

    # -- the server ---------------------------------------------------------------------------------------------

    async def hello(self) -> Document:
        """The server's own words: localTime (naive datetime in UTC), operationTime, isWritablePrimary, setName, …"""
        return await self.admin({"hello": 1})

    async def ping(self) -> None:
        """Raises Unavailable when no primary answers."""
        await self.admin({"ping": 1})

    async def admin(self, command: Mapping[str, Any], *, on: str = "admin") -> Document:
        """The reply of one command on the database `on`, such as {"replSetGetConfig": 1}."""
        with translated:
            reply: Document = await self._client.get_database(on).command(command)
            return reply

    async def end_sessions(self, sessions: Sequence[Document]) -> None:
        """End these sessions of processes that are gone, and with them the transactions that they left open, which
        would hold what they have written for a minute."""
        if sessions:
            # Read as UUIDs, which commands take as binary only.
            ids = [{"id": Binary.from_uuid(one) if isinstance(one := each["id"], UUID) else one} for each in sessions]
            await self.admin({"killSessions": ids})

    async def operation_time(self) -> Timestamp:
        """The cluster time of the latest operation: at or after every write acknowledged so far."""
        reply = await self.admin({"ping": 1})
        if "operationTime" not in reply:
            raise standalone()
        return cast(Timestamp, reply["operationTime"])

    async def majority_time(self) -> Timestamp:
        """The cluster time up to which a majority holds every write: a read from now on sees all of it.

        Unlike `operation_time`, which may name writes that a majority read does not see yet: whoever reads what is
        there and then follows a change stream from that time would miss them.
        """
        reply = await self.hello()
        return cast(Timestamp, reply["lastWrite"]["majorityOpTime"]["ts"])

    async def create_collection(self, collection: str, *, clustered: bool = False) -> None:
        """Make the collection unless it is there. `clustered`: its rows lie in the order of their `_id`, and nowhere in
        that in which they came."""
        options = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}} if clustered else {}
        with translated:
            try:
                await self._database.command("create", collection, writeConcern=MAJORITY.document, **options)
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:
                    raise

    async def ensure_indexes(self, collection: str, indexes: Sequence[Index]) -> None:
        """Build those indexes that are missing; StoreError when one is there under another definition."""
        if indexes:
            with translated:
                await self._collection(collection).create_indexes([index.model() for index in indexes])

    async def drop_database(self) -> None:
        """Delete everything in this database."""
        with translated:
            await self._client.drop_database(self.name)

    @abstractmethod
    async def close(self) -> None:
        """Close every connection; the object cannot be used again."""

    # -- where the drivers differ -------------------------------------------------------------------------------

    def _collection(self, name: str) -> Any:
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = self._database[name]
        return found

    @abstractmethod
    async def _aggregate(
        self, collection: Any, pipeline: Sequence[Mapping[str, Any]], options: dict[str, Any]
    ) -> list[Document]: ...

    @abstractmethod
    async def _open_stream(self, target: Any, pipeline: list[Mapping[str, Any]], options: dict[str, Any]) -> Stream: ...


def connect(
    uri: str,
    name: str,
    *,
    driver: Driver = "pymongo",
    listeners: Sequence[CommandListener] = (),
    beside: bool = False,
) -> Database:
    """The database `name` at `uri`; no I/O happens before the first call. SetupError for a URI that cannot be read.

    `beside`: this process has another one, which sees at once when a member is gone.
    """
    backend: Callable[[str, str, dict[str, Any]], Database]
    # Imported here: both build on this module, and motor is loaded only where it is asked for.
    if driver == "motor":
        from gateway.store.motor_driver import MotorDatabase

        backend = MotorDatabase
    else:
        from gateway.store.pymongo_driver import PyMongoDatabase

        backend = PyMongoDatabase
    try:
        with options_told():
            database = backend(uri, name, client_options(uri, listeners, beside=beside))
    except (ConfigurationError, ValueError):
        # The driver's message may quote the URI, and the URI holds a password.
        raise SetupError(
            "GATEWAY_MONGO_URI is not a MongoDB connection string the driver can use.",
            hint="Its form is mongodb://host:27017/?replicaSet=rs0",
        ) from None
    database._again = partial(connect, uri, name, driver=driver, listeners=listeners, beside=True)
    return database


def _outcome(count: int, failures: Sequence[Mapping[str, Any]], time: Timestamp | None) -> InsertOutcome:
    codes = {int(failure["index"]): int(failure["code"]) for failure in failures}
    if not TRANSIENT_CODES.isdisjoint(codes.values()):
        raise Unavailable("MongoDB was interrupted while it stored a batch.", hint="Send the batch again.")
    return InsertOutcome(
        inserted=frozenset(range(count)).difference(codes),
        duplicates=frozenset(index for index, code in codes.items() if code == DUPLICATE_KEY),
        failed={index: code for index, code in codes.items() if code != DUPLICATE_KEY},
        operation_time=time,
    )
