"""Follow-ups: answers that somebody has to look after, by the rules of the contract."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, Connection, First, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.mutations import InputError, UserError, wrong
from gateway.api.nodes import Node, split_id
from gateway.api.responses import SurveyResponse, response
from gateway.api.scalars import DateTime
from gateway.errors import InvalidInput
from gateway.plugin import ANYONE, Policy, Source, attribute, field
from gateway.store.follow_ups import FollowUp as Stored

FOLLOW_UPS = Policy("events:read")
PERSONAL = Policy("events:read", pii=True)
CHANGE = Policy("workspace:write")
KEYSET = Keyset("followUps", (int, str))

_ROW = Source.document("follow_ups", "*")
_LONGEST_OWNER, _LONGEST_NOTE = 200, 4_000


@strawberry.enum(description="How a follow-up stands.")
class FollowUpStatus(Enum):
    """States."""

    OPEN = strawberry.enum_value("OPEN", description="Somebody still has to look after it.")
    OVERDUE = strawberry.enum_value("OVERDUE", description="It is open, and its time is over.")
    DONE = strawberry.enum_value("DONE", description="It was looked after.")


@strawberry.type(description="A response that somebody has to look after, as a rule of the contract says.")
class FollowUp(Node):
    """A follow-up."""

    row: strawberry.Private[Stored]

    def global_id(self) -> str:
        return f"followup_{self.row.id}"

    @field(source=_ROW, policy=FOLLOW_UPS, description="The key of the rule.")
    def rule(self) -> strawberry.ID:
        return strawberry.ID(self.row.rule)

    @field(source=_ROW, policy=FOLLOW_UPS, description="The key of the survey.")
    def survey(self) -> strawberry.ID:
        return strawberry.ID(self.row.survey)

    @field(source=_ROW, policy=PERSONAL, description="The score of the response; null where it has none.")
    def score(self) -> float | None:
        return self.row.score

    @field(source=_ROW, policy=FOLLOW_UPS, description="When it was answered.")
    def at(self) -> DateTime:
        return DateTime(self.row.at)

    @field(source=_ROW, policy=FOLLOW_UPS, description="Who looks after it: a team or a person.")
    def owner(self) -> str:
        return self.row.owner

    @field(source=_ROW, policy=FOLLOW_UPS, description="By when.")
    def due_at(self) -> DateTime:
        return DateTime(self.row.due_at)

    @field(source=_ROW, policy=FOLLOW_UPS, description="When it was done; null while it is open.")
    def done_at(self) -> DateTime | None:
        return None if self.row.done_at is None else DateTime(self.row.done_at)

    @field(source=_ROW, policy=PERSONAL, description="What was done, as somebody noted it.")
    def note(self) -> str | None:
        return self.row.note

    @field(source=_ROW, policy=FOLLOW_UPS, description="How it stands.")
    def status(self, info: Info) -> FollowUpStatus:
        if self.row.done_at is not None:
            return FollowUpStatus.DONE
        late = self.row.due_at < info.context.services.clock.now()
        return FollowUpStatus.OVERDUE if late else FollowUpStatus.OPEN

    @field(
        source=Source.one("events", "response"), policy=FOLLOW_UPS, description="The response; null once it is erased."
    )
    async def response(self, info: Info) -> SurveyResponse | None:
        return await response(info.context, self.row.response.hex())


@strawberry.type(description="One page of follow-ups.")
class FollowUpConnection(Connection[FollowUp]):
    """A page, the newest first."""


@strawberry.input(description="Who looks after a follow-up from now on.")
class AssignFollowUpInput:
    """An assignment."""

    id: strawberry.ID = strawberry.field(description="The follow-up.")
    owner: str = strawberry.field(description="A team or a person.")


@strawberry.input(description="That a follow-up is done.")
class ResolveFollowUpInput:
    """A resolution."""

    id: strawberry.ID = strawberry.field(description="The follow-up.")
    note: str | None = strawberry.field(default=None, description="What was done.")


@strawberry.type(description="What became of a follow-up.")
class _Changed:
    """What both payloads have."""

    follow_up: FollowUp | None = attribute(
        source=_ROW, policy=FOLLOW_UPS, description="It as it is now; null with errors."
    )
    errors: list[UserError] = attribute(
        source=_ROW, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What became of `assignFollowUp`.")
class AssignFollowUpPayload(_Changed):
    """The answer of assignFollowUp."""


@strawberry.type(description="What became of `resolveFollowUp`.")
class ResolveFollowUpPayload(_Changed):
    """The answer of resolveFollowUp."""


@strawberry.type
class FollowingUp:
    """What can be asked of follow-ups."""

    @field(
        source=Source.many("follow_ups", "workspace"),
        policy=FOLLOW_UPS,
        description="Responses that somebody has to look after, the newest first.",
    )
    async def follow_ups(
        self,
        info: Info,
        open: Annotated[bool | None, strawberry.argument(description="Only open ones, or only done ones.")] = None,
        owner: Annotated[str | None, strawberry.argument(description="Only those of this owner.")] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> FollowUpConnection:
        context = info.context

        async def read(limit: int, before: Any) -> list[Stored]:
            stored = context.services.feedback.reacting.stored
            return await stored.page(context.scope, open_=open, owner=owner, limit=limit, before=before)

        edges, page_info = await page(
            KEYSET, first, after, read=read, position=lambda one: (one.at, one.id), node=lambda one: FollowUp(row=one)
        )
        return FollowUpConnection(edges=edges, page_info=page_info)


@strawberry.type
class LookingAfter:
    """What can be done with follow-ups."""

    @field(source=_ROW, policy=CHANGE, description="Give a follow-up to somebody else.")
    async def assign_follow_up(
        self, info: Info, input: Annotated[AssignFollowUpInput, strawberry.argument(description="Which, and to whom.")]
    ) -> AssignFollowUpPayload:
        owner = input.owner.strip()
        if not 0 < len(owner) <= _LONGEST_OWNER:
            error = wrong("OWNER", "The owner is empty or too long.", "Name a team or a person.", "input", "owner")
            return AssignFollowUpPayload(follow_up=None, errors=[error])
        reacting, scope = info.context.services.feedback.reacting, info.context.scope
        found = await reacting.assign(scope, _key(input.id), owner)
        return AssignFollowUpPayload(follow_up=_node(found), errors=_missing(found))

    @field(
        source=_ROW,
        policy=CHANGE,
        description="Say that a follow-up is done. Tickets and messages that told of it are told that it is.",
    )
    async def resolve_follow_up(
        self, info: Info, input: Annotated[ResolveFollowUpInput, strawberry.argument(description="Which.")]
    ) -> ResolveFollowUpPayload:
        if len(input.note or "") > _LONGEST_NOTE:
            told = f"The note has more than {_LONGEST_NOTE:,} characters."
            return ResolveFollowUpPayload(follow_up=None, errors=[wrong("NOTE", told, "Shorten it.", "input", "note")])
        services = info.context.services
        found = await services.feedback.reacting.resolve(info.context.scope, _key(input.id), input.note, services.clock)
        return ResolveFollowUpPayload(follow_up=_node(found), errors=_missing(found))


async def follow_up_by(context: Context, key: str) -> FollowUp | None:
    """The follow-up of this id, if there is one."""
    found = await context.services.feedback.reacting.stored.get(context.scope, key)
    return None if found is None else FollowUp(row=found)


def _key(given: str) -> str:
    try:
        return split_id(given, "followup")[1]
    except InvalidInput:
        return ""


def _node(found: Stored | None) -> FollowUp | None:
    return None if found is None else FollowUp(row=found)


def _missing(found: Stored | None) -> list[UserError]:
    if found is not None:
        return []
    error: InputError = wrong("NOT_OPEN", "No open follow-up has this id.", "See `followUps`.", "input", "id")
    return [error]
