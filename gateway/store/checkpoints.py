"""Checkpoints: a user's state as it was after some of its events, so that a late event is folded from there.

Each holds the fold of all events up to its order that are done, under the maps whose hash it names, of the identities
that the user has. So those behind a late event go as it is folded, and all of a user's go with a merge, a split, other
maps or an erasure, in the transaction that writes the user.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.model.event import OrderKey
from gateway.model.identity import digest
from gateway.model.journey import UserState
from gateway.store.database import Database, Document, ReplaceOne, Session
from gateway.store.users import CHECKPOINTS, state_from, state_row


class Checkpoints:
    """The states of users with very many events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def before(
        self, workspace: str, user: str, maps: str, order: OrderKey, session: Session | None = None
    ) -> UserState | None:
        """The latest state that an event of this order is later than."""
        at, seq, key = order
        earlier: list[Document] = [
            {"at": {"$lt": at}},
            {"at": at, "seq": {"$lt": seq}},
            {"at": at, "seq": seq, "key": {"$lt": key}},
        ]
        rows = await self._database.find(
            CHECKPOINTS,
            {"workspace": workspace, "user": user, "at": {"$lte": at}, "maps": maps, "$or": earlier},
            sort=[("at", -1), ("seq", -1), ("key", -1)],
            limit=1,
            session=session,
        )
        return state_from(rows[0]["state"]) if rows else None

    async def add(self, workspace: str, states: Sequence[UserState], maps: str, session: Session) -> None:
        """Keep these states of users."""
        operations = []
        for state in states:
            row = _row(workspace, state, maps)
            operations.append(ReplaceOne({"_id": row["_id"], "workspace": workspace}, row, upsert=True))
        if operations:
            await self._database.bulk_write(CHECKPOINTS, list(operations), session=session)

    async def drop(self, workspace: str, users: Collection[str], session: Session) -> None:
        """Forget all states of these users."""
        if users:
            gone = {"workspace": workspace, "user": {"$in": list(users)}}
            await self._database.delete_many(CHECKPOINTS, gone, session=session)

    async def drop_behind(self, workspace: str, state: UserState, session: Session) -> None:
        """Forget the states of a user that are later than this one."""
        at, seq, key = state.last
        later: list[Document] = [
            {"at": {"$gt": at}},
            {"at": at, "seq": {"$gt": seq}},
            {"at": at, "seq": seq, "key": {"$gt": key}},
        ]
        gone = {"workspace": workspace, "user": state.user, "at": {"$gte": at}, "$or": later}
        await self._database.delete_many(CHECKPOINTS, gone, session=session)


def _row(workspace: str, state: UserState, maps: str) -> Document:
    at, seq, key = state.last
    return {
        "_id": digest(workspace, "checkpoint", state.user, str(at), str(seq), key),
        "workspace": workspace,
        "user": state.user,
        "at": at,
        "seq": seq,
        "key": key,
        "maps": maps,
        "state": {"_id": state.user, **state_row(state)},
    }
