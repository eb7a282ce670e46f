"""Proposals: changes of the contract that somebody asks for, and what the others said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.model.actor import Actor
from gateway.model.scope import Scope
from gateway.store.database import Database, Document

COLLECTION = "proposals"

Status = Literal["open", "approved", "applied", "rejected", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody said, or approved with: when, in ms, and in which words."""

    by: Actor
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Files to change in the contract's version `base`, by path; None: the file goes. Times in ms.

    `ended` says who rejected or withdrew it, and why. `version` is the one it has become.
    """

    id: str
    workspace: str
    status: Status
    base: int
    files: Mapping[str, str | None] = field(repr=False)
    note: str
    by: Actor
    created_at: int
    comments: tuple[Remark, ...] = ()
    approvals: tuple[Remark, ...] = ()
    ended: Remark | None = None
    version: int | None = None
    revision: int = 0


class Proposals:
    """A row per proposal. It is changed only as somebody has seen it: `change` compares the revision."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, proposal: Proposal) -> None:
        await self._database.insert_many(COLLECTION, [_row(proposal)])

    async def get(self, scope: Scope, key: str) -> Proposal | None:
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace})
        return None if row is None else _from(row)

    async def change(self, proposal: Proposal) -> Proposal | None:
        """Write it in place of the revision it was made from; None when somebody else was faster."""
        fresh = replace(proposal, revision=proposal.revision + 1)
        wanted = {"_id": proposal.id, "workspace": proposal.workspace, "revision": proposal.revision}
        said = {key: value for key, value in _row(fresh).items() if key in _CHANGING}
        done = await self._database.update_one(COLLECTION, wanted, {"$set": said})
        return fresh if done.matched else None

    async def count_open(self, scope: Scope, *, at_most: int) -> int:
        """How many are not ended yet."""
        wanted = {"workspace": scope.workspace, "status": {"$in": ["open", "approved"]}}
        return await self._database.count(COLLECTION, wanted, limit=at_most)

    async def page(
        self, scope: Scope, *, status: Status | None, limit: int, before: tuple[int, str] | None = None
    ) -> list[Proposal]:
        """The newest first, older than `before` (createdAt, id)."""
        wanted: Document = {"workspace": scope.workspace}
        if status is not None:
            wanted["status"] = status
        rows = await self._database.find(
            COLLECTION,
            {**wanted, **older("createdAt", before)},
            sort=[("createdAt", -1), ("_id", -1)],
            limit=limit,
            max_time_ms=5000,
        )
        return [_from(row) for row in rows]


def older(time: str, before: tuple[int, str] | None) -> Document:
    """The condition for what is older than a position (ms, id)."""
    if before is None:
        return {}
    at, key = before
    return {"$or": [{time: {"$lt": at}}, {time: at, "_id": {"$lt": key}}]}


_CHANGING = frozenset({"status", "base", "comments", "approvals", "ended", "version", "revision"})


def actor_row(actor: Actor) -> Document:
    return {"key": actor.key, "teams": list(actor.teams)}


def actor_from(row: Document) -> Actor:
    return Actor(row["key"], tuple(row["teams"]))


def remark_row(remark: Remark | None) -> Document | None:
    return None if remark is None else {"by": actor_row(remark.by), "at": remark.at, "text": remark.text}


def remark_from(row: Document) -> Remark:
    return Remark(actor_from(row["by"]), row["at"], row["text"])


def _row(one: Proposal) -> Document:
    return {
        "_id": one.id,
        "workspace": one.workspace,
        "status": one.status,
        "base": one.base,
        # A list: paths have dots, which MongoDB reads as a way into a document.
        "files": [{"path": path, "text": text} for path, text in sorted(one.files.items())],
        "note": one.note,
        "by": actor_row(one.by),
        "createdAt": one.created_at,
        "comments": [remark_row(remark) for remark in one.comments],
        "approvals": [remark_row(remark) for remark in one.approvals],
        "ended": remark_row(one.ended),
        "version": one.version,
        "revision": one.revision,
    }


def _from(row: Document) -> Proposal:
    return Proposal(
        id=row["_id"],
        workspace=row["workspace"],
        status=row["status"],
        base=row["base"],
        files={file["path"]: file["text"] for file in row["files"]},
        note=row["note"],
        by=actor_from(row["by"]),
        created_at=row["createdAt"],
        comments=tuple(map(remark_from, row["comments"])),
        approvals=tuple(map(remark_from, row["approvals"])),
        ended=None if row["ended"] is None else remark_from(row["ended"]),
        version=row["version"],
        revision=row["revision"],
    )
