"""Who was one person at a moment: the replay of what had been said by then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.identity.graph import naming_key
from gateway.identity.replay import LIMITS, Limits, replay
from gateway.model.identity import Decision, Edge, Identity, Member, Pair


def person_at(
    identity: Identity,
    moment: int,
    members: Mapping[Identity, Member],
    edges: Mapping[Pair, Edge],
    decisions: Iterable[Decision],
    limits: Limits = LIMITS,
) -> list[Identity]:
    """The identities that were one person with `identity` after everything with `at` <= `moment` (ms), the one that
    named the user first; empty when there was no event of it yet. The rest is the identity's whole group."""
    known = {one for one, member in members.items() if member.first[0] <= moment}
    if identity not in known:
        return []
    links = {
        pair: edge.order
        for pair, edge in edges.items()
        if edge.order[0] <= moment and known.issuperset(pair) and not (pair[0].blocked or pair[1].blocked)
    }
    people = replay(known, links, (one for one in decisions if one.order[0] <= moment), limits)
    mine = next(found for found in people if identity in found)
    return sorted(mine, key=lambda one: naming_key(one, members[one].first))
