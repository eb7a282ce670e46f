"""Observations: what people saw and heard of a user, a stage or a KPI."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context
from gateway.api.contract_changes import READ, ContractActor, as_actor
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.plugin import Policy, Source, field
from gateway.quality.refusing import Refused
from gateway.store.observations import Kind
from gateway.store.observations import Observation as Stored

OBSERVED = READ
#: Words about people may name them.
WORDS = Policy("contract:read", pii=True)
KEYSET = Keyset("observation", (int, str))
LONGEST_TEXT = 10_000
_LONGEST_LINK = 2_000


@strawberry.type(description="What somebody saw or heard: a note of an interview, a link to a recording.")
class Observation(Node):
    """An observation."""

    row: strawberry.Private[Stored]

    def global_id(self) -> str:
        return f"observation_{self.row.id}"

    @field(source=Source.document("observations", "text"), policy=WORDS, description="What was seen or heard.")
    def text(self) -> str:
        return self.row.text

    @field(
        source=Source.document("observations", "link"),
        policy=WORDS,
        description="Where there is more of it, such as a recording; null without one.",
    )
    def link(self) -> str | None:
        return self.row.link

    @field(source=Source.document("observations", "by"), policy=READ, description="Who noted it.")
    def by(self) -> ContractActor:
        return as_actor(self.row.by)

    @field(source=Source.document("observations", "at"), policy=READ, description="When it was noted.")
    def at(self) -> DateTime:
        return DateTime(self.row.at)


@strawberry.type(description="One page of observations, the newest first.")
class ObservationConnection(Connection[Observation]):
    """A page of observations."""


async def observation_page(
    context: Context, kind: Kind, keys: Collection[str], first: int | None, after: Cursor | None
) -> ObservationConnection:
    """A page of what was noted of one object."""

    async def read(limit: int, before: Any) -> list[Stored]:
        return await context.services.collaboration.observations.page(
            context.scope, kind, keys, limit=limit, before=before
        )

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.at, one.id),
        node=lambda one: Observation(row=one),
    )
    return ObservationConnection(edges=edges, page_info=page_info)


async def observation_by(context: Context, key: str) -> Observation | None:
    """One observation; None when there is none."""
    found = await context.services.collaboration.observations.get(context.scope, key)
    return None if found is None else Observation(row=found)


def checked_link(link: str | None) -> str | None:
    """A link that a browser may open. Raises Refused."""
    if link is None:
        return None
    try:
        parts = urlsplit(link)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and link.isprintable() and " " not in link
    except ValueError:
        good = False
    if not good or len(link) > _LONGEST_LINK:
        raise Refused("LINK", "It is no address of a page.", hint="Such as https://recordings.example/7.", path="link")
    return link
