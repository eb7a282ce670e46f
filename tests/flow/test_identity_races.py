"""Several processes resolve at once: what changes one group at the same time comes out as if one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.identity import graph
from gateway.model.event import Event, EventType
from gateway.model.identity import Decision, Edge, Identity, Member, Pair
from gateway.pipeline.resolving import resolve
from gateway.store import collections
from gateway.store.database import Database, Session
from gateway.store.identities import Identities


class Slow(Identities):
    """Writes only once another process has read too, the first time."""

    def __init__(self, database: Database, both: asyncio.Barrier) -> None:
        super().__init__(database)
        self._both: asyncio.Barrier | None = both

    async def write(
        self,
        workspace: str,
        members: Mapping[Identity, Member],
        edges: Mapping[Pair, Edge],
        session: Session,
        *,
        decisions: Mapping[bytes, Decision] | None = None,
    ) -> None:
        both, self._both = self._both, None
        if both is not None:
            await both.wait()
        await super().write(workspace, members, edges, session, decisions=decisions)


def event(number: int, kind: EventType, **more: Any) -> Event:
    given: dict[str, Any] = {"user_id": None, "anonymous_id": None, **more}
    return Event(
        id=number.to_bytes(16, "big"),
        workspace="w",
        source="s",
        message_id=str(number),
        type=kind,
        name=kind.value,
        at=number,
        seq=number,
        received_at=number,
        content_hash=b"",
        **given,
    )


HOME = event(1, EventType.TRACK, anonymous_id="kiosk")
ANN = event(2, EventType.IDENTIFY, anonymous_id="kiosk", user_id="ann")
BOB = event(3, EventType.IDENTIFY, anonymous_id="kiosk", user_id="bob")
SPLIT = event(4, EventType.SPLIT, user_id="ann", properties={"one": ["a:kiosk"], "other": ["u:ann"]})


async def race(database: Database, one: Event, other: Event) -> dict[str, str]:
    """Both resolved at once, each knowing nothing of the other; the user of each identity afterwards."""
    await collections.prepare(database)
    for name in ("identities", "merges"):
        await database.delete_many(name, {})

    async def take(identities: Identities, *events: Event) -> None:
        async def work(session: Session) -> None:
            await resolve(identities, "w", list(events), session)

        await database.with_transaction(work)

    await take(Identities(database), HOME, ANN)
    both = asyncio.Barrier(2)
    async with asyncio.timeout(30):
        await asyncio.gather(take(Slow(database, both), one), take(Slow(database, both), other))
    return {row["sk"]: row["user"] for row in await database.find("identities", {"workspace": "w"})}


async def test_a_refused_link_and_a_split_at_once(database: Database) -> None:
    """The link was refused because of ann; after the split the kiosk is bob's, whoever came first."""
    users = await race(database, BOB, SPLIT)
    assert users["a:kiosk"] == users["u:bob"] != users["u:ann"]


async def test_two_links_that_cannot_both_hold_at_once(database: Database) -> None:
    later = replace(BOB, id=b"later-than-others", at=5)
    cy = event(4, EventType.IDENTIFY, anonymous_id="tablet", user_id="cy")
    ann_too = event(5, EventType.IDENTIFY, anonymous_id="tablet", user_id="ann")
    users = await race(database, cy, ann_too)
    assert users["a:tablet"] == users["u:cy"] != users["u:ann"]
    assert len(set((await race(database, later, SPLIT)).values())) == 2


async def test_without_the_common_row_the_race_is_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant, so that the tests above can fail."""
    settle = graph.Graph.settle

    def mutant(self: graph.Graph) -> graph.Resolution:
        found = settle(self)
        changed = {
            identity: member
            for identity, member in found.members.items()
            if self._before.get(identity) != (member.first, member.group, member.user)
        }
        return replace(found, members=changed)

    monkeypatch.setattr(graph.Graph, "settle", mutant)
    users = await race(database, BOB, SPLIT)
    assert users["a:kiosk"] != users["u:bob"]
