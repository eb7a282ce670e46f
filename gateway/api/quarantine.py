"""Quarantine: what could not become an event, why, and how it is sent through intake again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context
from gateway.api.nodes import Node, split_id
from gateway.api.scalars import Cursor, DateTime
from gateway.errors import InvalidInput
from gateway.pipeline.replaying import MAX_ROWS, Replays
from gateway.plugin import ANYONE, Policy, Source, attribute, field
from gateway.store.database import Document
from gateway.store.quarantine import QuarantineFilter as Wanted
from gateway.store.quarantine import as_misfits

if TYPE_CHECKING:
    from gateway.api.mutations import UserError

QUARANTINE = Policy("workspace:read")
ORIGINAL = Policy("workspace:read", pii=True)
REPLAY = Policy("workspace:write")

KEYSET = Keyset("quarantine", (int, bytes))
_DEFAULT_ROWS = 1_000


LazyUserError = Annotated["UserError", strawberry.lazy("gateway.api.mutations")]


@strawberry.input(description="Which quarantined messages; what is left out does not filter.")
class QuarantineFilter:
    """Conditions that all hold."""

    codes: list[str] | None = strawberry.field(default=None, description="Those with one of these reasons.")
    source: str | None = strawberry.field(default=None, description="Those of this source.")
    from_: DateTime | None = strawberry.field(
        default=None, name="from", description="Those first seen at or after this moment."
    )
    to: DateTime | None = strawberry.field(default=None, description="Those first seen before this moment.")
    message_id: str | None = strawberry.field(default=None, description="Those sent with this messageId.")


_MISFIT = Source.parent("misfits")


@strawberry.type(description="Where an event is not what the plan says. No value that was sent stands in it.")
class Misfit:
    """A misfit."""

    property: str = attribute(
        source=_MISFIT, policy=ANYONE, description="The property, dotted, as in `products.0.price`."
    )
    rule: str = attribute(
        source=_MISFIT,
        policy=ANYONE,
        description="The rule it breaks: required, type, format, enum, pattern, minimum, maximum or maxLength.",
    )
    what: str = attribute(source=_MISFIT, policy=ANYONE, description="What is wrong.")
    fix: str = attribute(source=_MISFIT, policy=ANYONE, description="What to send instead.")


@strawberry.type(description="A message that could not become an event, kept as it was sent.")
class QuarantinedEvent(Node):
    """A row of quarantine."""

    row: strawberry.Private[Document]

    def global_id(self) -> str:
        return f"quarantined_{bytes(self.row['_id']).hex()}"

    @field(source=Source.document("quarantine", "code"), policy=QUARANTINE, description="Why, for programs.")
    def code(self) -> str:
        return str(self.row["code"])

    @field(
        source=Source.document("quarantine", "reason"),
        policy=QUARANTINE,
        description="Why, for people, and what to change; null for those of an old gateway.",
    )
    def reason(self) -> str | None:
        return self.row.get("reason")

    @field(
        source=Source.document("quarantine", "misfits"),
        policy=QUARANTINE,
        size=2,
        description="Where it is not what the plan says; empty when that is not the reason.",
    )
    def misfits(self) -> list[Misfit]:
        return [
            Misfit(property=one.property, rule=one.rule, what=one.what, fix=one.fix) for one in as_misfits(self.row)
        ]

    @field(
        source=Source.document("quarantine", "stage"),
        policy=QUARANTINE,
        description="Where it was found out: `read` (it says no event), `dedup` (its id is another event's), `plan` "
        "(it is not what the plan says), `store` (MongoDB would not take it).",
    )
    def stage(self) -> str:
        return str(self.row.get("stage", "read"))

    @field(source=Source.document("quarantine", "source"), policy=QUARANTINE, description="The source that sent it.")
    def source(self) -> str:
        return str(self.row["source"])

    @field(
        source=Source.document("quarantine", "messageId"),
        policy=QUARANTINE,
        description="Its messageId, if it has one that can be read.",
    )
    def message_id(self) -> str | None:
        return self.row["messageId"]  # type: ignore[no-any-return]

    @field(source=Source.document("quarantine", "receivedAt"), policy=QUARANTINE, description="When it first came.")
    def first_seen(self) -> DateTime:
        return DateTime(self.row["receivedAt"])

    @field(source=Source.document("quarantine", "lastSeen"), policy=QUARANTINE, description="When it last came.")
    def last_seen(self) -> DateTime:
        return DateTime(self.row.get("lastSeen") or self.row["receivedAt"])

    @field(source=Source.document("quarantine", "count"), policy=QUARANTINE, description="How often it came.")
    def count(self) -> int:
        return int(self.row.get("count", 1))

    @field(
        source=Source.document("quarantine", "original"),
        policy=ORIGINAL,
        description="The message as it was sent, as JSON text; without the last bits of IP addresses.",
    )
    def original(self) -> str:
        return bytes(self.row["original"]).decode("utf-8", "replace")


@strawberry.type(description="One page of quarantined messages, those that came last first.")
class QuarantineConnection(Connection[QuarantinedEvent]):
    """A page of quarantine."""


@strawberry.input(description="What to replay, and how. Give either a filter or ids.")
class ReplayQuarantineInput:
    """A replay."""

    filter: QuarantineFilter | None = strawberry.field(default=None, description="Those that it names; `{}` for all.")
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Those with these ids.")
    patch: JSON | None = strawberry.field(
        default=None,
        description="An object that changes each message as a JSON merge patch (RFC 7396): "
        'null removes a key. Such as {"userId": "42", "properties": {"price": null}}.',
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would become of them.")
    first: int = strawberry.field(
        default=_DEFAULT_ROWS, description=f"How many at most, the oldest first; up to {MAX_ROWS:,}."
    )


_REPLAYED = Source.loader("replay")


@strawberry.type(description="How many messages stay in quarantine for one reason.")
class ReplayReason:
    """A reason."""

    code: str = attribute(source=_REPLAYED, policy=REPLAY, description="The reason, for programs.")
    count: int = attribute(source=_REPLAYED, policy=REPLAY, description="How many messages.")


@strawberry.type(
    description="What became of the messages that were replayed: "
    "matched = accepted + duplicate + conflict + quarantined + refused."
)
class ReplayQuarantinePayload:
    """The answer of replayQuarantine."""

    dry_run: bool = attribute(source=_REPLAYED, policy=REPLAY, description="Whether nothing was changed.")
    matched: int = attribute(source=_REPLAYED, policy=REPLAY, description="How many were tried.")
    accepted: int = attribute(
        source=_REPLAYED, policy=REPLAY, description="How many became events and have left quarantine."
    )
    duplicate: int = attribute(
        source=_REPLAYED, policy=REPLAY, description="How many were events already; they have left quarantine too."
    )
    conflict: int = attribute(source=_REPLAYED, policy=REPLAY, description="How many carry another event's messageId.")
    quarantined: int = attribute(source=_REPLAYED, policy=REPLAY, description="How many cannot become events as yet.")
    refused: int = attribute(source=_REPLAYED, policy=REPLAY, description="How many must not become events.")
    reasons: list[ReplayReason] = attribute(
        source=_REPLAYED, policy=REPLAY, description="Why messages stay, the most frequent reason first.", size=10
    )
    more: bool = attribute(
        source=_REPLAYED, policy=REPLAY, description="Whether there are more behind those that were tried."
    )
    errors: list[LazyUserError] = attribute(
        source=_REPLAYED, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


async def quarantine_page(
    context: Context, wanted: QuarantineFilter | None, first: int | None, after: Cursor | None
) -> QuarantineConnection:
    """A page of the workspace's quarantine."""

    async def read(limit: int, before: Any) -> list[Document]:
        return await context.services.quarantine.page(context.scope, _wanted(wanted), limit=limit, before=before)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda row: (row["receivedAt"], bytes(row["_id"])),
        node=lambda row: QuarantinedEvent(row=row),
    )
    return QuarantineConnection(edges=edges, page_info=page_info)


async def quarantined(context: Context, key: bytes) -> QuarantinedEvent | None:
    """One row; None when it has left quarantine."""
    rows = await context.services.quarantine.page(context.scope, Wanted(ids=[key]), limit=1)
    return QuarantinedEvent(row=rows[0]) if rows else None


async def replay_quarantine(context: Context, given: ReplayQuarantineInput) -> ReplayQuarantinePayload:
    """Replay. Raises InvalidInput; Unavailable: what was replayed by then is."""
    if (given.filter is None) == (given.ids is None):
        raise InvalidInput("Give either `filter` or `ids`.", hint="`filter: {}` is all of them.", path="input")
    if given.patch is not None and not isinstance(given.patch, dict):
        raise InvalidInput("`patch` must be an object.", hint='Such as {"userId": "42"}.', path="input.patch")
    wanted = _wanted(given.filter) if given.ids is None else Wanted(ids=[_key(one) for one in given.ids])
    services = context.services
    done = await Replays(services.quarantine, services.intake, services.clock).run(
        context.scope, wanted, patch=given.patch, dry_run=given.dry_run, limit=given.first
    )
    return ReplayQuarantinePayload(
        dry_run=given.dry_run,
        matched=done.matched,
        accepted=done.accepted,
        duplicate=done.duplicate,
        conflict=done.conflict,
        quarantined=done.quarantined,
        refused=done.refused,
        reasons=[ReplayReason(code=code, count=count) for code, count in done.reasons.most_common()],
        more=done.more,
        errors=[],
    )


def _wanted(given: QuarantineFilter | None) -> Wanted:
    if given is None:
        return Wanted()
    return Wanted(given.codes, given.source, given.from_, given.to, given.message_id)


def _key(given: strawberry.ID) -> bytes:
    return bytes.fromhex(split_id(given, "quarantined")[1])
