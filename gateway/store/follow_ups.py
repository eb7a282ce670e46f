"""Follow-ups: answers that somebody has to look after, one for each response and rule."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session

COLLECTION = "follow_ups"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One follow-up. `response` is the event it is about, `key` that of the identity that answered (32 hexadecimal
    digits), which goes with it when it is erased. Times are ms; `done_at` None: it is open. `late`: people were told
    that it is overdue."""

    id: str
    workspace: str
    rule: str
    survey: str
    response: bytes
    key: str
    score: float | None
    at: int
    owner: str
    due_at: int
    done_at: int | None = None
    note: str | None = None
    late: bool = False


class FollowUps:
    """Follow-ups of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, workspace: str, ids: Collection[str], session: Session) -> set[str]:
        """Those that are there already."""
        wanted = {"workspace": workspace, "_id": {"$in": list(ids)}}
        rows = await self._database.find(COLLECTION, wanted, projection={"_id": 1}, session=session)
        return {row["_id"] for row in rows}

    async def add(self, rows: Sequence[FollowUp], session: Session) -> None:
        """Within the transaction that derives the responses."""
        await self._database.insert_many(COLLECTION, [_row(one) for one in rows], session=session)

    async def get(self, scope: Scope, key: str) -> FollowUp | None:
        """One; None when there is none."""
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace})
        return None if row is None else _from(row)

    async def page(
        self,
        scope: Scope,
        *,
        open_: bool | None,
        owner: str | None,
        limit: int,
        before: tuple[int, str] | None,
    ) -> list[FollowUp]:
        """The newest first, older than `before` (at, id)."""
        wanted: Document = {"workspace": scope.workspace}
        if open_ is not None:
            wanted["doneAt"] = None if open_ else {"$ne": None}
        if owner is not None:
            wanted["owner"] = owner
        if before is not None:
            at, key = before
            wanted["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": key}}]
        rows = await self._database.find(
            COLLECTION, wanted, sort=[("at", -1), ("_id", -1)], limit=limit, max_time_ms=5000
        )
        return [_from(row) for row in rows]

    async def assign(self, scope: Scope, key: str, owner: str) -> FollowUp | None:
        """Give an open one to somebody else; None when there is none that is open."""
        return await self._change(scope, key, {"owner": owner})

    async def resolve(self, scope: Scope, key: str, note: str | None, now: int) -> FollowUp | None:
        """Note that it is done; None when there is none that is open."""
        return await self._change(scope, key, {"doneAt": now, "note": note})

    async def overdue(self, workspace: str, now: int, *, limit: int) -> list[FollowUp]:
        """Open ones whose time is over, and of which nobody was told."""
        wanted = {"workspace": workspace, "doneAt": None, "late": False, "dueAt": {"$lt": now}}
        return [_from(row) for row in await self._database.find(COLLECTION, wanted, limit=limit)]

    async def tell_late(self, workspace: str, key: str) -> None:
        """Note that people were told."""
        await self._database.update_one(COLLECTION, {"_id": key, "workspace": workspace}, {"$set": {"late": True}})

    async def erase(self, workspace: str, users: Collection[str]) -> int:
        """Delete those of these identities; how many."""
        return await self._database.delete_many(COLLECTION, {"workspace": workspace, "key": {"$in": list(users)}})

    async def _change(self, scope: Scope, key: str, changes: Document) -> FollowUp | None:
        wanted = {"_id": key, "workspace": scope.workspace, "doneAt": None}
        row = await self._database.find_one_and_update(COLLECTION, wanted, {"$set": changes})
        return None if row is None else _from(row)


def _row(one: FollowUp) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "rule": one.rule,
        "survey": one.survey,
        "response": one.response,
        "key": one.key,
        "score": one.score,
        "at": one.at,
        "owner": one.owner,
        "dueAt": one.due_at,
        "doneAt": one.done_at,
        "note": one.note,
        "late": one.late,
    }


def _from(row: Document) -> FollowUp:
    return FollowUp(
        row["_id"],
        row["workspace"],
        row["rule"],
        row["survey"],
        bytes(row["response"]),
        row["key"],
        row["score"],
        row["at"],
        row["owner"],
        row["dueAt"],
        row["doneAt"],
        row["note"],
        row["late"],
    )
