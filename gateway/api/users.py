"""Users: the persons behind the events, with their identities, sessions and journeys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.clients import EVENTS
from gateway.api.connections import COUNT_AT_MOST, DEFAULT_FIRST, After, Connection, First, Keyset, newest, page
from gateway.api.consents import CONSENTS, Consent, as_consents
from gateway.api.context import Context, Info
from gateway.api.events import EventConnection, event_page
from gateway.api.flags import Flag, Keys, checked_keys, decided, subject_of
from gateway.api.journeys import JOURNEYS, Journey, JourneyConnection, journey_page
from gateway.api.journeys import as_node as journey_node
from gateway.api.maps import check_keys
from gateway.api.nodes import Node, split_id
from gateway.api.observations import OBSERVED, ObservationConnection, observation_page
from gateway.api.planned.plan import Where, plan_of
from gateway.api.responses import ResponseConnection, response_page
from gateway.api.scalars import Cursor, DateTime
from gateway.api.surveys import Language, Page, SurveyOffer, TouchpointKey, moment_of, offered, standing_of
from gateway.errors import NotFound
from gateway.model.identity import Edge, Pair, key_of
from gateway.model.identity import Identity as StoredIdentity
from gateway.model.journey import Session as Visit
from gateway.model.journey import UserState
from gateway.pipeline.persons import Persons, Then
from gateway.plugin import Policy, Source, attribute, field

if TYPE_CHECKING:
    from gateway.api.segments import Segment

LazySegment = Annotated["Segment", strawberry.lazy("gateway.api.segments")]

USERS = JOURNEYS
PERSONAL = Policy("journeys:read", subject=True, pii=True)
#: What links say names other people too: not for a user's own token.
LINKS = Policy("journeys:read", pii=True)

_LINK = Source.document("merges", "*")
_MOST_LINKS = 100

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


@strawberry.input(description="An id under which events arrive.")
class IdentityInput:
    """Names one identity."""

    type: IdentityType = strawberry.field(description="What kind of id it is.")
    value: str = strawberry.field(description="The id as it is sent.")


@strawberry.enum(description="Why a link between two identities does not hold.")
class Refusal(Enum):
    """Reasons."""

    BLOCKED_VALUE = strawberry.enum_value("blocked_value", description="One of them names nobody, such as `null`.")
    TWO_USER_IDS = strawberry.enum_value("two_user_ids", description="It would make two known people one.")
    LIMIT_ANONYMOUS_ID = strawberry.enum_value(
        "limit_anonymousId", description="It would give one user more than 100 anonymousIds."
    )
    SPLIT = strawberry.enum_value("split", description="An operator split the two; only a merge joins them again.")


@strawberry.type(description="Two identities that an event says are one person, and are not taken to be.")
class RefusedLink:
    """A link that does not hold."""

    pair: strawberry.Private[Pair]
    edge: strawberry.Private[Edge]

    @field(source=_LINK, policy=LINKS, description="The anonymous one.")
    def anonymous(self) -> Identity:
        return as_identity(self.pair[0])

    @field(source=_LINK, policy=LINKS, description="The known one.")
    def known(self) -> Identity:
        return as_identity(self.pair[1])

    @field(source=_LINK, policy=LINKS, description="Why it does not hold.")
    def reason(self) -> Refusal:
        return Refusal(self.edge.refused)

    @field(source=_LINK, policy=LINKS, description="When it was said first.")
    def at(self) -> DateTime:
        return DateTime(self.edge.order[0])


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
    #: Set when the user of a moment was asked for.
    then: strawberry.Private[Then | None] = None

    def global_id(self) -> str:
        return f"user_{self.state.user}"

    async def known_as(self, context: Context) -> Sequence[StoredIdentity]:
        return await context.load.identities.load(self.state.user) if self.then is None else self.then.identities

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
        source=Source.many("consents", "identity"),
        policy=CONSENTS,
        description="What they said last about each purpose, under any of their identities. As of now, whatever "
        "`asOf` says.",
        size=5,
    )
    async def consents(self, info: Info) -> list[Consent]:
        known = await self.known_as(info.context)
        return as_consents(await info.context.services.privacy.words_of(info.context.scope.workspace, known))

    @field(
        source=Source.many("identities", "user"),
        policy=PERSONAL,
        description="The ids their events arrived under, the oldest first.",
    )
    async def identities(self, info: Info) -> list[Identity]:
        return [as_identity(one) for one in await self.known_as(info.context)]

    @field(
        source=Source.many("merges", "group"),
        policy=LINKS,
        description=(
            "Links of their identities that do not hold, and why: the latest hundred. As of now, whatever `asOf` says."
        ),
        size=5,
    )
    async def refused_links(self, info: Info) -> list[RefusedLink]:
        services, scope = info.context.services, info.context.scope
        user = self.state.user if self.then is None else await services.users.follow(scope, self.state.user)
        found = [] if user is None else await services.identities.refused(scope, user, limit=_MOST_LINKS)
        return [RefusedLink(pair=pair, edge=edge) for pair, edge in found]

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
        check_keys(info.context.services.contract, map)
        if self.then is None:
            run = await info.context.load.latest_runs.load((self.state.user, map))
        else:
            runs = [run for run in self.then.folded.journeys.values() if run.map == map]
            run = max(runs, key=lambda run: run.run, default=None)
        return None if run is None else journey_node(info.context.services.contract, run)

    @field(
        source=Source.loader("flags"),
        policy=JOURNEYS,
        size=20,
        description="Feature flags as the configured providers decide them for this user, by traits and journey; in "
        "process, and without recording anything. By the rules of now, whatever `asOf` says.",
    )
    async def flags(self, info: Info, keys: Keys = None) -> list[Flag]:
        subject = await subject_of(info.context, self.state, await self.known_as(info.context))
        return [Flag(decision=one) for one in await decided(info.context, checked_keys(keys), subject)]

    @field(
        source=Source.document("users", "segments"),
        policy=JOURNEYS,
        size=3,
        description="The segments they are in, as they were folded last; none for who denies analytics.",
    )
    async def segments(self, info: Info) -> list[LazySegment]:
        from gateway.api.segments import segments_of  # segments are made of users

        known = await self.known_as(info.context)
        words = await info.context.services.privacy.words_of(info.context.scope.workspace, known)
        return await segments_of(info.context, self.state, words)

    @field(source=Source.many("journeys", "user"), policy=JOURNEYS, description="Their runs, the last active first.")
    async def journeys(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> JourneyConnection:
        runs = None if self.then is None else list(self.then.folded.journeys.values())
        return await journey_page(info.context, first, after, user=self.state.user, among=runs)

    @field(source=Source.many("events", "sk"), policy=EVENTS, description="Their events, the newest first.")
    async def events(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None, names: Names = None, where: Where = None
    ) -> EventConnection:
        meeting = plan_of(info).meeting(where)
        sks = [identity.sk for identity in await self.known_as(info.context)]
        until = None if self.then is None else (0, self.then.moment + 1)
        return await event_page(info.context, first, after, names=names, sks=sks, between=until, meeting=meeting)

    @field(
        source=Source.many("events", "sk"),
        policy=EVENTS,
        description="What they answered to surveys, the newest first.",
    )
    async def responses(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> ResponseConnection:
        sks = [identity.sk for identity in await self.known_as(info.context)]
        return await response_page(info.context, first, after, sks)

    @field(
        source=Source.loader("survey choice"),
        policy=JOURNEYS,
        description="The survey to put before them now, if there is one: by its triggers and targeting, its sample and "
        "quota, what they were asked lately, and as of now, whatever `asOf` says. Asking changes nothing: say with "
        "`recordSurveyDisplay` that it was shown.",
        weight=20,
    )
    async def next_survey(
        self, info: Info, touchpoint: TouchpointKey = None, page: Page = None, language: Language = None
    ) -> SurveyOffer:
        standing = await standing_of(info.context, self.state, await self.known_as(info.context))
        return await offered(info.context, standing, moment_of(info.context, touchpoint, page), language)

    @field(
        source=Source.many("observations", "user"),
        policy=OBSERVED,
        description="What people noted of them, the newest first; it goes when they are erased.",
    )
    async def observations(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> ObservationConnection:
        context = info.context
        keys = [key_of(context.scope.workspace, identity.sk).hex() for identity in await self.known_as(context)]
        return await observation_page(context, "user", keys, first, after)

    @field(source=Source.many("sessions", "user"), policy=USERS, description="Their sessions, the newest first.")
    async def sessions(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> SessionConnection:
        context, user = info.context, self.state.user

        async def read(limit: int, before: Any) -> list[Visit]:
            if self.then is not None:
                return newest(self.then.folded.sessions.values(), lambda one: (one.start, one.id), limit, before)
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


async def user_then(context: Context, by: UserBy, moment: int) -> User | None:
    """The user that is named, as of a moment; None when there was none yet. Raises InvalidInput, TooLarge."""
    services = context.services
    identity = identity_by(by)
    if by.id:
        identity = await services.identities.named(context.scope, split_id(by.id, "user")[1])
    if identity is None:
        return None
    then = await persons_of(context).then(context.scope, identity, min(moment, services.clock.now()))
    return None if then is None else User(state=then.folded.state, then=then)


def persons_of(context: Context) -> Persons:
    """What decides about persons, and looks back."""
    services = context.services
    return Persons(services.intake, services.identities, services.events, services.contract, services.clock)


def as_identity(identity: StoredIdentity) -> Identity:
    """The API's object for an identity."""
    return Identity(type=IdentityType(identity.type), value=identity.value)


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
