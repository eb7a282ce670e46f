"""Identities and what was said about them, as MongoDB keeps it.

`identities` has one row per identity; `merges` one per link (`a` and `b`) and one per merge or split by an operator
(`kind`, `one`, `other`; its key is that of its event).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from gateway.model.identity import Decision, Edge, Identity, Member, Pair, digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session, UpdateOne

IDENTITIES = "identities"
MERGES = "merges"

#: What was said about a group: links, refused ones included, and an operator's decisions by the id of their event.
History: TypeAlias = tuple[dict[Pair, Edge], dict[bytes, Decision]]


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

    async def group_members(
        self, workspace: str, groups: Collection[str], session: Session | None = None
    ) -> dict[Identity, Member]:
        """Every identity of these groups."""
        return await self._members({"workspace": workspace, "group": {"$in": list(groups)}}, session)

    async def of_users(
        self, scope: Scope, users: Collection[str], *, session: Session | None = None
    ) -> dict[str, list[Identity]]:
        """The identities of each user, oldest first."""
        rows = await self._database.find(
            IDENTITIES,
            {"workspace": scope.workspace, "user": {"$in": list(users)}},
            sort=[("first.0", 1), ("first.1", 1), ("sk", 1)],
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

    async def group_history(self, workspace: str, groups: Collection[str], session: Session | None = None) -> History:
        """Everything said about the identities of these groups: links, refused ones included, and decisions by id."""
        rows = await self._database.find(
            MERGES, {"workspace": workspace, "group": {"$in": list(groups)}}, session=session
        )
        edges = {_pair(row): _edge(row) for row in rows if "kind" not in row}
        return edges, {bytes(row["_id"]): _decision(row) for row in rows if "kind" in row}

    async def write(
        self,
        workspace: str,
        members: Mapping[Identity, Member],
        edges: Mapping[Pair, Edge],
        session: Session,
        *,
        decisions: Mapping[bytes, Decision] | None = None,
    ) -> None:
        """Store changed rows; each write bumps the row's revision."""
        if members:
            await self._database.bulk_write(
                IDENTITIES, [self._member_row(workspace, *item) for item in members.items()], session=session
            )
        rows = [_edge_row(workspace, *item) for item in edges.items()]
        rows += [_decision_row(workspace, *item) for item in (decisions or {}).items()]
        if rows:
            await self._database.bulk_write(MERGES, rows, session=session)

    async def remove(
        self,
        workspace: str,
        gone: Collection[Identity],
        pairs: Collection[Pair],
        decisions: Collection[bytes],
        session: Session,
    ) -> dict[str, int]:
        """Delete identities, links and decisions; how many rows there were, by collection."""
        keys = [digest(workspace, identity.sk) for identity in gone]
        said = [*(_edge_id(workspace, pair) for pair in pairs), *decisions]
        counts = {}
        for collection, ids in ((IDENTITIES, keys), (MERGES, said)):
            wanted = {"workspace": workspace, "_id": {"$in": ids}}
            counts[collection] = await self._database.delete_many(collection, wanted, session=session) if ids else 0
        return counts

    async def group(self, scope: Scope, identity: Identity) -> tuple[dict[Identity, Member], History]:
        """The group of an identity, whole: its members and everything said about them; empty when it is unknown."""
        known = await self.members(scope.workspace, [identity])
        groups = [member.group for member in known.values()]
        members = await self.group_members(scope.workspace, groups) if groups else {}
        return members, await self.group_history(scope.workspace, groups) if groups else ({}, {})

    async def refused(self, scope: Scope, user: str, *, limit: int) -> list[tuple[Pair, Edge]]:
        """Links of a user's identities that do not hold, the latest first."""
        rows = await self._database.find(IDENTITIES, {"workspace": scope.workspace, "user": user})
        sks, groups = [row["sk"] for row in rows], {row["group"] for row in rows}
        found = await self._database.find(
            MERGES,
            {
                "workspace": scope.workspace,
                "group": {"$in": sorted(groups)},
                "refused": {"$type": "string"},
                "$or": [{"a": {"$in": sks}}, {"b": {"$in": sks}}],
            },
            sort=[("order.0", -1), ("order.1", -1), ("_id", 1)],
            limit=limit,
        )
        return [(_pair(row), _edge(row)) for row in found]

    async def named(self, scope: Scope, user: str) -> Identity | None:
        """The identity that a user's id, of now or of before, was made of; None when there is none."""
        row = await self._database.find_one(
            IDENTITIES, {"_id": bytes.fromhex(user), "workspace": scope.workspace}, projection={"sk": 1}
        )
        return None if row is None else Identity.from_sk(row["sk"])

    def _member_row(self, workspace: str, identity: Identity, member: Member) -> UpdateOne:
        return UpdateOne(
            self._database.key(workspace, digest(workspace, identity.sk)),
            {
                "$set": {
                    "workspace": workspace,
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

    async def _members(self, wanted: Document, session: Session | None) -> dict[Identity, Member]:
        rows = await self._database.find(IDENTITIES, wanted, session=session)
        return {Identity.from_sk(row["sk"]): Member(_order(row["first"]), row["group"], row["user"]) for row in rows}

    async def _edges(self, wanted: Document, session: Session) -> dict[Pair, Edge]:
        return {_pair(row): _edge(row) for row in await self._database.find(MERGES, wanted, session=session)}


def _pair(row: Document) -> Pair:
    return Identity.from_sk(row["a"]), Identity.from_sk(row["b"])


def _edge(row: Document) -> Edge:
    return Edge(_order(row["order"]), row["group"], row["refused"])


def _decision(row: Document) -> Decision:
    one, other = (frozenset(map(Identity.from_sk, row[side])) for side in ("one", "other"))
    return Decision(row["kind"], one, other, _order(row["order"]), row["group"])


def _order(stored: list[object]) -> tuple[int, int, bytes]:
    at, seq, key = stored
    return int(at), int(seq), bytes(key)  # type: ignore[call-overload]


def _edge_id(workspace: str, pair: Pair) -> bytes:
    return digest(workspace, pair[0].sk, pair[1].sk)


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


def _decision_row(workspace: str, event: bytes, decision: Decision) -> UpdateOne:
    return UpdateOne(
        {"_id": event, "workspace": workspace},
        {
            "$set": {
                "kind": decision.kind,
                "one": sorted(identity.sk for identity in decision.one),
                "other": sorted(identity.sk for identity in decision.other),
                "order": list(decision.order),
                "group": decision.group,
            },
            "$inc": {"revision": 1},
        },
        upsert=True,
    )
