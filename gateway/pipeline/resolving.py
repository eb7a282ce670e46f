"""Resolve: which user each event of a batch belongs to, and what the batch changes in the identity graph."""

from __future__ import annotations

from gateway.identity.graph import Graph, Resolution
from gateway.model.event import Event
from gateway.model.identity import Edge, Identity, Member, Pair
from gateway.store.database import Session
from gateway.store.identities import Identities


async def resolve(
    identities: Identities, workspace: str, events: list[Event], session: Session
) -> tuple[dict[bytes, str], Resolution]:
    """The user of each event by its id, and the graph's changes, already stored in the transaction of `session`."""
    links = {event.id: event.link() for event in events}
    touched = {event.identity for event in events} | {one for pair in links.values() if pair for one in pair}
    members = await identities.members(workspace, touched, session=session)
    pairs = {pair for pair in links.values() if pair is not None}
    edges = await identities.known_pairs(workspace, pairs, session) if pairs else {}
    groups = _groups_at_stake(events, links, members, edges)
    if groups:
        members |= await identities.group_members(workspace, groups, session)
        edges |= await identities.group_edges(workspace, groups, session)
    graph = Graph(workspace, members, edges)
    for event in events:
        graph.see(event.identity, event.order)
        pair = links[event.id]
        if pair is not None:
            graph.link(pair, event.order)
    resolution = graph.settle()
    await identities.write(workspace, resolution.members, resolution.edges, session)
    return {event.id: graph.user_of(event.identity) for event in events}, resolution


def _groups_at_stake(
    events: list[Event], links: dict[bytes, Pair | None], members: dict[Identity, Member], known: dict[Pair, Edge]
) -> set[str]:
    """Groups that may come out differently: a new or earlier edge, or an earlier first event."""
    stake: set[Identity] = set()
    for event in events:
        member = members.get(event.identity)
        if member is not None and event.order < member.first:
            stake.add(event.identity)
        pair = links[event.id]
        if pair is not None and (pair not in known or event.order < known[pair].order):
            stake.update(pair)
    return {members[identity].group for identity in stake if identity in members}
