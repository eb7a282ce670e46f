"""Erasures: what was asked, how far it has come, and what was deleted, by collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.model.event import SYSTEM_SK
from gateway.model.identity import Identity, key_of, lane_of
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, InsertOne, Session

COLLECTION = "erasures"

RUNNING, DONE = "running", "done"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure; times in ms. Its identities are known by name (`sks`) only until it is done, then by their keys.

    It takes two rounds: the first as soon as possible, the second at `due_at`, when no intake that knew nothing of
    it can be under way any more. `told`: announcements of deleted events under ids of users that live on.
    """

    id: str
    workspace: str
    status: Literal["running", "done"]
    keys: tuple[bytes, ...]
    sks: tuple[str, ...]
    reason: str
    by: str | None
    requested_at: int
    done_at: int | None
    due_at: int
    round: int
    begun: int
    counts: Mapping[str, int]
    told: tuple[tuple[str, bytes], ...] = field(default=())

    @property
    def identities(self) -> list[Identity]:
        return [Identity.from_sk(sk) for sk in self.sks]

    @property
    def users(self) -> list[str]:
        """Every id that a user made of these identities can have had."""
        return [key.hex() for key in self.keys]


class Erasures:
    """Rows are written by the mutation that asks and by the owners of lanes that delete."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        key: str,
        workspace: str,
        identities: Collection[Identity],
        *,
        reason: str,
        by: str | None,
        now: int,
        due_at: int,
        session: Session,
    ) -> None:
        """A new one: round 1 begins at once, round 2 at `due_at` (ms)."""
        sks = sorted(identity.sk for identity in identities)
        row: Document = {
            "_id": key,
            "workspace": workspace,
            "lane": lane_of_erasure(workspace, key),
            "status": RUNNING,
            "keys": [key_of(workspace, sk) for sk in sks],
            "sks": sks,
            "reason": reason,
            "by": by,
            "requestedAt": now,
            "doneAt": None,
            "dueAt": now,
            "lastAt": due_at,
            "round": 1,
            "begun": 0,
            "counts": {},
            "told": [],
        }
        await self._database.bulk_write(COLLECTION, [InsertOne(row)], session=session)

    async def get(self, scope: Scope, key: str, session: Session | None = None) -> Erasure | None:
        row = await self._database.find_one(COLLECTION, {"_id": key, "workspace": scope.workspace}, session=session)
        return None if row is None else _from(row)

    async def due(self, lanes: Collection[int], now: int, *, limit: int) -> list[Erasure]:
        """Running ones of these lanes whose round may begin, or go on."""
        wanted = {"status": RUNNING, "lane": {"$in": list(lanes)}, "dueAt": {"$lte": now}}
        return [_from(row) for row in await self._database.find(COLLECTION, wanted, limit=limit)]

    async def note(
        self,
        workspace: str,
        key: str,
        counts: Mapping[str, int],
        *,
        told: Collection[tuple[str, bytes]] = (),
        begun: int | None = None,
        session: Session | None = None,
    ) -> None:
        """Add to what was deleted; `begun`: identities and links are gone for this round."""
        added = {f"counts.{name}": number for name, number in counts.items() if number}
        changes: Document = {"$inc": added} if added else {}
        if told:
            changes["$push"] = {"told": {"$each": [[user, event] for user, event in told]}}
        if begun is not None:
            changes["$max"] = {"begun": begun}
        if changes:
            await self._database.update_one(COLLECTION, {"_id": key, "workspace": workspace}, changes, session=session)

    async def finish_round(self, erasure: Erasure, now: int) -> None:
        """Go on to the second round, or be done: then nothing tells any more who it was."""
        key = {"_id": erasure.id, "workspace": erasure.workspace, "round": erasure.round, "status": RUNNING}
        if erasure.round == 1:
            await self._database.update_one(COLLECTION, key, [{"$set": {"round": 2, "dueAt": "$lastAt"}}])
            return
        done = {"status": DONE, "doneAt": now}
        await self._database.update_one(
            COLLECTION, key, {"$set": done, "$unset": dict.fromkeys(("sks", "told", "dueAt"), "")}
        )


def lane_of_erasure(workspace: str, key: str) -> int:
    """The lane whose owner looks after an erasure: the one that its event comes in."""
    return lane_of(workspace, SYSTEM_SK + Identity("anonymousId", key).sk)


def _from(row: Document) -> Erasure:
    return Erasure(
        id=row["_id"],
        workspace=row["workspace"],
        status=row["status"],
        keys=tuple(map(bytes, row["keys"])),
        sks=tuple(row.get("sks", ())),
        reason=row["reason"],
        by=row["by"],
        requested_at=row["requestedAt"],
        done_at=row["doneAt"],
        due_at=row.get("dueAt", 0),
        round=row["round"],
        begun=row["begun"],
        counts=row["counts"],
        told=tuple((user, bytes(event)) for user, event in row.get("told", ())),
    )
