"""Users: the persons behind the events, with their identities, sessions and journeys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.connections import COUNT_AT_MOST, DEFAULT_FIRST, After, Connection, First, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.events import EVENTS, EventConnection, event_page
from gateway.api.journeys import JOURNEYS, Journey, JourneyConnection, journey_page
from gateway.api.journeys import as_node as journey_node
from gateway.api.nodes import Node, split_id
from gateway.api.scalars import Cursor, DateTime
from gateway.errors import NotFound
from gateway.model.identity import Identity as StoredIdentity
from gateway.model.journey import Session as Visit
from gateway.model.journey import UserState
from gateway.plugin import Policy, Source, attribute, field

USERS = JOURNEYS
PERSONAL = Policy("journeys:read", subject=True, pii=True)

KEYSET = Keyset("user", (int, str))
SESSIONS_KEYSET = Keyset("session", (int, str))

Names = Annotated[
    list[str] | None, strawberry.argument(description="Only events with one of these names; null for all.")
]


@strawberry.enum(description="What kind of id an identity is.")
class IdentityType(Enum):
    """Kinds of identities."""

    USER_ID = strawberry.enum_value("userId", description="An id of the customer's own system: somebody known.")
    ANONYMOUS_ID = strawberry.enum_value("anonymousId", description="An id an SDK made up: a browser or device.")


@strawberry.type(description="An id under which a user's events arrived.")
class Identity:
    """An identity."""

    type: IdentityType = attribute(
        source=Source.document("identities", "type"), policy=PERSONAL, description="What kind of id it is."
    )
    value: str = attribute(
        source=Source.document("identities", "value"), policy=PERSONAL, description="The id as it was sent."
    )


@strawberry.input(one_of=True, description="Which user: by exactly one of these.")
class UserBy:
    """Names one user."""

    id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="The user's id in this API.")
    user_id: str | None = strawberry.field(default=strawberry.UNSET, description="The userId events are sent with.")
    anonymous_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="An anonymousId events are sent with."
    )


@strawberry.type(description="A visit: events with no pause of more than 30 minutes between them.")
class Session(Node):
    """A session."""

    session: strawberry.Private[Visit]

    def global_id(self) -> str:
        return f"session_{self.session.id}"

    @field(source=Source.document("sessions", "start"), policy=USERS, description="When its first event happened.")
    def start(self) -> DateTime:
        return DateTime(self.session.start)

    @field(
        source=Source.document("sessions", "end"),
        policy=USERS,
        description="When its last event so far happened.",
    )
    def end(self) -> DateTime:
        return DateTime(self.session.end)

    @field(
        source=Source.parent("start, end"),
        policy=USERS,
        description="Seconds from the first to the last event; 0 with one event.",
    )
    def duration_seconds(self) -> float:
        return (self.session.end - self.session.start) / 1000

    @field(source=Source.document("sessions", "events"), policy=USERS, description="How many events it has.")
    def event_count(self) -> int:
        return self.session.events

    @field(source=Source.document("sessions", "entry"), policy=USERS, description="The name of its first event.")
    def entry(self) -> str:
        return self.session.entry

    @field(source=Source.document("sessions", "exit"), policy=USERS, description="The name of its last event.")
    def exit(self) -> str:
        return self.session.exit

    @field(source=Source.one("users", "user"), policy=USERS, description="Whose visit it is.")
    async def user(self, info: Info) -> User:
        return await owner(info.context, self.session.user)


@strawberry.type(description="One page of sessions, the newest first.")
class SessionConnection(Connection[Session]):
    """A page of sessions."""


@strawberry.type(description="A person, known or anonymous, with everything their events say.")
class User(Node):
    """A user."""

    state: strawberry.Private[UserState]

    def global_id(self) -> str:
        return f"user_{self.state.user}"

    @field(source=Source.document("users", "firstSeen"), policy=USERS, description="When their first event happened.")
    def first_seen(self) -> DateTime:
        return DateTime(self.state.first_seen)

    @field(source=Source.document("users", "lastSeen"), policy=USERS, description="When their last event happened.")
    def last_seen(self) -> DateTime:
        return DateTime(self.state.last_seen)

    @field(source=Source.document("users", "events"), policy=USERS, description="How many events they sent.")
    def event_count(self) -> int:
        return self.state.events

    @field(source=Source.document("users", "sessions"), policy=USERS, description="How many sessions they had.")
    def session_count(self) -> int:
        return self.state.sessions

    @field(
        source=Source.document("users", "traits"),
        policy=PERSONAL,
        description="What identify calls said about them; the latest value of each trait.",
    )
    def traits(self) -> JSON:
        return JSON(self.state.traits)

    @field(
        source=Source.many("identities", "user"),
        policy=PERSONAL,
        description="The ids their events arrived under, the oldest first.",
    )
    async def identities(self, info: Info) -> list[Identity]:
        found = await info.context.load.identities.load(self.state.user)
        return [Identity(type=IdentityType(one.type), value=one.value) for one in found]

    @field(
        source=Source.one("journeys", "user, map"),
        policy=JOURNEYS,
        description="Their latest run through a map; null if they never began one.",
    )
    async def journey(
        self,
        info: Info,
        map: Annotated[strawberry.ID, strawberry.argument(description="The key of the journey map.")],
    ) -> Journey | None:
        run = await info.context.load.latest_runs.load((self.state.user, map))
        return None if run is None else journey_node(info.context.services.contract, run)

    @field(source=Source.many("journeys", "user"), policy=JOURNEYS, description="Their runs, the last active first.")
    async def journeys(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> JourneyConnection:
        return await journey_page(info.context, first, after, user=self.state.user)

    @field(source=Source.many("events", "sk"), policy=EVENTS, description="Their events, the newest first.")
    async def events(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None, names: Names = None
    ) -> EventConnection:
        identities = await info.context.load.identities.load(self.state.user)
        sks = [identity.sk for identity in identities]
        return await event_page(info.context, first, after, names=names, sks=sks)

    @field(source=Source.many("sessions", "user"), policy=USERS, description="Their sessions, the newest first.")
    async def sessions(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> SessionConnection:
        context, user = info.context, self.state.user

        async def read(limit: int, before: Any) -> list[Visit]:
            return await context.services.sessions.page(context.scope, user, limit=limit, before=before)

        edges, page_info = await page(
            SESSIONS_KEYSET,
            first,
            after,
            read=read,
            position=lambda session: (session.start, session.id),
            node=lambda session: Session(session=session),
        )
        return SessionConnection(edges=edges, page_info=page_info)


@strawberry.type(description="One page of users, the last seen first.")
class UserConnection(Connection[User]):
    """A page of users."""

    count: strawberry.Private[Callable[[], Awaitable[int | None]]]

    @field(
        source=Source.loader("user count"),
        policy=USERS,
        description="All users of the workspace; null above 100,000.",
        weight=100,
    )
    async def total_count(self) -> int | None:
        return await self.count()


async def load_user(context: Context, user: str | None) -> User | None:
    """The user with this id, or the one it has moved to."""
    if user is None:
        return None
    state = await context.load.users.load(user)
    if state is None:
        moved = await context.services.users.follow(context.scope, user)
        state = None if moved in (None, user) else await context.load.users.load(str(moved))
    return None if state is None else User(state=state)


async def owner(context: Context, user: str) -> User:
    """The user something belongs to. Raises NotFound when it has gone meanwhile."""
    found = await load_user(context, user)
    if found is None:
        raise NotFound("This user has gone since.", hint="Ask again.")
    return found


async def user_id_by(context: Context, by: UserBy) -> str | None:
    """The id of now of the user that is named; None when there is none. Raises InvalidInput."""
    if by.id:
        return await context.services.users.follow(context.scope, split_id(by.id, "user")[1])
    identity = identity_by(by)
    return None if identity is None else await context.load.user_ids.load(identity)


def identity_by(by: UserBy) -> StoredIdentity | None:
    """The identity that names the user; None when the id does."""
    if by.user_id:
        return StoredIdentity("userId", by.user_id)
    if by.anonymous_id:
        return StoredIdentity("anonymousId", by.anonymous_id)
    return None


async def user_page(context: Context, first: int | None, after: Cursor | None) -> UserConnection:
    """A page of the workspace's users."""

    async def read(limit: int, before: Any) -> list[UserState]:
        found = await context.services.users.page(context.scope, limit=limit, before=before)
        for state in found:
            context.load.users.prime(state.user, state)
        return found

    async def count() -> int | None:
        return await context.services.users.count(context.scope, at_most=COUNT_AT_MOST)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda state: (state.last_seen, state.user),
        node=lambda state: User(state=state),
    )
    return UserConnection(edges=edges, page_info=page_info, count=count)
