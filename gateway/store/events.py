"""Events as MongoDB keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from gateway.errors import Forbidden
from gateway.model.event import Event, EventType, JsonObject, OrderKey
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, InsertOutcome, Session

COLLECTION = "events"
NEWEST_FIRST = [("at", -1), ("seq", -1), ("_id", -1)]
OLDEST_FIRST = [("at", 1), ("seq", 1), ("_id", 1)]

# Keys that MongoDB would read as operators or paths are stored with look-alike characters.
_ESCAPES = {ord("$"): "\uff04", ord("."): "\uff0e"}
_UNESCAPES = {0xFF04: "$", 0xFF0E: "."}


def _rewrite(value: Any, table: dict[int, str]) -> Any:
    if isinstance(value, dict):
        return {key.translate(table): _rewrite(item, table) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewrite(item, table) for item in value]
    return value


def escaped(value: JsonObject) -> JsonObject:
    """`value` with keys that are safe to store and to query."""
    return _rewrite(value, _ESCAPES)  # type: ignore[no-any-return]


def escaped_path(path: str) -> str:
    """A dotted path of property names as a path into stored documents."""
    return ".".join(part.translate(_ESCAPES) for part in path.split("."))


def to_document(event: Event, *, escape: bool) -> Document:
    """The stored form; `escape` is False when intake saw no key that needs it."""
    guard = escaped if escape else _as_is
    return {
        **({"escaped": True} if escape else {}),
        "_id": event.id,
        "workspace": event.workspace,
        "source": event.source,
        "messageId": event.message_id,
        "type": event.type.value,
        "name": event.name,
        "userId": event.user_id,
        "anonymousId": event.anonymous_id,
        "previousId": event.previous_id,
        "groupId": event.group_id,
        "sk": event.identity.sk,
        "at": event.at,
        "seq": event.seq,
        "receivedAt": event.received_at,
        "sentAt": event.sent_at,
        "originalTimestamp": event.original_timestamp,
        "properties": guard(event.properties),
        "traits": guard(event.traits),
        "context": guard(event.context),
        "extra": guard(event.extra),
        "hash": event.content_hash,
        "flags": list(event.flags),
    }


def _as_is(value: JsonObject) -> JsonObject:
    return value


def readable(value: JsonObject) -> JsonObject:
    """`value` with its keys as they were sent."""
    return _rewrite(value, _UNESCAPES)  # type: ignore[no-any-return]


def from_document(row: Document) -> Event:
    """A stored event."""
    as_sent = readable if row.get("escaped") else _as_is
    return Event(
        id=bytes(row["_id"]),
        workspace=row["workspace"],
        source=row["source"],
        message_id=row["messageId"],
        type=EventType(row["type"]),
        name=row["name"],
        user_id=row["userId"],
        anonymous_id=row["anonymousId"],
        previous_id=row["previousId"],
        group_id=row["groupId"],
        at=row["at"],
        seq=row["seq"],
        received_at=row["receivedAt"],
        sent_at=row["sentAt"],
        original_timestamp=row["originalTimestamp"],
        properties=as_sent(row["properties"]),
        traits=as_sent(row["traits"]),
        context=as_sent(row["context"]),
        extra=as_sent(row["extra"]),
        content_hash=bytes(row["hash"]),
        flags=tuple(row["flags"]),
    )


class Events:
    """The events of a workspace, within a caller's scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, documents: Sequence[Document]) -> InsertOutcome:
        """Durably insert stored forms; each carries its workspace. Raises Unavailable: nothing may be acknowledged."""
        return await self._database.insert_unordered(COLLECTION, documents)

    async def hashes(self, workspace: str, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Content hash by id, of those that are stored."""
        rows = await self._database.find(
            COLLECTION, {"workspace": workspace, "_id": {"$in": list(ids)}}, projection={"hash": 1}
        )
        return {bytes(row["_id"]): bytes(row["hash"]) for row in rows}

    async def get(self, scope: Scope, ids: Iterable[bytes]) -> dict[bytes, Event]:
        """Events by id. The caller checks that a subject may see them: the user behind an event is derived."""
        wanted = {"workspace": scope.workspace, "_id": {"$in": list(ids)}}
        return {event.id: event for event in map(from_document, await self._database.find(COLLECTION, wanted))}

    async def of_identities(self, workspace: str, sks: Sequence[str], *, session: Session | None = None) -> list[Event]:
        """All events of these identities in order."""
        rows = await self._database.find(
            COLLECTION, {"workspace": workspace, "sk": {"$in": list(sks)}}, sort=OLDEST_FIRST, session=session
        )
        return [from_document(row) for row in rows]

    async def in_arrival_order(self, size: int) -> AsyncIterator[list[Event]]:
        """Every stored event of every workspace, in batches."""
        received, last = -1, b""
        while True:
            rows = await self._database.find(
                COLLECTION,
                {"$or": [{"receivedAt": {"$gt": received}}, {"receivedAt": received, "_id": {"$gt": last}}]},
                sort=[("receivedAt", 1), ("_id", 1)],
                limit=size,
            )
            if not rows:
                return
            yield [from_document(row) for row in rows]
            received, last = rows[-1]["receivedAt"], bytes(rows[-1]["_id"])

    async def underived(self, workspace: str) -> bool:
        """Whether an event of the workspace still waits to be derived."""
        newest = await self._database.find(
            COLLECTION, {"workspace": workspace}, projection={"_id": 1}, sort=[("$natural", -1)], limit=100
        )
        ids = [row["_id"] for row in newest]
        done = await self._database.count("work", {"workspace": workspace, "_id": {"$in": ids}})
        return done < len(ids)

    async def page(
        self,
        scope: Scope,
        *,
        limit: int,
        before: OrderKey | None = None,
        names: Sequence[str] | None = None,
        sks: Sequence[str] | None = None,
        between: tuple[int, int] | None = None,
    ) -> list[Event]:
        """Newest first, older than `before`; only of the identities `sks` when given."""
        if scope.subject is not None and sks is None:
            raise Forbidden("This token opens one user's events only.")
        wanted: Document = {"workspace": scope.workspace}
        if sks is not None:
            wanted["sk"] = {"$in": list(sks)}
        if names is not None:
            wanted["name"] = {"$in": list(names)}
        window: Document = {}
        if between is not None:
            window |= {"$gte": between[0], "$lt": between[1]}
        if before is not None:
            at, seq, key = before
            window["$lte"] = at
            wanted["$or"] = [
                {"at": {"$lt": at}},
                {"at": at, "seq": {"$lt": seq}},
                {"at": at, "seq": seq, "_id": {"$lt": key}},
            ]
        if window:
            wanted["at"] = window
        rows = await self._database.find(COLLECTION, wanted, sort=NEWEST_FIRST, limit=limit, max_time_ms=5000)
        return [from_document(row) for row in rows]

    async def count(self, scope: Scope, *, at_most: int) -> int | None:
        """How many events the workspace holds; None when more than `at_most`."""
        found = await self._database.count(COLLECTION, {"workspace": scope.workspace}, limit=at_most + 1)
        return None if found > at_most else found
