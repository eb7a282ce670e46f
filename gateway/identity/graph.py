"""The part of a workspace's identity graph that one batch of events touches.

A *group* is everything connected by edges, refused ones included; a *component* is what the accepted edges
connect, and is one user. A group is resolved by replaying its edges in order, so that the result depends only on
the set of events, never on the order in which they arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model.event import OrderKey
from gateway.model.identity import Edge, Identity, Member, Pair, user_id_of


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a batch changed: rows to write, users that live on under another id, and users to fold again.

    A user is folded again (`regrouped`) when an identity that had events before joined or left it.
    """

    members: Mapping[Identity, Member]
    edges: Mapping[Pair, Edge]
    gone: Mapping[str, str]
    regrouped: frozenset[str]


class Graph:
    """Groups loaded whole, the identities and links of a batch added, then settled once."""

    def __init__(self, workspace: str, members: dict[Identity, Member], edges: dict[Pair, Edge]) -> None:
        self._workspace = workspace
        self._members = members
        self._edges = edges
        self._before = {identity: (row.first, row.group, row.user) for identity, row in members.items()}
        self._edges_before = {pair: (edge.order, edge.group, edge.refused) for pair, edge in edges.items()}
        self._dirty: set[Identity] = set()

    def see(self, identity: Identity, order: OrderKey) -> None:
        """An event of this identity."""
        member = self._members.get(identity)
        if member is None:
            user = user_id_of(self._workspace, identity)
            self._members[identity] = Member(order, identity.sk, user)
            self._dirty.add(identity)
        elif order < member.first:
            member.first = order
            self._dirty.add(identity)

    def link(self, pair: Pair, order: OrderKey) -> None:
        """An event that says both identities are one person."""
        for identity in pair:
            self.see(identity, order)
        edge = self._edges.get(pair)
        if edge is None:
            self._edges[pair] = Edge(order, "")
        elif order < edge.order:
            edge.order = order
        else:
            return
        self._dirty.update(pair)

    def user_of(self, identity: Identity) -> str:
        return self._members[identity].user

    def settle(self) -> Resolution:
        """Resolve every group that changed."""
        for group in self._dirty_groups():
            self._resolve(group)
        moved: dict[str, list[Identity]] = {}
        for identity, (_, _, user) in self._before.items():
            if self._members[identity].user != user:
                moved.setdefault(user, []).append(identity)
        alive = {member.user for member in self._members.values()}
        joined = {self._members[identity].user for identities in moved.values() for identity in identities}
        return Resolution(
            members={i: m for i, m in self._members.items() if self._before.get(i) != (m.first, m.group, m.user)},
            edges={p: e for p, e in self._edges.items() if self._edges_before.get(p) != (e.order, e.group, e.refused)},
            gone={
                old: self._members[min(identities, key=self._age)].user
                for old, identities in moved.items()
                if old not in alive
            },
            regrouped=frozenset(joined | (moved.keys() & alive)),
        )

    def _age(self, identity: Identity) -> tuple[OrderKey, bool, str]:
        return (self._members[identity].first, identity.type != "userId", identity.value)

    def _dirty_groups(self) -> list[list[Identity]]:
        parents = {identity: identity for identity in self._members}
        for identity, member in self._members.items():
            anchor = Identity.from_sk(member.group)
            if anchor in parents:
                _union(parents, identity, anchor)
        for pair in self._edges:
            _union(parents, *pair)
        groups: dict[Identity, list[Identity]] = {}
        for identity in self._members:
            groups.setdefault(_find(parents, identity), []).append(identity)
        dirty = {_find(parents, identity) for identity in self._dirty}
        return [groups[root] for root in dirty]

    def _resolve(self, group: list[Identity]) -> None:
        name = min(identity.sk for identity in group)
        inside = set(group)
        edges = sorted(
            ((pair, edge) for pair, edge in self._edges.items() if pair[0] in inside),
            key=lambda item: (item[1].order, item[0]),
        )
        parents = {identity: identity for identity in group}
        people = {identity: {identity} if identity.type == "userId" else set() for identity in group}
        for pair, edge in edges:
            edge.group = name
            edge.refused = _refusal(pair, parents, people)
            if edge.refused is None:
                left, right = (_find(parents, identity) for identity in pair)
                if left != right:
                    parents[right] = left
                    people[left] |= people[right]
        components: dict[Identity, list[Identity]] = {}
        for identity in group:
            self._members[identity].group = name
            components.setdefault(_find(parents, identity), []).append(identity)
        for identities in components.values():
            user = user_id_of(self._workspace, min(identities, key=self._age))
            for identity in identities:
                self._members[identity].user = user


def _refusal(pair: Pair, parents: dict[Identity, Identity], people: dict[Identity, set[Identity]]) -> str | None:
    if any(identity.blocked for identity in pair):
        return "blocked_value"
    left, right = (_find(parents, identity) for identity in pair)
    return "two_user_ids" if left != right and len(people[left] | people[right]) > 1 else None


def _find(parents: dict[Identity, Identity], identity: Identity) -> Identity:
    while parents[identity] != identity:
        parents[identity] = parents[parents[identity]]
        identity = parents[identity]
    return identity


def _union(parents: dict[Identity, Identity], left: Identity, right: Identity) -> None:
    parents[_find(parents, right)] = _find(parents, left)
