"""Identities and the edges between them, as MongoDB keeps them (`identities`, `merges`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gateway.model.identity import Edge, Identity, Member, Pair, digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session, UpdateOne

IDENTITIES = "identities"
MERGES = "merges"


class Identities:
    """The identity graph of a workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def members(
        self, workspace: str, identities: Iterable[Identity], *, session: Session | None = None
    ) -> dict[Identity, Member]:
        """The known ones among `identities`."""
        sks = [identity.sk for identity in identities]
        return await self._members({"workspace": workspace, "sk": {"$in": sks}}, session)

    async def group_members(self, workspace: str, groups: Collection[str], session: Session) -> dict[Identity, Member]:
        """Every identity of these groups."""
        return await self._members({"workspace": workspace, "group": {"$in": list(groups)}}, session)

    async def of_users(
        self, scope: Scope, users: Collection[str], *, session: Session | None = None
    ) -> dict[str, list[Identity]]:
        """The identities of each user, oldest first."""
        rows = await self._database.find(
            IDENTITIES,
            {"workspace": scope.workspace, "user": {"$in": list(users)}},
            sort=[("first", 1), ("sk", 1)],
            session=session,
        )
        found: dict[str, list[Identity]] = {user: [] for user in users}
        for row in rows:
            found[row["user"]].append(Identity.from_sk(row["sk"]))
        return found

    async def user_of(self, scope: Scope, identity: Identity) -> str | None:
        """The user an identity belongs to now; None when no event of it has been derived yet."""
        row = await self._database.find_one(
            IDENTITIES, {"workspace": scope.workspace, "sk": identity.sk}, projection={"user": 1}
        )
        return None if row is None else str(row["user"])

    async def users_of(self, scope: Scope, identities: Collection[Identity]) -> dict[Identity, str]:
        """The user of each known identity."""
        found = await self.members(scope.workspace, identities)
        return {identity: member.user for identity, member in found.items()}

    async def known_pairs(self, workspace: str, pairs: Iterable[Pair], session: Session) -> dict[Pair, Edge]:
        """The edges that are stored among `pairs`."""
        ids = [_edge_id(workspace, pair) for pair in pairs]
        return await self._edges({"workspace": workspace, "_id": {"$in": ids}}, session)

    async def group_edges(self, workspace: str, groups: Collection[str], session: Session) -> dict[Pair, Edge]:
        """Every edge of these groups, refused ones included."""
        return await self._edges({"workspace": workspace, "group": {"$in": list(groups)}}, session)

    async def write(
        self, workspace: str, members: Mapping[Identity, Member], edges: Mapping[Pair, Edge], session: Session
    ) -> None:
        """Store changed rows; each write bumps the row's revision."""
        if members:
            await self._database.bulk_write(
                IDENTITIES, [_member_row(workspace, *item) for item in members.items()], session=session
            )
        if edges:
            await self._database.bulk_write(
                MERGES, [_edge_row(workspace, *item) for item in edges.items()], session=session
            )

    async def _members(self, wanted: Document, session: Session | None) -> dict[Identity, Member]:
        rows = await self._database.find(IDENTITIES, wanted, session=session)
        return {Identity.from_sk(row["sk"]): Member(_order(row["first"]), row["group"], row["user"]) for row in rows}

    async def _edges(self, wanted: Document, session: Session) -> dict[Pair, Edge]:
        rows = await self._database.find(MERGES, wanted, session=session)
        return {
            (Identity.from_sk(row["a"]), Identity.from_sk(row["b"])): Edge(
                _order(row["order"]), row["group"], row["refused"]
            )
            for row in rows
        }


def _order(stored: list[object]) -> tuple[int, int, bytes]:
    at, seq, key = stored
    return int(at), int(seq), bytes(key)  # type: ignore[call-overload]


def _edge_id(workspace: str, pair: Pair) -> bytes:
    return digest(workspace, pair[0].sk, pair[1].sk)


def _member_row(workspace: str, identity: Identity, member: Member) -> UpdateOne:
    return UpdateOne(
        {"_id": digest(workspace, identity.sk), "workspace": workspace},
        {
            "$set": {
                "sk": identity.sk,
                "type": identity.type,
                "value": identity.value,
                "first": list(member.first),
                "group": member.group,
                "user": member.user,
            },
            "$inc": {"revision": 1},
        },
        upsert=True,
    )


def _edge_row(workspace: str, pair: Pair, edge: Edge) -> UpdateOne:
    return UpdateOne(
        {"_id": _edge_id(workspace, pair), "workspace": workspace},
        {
            "$set": {
                "a": pair[0].sk,
                "b": pair[1].sk,
                "order": list(edge.order),
                "group": edge.group,
                "refused": edge.refused,
            },
            "$inc": {"revision": 1},
        },
        upsert=True,
    )
