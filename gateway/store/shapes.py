"""The shapes that cross the driver seam: sessions, streams, indexes, and what became of writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from bson.timestamp import Timestamp
from pymongo import DeleteMany, DeleteOne, IndexModel, InsertOne, ReplaceOne, UpdateMany, UpdateOne

Document: TypeAlias = dict[str, Any]
Projection: TypeAlias = Mapping[str, Any] | Sequence[str]
Sort: TypeAlias = Sequence[tuple[str, int]]
Update: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Update operators, or a pipeline."""
Operation: TypeAlias = InsertOne[Document] | UpdateOne | UpdateMany | ReplaceOne[Document] | DeleteOne | DeleteMany


class Session(Protocol):
    """A transaction in progress, to be handed back to the calls that belong to it."""

    @property
    def in_transaction(self) -> bool: ...

    @property
    def session_id(self) -> Mapping[str, Any]: ...

    @property
    def operation_time(self) -> Timestamp | None: ...


@dataclass(frozen=True, slots=True)
class InsertOutcome:
    """Per document (by its index in the batch) what became of it; only made when a majority has confirmed."""

    inserted: frozenset[int]
    duplicates: frozenset[int]
    failed: dict[int, int]
    """Index -> MongoDB's error code, of documents that the server refuses for good (2: larger than 16 MB, …)."""
    operation_time: Timestamp | None = None
    """At or after the cluster time of every document that is stored, those stored before included."""


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """matched and modified count documents; upserted says that a new one was made."""

    matched: int
    modified: int
    upserted: bool


@dataclass(frozen=True, slots=True)
class BulkResult:
    """Counts of documents over all operations of one bulk write."""

    matched: int
    modified: int
    upserted: int
    deleted: int
    inserted: int


@dataclass(frozen=True, slots=True)
class Index:
    """One index: keys in order with 1 or -1; `partial` is a partialFilterExpression."""

    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    partial: Mapping[str, Any] | None = None

    def model(self) -> IndexModel:
        """The driver's form; MongoDB derives the name from the keys."""
        options: dict[str, Any] = {}
        if self.unique:
            options["unique"] = True
        if self.partial is not None:
            options["partialFilterExpression"] = self.partial
        return IndexModel(list(self.keys), **options)


class Stream(ABC):
    """An open change stream. Each change carries `clusterTime` (Timestamp), which `watch(start_at=…)` takes."""

    @abstractmethod
    async def next_batch(self, limit: int) -> list[Document]:
        """At most `limit` changes: waits for the first one up to the stream's max_await_ms ([] when none came),
        then takes what has already arrived, without another round trip.

        Raises HistoryLost when the oplog has run past the stream, Unavailable when it must be opened anew.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release the stream's cursor; `Database.watch` does it."""
