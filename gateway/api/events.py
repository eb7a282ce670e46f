"""Events: the interface every kind of event shares, and the kind for events the tracking plan does not describe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.clients import EVENTS, PERSONAL, EventClient
from gateway.api.connections import Connection, Keyset, page
from gateway.api.consents import EventConsent, as_stamp
from gateway.api.context import Context, Info
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.model.event import Event as StoredEvent
from gateway.plugin import Policy, Source, field

if TYPE_CHECKING:
    from gateway.api.planned.plan import Meeting
    from gateway.api.users import User

LazyUser = Annotated["User", strawberry.lazy("gateway.api.users")]

KEYSET = Keyset("event", (int, int, bytes))


@strawberry.enum(description="The call that sent an event, as in the Segment specification.")
class EventType(Enum):
    """Calls."""

    TRACK = strawberry.enum_value("track", description="Something the user did.")
    PAGE = strawberry.enum_value("page", description="A page of a website was viewed.")
    SCREEN = strawberry.enum_value("screen", description="A screen of an app was viewed.")
    IDENTIFY = strawberry.enum_value("identify", description="Who the user is, and traits of theirs.")
    GROUP = strawberry.enum_value("group", description="The account or company the user belongs to.")
    ALIAS = strawberry.enum_value("alias", description="Two ids belong to one user.")


@strawberry.interface(description="Something that happened, as it was sent. It never changes.")
class Event(Node):
    """What all kinds of events have."""

    event: strawberry.Private[StoredEvent]

    def global_id(self) -> str:
        return f"event_{self.event.id.hex()}"

    @field(
        source=Source.document("events", "name"),
        policy=EVENTS,
        description="The event's name; for a page or screen call its name, for other calls their type.",
    )
    def name(self) -> str:
        return self.event.name

    @field(
        source=Source.document("events", "at"),
        policy=EVENTS,
        description="When it happened: the sender's time, corrected when the sender's clock was wrong.",
    )
    def at(self) -> DateTime:
        return DateTime(self.event.at)

    @field(
        source=Source.one("users", "identities.user"),
        policy=Policy("journeys:read", subject=True),
        description="Who did it; null until the event has been derived (usually well under a second).",
    )
    async def user(self, info: Info) -> LazyUser | None:
        from gateway.api.users import load_user  # users are made of events

        return await load_user(info.context, await info.context.load.user_ids.load(self.event.identity))

    @field(
        source=Source.document("events", "consent"),
        policy=EVENTS,
        description="What its sender had consented to when it came in; null: nobody had said anything.",
        size=5,
    )
    def consent(self) -> list[EventConsent] | None:
        return as_stamp(self.event.consent)

    @field(source=Source.document("events", "properties"), policy=PERSONAL, description="The event's properties.")
    def properties(self) -> JSON:
        return JSON(self.event.properties)

    @field(source=Source.document("events", "type"), policy=EVENTS, description="The call that sent it.")
    def type(self) -> EventType:
        return EventType(self.event.type.value)

    @field(source=Source.document("events", "receivedAt"), policy=EVENTS, description="When the gateway received it.")
    def received_at(self) -> DateTime:
        return DateTime(self.event.received_at)

    @field(
        source=Source.document("events", "sentAt"),
        policy=EVENTS,
        description="When the sender sent it, by the sender's clock.",
    )
    def sent_at(self) -> DateTime | None:
        return _time(self.event.sent_at)

    @field(
        source=Source.document("events", "timestamp"),
        policy=EVENTS,
        description="The `timestamp` it was sent with; `at` is the corrected one.",
    )
    def timestamp(self) -> DateTime | None:
        return _time(self.event.timestamp)

    @field(
        source=Source.document("events", "originalTimestamp"),
        policy=EVENTS,
        description="When it happened by the sender's clock: its `originalTimestamp`, else its `timestamp`.",
    )
    def original_timestamp(self) -> DateTime | None:
        return _time(self.event.original_timestamp)

    @field(
        source=Source.document("events", "client"),
        policy=EVENTS,
        description="What software sent it, from what kind of device and from which country.",
    )
    def client(self) -> EventClient:
        return EventClient(client=self.event.client)

    @field(source=Source.document("events", "source"), policy=EVENTS, description="The source that sent it.")
    def source(self) -> str:
        return self.event.source

    @field(
        source=Source.document("events", "messageId"),
        policy=EVENTS,
        description="The sender's own id of the event; sending it again changes nothing.",
    )
    def message_id(self) -> str:
        return self.event.message_id

    @field(source=Source.document("events", "userId"), policy=PERSONAL, description="The userId it was sent with.")
    def user_id(self) -> str | None:
        return self.event.user_id

    @field(
        source=Source.document("events", "anonymousId"),
        policy=PERSONAL,
        description="The anonymousId it was sent with.",
    )
    def anonymous_id(self) -> str | None:
        return self.event.anonymous_id

    @field(
        source=Source.document("events", "traits"),
        policy=PERSONAL,
        description="Traits that an identify or group call sent; otherwise empty.",
    )
    def traits(self) -> JSON:
        return JSON(self.event.traits)

    @field(
        source=Source.document("events", "context"),
        policy=PERSONAL,
        description="What the SDK told about device, page and library.",
    )
    def context(self) -> JSON:
        return JSON(self.event.context)

    @field(
        source=Source.document("events", "flags"),
        policy=EVENTS,
        description="What was mended on the way in: clock_suspect, lone_surrogate, not_a_number.",
        size=1,
    )
    def flags(self) -> list[str]:
        return list(self.event.flags)


@strawberry.type(description="An event that the tracking plan does not describe; its properties are plain JSON.")
class UntypedEvent(Event):
    """An event without fields of its own. Planned ones are of this class, too, and get their types by the plan."""


@strawberry.type(description="One page of events, the newest first.")
class EventConnection(Connection[Event]):
    """A page of events."""

    count: strawberry.Private[Callable[[], Awaitable[int | None]]]

    @field(
        source=Source.loader("event count"),
        policy=EVENTS,
        description="All events of the workspace; null above 100,000, with a filter, and of one user (see eventCount).",
        weight=100,
    )
    async def total_count(self) -> int | None:
        return await self.count()


def _time(milliseconds: int | None) -> DateTime | None:
    return None if milliseconds is None else DateTime(milliseconds)


def as_node(event: StoredEvent) -> Event:
    """The API's object for a stored event."""
    return UntypedEvent(event=event)


async def load_events(context: Context, ids: list[bytes]) -> list[Event]:
    """Those of the events that are stored, in the order of `ids`."""
    found = await context.load.events.load_many(ids)
    return [as_node(event) for event in found if event is not None]


async def event_page(
    context: Context,
    first: int | None,
    after: Cursor | None,
    *,
    names: list[str] | None = None,
    sks: list[str] | None = None,
    between: tuple[int, int] | None = None,
    meeting: Meeting | None = None,
    count: Callable[[], Awaitable[int | None]] | None = None,
) -> EventConnection:
    """A page of the workspace's events, or of those with the identities `sks`. Raises Forbidden."""
    events, scope = context.services.events, context.scope
    if meeting is not None:
        meeting.wanted.check(scope)
        name = meeting.wanted.name
        names = [name] if names is None or name in names else []
    stopped: Any = None

    async def read(limit: int, before: Any) -> list[StoredEvent]:
        nonlocal stopped
        wanted = {"before": before, "names": names, "sks": sks, "between": between}
        if meeting is None:
            return await events.page(scope, limit=limit, **wanted)
        rows = await events.page(scope, limit=limit, meeting=meeting.stored, **wanted)
        # Those of another major version are not told apart by MongoDB.
        found = [event for event in rows if meeting.holds(event)]
        if len(rows) == limit > len(found):
            stopped = rows[-1].order
        elif len(rows) < limit:
            stopped = await events.last_looked_at(scope, **wanted)
        return found

    edges, page_info = await page(KEYSET, first, after, read=read, position=lambda event: event.order, node=as_node)
    if stopped is not None:
        page_info = replace(page_info, has_next_page=True, end_cursor=KEYSET.write(stopped))
    return EventConnection(edges=edges, page_info=page_info, count=count or _unknown)


async def _unknown() -> None:
    return None
