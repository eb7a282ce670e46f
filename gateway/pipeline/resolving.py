"""Resolve: which user each event of a batch belongs to, and what the batch changes in the identity graph."""

from __future__ import annotations

from collections.abc import Collection

from gateway.identity.graph import Graph, Resolution, connecting
from gateway.model.event import Event
from gateway.model.identity import Decision, Edge, Identity, Member, Pair
from gateway.store.database import Session
from gateway.store.identities import Identities


async def resolve(
    identities: Identities,
    workspace: str,
    events: list[Event],
    session: Session,
    suppressed: Collection[Identity] = (),
) -> tuple[dict[bytes, str], Resolution]:
    """The user of each event by its id, and the graph's changes, already stored in the transaction of `session`.

    Links to suppressed identities are not noted: it is as if they had not been said.
    """
    said = [(event, event.identity, _link(event, suppressed)) for event in events]
    pairs = {pair for _, _, pair in said if pair is not None}
    decided = {event.id: decision for event in events if (decision := event.decision()) is not None}
    touched = {identity for _, identity, _ in said} | {one for pair in pairs for one in pair}
    touched |= {identity for decision in decided.values() for identity in decision.identities}
    members = await identities.members(workspace, touched, session=session)
    edges = await identities.known_pairs(workspace, pairs, session) if pairs else {}
    groups = _groups_at_stake(said, members, edges) | _groups_decided(decided, members)
    decisions: dict[bytes, Decision] = {}
    if groups:
        members |= await identities.group_members(workspace, groups, session)
        history, decisions = await identities.group_history(workspace, groups, session)
        edges |= history
    graph = Graph(workspace, members, edges, decisions)
    for event, identity, pair in said:
        if (decision := decided.get(event.id)) is not None:
            graph.decide(event.id, decision)
            continue
        graph.see(identity, event.order)
        if pair is not None:
            graph.link(pair, event.order)
    resolution = graph.settle()
    await identities.write(workspace, resolution.members, resolution.edges, session, decisions=resolution.decisions)
    return {event.id: graph.user_of(identity) for event, identity, _ in said}, resolution


def _link(event: Event, suppressed: Collection[Identity]) -> Pair | None:
    pair = event.link()
    return None if pair is None or not set(pair).isdisjoint(suppressed) else pair


def _groups_at_stake(
    said: list[tuple[Event, Identity, Pair | None]], members: dict[Identity, Member], known: dict[Pair, Edge]
) -> set[str]:
    """Groups that may come out differently: a new or earlier edge, or an earlier first event."""
    stake: set[Identity] = set()
    for event, identity, pair in said:
        member = members.get(identity)
        if member is not None and event.order < member.first:
            stake.add(identity)
        if pair is not None and (pair not in known or event.order < known[pair].order):
            stake.update(connecting(pair))
    return {members[identity].group for identity in stake if identity in members}


def _groups_decided(decided: dict[bytes, Decision], members: dict[Identity, Member]) -> set[str]:
    """Groups that an operator's decision is about."""
    return {
        members[identity].group
        for decision in decided.values()
        for identity in decision.identities
        if identity in members
    }
