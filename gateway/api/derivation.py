"""How derivation stands, for operators: its lag, users whose events do not fold, and incidents."""

from __future__ import annotations

from typing import Any

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, Connection, First, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.scalars import DateTime
from gateway.plugin import Policy, Source, attribute, field
from gateway.store.derivation import Incident, SetAside

DERIVATION = Policy("workspace:read")

_USERS = Keyset("setAside", (int, str))
_INCIDENTS = Keyset("incidents", (int, str))
_ROW = Source.document("incidents", "*")
_STATE = Source.document("users", "setAside")


@strawberry.type(description="A user whose events do not fold: what is shown of them stays as it was before.")
class SetAsideUser:
    """A user that was set aside."""

    user_id: strawberry.ID = attribute(
        source=_STATE, policy=DERIVATION, description="The id of the user, as `User.id` has it."
    )
    at: DateTime = attribute(source=_STATE, policy=DERIVATION, description="When folding was tried last.")
    error: str = attribute(
        source=_STATE,
        policy=DERIVATION,
        description="The kind of fault. The user's next event tries again, and so does `journey-gateway rebuild`.",
    )


@strawberry.type(description="One page of users that were set aside, those tried last first.")
class SetAsideUserConnection(Connection[SetAsideUser]):
    """A page of users."""


@strawberry.type(description="Something that befell derivation. Nothing stored is lost by it.")
class DerivationIncident:
    """An incident."""

    key: str = attribute(source=_ROW, policy=DERIVATION, description="What names the incident.")
    kind: str = attribute(
        source=_ROW,
        policy=DERIVATION,
        description="`history_lost`: MongoDB's oplog no longer reached back to where derivation stood, so that "
        "everything received since was derived from the stored events. A larger oplog keeps it from happening.",
    )
    since: DateTime | None = attribute(
        source=_ROW, policy=DERIVATION, description="Where derivation stood; null when it had no place yet."
    )
    started_at: DateTime = attribute(source=_ROW, policy=DERIVATION, description="When it was noticed.")
    ended_at: DateTime | None = attribute(
        source=_ROW, policy=DERIVATION, description="When everything was derived again; null while it is not."
    )
    lanes: list[int] = attribute(source=_ROW, policy=DERIVATION, description="The lanes that it befell.", size=16)
    tries: int = attribute(
        source=_ROW, policy=DERIVATION, description="How often a process began to make up for it, restarts included."
    )


@strawberry.type(description="One page of incidents, the newest first.")
class DerivationIncidentConnection(Connection[DerivationIncident]):
    """A page of incidents."""


@strawberry.type(description="How derivation stands.")
class DerivationState:
    """All processes together."""

    @field(
        source=Source.document("lanes", "offset"),
        policy=DERIVATION,
        description="Seconds that the lane furthest behind has to catch up, exact to about two seconds; null before "
        "anything was derived.",
    )
    async def lag(self, info: Info) -> float | None:
        services = info.context.services
        found = await services.derivation.lag_ms(services.clock.now())
        return None if found is None else found / 1000

    @field(
        source=Source.many("users", "workspace"),
        policy=DERIVATION,
        description="Users of the workspace whose events do not fold.",
    )
    async def set_aside(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> SetAsideUserConnection:
        return await _set_aside_page(info.context, first, after)

    @field(
        source=Source.many("incidents", "*"),
        policy=DERIVATION,
        description="What befell derivation, in the whole installation.",
    )
    async def incidents(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> DerivationIncidentConnection:
        return await _incident_page(info.context, first, after)


async def _set_aside_page(context: Context, first: First, after: After) -> SetAsideUserConnection:
    async def read(limit: int, before: Any) -> list[SetAside]:
        return await context.services.derivation.set_aside(context.scope, limit=limit, before=before)

    edges, page_info = await page(
        _USERS, first, after, read=read, position=lambda row: (row.at, row.user), node=_set_aside
    )
    return SetAsideUserConnection(edges=edges, page_info=page_info)


async def _incident_page(context: Context, first: First, after: After) -> DerivationIncidentConnection:
    async def read(limit: int, before: Any) -> list[Incident]:
        return await context.services.derivation.incidents(limit=limit, before=before)

    edges, page_info = await page(
        _INCIDENTS, first, after, read=read, position=lambda row: (row.started_at, row.id), node=_incident
    )
    return DerivationIncidentConnection(edges=edges, page_info=page_info)


def _set_aside(row: SetAside) -> SetAsideUser:
    return SetAsideUser(user_id=strawberry.ID(f"user_{row.user}"), at=DateTime(row.at), error=row.error)


def _incident(row: Incident) -> DerivationIncident:
    return DerivationIncident(
        key=row.id,
        kind=row.kind,
        since=None if row.since is None else DateTime(row.since),
        started_at=DateTime(row.started_at),
        ended_at=None if row.ended_at is None else DateTime(row.ended_at),
        lanes=list(row.lanes),
        tries=row.tries,
    )
