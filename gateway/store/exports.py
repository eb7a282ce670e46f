"""What an export reads: everything of a workspace in a stable order, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from gateway.errors import Unavailable
from gateway.model.event import DECISIONS, SYSTEM_TYPES, Event
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import OF_USERS, OLDEST_FIRST, from_document
from gateway.store.users import USERS

PAGE = 1_000
_PERSON = ("events", "lastSeen")
#: Between attempts, in seconds: about as long as an election and a restart take.
_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
_Read = TypeVar("_Read")


async def patiently(read: Callable[[], Awaitable[_Read]]) -> _Read:
    """What `read` gives, tried again while MongoDB does not answer: a page more or less is not worth a whole export."""
    for pause in _PAUSES:
        try:
            return await read()
        except Unavailable:
            await asyncio.sleep(pause)
    return await read()


_KINDS: dict[str, Document] = {
    "users": OF_USERS,
    "decisions": {"type": {"$in": sorted(DECISIONS)}},
    "both": {"type": {"$nin": sorted(SYSTEM_TYPES - DECISIONS)}},
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: those of a workspace that were received up to `as_of`; times are milliseconds, `until` excluded."""

    workspace: str
    as_of: int
    since: int | None = None
    until: int | None = None
    source: str | None = None
    kinds: Literal["users", "decisions", "both"] = "users"
    """What users did, or what operators decided about who is who (merges and splits), or both."""

    def filter(self) -> Document:
        wanted: Document = {"workspace": self.workspace, "receivedAt": {"$lte": self.as_of}, **_KINDS[self.kinds]}
        if self.source is not None:
            wanted["source"] = self.source
        return wanted


class Exports:
    """Pages by key, never by offset: what is written meanwhile neither repeats nor hides an event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self, selection: Selection, *, sks: Collection[str] | None = None, page: int = PAGE
    ) -> AsyncIterator[list[Event]]:
        """The selected events in order, only those of the identities `sks` when given."""
        window: Document = {"$gte": selection.since or 0}
        if selection.until is not None:
            window["$lt"] = selection.until
        wanted = selection.filter() | {"at": window}
        if sks is not None:
            wanted["sk"] = {"$in": list(sks)}
        while True:
            rows = await patiently(partial(self._database.find, EVENTS, wanted, sort=OLDEST_FIRST, limit=page))
            if rows:
                yield [from_document(row) for row in rows]
            if len(rows) < page:
                return
            at, seq, key = rows[-1]["at"], rows[-1]["seq"], rows[-1]["_id"]
            window["$gte"] = at
            wanted["$or"] = [
                {"at": {"$gt": at}},
                {"at": at, "seq": {"$gt": seq}},
                {"at": at, "seq": seq, "_id": {"$gt": key}},
            ]

    async def people(
        self, workspace: str, *, seen_since: int | None = None, page: int = PAGE
    ) -> AsyncIterator[list[tuple[str, int]]]:
        """(user, events) of everybody, by id; a user whose fold was set aside counts as many.

        `seen_since` (ms): only those whose last event is not older.
        """
        since = 0 if seen_since is None else seen_since
        last = ""
        while True:
            wanted = {"workspace": workspace, "movedTo": None, "_id": {"$gt": last}}
            rows = await patiently(
                partial(self._database.find, USERS, wanted, projection=_PERSON, sort=[("_id", 1)], limit=page)
            )
            if rows:
                yield [(row["_id"], row.get("events", page)) for row in rows if row.get("lastSeen", since) >= since]
            if len(rows) < page:
                return
            last = rows[-1]["_id"]
