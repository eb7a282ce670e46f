"""Events as MongoDB keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any

from gateway.errors import Forbidden
from gateway.model.event import DECISIONS, SYSTEM_SK, SYSTEM_TYPES, Event, EventType, JsonObject, OrderKey
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, InsertOutcome, Session, Timestamp

COLLECTION = "events"
NEWEST_FIRST = [("at", -1), ("seq", -1), ("_id", -1)]
OLDEST_FIRST = [("at", 1), ("seq", 1), ("_id", 1)]
#: How long a read waits for the majority view to come to its time.
_WAIT_MS = 5_000
#: A page with a filter on what events carry looks at no more than so many.
MOST_LOOKED_AT = 10_000

#: A filter: what users did, without the gateway's own system events.
OF_USERS: Document = {"type": {"$nin": sorted(SYSTEM_TYPES)}}
_SYSTEM: Document = {"sk": {"$gte": SYSTEM_SK, "$lt": SYSTEM_SK[:-1] + chr(ord(SYSTEM_SK[-1]) + 1)}}

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


def escaped_key(key: str) -> str:
    """One key that is safe to store and to query; an empty one has no path, and becomes `(empty)`."""
    return key.translate(_ESCAPES) or "(empty)"


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
        "sk": event.sk,
        "at": event.at,
        "seq": event.seq,
        "receivedAt": event.received_at,
        "sentAt": event.sent_at,
        "originalTimestamp": event.original_timestamp,
        "timestamp": event.timestamp,
        "properties": guard(event.properties),
        "traits": guard(event.traits),
        "context": guard(event.context),
        "extra": guard(event.extra),
        "client": event.client,
        "hash": event.content_hash,
        "flags": list(event.flags),
        **({"misfits": list(event.misfits)} if event.misfits else {}),
        **({} if event.consent is None else {"consent": dict(event.consent)}),
    }


def _as_is(value: JsonObject) -> JsonObject:
    return value


def readable(value: JsonObject) -> JsonObject:
    """`value` with its keys as they were sent."""
    return _rewrite(value, _UNESCAPES)  # type: ignore[no-any-return]


def paths_of(value: JsonObject, before: str = "") -> set[str]:
    """The dotted path of everything in it, objects themselves included."""
    found: set[str] = set()
    for name, inner in value.items():
        found.add(f"{before}{name}")
        if isinstance(inner, dict):
            found |= paths_of(inner, f"{before}{name}.")
    return found


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
        timestamp=row.get("timestamp"),
        properties=as_sent(row["properties"]),
        traits=as_sent(row["traits"]),
        context=as_sent(row["context"]),
        extra=as_sent(row["extra"]),
        client=row.get("client") or {},
        content_hash=bytes(row["hash"]),
        flags=tuple(row["flags"]),
        misfits=tuple(row.get("misfits", ())),
        consent=row.get("consent"),
    )


class Events:
    """The events of a workspace, within a caller's scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, documents: Sequence[Document]) -> InsertOutcome:
        """Durably insert stored forms; each carries its workspace. Raises Unavailable: nothing may be acknowledged."""
        return await self._database.insert_unordered(COLLECTION, documents)

    async def hashes(
        self, workspace: str, ids: Sequence[bytes], *, after: Timestamp | None = None
    ) -> dict[bytes, bytes]:
        """Content hash by id, of those that are stored; `after` is a cluster time at which they were."""
        wanted = {"workspace": workspace, "_id": {"$in": list(ids)}}
        async with self._database.reading_after(after) as session:
            rows = await self._database.find(
                COLLECTION, wanted, projection={"hash": 1}, session=session, max_time_ms=_WAIT_MS
            )
        return {bytes(row["_id"]): bytes(row["hash"]) for row in rows}

    async def get(self, scope: Scope, ids: Iterable[bytes], *, session: Session | None = None) -> dict[bytes, Event]:
        """Events by id. The caller checks that a subject may see them: the user behind an event is derived."""
        wanted = {"workspace": scope.workspace, "_id": {"$in": list(ids)}}
        rows = await self._database.find(COLLECTION, wanted, session=session)
        return {event.id: event for event in map(from_document, rows)}

    async def announced(self, workspace: str, ids: Iterable[bytes], *, after: Timestamp | None) -> dict[bytes, Event]:
        """Events by id, which were stored at the cluster time `after`; one that is not there has been erased since."""
        wanted = {"workspace": workspace, "_id": {"$in": list(ids)}}
        async with self._database.reading_after(after) as session:
            rows = await self._database.find(COLLECTION, wanted, session=session, max_time_ms=_WAIT_MS)
        return {event.id: event for event in map(from_document, rows)}

    async def of_identities(
        self,
        workspace: str,
        sks: Sequence[str],
        *,
        after: OrderKey | None = None,
        limit: int = 0,
        session: Session | None = None,
    ) -> list[Event]:
        """The events of these identities in order, only those behind `after`, at most `limit` of them (0: all)."""
        wanted: Document = {"workspace": workspace, "sk": {"$in": list(sks)}}
        if after is not None:
            at, seq, key = after
            wanted["at"] = {"$gte": at}  # what an index can begin with
            wanted["$or"] = [
                {"at": {"$gt": at}},
                {"at": at, "seq": {"$gt": seq}},
                {"at": at, "seq": seq, "_id": {"$gt": key}},
            ]
        rows = await self._database.find(COLLECTION, wanted, sort=OLDEST_FIRST, limit=limit, session=session)
        return [from_document(row) for row in rows]

    async def earliest(self, workspace: str, ids: Sequence[bytes]) -> OrderKey | None:
        """The order key of the first of these events; None when there is none."""
        keys = {"_id": 1, "at": 1, "seq": 1}
        wanted = {"workspace": workspace, "_id": {"$in": list(ids)}}
        rows = await self._database.find(COLLECTION, wanted, projection=keys, sort=OLDEST_FIRST, limit=1)
        return (rows[0]["at"], rows[0]["seq"], bytes(rows[0]["_id"])) if rows else None

    async def names(self, workspace: str) -> set[str]:
        """Every name that a stored event bears; one look into the index for each."""
        found = [{"$match": {"workspace": workspace}}, {"$group": {"_id": "$name"}}]
        return {row["_id"] for row in await self._database.aggregate(COLLECTION, found)}

    async def first_of(self, workspace: str, sk: str, session: Session) -> OrderKey | None:
        """The order key of an identity's first event; None when there is none."""
        keys = {"_id": 1, "at": 1, "seq": 1}
        rows = await self._database.find(
            COLLECTION,
            {"workspace": workspace, "sk": sk},
            projection=keys,
            sort=OLDEST_FIRST,
            limit=1,
            session=session,
        )
        return (rows[0]["at"], rows[0]["seq"], bytes(rows[0]["_id"])) if rows else None

    async def to_erase(
        self, workspace: str, *, session: Session, sk: str = "", ids: Collection[bytes] = (), limit: int = 0
    ) -> list[Document]:
        """Of these events, or of those stored under `sk`, what has to be known to delete them."""
        wanted: Document = {"workspace": workspace, **({"sk": sk} if sk else {"_id": {"$in": list(ids)}})}
        keys = ("source", "run", "receivedAt", "name", "at", "type", "consent")
        return await self._database.find(
            COLLECTION, wanted, projection=dict.fromkeys(keys, 1), limit=limit, session=session
        )

    async def remove(self, workspace: str, ids: Collection[bytes], session: Session) -> int:
        """Delete events."""
        wanted = {"workspace": workspace, "_id": {"$in": list(ids)}}
        return await self._database.delete_many(COLLECTION, wanted, session=session)

    async def mend_decision(self, event: Event, session: Session) -> None:
        """Store whom a merge or split still names."""
        changes = {
            "sk": event.sk,
            "userId": event.user_id,
            "anonymousId": event.anonymous_id,
            "properties": event.properties,
        }
        key = {"_id": event.id, "workspace": event.workspace}
        await self._database.update_one(COLLECTION, key, {"$set": changes}, session=session)

    async def count_of(self, scope: Scope, sks: Sequence[str], *, at_most: int) -> int:
        """How many events these identities have; counted up to `at_most`."""
        wanted = {"workspace": scope.workspace, "sk": {"$in": list(sks)}}
        return await self._database.count(COLLECTION, wanted, limit=at_most)

    async def decisions(
        self, scope: Scope, *, limit: int, before: OrderKey | None = None, sks: Sequence[str] | None = None
    ) -> list[Event]:
        """An operator's merges and splits, the newest first, only those about the identities `sks` when given."""
        both: list[Document] = []
        if sks is not None:
            both.append({"$or": [{f"properties.{side}": {"$in": list(sks)}} for side in ("one", "other")]})
        if before is not None:
            both.append(_older(before))
        wanted: Document = {"workspace": scope.workspace, **_SYSTEM, "type": {"$in": sorted(DECISIONS)}}
        if both:
            wanted["$and"] = both
        rows = await self._database.find(COLLECTION, wanted, sort=NEWEST_FIRST, limit=limit, max_time_ms=5000)
        return [from_document(row) for row in rows]

    async def in_arrival_order(self, size: int, *, since: int = 0) -> AsyncIterator[list[Event]]:
        """Every stored event of every workspace that was received at `since` (ms) or later, in batches."""
        received, seq, last = since - 1, 0, b""
        while True:
            later: list[Document] = [
                {"receivedAt": {"$gt": received}},
                {"receivedAt": received, "seq": {"$gt": seq}},
                {"receivedAt": received, "seq": seq, "_id": {"$gt": last}},
            ]
            rows = await self._database.find(
                COLLECTION, {"$or": later}, sort=[("receivedAt", 1), ("seq", 1), ("_id", 1)], limit=size
            )
            if not rows:
                return
            yield [from_document(row) for row in rows]
            received, seq, last = rows[-1]["receivedAt"], rows[-1]["seq"], bytes(rows[-1]["_id"])

    async def underived(self, workspace: str, among: Collection[bytes] | None = None) -> list[bytes]:
        """Those of these events, else of the workspace's newest hundred, that still wait to be derived.

        Events are derived as they came: where the newest are, all before them are.
        """
        if among is None:
            newest = await self._database.find(
                COLLECTION, {"workspace": workspace}, projection={"_id": 1}, sort=[("$natural", -1)], limit=100
            )
            among = [row["_id"] for row in newest]
        rows = await self._database.find(
            "work", {"workspace": workspace, "_id": {"$in": list(among)}, "pending": None}, projection={"_id": 1}
        )
        done = {bytes(row["_id"]) for row in rows}
        waiting = [event for event in map(bytes, among) if event not in done]
        # Those of suppressed identities are deleted instead.
        return list(await self.get(Scope.system(workspace), waiting)) if waiting else []

    async def derived(self, workspace: str, *, interval: float = 0.2) -> None:
        """Wait until all that is stored by now is derived; what comes meanwhile is not waited for."""
        waiting = await self.underived(workspace)
        while waiting:
            await asyncio.sleep(interval)
            waiting = await self.underived(workspace, waiting)

    async def page(
        self,
        scope: Scope,
        *,
        limit: int,
        before: OrderKey | None = None,
        names: Sequence[str] | None = None,
        sks: Sequence[str] | None = None,
        between: tuple[int, int] | None = None,
        meeting: Document | None = None,
    ) -> list[Event]:
        """Newest first, older than `before`; only of the identities `sks` when given.

        With `meeting`, a filter that no index serves, those of the first MOST_LOOKED_AT that it finds:
        `last_looked_at` says where the rest begins.
        """
        wanted = _wanted(scope, before, names, sks, between)
        if meeting is None:
            rows = await self._database.find(COLLECTION, wanted, sort=NEWEST_FIRST, limit=limit, max_time_ms=5000)
        else:
            found: list[Document] = [{"$match": meeting}, {"$limit": limit}]
            rows = await self._database.aggregate(COLLECTION, [*_first(wanted), *found], max_time_ms=5000)
        return [from_document(row) for row in rows]

    async def last_looked_at(
        self,
        scope: Scope,
        *,
        before: OrderKey | None = None,
        names: Sequence[str] | None = None,
        sks: Sequence[str] | None = None,
        between: tuple[int, int] | None = None,
    ) -> OrderKey | None:
        """The last of those that a `page` with the same arguments and a filter looks at; None when that is all."""
        keys: Document = {"_id": 1, "at": 1, "seq": 1}
        pipeline = [
            *_first(_wanted(scope, before, names, sks, between)),
            {"$skip": MOST_LOOKED_AT - 1},
            {"$project": keys},
        ]
        rows = await self._database.aggregate(COLLECTION, pipeline, max_time_ms=5000)
        return (rows[0]["at"], rows[0]["seq"], bytes(rows[0]["_id"])) if rows else None

    async def between(
        self,
        scope: Scope,
        from_: int,
        to: int,
        *,
        behind: OrderKey | None = None,
        sks: Sequence[str] | None = None,
        limit: int,
    ) -> list[Event]:
        """What users did from `from_` and before `to` (ms), oldest first, behind an order key."""
        rows = await self._database.find(
            COLLECTION, _between(scope, from_, to, sks, behind), sort=OLDEST_FIRST, limit=limit, max_time_ms=10_000
        )
        return [from_document(row) for row in rows]

    async def count_between(
        self, scope: Scope, from_: int, to: int, *, sks: Sequence[str] | None = None, at_most: int
    ) -> int:
        """How many those are, counted up to `at_most`."""
        wanted = _between(scope, from_, to, sks, None)
        return await self._database.count(COLLECTION, wanted, limit=at_most, max_time_ms=10_000)

    async def count(self, scope: Scope, *, at_most: int) -> int | None:
        """How many events the workspace holds; None when more than `at_most`."""
        found = await self._database.count(COLLECTION, {"workspace": scope.workspace}, limit=at_most + 1)
        if found > at_most:
            return None
        if not found:
            return 0  # a limit of nothing is an error to MongoDB
        return found - await self._database.count(COLLECTION, {"workspace": scope.workspace, **_SYSTEM}, limit=found)


def _wanted(
    scope: Scope,
    before: OrderKey | None,
    names: Sequence[str] | None,
    sks: Sequence[str] | None,
    between: tuple[int, int] | None,
) -> Document:
    if scope.subject is not None and sks is None:
        raise Forbidden("This token opens one user's events only.")
    wanted: Document = {"workspace": scope.workspace}
    if sks is not None:
        wanted["sk"] = {"$in": list(sks)}
    else:
        wanted |= OF_USERS
    if names is not None:
        wanted["name"] = {"$in": list(names)}
    window: Document = {}
    if between is not None:
        window |= {"$gte": between[0], "$lt": between[1]}
    if before is not None:
        window["$lte"] = before[0]
        wanted |= _older(before)
    if window:
        wanted["at"] = window
    return wanted


def _first(wanted: Document) -> list[Document]:
    """The first MOST_LOOKED_AT of these events, the newest first; an index on names, of one user on `sk`, serves it."""
    return [{"$match": wanted}, {"$sort": dict(NEWEST_FIRST)}, {"$limit": MOST_LOOKED_AT}]


def _between(scope: Scope, from_: int, to: int, sks: Sequence[str] | None, behind: OrderKey | None) -> Document:
    wanted: Document = {"workspace": scope.workspace, **OF_USERS, "at": {"$gte": from_, "$lt": to}}
    if sks is not None:
        wanted["sk"] = {"$in": list(sks)}
    if behind is not None:
        at, seq, key = behind
        wanted["at"] = {"$gte": at, "$lt": to}
        wanted["$or"] = [
            {"at": {"$gt": at}},
            {"at": at, "seq": {"$gt": seq}},
            {"at": at, "seq": seq, "_id": {"$gt": key}},
        ]
    return wanted


def _older(than: OrderKey) -> Document:
    at, seq, key = than
    return {
        "$or": [
            {"at": {"$lt": at}},
            {"at": at, "seq": {"$lt": seq}},
            {"at": at, "seq": seq, "_id": {"$lt": key}},
        ]
    }
