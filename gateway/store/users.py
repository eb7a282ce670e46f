"""Users, their sessions and journeys: written by the fold alone, read within a caller's scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gateway.contract.rules import kind_of, property_at
from gateway.errors import Unavailable
from gateway.model.identity import lane_of
from gateway.model.journey import Journey, JourneyStatus, Session, StageVisit, UserState
from gateway.model.scope import Scope
from gateway.store import database as db
from gateway.store.database import Database, Document, UpdateMany, UpdateOne
from gateway.store.events import escaped, escaped_path, paths_of, readable
from gateway.store.identities import IDENTITIES

USERS = "users"
SESSIONS = "sessions"
JOURNEYS = "journeys"
CHECKPOINTS = "checkpoints"
_GLANCE_MS = 2_000
_LATEST = 200
#: What a redirect no longer has.
_OF_THE_FOLD = (
    *("traits", "runs", "session", "last", "maps", "counted", "setAside"),
    *("did", "client", "segments", "segmentsUntil"),
)
# `dataclasses.asdict` copies deeply, which costs several times as much.
_VISIT = tuple(field.name for field in fields(StageVisit))


def session_row(session: Session) -> Document:
    return {
        "user": session.user,
        "start": session.start,
        "end": session.end,
        "events": session.events,
        "firstEvent": session.first_event,
        "lastEvent": session.last_event,
        "entry": session.entry,
        "exit": session.exit,
    }


def session_from(row: Document) -> Session:
    return Session(
        id=row["_id"],
        user=row["user"],
        start=row["start"],
        end=row["end"],
        events=row["events"],
        first_event=bytes(row["firstEvent"]),
        last_event=bytes(row["lastEvent"]),
        entry=row["entry"],
        exit=row["exit"],
    )


def journey_row(journey: Journey) -> Document:
    return {
        "user": journey.user,
        "map": journey.map,
        "version": journey.version,
        "run": journey.run,
        "status": journey.status.value,
        "stage": journey.stage,
        "reached": [visit.stage for visit in journey.visits],
        "visits": [{name: getattr(visit, name) for name in _VISIT} for visit in journey.visits],
        "startedAt": journey.started_at,
        "lastAt": journey.last_at,
        "endedAt": journey.ended_at,
        "dueAt": journey.due_at,
        "endedRule": journey.ended_rule,
        "endedEvent": journey.ended_event,
    }


def journey_from(row: Document) -> Journey:
    return Journey(
        id=row["_id"],
        user=row["user"],
        map=row["map"],
        version=row["version"],
        run=row["run"],
        status=JourneyStatus(row["status"]),
        visits=tuple(_visit(visit) for visit in row["visits"]),
        started_at=row["startedAt"],
        last_at=row["lastAt"],
        ended_at=row["endedAt"],
        due_at=row["dueAt"],
        ended_rule=row.get("endedRule"),  # rows of before maps had `restart` lack it
        ended_event=_event_id(row.get("endedEvent")),
    )


def _visit(row: Document) -> StageVisit:
    return StageVisit(
        stage=row["stage"],
        entered_at=row["entered_at"],
        left_at=row["left_at"],
        rule=row["rule"],
        first_event=bytes(row["first_event"]),
        last_event=bytes(row["last_event"]),
        events=row["events"],
        left_rule=row.get("left_rule"),  # rows of before maps had `leave` lack it
        left_event=_event_id(row.get("left_event")),
    )


def _event_id(stored: Any) -> bytes | None:
    return None if stored is None else bytes(stored)


def state_from(row: Document) -> UserState:
    at, seq, key = row["last"]
    session = row["session"]
    return UserState(
        user=row["_id"],
        first_seen=row["firstSeen"],
        last=(at, seq, bytes(key)),
        events=row["events"],
        sessions=row["sessions"],
        traits=readable(row["traits"]),
        session=None if session is None else session_from(session),
        runs={run["map"]: journey_from(run) for run in row["runs"]},
        did={rule: tuple(times) for rule, times in row.get("did", ())},  # rows of before segments lack these
        client=row.get("client", {}),
        segments=tuple(row.get("segments", ())),
        segments_until=row.get("segmentsUntil"),
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """A user as it was folded last: its state (None: set aside), and the hashes of the maps it was folded under and of
    those its journeys were counted under, which are the same unless it is to be folded anew.

    `recounted`: its journeys up to the id are counted under that other hash already. `refolding`: it is folded outside
    of transactions, and no batch folds anything into it meanwhile.
    """

    state: UserState | None = None
    maps: str | None = None
    counted: str | None = None
    recounted: tuple[str, str] | None = None
    refolding: bool = False
    revision: int = 0


class Users:
    """Users of a workspace. A row with `movedTo` is a redirect: the user lives on under another id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def states(
        self, workspace: str, users: Collection[str], session: db.Session | None = None
    ) -> dict[str, Stored]:
        """What is stored of these users."""
        wanted = {"workspace": workspace, "_id": {"$in": list(users)}, "movedTo": None}
        rows = await self._database.find(USERS, wanted, session=session)
        return {row["_id"]: _stored(row) for row in rows}

    async def write(
        self,
        workspace: str,
        states: Iterable[UserState],
        *,
        maps: str,
        as_of: int,
        session: db.Session,
        bump: bool = True,
    ) -> None:
        """Store folded users, under new revisions unless the caller sees to that."""
        operations = [
            UpdateOne(
                self._database.key(workspace, state.user),
                {
                    "$set": _user_row(workspace, state, maps, as_of),
                    "$inc": {"revision": int(bump)},
                    "$unset": {"setAside": ""},
                },
                upsert=True,
            )
            for state in states
        ]
        if operations:
            await self._database.bulk_write(USERS, operations, session=session)

    async def begin_refold(self, workspace: str, counted: Mapping[str, str], session: db.Session) -> None:
        """Mark users that are to be folded outside of transactions; `counted`: the maps their journeys count under."""
        operations = []
        for user, definition in counted.items():
            row = {"refolding": True, "counted": definition, "movedTo": None, "dueAt": None}
            changes = {"$set": {**row, "lane": lane_of(workspace, user)}, "$inc": {"revision": 1}}
            operations.append(UpdateOne({"_id": user, "workspace": workspace}, changes, upsert=True))
        if operations:
            await self._database.bulk_write(USERS, list(operations), session=session)

    async def go_on_refolding(
        self,
        workspace: str,
        user: str,
        session: db.Session,
        *,
        counted: str | None = None,
        recounted: tuple[str, str] | None = None,
        whole: bool = False,
    ) -> None:
        """Note one more transaction of a fold outside of batches: how far its journeys are counted under other maps,
        when given, or that it was the last one."""
        update: Document = {"$inc": {"revision": 1}}
        if counted is not None:
            update["$set"] = {"counted": counted, "recounted": recounted}
        if whole:
            update["$unset"] = {"refolding": "", "recounted": ""}
        await self._database.update_one(USERS, {"_id": user, "workspace": workspace}, update, session=session)

    async def set_aside(self, workspace: str, users: Mapping[str, str], *, now: int, session: db.Session) -> None:
        """Mark users that could not be folded, and the kind of error: their next event folds them from the start."""
        cleared = {"maps": None, "movedTo": None, "dueAt": None}
        operations = [
            UpdateOne(
                {"_id": user, "workspace": workspace},
                {"$set": {**cleared, "lane": lane_of(workspace, user), "setAside": {"at": now, "error": error}}},
                upsert=True,
            )
            for user, error in users.items()
        ]
        if operations:
            await self._database.bulk_write(USERS, operations, session=session)

    async def remove(self, workspace: str, users: Collection[str], session: db.Session) -> None:
        """Forget users without a single event; redirects stay."""
        if users:
            gone = {"workspace": workspace, "_id": {"$in": list(users)}, "movedTo": None}
            await self._database.delete_many(USERS, gone, session=session)

    async def forget_redirects(self, workspace: str, users: Collection[str]) -> int:
        """Forget pointers from and to users that are erased."""
        either = [{"_id": {"$in": list(users)}, "movedTo": {"$ne": None}}, {"movedTo": {"$in": list(users)}}]
        return await self._database.delete_many(USERS, {"workspace": workspace, "$or": either})

    async def left_of(self, workspace: str, users: Collection[str], session: db.Session | None = None) -> Document:
        """How many rows there still are of users, by collection."""
        found = {}
        for collection, key in ((USERS, "_id"), (SESSIONS, "user"), (JOURNEYS, "user"), (CHECKPOINTS, "user")):
            wanted: Document = {"workspace": workspace, key: {"$in": list(users)}}
            if collection == USERS:
                wanted["movedTo"] = None
            rows = await self._database.aggregate(collection, [{"$match": wanted}, {"$count": "n"}], session=session)
            found[collection] = rows[0]["n"] if rows else 0
        return found

    async def redirect(self, workspace: str, gone: dict[str, str], session: db.Session) -> None:
        """Leave a pointer where a user was; older pointers to it follow."""
        for old, new in gone.items():
            row: Document = {"movedTo": new, "dueAt": None}
            await self._database.update_one(
                USERS,
                {"_id": old, "workspace": workspace},
                {
                    "$set": row,
                    "$inc": {"revision": 1},
                    "$unset": dict.fromkeys(_OF_THE_FOLD, ""),
                },
                upsert=True,
                session=session,
            )
            follow = UpdateMany({"workspace": workspace, "movedTo": old}, {"$set": {"movedTo": new}})
            await self._database.bulk_write(USERS, [follow], session=session)

    async def follow(self, scope: Scope, user: str) -> str | None:
        """The id `user` has now; None when there is no such user."""
        try:
            named_after = bytes.fromhex(user)
        except ValueError:
            return None
        # A user's id is that of the identity it was named after: wherever that one belongs now, the id leads.
        row = await self._database.find_one(
            IDENTITIES, {"workspace": scope.workspace, "_id": named_after}, projection={"user": 1}
        )
        return None if row is None else str(row["user"])

    async def due(self, lanes: Collection[int], as_of: int, maps: str, *, limit: int) -> list[tuple[str, str]]:
        """(workspace, user) in these lanes of those that time has changed since they were folded, or that other maps
        folded."""
        wanted: list[Document] = [{"dueAt": {"$lte": as_of}}, {"maps": {"$lt": maps}}, {"maps": {"$gt": maps}}]
        found: dict[tuple[str, str], None] = {}
        for one in wanted:
            mine = {"lane": {"$in": list(lanes)}, **one, "refolding": None}
            rows = await self._database.find(USERS, mine, projection={"workspace": 1}, limit=limit)
            found.update(dict.fromkeys((row["workspace"], row["_id"]) for row in rows))
        return list(found)[:limit]

    async def get(self, scope: Scope, users: Collection[str]) -> dict[str, UserState]:
        """Users by their id of now."""
        states = await self.states(scope.workspace, users)
        return {user: stored.state for user, stored in states.items() if stored.state is not None}

    async def traits(self, scope: Scope, users: Collection[str], path: str) -> dict[str, object]:
        """The value of one trait, by a dotted path, of those of these users who have it."""
        rows = await self._database.find(
            USERS,
            {"workspace": scope.workspace, "_id": {"$in": list(users)}},
            projection={f"traits.{escaped_path(path)}": 1},
        )
        found = {row["_id"]: property_at(readable(row.get("traits") or {}), tuple(path.split("."))) for row in rows}
        return {user: value for user, value in found.items() if kind_of(value) is not None}

    async def trait_paths(self, scope: Scope) -> set[str]:
        """Dotted paths of the traits of the users who were seen last; not of everybody."""
        rows = await self._database.find(
            USERS,
            {"workspace": scope.workspace, "movedTo": None, "lastSeen": {"$gt": 0}},
            projection={"traits": 1},
            sort=[("lastSeen", -1), ("_id", -1)],
            limit=_LATEST,
            max_time_ms=5000,
        )
        return {path for row in rows for path in paths_of(readable(row.get("traits") or {}))}

    async def any_with_trait(self, scope: Scope, path: str) -> bool:
        """Whether any user has the trait; True also where there are too many to look at all of them."""
        wanted = {"workspace": scope.workspace, f"traits.{escaped_path(path)}": {"$exists": True}}
        try:
            return bool(await self._database.count(USERS, wanted, limit=1, max_time_ms=_GLANCE_MS))
        except Unavailable:
            return True

    async def page(self, scope: Scope, *, limit: int, before: tuple[int, str] | None) -> list[UserState]:
        """Users, the last seen first, behind the position (last seen, id)."""
        wanted: Document = {"workspace": scope.workspace, "movedTo": None, "lastSeen": {"$gt": 0}}
        if before is not None:
            seen, user = before
            wanted["lastSeen"] = {"$lte": seen}
            wanted["$or"] = [{"lastSeen": {"$lt": seen}}, {"lastSeen": seen, "_id": {"$lt": user}}]
        rows = await self._database.find(
            USERS, wanted, sort=[("lastSeen", -1), ("_id", -1)], limit=limit, max_time_ms=5000
        )
        return [state_from(row) for row in rows]

    async def in_segment(
        self, scope: Scope, segment: str, *, limit: int, behind: str | None = None, without: Collection[str] = ()
    ) -> list[UserState]:
        """Users who are in the segment as they were folded last, by id, behind one of them; but for some."""
        wanted = _members(scope, segment, without)
        if behind is not None:
            wanted["_id"] = {**wanted.get("_id", {}), "$gt": behind}
        rows = await self._database.find(USERS, wanted, sort=[("_id", 1)], limit=limit, max_time_ms=5000)
        return [state_from(row) for row in rows]

    async def count_in_segment(self, scope: Scope, segment: str, *, without: Collection[str] = ()) -> int:
        """How many there are of them."""
        return await self._database.count(USERS, _members(scope, segment, without), max_time_ms=5000)

    async def ids_in_segment(self, scope: Scope, segment: str) -> list[str]:
        """Their ids, in no order. Raises Unavailable when that takes too long."""
        rows = await self._database.find(USERS, _members(scope, segment, ()), projection={"_id": 1}, max_time_ms=10_000)
        return [row["_id"] for row in rows]

    async def count(self, scope: Scope, *, at_most: int) -> int | None:
        """How many users; None when more than `at_most`."""
        wanted = {"workspace": scope.workspace, "movedTo": None}
        found = await self._database.count(USERS, wanted, limit=at_most + 1)
        return None if found > at_most else found


def _members(scope: Scope, segment: str, without: Collection[str]) -> Document:
    wanted: Document = {"workspace": scope.workspace, "segments": segment}
    return {**wanted, "_id": {"$nin": sorted(without)}} if without else wanted


def _stored(row: Document) -> Stored:
    recounted = row.get("recounted")
    return Stored(
        state=state_from(row) if "last" in row else None,
        maps=row.get("maps"),
        counted=row.get("counted"),
        recounted=None if recounted is None else (recounted[0], recounted[1]),
        refolding=row.get("refolding", False),
        revision=row.get("revision", 0),
    )


def _user_row(workspace: str, state: UserState, maps: str, as_of: int) -> Document:
    return {
        **state_row(state),
        "workspace": workspace,
        "lane": lane_of(workspace, state.user),
        "lastSeen": state.last_seen,
        "maps": maps,
        "counted": maps,
        "segments": list(state.segments),
        "segmentsUntil": state.segments_until,
        "dueAt": state.due_at(as_of),
        "movedTo": None,
    }


def state_row(state: UserState) -> Document:
    """What `state_from` takes, but for the user's id and what is so as of a moment."""
    session = state.session
    return {
        "firstSeen": state.first_seen,
        "last": list(state.last),
        "events": state.events,
        "sessions": state.sessions,
        "traits": escaped(state.traits),
        "session": None if session is None else {"_id": session.id, **session_row(session)},
        "runs": [{"_id": run.id, **journey_row(run)} for run in state.runs.values()],
        "did": [[rule, list(times)] for rule, times in sorted(state.did.items())],
        "client": state.client,
    }


class Sessions:
    """Sessions of a workspace's users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_users(
        self, workspace: str, users: Collection[str], session: db.Session | None = None
    ) -> dict[str, Session]:
        rows = await self._database.find(
            SESSIONS, {"workspace": workspace, "user": {"$in": list(users)}}, session=session
        )
        return {row["_id"]: session_from(row) for row in rows}

    async def since(self, workspace: str, state: UserState, session: db.Session | None = None) -> dict[str, Session]:
        """The user's session of this state, and all that began later."""
        either: list[Document] = [{"start": {"$gt": state.last[0]}}]
        if state.session is not None:
            either.append({"_id": state.session.id})
        wanted = {"workspace": workspace, "user": state.user, "$or": either}
        return {row["_id"]: session_from(row) for row in await self._database.find(SESSIONS, wanted, session=session)}

    async def page(self, scope: Scope, user: str, *, limit: int, before: tuple[int, str] | None) -> list[Session]:
        """One user's sessions, newest first."""
        wanted: Document = {"workspace": scope.workspace, "user": user}
        _older(wanted, "start", before)
        rows = await self._database.find(SESSIONS, wanted, sort=[("start", -1), ("_id", -1)], limit=limit)
        return [session_from(row) for row in rows]

    async def get(self, scope: Scope, ids: Collection[str]) -> dict[str, Session]:
        rows = await self._database.find(SESSIONS, {"workspace": scope.workspace, "_id": {"$in": list(ids)}})
        return {row["_id"]: session_from(row) for row in rows}

    async def write(
        self, workspace: str, changed: Iterable[Session], removed: Collection[str], session: db.Session
    ) -> None:
        rows = [(item.id, session_row(item)) for item in changed]
        await _replace(self._database, SESSIONS, workspace, rows, removed, session)


class Journeys:
    """Journeys of a workspace's users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_users(
        self, workspace: str, users: Collection[str], session: db.Session | None = None
    ) -> dict[str, Journey]:
        rows = await self._database.find(
            JOURNEYS, {"workspace": workspace, "user": {"$in": list(users)}}, session=session
        )
        return {row["_id"]: journey_from(row) for row in rows}

    async def since(self, workspace: str, state: UserState, session: db.Session | None = None) -> dict[str, Journey]:
        """The user's runs of this state, and all later ones."""
        either: list[Document] = [{"map": {"$nin": list(state.runs)}}]
        either += [{"map": key, "run": {"$gte": run.run}} for key, run in state.runs.items()]
        wanted = {"workspace": workspace, "user": state.user, "$or": either}
        return {row["_id"]: journey_from(row) for row in await self._database.find(JOURNEYS, wanted, session=session)}

    async def after(self, workspace: str, user: str, key: str, *, limit: int, session: db.Session) -> list[Journey]:
        """The runs of a user behind this id, by id."""
        wanted = {"workspace": workspace, "user": user, "_id": {"$gt": key}}
        rows = await self._database.find(JOURNEYS, wanted, sort=[("_id", 1)], limit=limit, session=session)
        return [journey_from(row) for row in rows]

    async def get(self, scope: Scope, ids: Collection[str], *, session: db.Session | None = None) -> dict[str, Journey]:
        wanted = {"workspace": scope.workspace, "_id": {"$in": list(ids)}}
        return {row["_id"]: journey_from(row) for row in await self._database.find(JOURNEYS, wanted, session=session)}

    async def page(
        self,
        scope: Scope,
        *,
        limit: int,
        before: tuple[int, str] | None = None,
        user: str | None = None,
        map_key: str | None = None,
        stage: str | None = None,
        status: JourneyStatus | None = None,
    ) -> list[Journey]:
        """Journeys, the last changed first."""
        wanted: Document = {"workspace": scope.workspace}
        filters = {"user": user, "map": map_key, "stage": stage, "status": status and status.value}
        wanted |= {key: value for key, value in filters.items() if value is not None}
        _older(wanted, "lastAt", before)
        rows = await self._database.find(
            JOURNEYS, wanted, sort=[("lastAt", -1), ("_id", -1)], limit=limit, max_time_ms=5000
        )
        return [journey_from(row) for row in rows]

    async def latest(self, scope: Scope, users: Collection[str], map_key: str) -> dict[str, Journey]:
        """The latest run of each user through one map."""
        rows = await self._database.find(
            JOURNEYS,
            {"workspace": scope.workspace, "user": {"$in": list(users)}, "map": map_key},
            sort=[("run", 1)],
        )
        return {row["user"]: journey_from(row) for row in rows}

    async def stage_counts(self, scope: Scope, map_key: str) -> list[tuple[str | None, str, int]]:
        """(stage, status, runs) of one map; stage None: between stages."""
        rows = await self._database.aggregate(
            JOURNEYS,
            [
                {"$match": {"workspace": scope.workspace, "map": map_key}},
                {"$group": {"_id": {"stage": "$stage", "status": "$status"}, "runs": {"$sum": 1}}},
            ],
            max_time_ms=5000,
        )
        return [(row["_id"]["stage"], row["_id"]["status"], row["runs"]) for row in rows]

    async def stage_reach(self, scope: Scope, map_key: str) -> dict[str, int]:
        """How many different users ever reached each stage of one map."""
        rows = await self._database.aggregate(
            JOURNEYS,
            [
                {"$match": {"workspace": scope.workspace, "map": map_key}},
                {"$unwind": "$reached"},
                {"$group": {"_id": {"stage": "$reached", "user": "$user"}}},
                {"$group": {"_id": "$_id.stage", "users": {"$sum": 1}}},
            ],
            max_time_ms=5000,
        )
        return {row["_id"]: row["users"] for row in rows}

    async def write(
        self, workspace: str, changed: Iterable[Journey], removed: Collection[str], session: db.Session
    ) -> None:
        rows = [(item.id, journey_row(item)) for item in changed]
        await _replace(self._database, JOURNEYS, workspace, rows, removed, session)


def _older(wanted: Document, field: str, before: tuple[int, str] | None) -> None:
    if before is not None:
        at, key = before
        wanted[field] = {"$lte": at}
        wanted["$or"] = [{field: {"$lt": at}}, {field: at, "_id": {"$lt": key}}]


async def _replace(
    database: Database,
    collection: str,
    workspace: str,
    rows: Sequence[tuple[str, Document]],
    removed: Collection[str],
    session: db.Session,
) -> None:
    operations: list[Any] = [
        UpdateOne(database.key(workspace, key), {"$set": {"workspace": workspace, **row}}, upsert=True)
        for key, row in rows
    ]
    if operations:
        await database.bulk_write(collection, operations, session=session)
    if removed:
        await database.delete_many(collection, {"workspace": workspace, "_id": {"$in": list(removed)}}, session=session)
