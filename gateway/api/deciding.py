"""What an operator decides about who is who: merges and splits of users, with a dry run, and the log of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.mutations import InputError, UserError
from gateway.api.scalars import Cursor, DateTime
from gateway.api.users import Identity, IdentityInput, IdentityType, UserBy, as_identity, persons_of, user_id_by
from gateway.errors import TooLarge
from gateway.model.event import Event
from gateway.model.identity import Decision
from gateway.model.identity import Identity as StoredIdentity
from gateway.pipeline.persons import Outcome, Share
from gateway.plugin import ANYONE, Policy, Source, attribute, field

DECIDE = Policy("identities:write")
#: Those who decide see what was decided; identities themselves need `pii:read` too.
LOG = Policy("identities:write")
_KEYSET = Keyset("decision", (int, int, bytes))
_MOST_USERS = 10
_LONGEST_REASON = 500
_TRIES = 3
_PREVIEW = Source.loader("fold in memory")
_EVENT = Source.document("events", "properties")


@strawberry.enum(description="What an operator decided.")
class DecisionKind(Enum):
    """Kinds."""

    MERGE = strawberry.enum_value("merge", description="All these identities are one user.")
    SPLIT = strawberry.enum_value("split", description="The identities of one side are not the user of the other.")


@strawberry.type(description="A merge or split by an operator. It never changes; a later one can undo it.")
class IdentityDecision:
    """A decision."""

    event: strawberry.Private[Event]

    def _decided(self) -> Decision:
        found = self.event.decision()
        assert found is not None
        return found

    @field(source=Source.document("events", "type"), policy=LOG, description="What was decided.")
    def kind(self) -> DecisionKind:
        return DecisionKind(self.event.type.value)

    @field(source=Source.document("events", "at"), policy=LOG, description="When.")
    def at(self) -> DateTime:
        return DateTime(self.event.at)

    @field(source=_EVENT, policy=LOG, description="Why, as the operator put it.")
    def reason(self) -> str:
        return str(self.event.properties.get("reason") or "")

    @field(
        source=_EVENT,
        policy=LOG,
        description="The id of the API key that was used, as `keys list` shows it; null for a token without a key.",
    )
    def by(self) -> str | None:
        found = self.event.properties.get("by")
        return None if found is None else str(found)

    @field(source=_EVENT, policy=LOG, description="The identities on one side.", size=5)
    def one(self) -> list[Identity]:
        return [as_identity(identity) for identity in sorted(self._decided().one)]

    @field(source=_EVENT, policy=LOG, description="The identities on the other side.", size=5)
    def other(self) -> list[Identity]:
        return [as_identity(identity) for identity in sorted(self._decided().other)]


@strawberry.type(description="One page of decisions, the newest first.")
class IdentityDecisionConnection(Connection[IdentityDecision]):
    """A page of decisions."""


@strawberry.type(
    description="A user that a decision is about. The numbers are null when there are too many events to count before."
)
class UserShare:
    """A user before or after."""

    share: strawberry.Private[Share]

    @field(
        source=_PREVIEW,
        policy=DECIDE,
        description="The user's id; of a user that is not there yet, the id it will have.",
    )
    def user(self) -> strawberry.ID:
        return _id(self.share.user)

    @field(source=_PREVIEW, policy=DECIDE, description="The ids their events arrive under.", size=5)
    def identities(self) -> list[Identity]:
        return [as_identity(identity) for identity in self.share.identities]

    @field(source=_PREVIEW, policy=DECIDE, description="How many events they have.")
    def event_count(self) -> int | None:
        return self.share.events

    @field(source=_PREVIEW, policy=DECIDE, description="How many sessions they have.")
    def session_count(self) -> int | None:
        return self.share.sessions

    @field(source=_PREVIEW, policy=DECIDE, description="How many runs through journey maps they have.")
    def journey_count(self) -> int | None:
        return self.share.journeys


@strawberry.type(description="A user's id that identities leave.")
class UserMove:
    """A move."""

    from_: strawberry.ID = attribute(source=_PREVIEW, policy=DECIDE, description="The user they leave.", name="from")
    to: list[strawberry.ID] = attribute(
        source=_PREVIEW, policy=DECIDE, description="The users they belong to from then on.", size=1
    )


@strawberry.type(description="What a decision changes.")
class Decided:
    """What the answers of both mutations have; it is no type of the API itself."""

    decision: IdentityDecision | None = attribute(
        source=_EVENT,
        policy=DECIDE,
        description="The decision, stored for good; null after a dry run, or when something has to be corrected first.",
    )
    before: list[UserShare] = attribute(
        source=_PREVIEW, policy=DECIDE, description="The users it is about, as they are.", size=2
    )
    after: list[UserShare] = attribute(
        source=_PREVIEW,
        policy=DECIDE,
        description="The users as they are once it is derived (usually well under a second).",
        size=2,
    )
    moves: list[UserMove] = attribute(
        source=_PREVIEW, policy=DECIDE, description="Which ids of users identities leave, and where they go.", size=2
    )
    consistency_token: str | None = attribute(
        source=_PREVIEW,
        policy=ANYONE,
        description="For `atLeast` in a query that shall see it; null when nothing is stored.",
    )
    errors: list[UserError] = attribute(
        source=_PREVIEW, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What `mergeUsers` changes.")
class MergeUsersPayload(Decided):
    """The answer of mergeUsers."""


@strawberry.type(description="What `splitUser` changes.")
class SplitUserPayload(Decided):
    """The answer of splitUser."""


@strawberry.input(description="Users that are one person.")
class MergeUsersInput:
    """A merge."""

    users: list[UserBy] = strawberry.field(description=f"The users, 2 to {_MOST_USERS}.")
    reason: str = strawberry.field(description="Why; it is kept in the log.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would change; nothing is stored.")


@strawberry.input(description="A user that is two persons.")
class SplitUserInput:
    """A split."""

    user: UserBy = strawberry.field(description="The user.")
    identities: list[IdentityInput] = strawberry.field(description="Those of their identities that are somebody else.")
    reason: str = strawberry.field(description="Why; it is kept in the log.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would change; nothing is stored.")


@strawberry.type(description="What an operator can decide.")
class Deciding:
    """Mutations about who is who; a part of the root."""

    @field(
        source=_PREVIEW,
        policy=DECIDE,
        description=(
            "Make users one, for their whole history and whatever links say: limits and earlier splits give way. "
            "`splitUser` undoes it."
        ),
    )
    async def merge_users(
        self, info: Info, input: Annotated[MergeUsersInput, strawberry.argument(description="Which users, and why.")]
    ) -> MergeUsersPayload:
        context = info.context
        found = await _to_merge(context, input)
        if isinstance(found, InputError):
            return MergeUsersPayload(**_refused(found))
        return MergeUsersPayload(**await _decide(context, "merge", *found, input.reason, input.dry_run))

    @field(
        source=_PREVIEW,
        policy=DECIDE,
        description=(
            "Make some identities of a user another user, for their whole history. Links between the two sides are "
            "refused from then on, visibly, until `mergeUsers` joins them; a link that was refused because of the "
            "other side may now hold."
        ),
    )
    async def split_user(
        self, info: Info, input: Annotated[SplitUserInput, strawberry.argument(description="Whom to split, and why.")]
    ) -> SplitUserPayload:
        context = info.context
        found = await _to_split(context, input)
        if isinstance(found, InputError):
            return SplitUserPayload(**_refused(found))
        return SplitUserPayload(**await _decide(context, "split", *found, input.reason, input.dry_run))


async def decision_page(
    context: Context, by: UserBy | None, first: int | None, after: Cursor | None
) -> IdentityDecisionConnection:
    """A page of what was decided, about everybody or about one user's identities of now."""
    sks: list[str] | None = None
    if by is not None:
        user = await user_id_by(context, by)
        sks = [] if user is None else [one.sk for one in await context.load.identities.load(user)]

    async def read(limit: int, before: Any) -> list[Event]:
        return await context.services.events.decisions(context.scope, limit=limit, before=before, sks=sks)

    edges, page_info = await page(
        _KEYSET,
        first,
        after,
        read=read,
        position=lambda event: event.order,
        node=lambda event: IdentityDecision(event=event),
    )
    return IdentityDecisionConnection(edges=edges, page_info=page_info)


_Sides = tuple[list[StoredIdentity], list[StoredIdentity]]


async def _to_merge(context: Context, input: MergeUsersInput) -> _Sides | InputError:
    if not 2 <= len(input.users) <= _MOST_USERS:
        return _wrong("USER_COUNT", f"A merge is of 2 to {_MOST_USERS} users.", None, "users")
    found: dict[str, list[StoredIdentity]] = {}
    for number, by in enumerate(input.users):
        user, identities = await _whole(context, by)
        if user is None:
            return _unknown("users", str(number))
        if user in found:
            return _wrong("SAME_USER", "This is one user with another that you name.", None, "users", str(number))
        found[user] = identities
        if all(identity.blocked for identity in found[user]):
            return _nobody("users", str(number))
    one, *others = found.values()
    return one, [identity for identities in others for identity in identities]


async def _to_split(context: Context, input: SplitUserInput) -> _Sides | InputError:
    user, whole = await _whole(context, input.user)
    if user is None:
        return _unknown("user")
    one: list[StoredIdentity] = []
    for number, given in enumerate(input.identities):
        identity = StoredIdentity("userId" if given.type is IdentityType.USER_ID else "anonymousId", given.value)
        if identity not in whole:
            hint = "Ask for the user's `identities`."
            return _wrong("NOT_THEIRS", "This identity is not one of the user's.", hint, "identities", str(number))
        one.append(identity)
    other = [identity for identity in whole if identity not in one]
    if not one or not other:
        hint = "Name some of the identities, but not all."
        return _wrong("NOTHING_TO_SPLIT", "One side of the split would be empty.", hint, "identities")
    return list(dict.fromkeys(one)), other


async def _whole(context: Context, by: UserBy) -> tuple[str | None, list[StoredIdentity]]:
    """The user that is named, with every identity of theirs; (None, []) when there is none."""
    for _ in range(_TRIES):
        user = await user_id_by(context, by)
        identities = [] if user is None else await context.load.identities.load(user)
        if user is None or identities:
            return user, identities
        context.forget()  # they moved to another id between the two reads
    return None, []


async def _decide(
    context: Context, kind: Any, one: Sequence[StoredIdentity], other: Sequence[StoredIdentity], reason: str, dry: bool
) -> dict[str, Any]:
    """The fields of the payload. Raises Unavailable: nothing was stored then."""
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        return _refused(_wrong("REASON", f"A reason has 1 to {_LONGEST_REASON} characters.", None, "reason"))
    try:
        outcome = await persons_of(context).decide(
            context.scope, kind, one, other, reason=reason.strip(), by=context.grant.key, store=not dry
        )
    except TooLarge as error:
        return _refused(_wrong("TOO_MANY_IDENTITIES", error.message, error.hint))
    return _fields(outcome)


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {
        "decision": None if outcome.event is None else IdentityDecision(event=outcome.event),
        "before": [UserShare(share=share) for share in outcome.before],
        "after": [UserShare(share=share) for share in outcome.after],
        "moves": [UserMove(from_=_id(old), to=sorted(map(_id, new))) for old, new in sorted(outcome.moves.items())],
        "consistency_token": outcome.token,
        "errors": [],
    }


def _refused(error: InputError) -> dict[str, Any]:
    return {"decision": None, "before": [], "after": [], "moves": [], "consistency_token": None, "errors": [error]}


def _id(user: str) -> strawberry.ID:
    return strawberry.ID(f"user_{user}")


def _unknown(*path: str) -> InputError:
    return _wrong("UNKNOWN_USER", "Nobody is known under this.", "Ask for `user` with the same words.", *path)


def _nobody(*path: str) -> InputError:
    return _wrong("NOBODY", "All who send no real id share this one: it is no person.", None, *path)


def _wrong(code: str, message: str, hint: str | None, *path: str) -> InputError:
    return InputError(code=code, path=["input", *path], message=message, hint=hint)
