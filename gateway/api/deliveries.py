"""Deliveries: what destinations have not got yet, what they never will, how they are, and replays."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.nodes import Node, split_id
from gateway.api.scalars import Cursor, DateTime
from gateway.api.users import UserBy, user_id_by
from gateway.connectors.asking import Asked
from gateway.errors import InvalidInput
from gateway.plugin import ANYONE, Policy, Source, attribute, field
from gateway.store.database import Document
from gateway.store.deliveries import Standing
from gateway.store.lane_items import DeadFilter

if TYPE_CHECKING:
    from gateway.api.mutations import UserError

DELIVERIES = Policy("workspace:read")
REDELIVER = Policy("workspace:write")

KEYSET = Keyset("deliveries", (int, bytes))
_DEFAULT_LETTERS = 1_000

LazyUserError = Annotated["UserError", strawberry.lazy("gateway.api.mutations")]


@strawberry.enum(description="Where something that is not delivered stands.")
class DeliveryStatus(Enum):
    """States."""

    PENDING = strawberry.enum_value("pending", description="It is tried again.")
    WAITING = strawberry.enum_value("waiting", description="It waits behind something of the same user.")
    DEAD = strawberry.enum_value("dead", description="It was given up: a dead letter, kept for a replay.")


@strawberry.enum(description="How a destination is.")
class DestinationState(Enum):
    """States."""

    DELIVERING = strawberry.enum_value("delivering", description="It takes what it is sent.")
    BROKEN = strawberry.enum_value("broken", description="It takes nothing; one item at a time asks whether it does.")
    PAUSED = strawberry.enum_value("paused", description="Its credentials are refused; nothing is sent.")


@strawberry.type(description="Something that a destination has not got.")
class Delivery(Node):
    """A row of lane_items or dead_letters."""

    row: strawberry.Private[Document]

    def global_id(self) -> str:
        return f"delivery_{bytes(self.row['_id']).hex()}"

    @field(source=Source.document("lane_items", "instance"), policy=DELIVERIES, description="The connector's instance.")
    def destination(self) -> str:
        return str(self.row["instance"])

    @field(source=Source.document("lane_items", "state"), policy=DELIVERIES, description="Where it stands.")
    def status(self) -> DeliveryStatus:
        return DeliveryStatus(self.row.get("state", "dead"))

    @field(
        source=Source.document("lane_items", "kind"),
        policy=DELIVERIES,
        description="What it is: `event`, `journey` (a step of one), `response`, `alert`, or `erase` (a wish to).",
    )
    def kind(self) -> str:
        return str(self.row["kind"])

    @field(
        source=Source.document("lane_items", "about.name"),
        policy=DELIVERIES,
        description="The event's name; else null.",
    )
    def event_name(self) -> str | None:
        return self.row["about"].get("name")  # type: ignore[no-any-return]

    @field(
        source=Source.document("lane_items", "about.event"),
        policy=DELIVERIES,
        description="The event's id, for `node`; null for what is none.",
    )
    def event_id(self) -> strawberry.ID | None:
        found = self.row["about"].get("event")
        return None if found is None else strawberry.ID(f"event_{bytes(found).hex()}")

    @field(
        source=Source.document("lane_items", "user"),
        policy=DELIVERIES,
        description="The id of its user, for `node`; null when it is nobody's.",
    )
    def user_id(self) -> strawberry.ID | None:
        return strawberry.ID(f"user_{self.row['user']}") if self.row["user"] else None

    @field(
        source=Source.document("lane_items", "key"),
        policy=DELIVERIES,
        description="Its idempotency key: the same on every try.",
    )
    def key(self) -> str:
        return str(self.row["key"])

    @field(source=Source.document("lane_items", "attempts"), policy=DELIVERIES, description="How often it was tried.")
    def attempts(self) -> int:
        return int(self.row["attempts"])

    @field(
        source=Source.document("lane_items", "code"),
        policy=DELIVERIES,
        description="Why it failed last, for programs: `retry`, `throttled`, `bug`, `mapping`, `too_large`, or what "
        "the destination calls it; null before the first try.",
    )
    def code(self) -> str | None:
        return self.row["code"] or None

    @field(
        source=Source.document("lane_items", "reason"),
        policy=DELIVERIES,
        description="Why it failed last, for people; what looks like personal data or a secret is left out.",
    )
    def reason(self) -> str | None:
        return self.row["reason"] or None

    @field(
        source=Source.document("dead_letters", "excerpt"),
        policy=DELIVERIES,
        description="Of a dead letter, the shape of what was sent: keys, types and lengths, no values.",
    )
    def excerpt(self) -> str | None:
        return self.row.get("excerpt")

    @field(source=Source.document("lane_items", "since"), policy=DELIVERIES, description="Since when it is owed.")
    def since(self) -> DateTime:
        return DateTime(self.row["since"])

    @field(
        source=Source.document("lane_items", "dueAt"),
        policy=DELIVERIES,
        description="When it is tried next; else null.",
    )
    def due_at(self) -> DateTime | None:
        return DateTime(self.row["dueAt"]) if self.row.get("state") == "pending" and self.row["dueAt"] else None

    @field(source=Source.document("dead_letters", "diedAt"), policy=DELIVERIES, description="When it was given up.")
    def died_at(self) -> DateTime | None:
        found = self.row.get("diedAt")
        return None if found is None else DateTime(found)


@strawberry.type(description="How a destination is, and what it has yet to get.")
class DeliveryDestination:
    """One instance."""

    standing: strawberry.Private[Standing]
    behind: int = attribute(
        source=Source.many("delivery_cursors", "instance"),
        policy=DELIVERIES,
        description="How many changes of the feed lie before it, of all kinds: what it has yet to look at.",
    )
    lag_seconds: float = attribute(
        source=Source.many("delivery_cursors", "instance"),
        policy=DELIVERIES,
        description="How long ago the oldest of them was announced, in seconds; 0 when there is none.",
    )
    configured: bool = attribute(
        source=Source.loader("plugins"),
        policy=DELIVERIES,
        description="Whether the settings of the process that answers have it. What is not in them gets nothing, and "
        "erasures wait to be told to it, until `journey-gateway deliveries forget` drops it.",
    )
    pending: int = attribute(
        source=Source.many("lane_items", "instance"), policy=DELIVERIES, description="How many are tried again."
    )
    waiting: int = attribute(
        source=Source.many("lane_items", "instance"), policy=DELIVERIES, description="How many wait behind those."
    )
    dead: int = attribute(
        source=Source.many("dead_letters", "instance"), policy=DELIVERIES, description="How many were given up."
    )

    @field(
        source=Source.document("destinations", "instance"), policy=DELIVERIES, description="The connector's instance."
    )
    def name(self) -> str:
        return self.standing.instance

    @field(source=Source.document("destinations", "connector"), policy=DELIVERIES, description="Which connector it is.")
    def connector(self) -> str:
        return self.standing.connector

    @field(source=Source.document("destinations", "state"), policy=DELIVERIES, description="How it is.")
    def state(self) -> DestinationState:
        return DestinationState(self.standing.state)

    @field(source=Source.document("destinations", "since"), policy=DELIVERIES, description="Since when it is so.")
    def since(self) -> DateTime:
        return DateTime(self.standing.since)

    @field(
        source=Source.document("destinations", "until"),
        policy=DELIVERIES,
        description="When it is asked next whether it is well; null while it delivers.",
    )
    def until(self) -> DateTime | None:
        return DateTime(self.standing.until) if self.standing.until else None

    @field(
        source=Source.document("destinations", "reason"),
        policy=DELIVERIES,
        description="Why it is broken or paused; null while it delivers.",
    )
    def reason(self) -> str | None:
        return self.standing.reason or None

    @field(source=Source.document("destinations", "hint"), policy=DELIVERIES, description="What to do about it.")
    def hint(self) -> str | None:
        return self.standing.hint or None


@strawberry.type(description="One page of what is not delivered, and how the destinations are.")
class DeliveryConnection(Connection[Delivery]):
    """A page of deliveries."""

    only: strawberry.Private[str | None]

    @field(
        source=Source.many("destinations", "workspace"),
        policy=DELIVERIES,
        description="The destinations, by name; only the one that was asked for if one was.",
        size=10,
    )
    async def destinations(self, info: strawberry.Info[Context, None]) -> list[DeliveryDestination]:
        return await destinations(info.context, self.only)


@strawberry.input(description="Which dead letters; what is left out does not filter.")
class DeadLetterFilter:
    """Conditions that all hold."""

    destination: str | None = strawberry.field(default=None, description="Those of this instance.")
    codes: list[str] | None = strawberry.field(default=None, description="Those given up for one of these reasons.")
    user: UserBy | None = strawberry.field(default=None, description="Those of this user.")
    from_: DateTime | None = strawberry.field(
        default=None, name="from", description="Those given up at or after this moment."
    )
    to: DateTime | None = strawberry.field(default=None, description="Those given up before this moment.")
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Those with these ids.")


@strawberry.input(description="Which events of the log.")
class ReplayLogInput:
    """A span of the log."""

    destination: str = strawberry.field(description="The instance that gets them once more.")
    from_: DateTime = strawberry.field(name="from", description="Events at or after this moment.")
    to: DateTime = strawberry.field(description="Events before this moment.")
    user: UserBy | None = strawberry.field(default=None, description="Only events of this user.")


@strawberry.input(description="What to deliver once more. Give either `deadLetters` or `log`.")
class ReplayDeliveriesInput:
    """A replay."""

    dead_letters: DeadLetterFilter | None = strawberry.field(
        default=None, description="Dead letters that it names, the newest first; `{}` for all."
    )
    log: ReplayLogInput | None = strawberry.field(
        default=None, description="Events of the log, the oldest first, behind whatever is live."
    )
    dry_run: bool = strawberry.field(default=False, description="Only count.")
    first: int = strawberry.field(default=_DEFAULT_LETTERS, description="How many dead letters at most; up to 10,000.")


_REPLAYED = Source.loader("asking")


@strawberry.type(description="What is delivered once more. Each thing keeps its idempotency key.")
class ReplayDeliveriesPayload:
    """The answer of replayDeliveries."""

    dry_run: bool = attribute(source=_REPLAYED, policy=REDELIVER, description="Whether nothing was changed.")
    matched: int = attribute(
        source=_REPLAYED,
        policy=REDELIVER,
        description="How many there are; dead letters are counted up to 10,000, events up to 1,000,000.",
    )
    replayed: int = attribute(source=_REPLAYED, policy=REDELIVER, description="How many are on their way now.")
    more: bool = attribute(
        source=_REPLAYED, policy=REDELIVER, description="Whether there are more behind those: ask again."
    )
    errors: list[LazyUserError] = attribute(
        source=_REPLAYED, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


async def delivery_page(
    context: Context, destination: str | None, status: DeliveryStatus, first: int | None, after: Cursor | None
) -> DeliveryConnection:
    """A page of what is not delivered: dead letters newest first, the others as they came."""
    items, workspace = context.services.asking.deliveries.items, context.scope.workspace
    dead = status is DeliveryStatus.DEAD

    async def read(limit: int, position: Any) -> list[Document]:
        if dead:
            return await items.dead(workspace, DeadFilter(destination), limit=limit, before=position)
        state = "pending" if status is DeliveryStatus.PENDING else "waiting"
        return await items.rows(workspace, state=state, instance=destination, limit=limit, after=position)  # type: ignore[arg-type]

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda row: (row["diedAt" if dead else "since"], bytes(row["_id"])),
        node=lambda row: Delivery(row=row),
    )
    return DeliveryConnection(edges=edges, page_info=page_info, only=destination)


async def delivery(context: Context, key: str) -> Delivery | None:
    """One row; None when it is delivered, or unknown."""
    row = await context.services.asking.deliveries.items.get(context.scope.workspace, bytes.fromhex(key))
    return None if row is None else Delivery(row=row)


async def destinations(context: Context, only: str | None) -> list[DeliveryDestination]:
    """How the destinations are."""
    deliveries, workspace = context.services.asking.deliveries, context.scope.workspace
    behind = await deliveries.behind(workspace, context.services.clock.now())
    counts = await deliveries.items.counts(workspace)
    configured = {one.name for one in context.services.plugged.by_workspace(workspace)}
    return [
        DeliveryDestination(
            standing=one,
            configured=one.instance in configured,
            behind=behind.get(one.instance, (0, 0.0))[0],
            lag_seconds=behind.get(one.instance, (0, 0.0))[1],
            **{state: counts.get(one.instance, {}).get(state, 0) for state in ("pending", "waiting", "dead")},
        )
        for one in await deliveries.standings(workspace)
        if only in (None, one.instance)
    ]


async def replay_deliveries(context: Context, given: ReplayDeliveriesInput) -> ReplayDeliveriesPayload:
    """Replay. Raises InvalidInput and NotFound."""
    if (given.dead_letters is None) == (given.log is None):
        raise InvalidInput(
            "Give either `deadLetters` or `log`.", hint="`deadLetters: {}` is all of them.", path="input"
        )
    asking = context.services.asking
    if given.dead_letters is not None:
        wanted = await _dead_filter(context, given.dead_letters)
        done = await asking.dead_letters(context.scope, wanted, limit=given.first, dry_run=given.dry_run)
        return _payload(done, given)
    assert given.log is not None
    user = None if given.log.user is None else await _user(context, given.log.user)
    log = given.log
    done = await asking.log(context.scope, log.destination, log.from_, log.to, user=user, dry_run=given.dry_run)
    return _payload(done, given)


def _payload(done: Asked, given: ReplayDeliveriesInput) -> ReplayDeliveriesPayload:
    return ReplayDeliveriesPayload(
        dry_run=given.dry_run, matched=done.matched, replayed=done.taken, more=done.more, errors=[]
    )


async def _dead_filter(context: Context, given: DeadLetterFilter) -> DeadFilter:
    return DeadFilter(
        given.destination,
        given.codes,
        None if given.user is None else await _user(context, given.user),
        given.from_,
        given.to,
        None if given.ids is None else [bytes.fromhex(split_id(one, "delivery")[1]) for one in given.ids],
    )


async def _user(context: Context, by: UserBy) -> str:
    """The id of a user; one that nobody has if nobody is known under it."""
    return await user_id_by(context, by) or "-"


@strawberry.type(description="What can be delivered once more.")
class Redelivering:
    """Mutations of deliveries."""

    @field(
        source=Source.many("dead_letters", "workspace"),
        policy=REDELIVER,
        description="Deliver once more: dead letters, or a span of the log to one destination. What is replayed goes "
        "behind what is live, keeps its idempotency key, and passes consent again.",
        weight=500,
    )
    async def replay_deliveries(
        self, info: Info, input: Annotated[ReplayDeliveriesInput, strawberry.argument(description="Which, and how.")]
    ) -> ReplayDeliveriesPayload:
        return await replay_deliveries(info.context, input)
