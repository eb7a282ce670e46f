"""The part of a workspace's identity graph that one batch of events touches.

A *group* is everything connected by links, refused ones included, and by an operator's merges and splits; within it
the replay (`gateway.identity.replay`) finds the persons, each of them one user. The result depends only on the set of
events, never on the order in which they arrived. A link to a value that names nobody connects no groups: it is
refused whatever else is said, and would make strangers wait for each other.

A user's id is the hash of the person's first identity; of two that began with the same event, the userId names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.identity.replay import LIMITS, Limits, replay
from gateway.model.event import OrderKey
from gateway.model.identity import Decision, Edge, Identity, Member, Pair, user_id_of


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a batch changed: rows to write, and users whose identities are others now.

    `members` are the identities that changed, and of every group that took part in a change the one it is (or was)
    named after, changed or not: because each writes that row, two concurrent changes of one group conflict.

    `moves`: for each user that identities left, the users they belong to now; the old one may have others still.
    `gone`: of those, the users without identities, each with the one user its id leads to from now on.
    `regrouped`: users of now that an identity with events from before joined or left.
    """

    members: Mapping[Identity, Member]
    edges: Mapping[Pair, Edge]
    gone: Mapping[str, str]
    regrouped: frozenset[str]
    decisions: Mapping[bytes, Decision] = field(default_factory=dict)
    moves: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Graph:
    """Groups loaded whole, what a batch says added, then settled once. Decisions are known by their event's id."""

    def __init__(
        self,
        workspace: str,
        members: dict[Identity, Member],
        edges: dict[Pair, Edge],
        decisions: dict[bytes, Decision] | None = None,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        self._workspace = workspace
        self._members = members
        self._edges = edges
        self._decisions = {} if decisions is None else decisions
        self._limits = limits
        self._before = {identity: (row.first, row.group, row.user) for identity, row in members.items()}
        self._edges_before = {pair: (edge.order, edge.group, edge.refused) for pair, edge in edges.items()}
        self._decisions_before = {key: one.group for key, one in self._decisions.items()}
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
        self._dirty.update(connecting(pair))

    def decide(self, key: bytes, decision: Decision) -> None:
        """A merge or split by an operator; `key` is the id of its event."""
        if key in self._decisions:
            return
        for identity in decision.identities:
            self.see(identity, decision.order)
        self._decisions[key] = decision
        self._dirty.update(decision.identities)

    def forget(
        self, gone: Collection[Identity], firsts: Mapping[Identity, OrderKey], decisions: Mapping[bytes, Decision]
    ) -> None:
        """Identities are erased, with every link to them. `firsts` are the first mentions of all others, now that it
        is as if those had never been there, and `decisions` what operators still decide."""
        for identity in gone:
            self._members.pop(identity, None)
        for pair in [pair for pair in self._edges if not set(pair).isdisjoint(gone)]:
            del self._edges[pair]
        self._decisions.clear()
        self._decisions.update(decisions)
        for identity, first in firsts.items():
            member = self._members[identity]
            # On its own until a link or a decision that is still there says otherwise.
            member.first, member.group = first, identity.sk
            self._dirty.add(identity)

    def user_of(self, identity: Identity) -> str:
        return self._members[identity].user

    def settle(self) -> Resolution:
        """Resolve every group that changed."""
        anchors: set[Identity] = set()
        for group in self._dirty_groups():
            anchors |= {Identity.from_sk(self._members[identity].group) for identity in group.members}
            self._resolve(group)
            anchors.add(Identity.from_sk(self._members[group.members[0]].group))
        moved: dict[str, set[str]] = {}
        for identity, (_, _, user) in self._before.items():
            if (member := self._members.get(identity)) is None:
                moved.setdefault(user, set())
            elif member.user != user:
                moved.setdefault(user, set()).add(member.user)
        alive = {member.user for member in self._members.values()}
        return Resolution(
            members={
                i: m
                for i, m in self._members.items()
                if i in anchors or self._before.get(i) != (m.first, m.group, m.user)
            },
            edges={p: e for p, e in self._edges.items() if self._edges_before.get(p) != (e.order, e.group, e.refused)},
            gone={user: self._lead(user, moved[user]) for user in moved.keys() - alive if moved[user]},
            regrouped=frozenset(frozenset().union(*moved.values()) | (moved.keys() & alive)),
            decisions={key: d for key, d in self._decisions.items() if self._decisions_before.get(key) != d.group},
            moves={user: frozenset(users) for user, users in moved.items()},
        )

    def _lead(self, gone: str, moved_to: Collection[str]) -> str:
        """Where the id of a user that is gone leads: to the user of the identity it was named after."""
        for identity, (_, _, user) in self._before.items():
            if user == gone and identity in self._members and user_id_of(self._workspace, identity) == gone:
                return self._members[identity].user
        return min(moved_to)  # that identity has been erased

    def _dirty_groups(self) -> Iterator[_Group]:
        parents = {identity: identity for identity in self._members}
        for identity, member in self._members.items():
            anchor = Identity.from_sk(member.group)
            if anchor in parents:
                _union(parents, identity, anchor)
        for pair in self._edges:
            first, *rest = connecting(pair)
            for identity in rest:
                _union(parents, first, identity)
        for decision in self._decisions.values():
            first, *rest = decision.identities
            for identity in rest:
                _union(parents, first, identity)
        groups = {_find(parents, identity): _Group() for identity in self._dirty}
        for identity in self._members:
            if (group := groups.get(_find(parents, identity))) is not None:
                group.members.append(identity)
        for pair, edge in self._edges.items():
            if (group := groups.get(_find(parents, connecting(pair)[0]))) is not None:
                group.edges[pair] = edge
        for decision in self._decisions.values():
            if (group := groups.get(_find(parents, next(iter(decision.identities))))) is not None:
                group.decisions.append(decision)
        yield from groups.values()

    def _resolve(self, group: _Group) -> None:
        name = min(identity.sk for identity in group.members)
        links = {pair: edge.order for pair, edge in group.edges.items() if not _blocked(pair)}
        people = replay(group.members, links, group.decisions, self._limits)
        for pair, edge in group.edges.items():
            edge.group, edge.refused = name, people.refusal(pair)
        for decision in group.decisions:
            decision.group = name
        for identities in people:
            user = user_id_of(self._workspace, min(identities, key=self._age))
            for identity in identities:
                self._members[identity].group = name
                self._members[identity].user = user

    def _age(self, identity: Identity) -> tuple[OrderKey, bool, str]:
        return naming_key(identity, self._members[identity].first)


@dataclass(slots=True)
class _Group:
    members: list[Identity] = field(default_factory=list)
    edges: dict[Pair, Edge] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)


def naming_key(identity: Identity, first: OrderKey) -> tuple[OrderKey, bool, str]:
    """The smallest of a person's names the user: the first, of equals the userId, then the smaller value."""
    return (first, identity.type != "userId", identity.value)


def connecting(pair: Pair) -> tuple[Identity, ...]:
    """The identities whose groups a link makes one: of a link to nobody only the end that is somebody."""
    anonymous, known = pair
    if not _blocked(pair):
        return pair
    return (known,) if anonymous.blocked else (anonymous,)


def _blocked(pair: Pair) -> bool:
    return pair[0].blocked or pair[1].blocked


def _find(parents: dict[Identity, Identity], identity: Identity) -> Identity:
    while parents[identity] != identity:
        parents[identity] = parents[parents[identity]]
        identity = parents[identity]
    return identity


def _union(parents: dict[Identity, Identity], left: Identity, right: Identity) -> None:
    parents[_find(parents, right)] = _find(parents, left)
