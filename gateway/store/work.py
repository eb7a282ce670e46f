"""Work: a row per event that says whose it is and whether it has been folded, and rows for users to fold again.

A row is pending while the owner of its user's lane has yet to fold it. Rows of events are kept when they are done, for
as long as their event could come again; rows of users are deleted. So are those of identities whose events are to be
deleted (kind "erase"), which lie in the lane that these events came in. Rows of kind "alert" are those of `Alerts`.

A user with very many events is folded from the start outside of any transaction (`gateway.pipeline.refolding`): its row
is held for that (`pending` is "user"), and so are rows of its events ("event") until it is done. Batches pass held
rows by, whose `pending` is not true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.model.event import Event
from gateway.model.identity import LANES, digest, lane_of
from gateway.store.database import Database, Document, ReplaceOne, Session, UpdateOne

COLLECTION = "work"

#: What a row of a user says besides: who has had identities of it since, and who it lives on as if it has none left.
_TO, _HEIR = "to", "heir"
#: What `pending` says of a row that no batch is to take.
_HELD_USER, _HELD_EVENT = "user", "event"


@dataclass(frozen=True, slots=True)
class Again:
    """A user to fold again. `to`: users that got identities of it, to be folded after it; `heir`: who it became."""

    user: str
    to: frozenset[str] = frozenset()
    heir: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Rows of one workspace that wait: ids of events, users to fold again, rows of identities to erase, of alerts."""

    events: list[bytes]
    users: list[str]
    erase: list[bytes] = field(default_factory=list)
    alerts: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.events) + len(self.users) + len(self.erase) + len(self.alerts)

    def copy(self) -> Pending:
        return Pending([*self.events], [*self.users], [*self.erase], [*self.alerts])


@dataclass(frozen=True, slots=True)
class ToErase:
    """An identity whose stored events are to be deleted, for an erasure."""

    row: bytes
    sk: str
    erasure: str


@dataclass(frozen=True, slots=True)
class Held:
    """A user that is folded outside of transactions; `asked` counts how often that was asked for, and `full` says that
    late events are not all there is to it."""

    workspace: str
    again: Again
    asked: int
    full: bool


class Work:
    """The rows of all lanes; each is written by the owners of the lanes concerned."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, workspace: str, events: Collection[bytes], session: Session | None = None) -> set[bytes]:
        """Those of `events` that have been resolved, whether folded by now or not."""
        rows = await self._database.find(
            COLLECTION,
            {"workspace": workspace, "_id": {"$in": list(events)}},
            projection={"_id": 1},
            session=session,
        )
        return {bytes(row["_id"]) for row in rows}

    async def record(
        self, workspace: str, users: Iterable[tuple[Event, str, bool]], *, now: int, session: Session
    ) -> None:
        """One row per resolved event, in the lane of its user; done when it is folded in this transaction."""
        rows = [_row(workspace, event.id, user, now if done else None) for event, user, done in users]
        if rows:
            await self._database.insert_many(COLLECTION, rows, session=session)

    async def ask_again(
        self, workspace: str, users: Iterable[Again], session: Session, *, held: bool = False, full: bool = True
    ) -> None:
        """Leave word with the owners of these users' lanes; held: it is not for a batch; not full: only late events."""
        operations = []
        for one in users:
            added: Document = {_TO: {"$each": sorted(one.to)}}
            changes: Document = {"$addToSet": added, "$inc": {"asked": 1}}
            fixed = {"user": one.user, "lane": lane_of(workspace, one.user), "kind": "user"}
            said = {_HEIR: one.heir, "pending": _HELD_USER if held else None, "full": full}
            changes["$set"] = fixed | {name: value for name, value in said.items() if value}
            if not held:  # one that is held stays so
                changes["$setOnInsert"] = {"pending": True}
            key = {"_id": _user_id(workspace, one.user), "workspace": workspace}
            operations.append(UpdateOne(key, changes, upsert=True))
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)

    async def pending(self, lanes: Collection[int], *, limit: int) -> dict[str, Pending]:
        """Waiting rows of these lanes that are not held, by workspace."""
        wanted = {"pending": True, "lane": {"$in": list(lanes)}}
        rows = await self._database.find(COLLECTION, wanted, sort=[("lane", 1), ("_id", 1)], limit=limit)
        found: dict[str, Pending] = {}
        for row in rows:
            of = found.setdefault(row["workspace"], Pending([], []))
            if row.get("kind") == "user":
                of.users.append(row["user"])
            elif row.get("kind") == "erase":
                of.erase.append(bytes(row["_id"]))
            elif row.get("kind") == "alert":
                of.alerts.append(bytes(row["_id"]))
            else:
                of.events.append(bytes(row["_id"]))
        return found

    async def still_pending(
        self, workspace: str, waiting: Pending, users: Collection[str], session: Session
    ) -> tuple[dict[bytes, str], list[Again]]:
        """Of the waiting rows, and of whatever waits for `users`: events with the user they wait for, and users."""
        ids = [*waiting.events, *(_user_id(workspace, user) for user in (*waiting.users, *users))]
        rows = await self._database.find(
            COLLECTION, {"workspace": workspace, "_id": {"$in": ids}, "pending": {"$ne": None}}, session=session
        )
        events = {bytes(row["_id"]): row["user"] for row in rows if row.get("kind") != "user"}
        return events, [_again(row) for row in rows if row.get("kind") == "user"]

    async def finish(
        self, workspace: str, events: Mapping[bytes, str], users: Collection[str], *, now: int, session: Session
    ) -> None:
        """These events are folded, by the user that got them; these users need not be folded again."""
        operations = [
            ReplaceOne({"_id": key, "workspace": workspace}, _row(workspace, key, user, now))
            for key, user in events.items()
        ]
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)
        if users:
            gone = [_user_id(workspace, user) for user in users]
            await self._database.delete_many(
                COLLECTION, {"workspace": workspace, "_id": {"$in": gone}}, session=session
            )

    async def forward(self, workspace: str, events: Mapping[bytes, str], session: Session) -> None:
        """These events belong to other users by now: their rows go to the lanes of those."""
        operations = [
            ReplaceOne({"_id": key, "workspace": workspace}, _row(workspace, key, user, None))
            for key, user in events.items()
        ]
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)

    # -- held rows ----------------------------------------------------------------------------------------------

    async def hold(self, workspace: str, events: Mapping[bytes, str], session: Session) -> None:
        """These events wait until the users they belong to have been folded outside of transactions."""
        operations = [
            ReplaceOne(
                {"_id": key, "workspace": workspace}, _row(workspace, key, user, None) | {"pending": _HELD_EVENT}
            )
            for key, user in events.items()
        ]
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)

    async def held_users(self, lanes: Collection[int], *, limit: int) -> list[Held]:
        """Users of these lanes to be folded outside of transactions."""
        wanted = {"pending": _HELD_USER, "lane": {"$in": list(lanes)}}
        rows = await self._database.find(COLLECTION, wanted, limit=limit)
        return [_held(row) for row in rows]

    async def touch_held(self, workspace: str, user: str, session: Session) -> Held | None:
        """The row of a user that is held, written to: whoever asks for the same user at this moment conflicts."""
        key = {"_id": _user_id(workspace, user), "workspace": workspace, "pending": _HELD_USER}
        row = await self._database.find_one_and_update(COLLECTION, key, {"$inc": {"parts": 1}}, session=session)
        return None if row is None else _held(row)

    async def held_events(self, workspace: str, user: str) -> list[bytes]:
        """Events that wait for a user that is held."""
        rows = await self._database.find(COLLECTION, _held_events(workspace, user), projection={"_id": 1})
        return [bytes(row["_id"]) for row in rows]

    async def still_held(self, workspace: str, user: str, events: Collection[bytes], session: Session) -> list[bytes]:
        """Those of these events that wait for the user still."""
        wanted = _held_events(workspace, user) | {"_id": {"$in": list(events)}}
        rows = await self._database.find(COLLECTION, wanted, projection={"_id": 1}, session=session)
        return [bytes(row["_id"]) for row in rows]

    async def release(self, workspace: str, user: str, session: Session) -> None:
        """The user is held no longer: its row goes, and events that wait for it are for batches again."""
        await self._database.update_many(
            COLLECTION, _held_events(workspace, user), {"$set": {"pending": True}}, session=session
        )
        gone = {"_id": _user_id(workspace, user), "workspace": workspace}
        await self._database.delete_many(COLLECTION, gone, session=session)

    # -- erasing ------------------------------------------------------------------------------------------------

    async def ask_to_erase(self, workspace: str, sks: Collection[str], erasure: str, session: Session) -> list[ToErase]:
        """Leave word with the owners of the lanes that events of these identities come in."""
        asked = [ToErase(digest(workspace, "erase", erasure, sk), sk, erasure) for sk in sks]
        operations = []
        for one in asked:
            row = {"kind": "erase", "sk": one.sk, "erasure": erasure, "lane": lane_of(workspace, one.sk)}
            key = {"_id": one.row, "workspace": workspace}
            operations.append(UpdateOne(key, {"$set": {**row, "pending": True}}, upsert=True))
        if operations:
            await self._database.bulk_write(COLLECTION, list(operations), session=session)
        return asked

    async def to_erase(self, workspace: str, rows: Collection[bytes], session: Session) -> list[ToErase]:
        """Those of these rows that still wait."""
        wanted = {"workspace": workspace, "_id": {"$in": list(rows)}, "kind": "erase"}
        found = await self._database.find(COLLECTION, wanted, session=session)
        return [ToErase(bytes(row["_id"]), row["sk"], row["erasure"]) for row in found]

    async def users_of(self, workspace: str, events: Collection[bytes], session: Session) -> dict[bytes, str]:
        """By whom events that have been resolved were folded, or are to be."""
        wanted = {"workspace": workspace, "_id": {"$in": list(events)}}
        rows = await self._database.find(COLLECTION, wanted, projection={"user": 1}, session=session)
        return {bytes(row["_id"]): row["user"] for row in rows}

    async def remove(self, workspace: str, rows: Collection[bytes], session: Session) -> int:
        """Delete rows."""
        wanted = {"workspace": workspace, "_id": {"$in": list(rows)}}
        return await self._database.delete_many(COLLECTION, wanted, session=session)

    async def erasing(self, workspace: str, erasure: str) -> bool:
        """Whether events of an erasure are still to be deleted."""
        wanted = {
            "pending": True,
            "lane": {"$in": list(range(LANES))},
            "workspace": workspace,
            "kind": "erase",
            "erasure": erasure,
        }
        return await self._database.find_one(COLLECTION, wanted, projection={"_id": 1}) is not None

    async def pending_in(self, workspace: str, among: Collection[bytes] | None = None) -> list[bytes]:
        """Rows of a workspace that wait to be folded, only those of `among` when given."""
        wanted: Document = {"lane": {"$in": list(range(LANES))}, "workspace": workspace}
        if among is not None:
            wanted["_id"] = {"$in": list(among)}
        found: list[bytes] = []
        for pending in (True, {"$gt": ""}):  # each by an index of its own
            rows = await self._database.find(COLLECTION, {**wanted, "pending": pending}, projection={"_id": 1})
            found += [row["_id"] for row in rows]
        return found

    async def forget(self, before: int) -> int:
        """Forget rows of events that were folded before `before` (ms): their turn in the stream is long past."""
        return await self._database.delete_many(COLLECTION, {"doneAt": {"$lt": before}})


def _row(workspace: str, event: bytes, user: str, done: int | None) -> Document:
    state: Document = {"pending": True} if done is None else {"doneAt": done}
    return {"_id": event, "workspace": workspace, "user": user, "lane": lane_of(workspace, user), **state}


def _again(row: Document) -> Again:
    return Again(row["user"], frozenset(row.get(_TO, ())), row.get(_HEIR))


def _held(row: Document) -> Held:
    return Held(row["workspace"], _again(row), row["asked"], row.get("full", False))


def _held_events(workspace: str, user: str) -> Document:
    lane = lane_of(workspace, user)
    return {"pending": _HELD_EVENT, "lane": lane, "workspace": workspace, "user": user}


def _user_id(workspace: str, user: str) -> bytes:
    return digest(workspace, "user", user)
