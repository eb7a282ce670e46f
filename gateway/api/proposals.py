"""Proposals: changing the contract together, with the approval of those whose files they are."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.contract_changes import (
    APPROVE,
    PROPOSE,
    READ,
    ChangeGrade,
    ContractActor,
    ContractDifference,
    ContractProblem,
    Remark,
    as_actor,
    as_changes,
    as_problems,
    told,
)
from gateway.api.mutations import UserError
from gateway.api.nodes import Node, split_id
from gateway.api.scalars import Cursor, DateTime
from gateway.contract.patches import unified_diff
from gateway.errors import InvalidInput, NotFound
from gateway.plugin import ANYONE, Source, attribute, field
from gateway.quality.proposed import Outcome
from gateway.quality.refusing import Refused
from gateway.store.proposals import Proposal as Stored
from gateway.store.proposals import Status

KEYSET = Keyset("proposal", (int, str))
_ROW = Source.document("proposals", "*")
_OUTCOME = Source.loader("proposed contract")
_LOOK = 100  # the cost of working out what a proposal makes of the contract


@strawberry.enum(description="How far a proposal has come.")
class ProposalStatus(Enum):
    """Statuses."""

    OPEN = strawberry.enum_value("open", description="It waits for approvals.")
    APPROVED = strawberry.enum_value("approved", description="All have approved; it is not applied yet.")
    APPLIED = strawberry.enum_value("applied", description="It is a version of the contract.")
    REJECTED = strawberry.enum_value("rejected", description="Somebody who may approve said no.")
    WITHDRAWN = strawberry.enum_value("withdrawn", description="Who proposed it took it back.")


@strawberry.type(description="A file as a proposal has it.")
class ProposedFile:
    """A file."""

    path: str = attribute(source=_ROW, policy=READ, description="Its path inside the contract's folder.")
    text: str | None = attribute(source=_ROW, policy=READ, description="Its new text; null: it is deleted.")


@strawberry.type(description="A change of the contract that somebody asks for.")
class Proposal(Node):
    """A proposal."""

    row: strawberry.Private[Stored]

    def global_id(self) -> str:
        return f"proposal_{self.row.id}"

    @field(source=Source.document("proposals", "status"), policy=READ, description="How far it has come.")
    def status(self) -> ProposalStatus:
        return ProposalStatus(self.row.status)

    @field(source=Source.document("proposals", "note"), policy=READ, description="Why, by who proposed it.")
    def note(self) -> str:
        return self.row.note

    @field(source=Source.document("proposals", "by"), policy=READ, description="Who proposed it.")
    def by(self) -> ContractActor:
        return as_actor(self.row.by)

    @field(source=Source.document("proposals", "createdAt"), policy=READ, description="When it was proposed.")
    def created_at(self) -> DateTime:
        return DateTime(self.row.created_at)

    @field(
        source=Source.document("proposals", "base"),
        policy=READ,
        description="The number of the version it was made on top of; once applied, of the one it was applied to.",
    )
    def base(self) -> int:
        return self.row.base

    @field(
        source=Source.document("proposals", "version"),
        policy=READ,
        description="The number of the version it has become; null until it is applied.",
    )
    def version(self) -> int | None:
        return self.row.version

    @field(source=Source.document("proposals", "files"), policy=READ, description="The files it changes.", size=3)
    def files(self) -> list[ProposedFile]:
        return [ProposedFile(path=path, text=text) for path, text in sorted(self.row.files.items())]

    @field(
        source=_OUTCOME,
        policy=READ,
        description="What it changes, the worst first: of what counts now or, once it has ended, of its base.",
        weight=_LOOK,
        size=5,
    )
    async def changes(self, info: Info) -> list[ContractDifference]:
        return as_changes((await _outcome(info, self.row)).changes)

    @field(source=_OUTCOME, policy=READ, description="The worst of its changes.", weight=_LOOK)
    async def grade(self, info: Info) -> ChangeGrade:
        return ChangeGrade((await _outcome(info, self.row)).grade.value)

    @field(
        source=_OUTCOME,
        policy=READ,
        description="The files that others have changed since; then it must be proposed anew.",
        weight=_LOOK,
        size=1,
    )
    async def conflicts(self, info: Info) -> list[str]:
        return list((await _outcome(info, self.row)).conflicts)

    @field(
        source=_OUTCOME,
        policy=READ,
        description="Why it no longer loads together with what counts now; empty when all is well.",
        weight=_LOOK,
        size=1,
    )
    async def problems(self, info: Info) -> list[ContractProblem]:
        return as_problems((await _outcome(info, self.row)).problems)

    @field(source=_OUTCOME, policy=READ, description="The teams that own the files it changes.", weight=_LOOK, size=2)
    async def owners(self, info: Info) -> list[str]:
        return sorted((await _outcome(info, self.row)).owners)

    @field(
        source=_OUTCOME,
        policy=READ,
        description="The teams that have yet to approve; `*`: anybody else who may.",
        weight=_LOOK,
        size=1,
    )
    async def waits_for(self, info: Info) -> list[str]:
        found = await _outcome(info, self.row)
        return list(info.context.services.collaboration.proposals.waits_for(self.row, found))

    @field(source=Source.document("proposals", "approvals"), policy=READ, description="Who has approved.", size=1)
    def approvals(self) -> list[Remark]:
        return [Remark(said=one) for one in self.row.approvals]

    @field(source=Source.document("proposals", "comments"), policy=READ, description="What was said about it.", size=5)
    def comments(self) -> list[Remark]:
        return [Remark(said=one) for one in self.row.comments]

    @field(
        source=Source.document("proposals", "ended"),
        policy=READ,
        description="Who rejected or withdrew it, and why; otherwise null.",
    )
    def ended(self) -> Remark | None:
        return None if self.row.ended is None else Remark(said=self.row.ended)

    @field(
        source=_ROW,
        policy=READ,
        description="The change as a patch of the files, which `git apply` takes inside the contract's folder.",
        weight=20,
    )
    async def patch(self, info: Info) -> str:
        return unified_diff(await info.context.services.collaboration.proposals.before(self.row), self.row.files)


@strawberry.type(description="One page of proposals, the newest first.")
class ProposalConnection(Connection[Proposal]):
    """A page of proposals."""


@strawberry.input(description="A file of the contract as it is to be.")
class ProposedFileInput:
    """A file."""

    path: str = strawberry.field(description="Its path inside the contract's folder: `kpis/csat.yaml`.")
    text: str | None = strawberry.field(default=None, description="Its whole new text; null deletes it.")


@strawberry.input(description="A change of the contract.")
class ProposeChangeInput:
    """A proposal."""

    files: list[ProposedFileInput] = strawberry.field(description="The files that change, at most 100.")
    note: str = strawberry.field(description="Why: what those read who have to approve.")


@strawberry.input(description="Something to say about a proposal.")
class CommentOnProposalInput:
    """A comment."""

    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    text: str = strawberry.field(description="What there is to say.")


@strawberry.input(description="An approval.")
class ApproveProposalInput:
    """An approval."""

    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    note: str = strawberry.field(default="", description="What there is to say about it.")
    apply: bool = strawberry.field(default=True, description="Apply it at once if this is the last approval needed.")
    allow_breaking: bool = strawberry.field(
        default=False, description="It is known that senders or clients have to be mended."
    )


@strawberry.input(description="An approved proposal to apply.")
class ApplyProposalInput:
    """An application."""

    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    allow_breaking: bool = strawberry.field(
        default=False, description="It is known that senders or clients have to be mended."
    )


@strawberry.input(description="The end of a proposal.")
class EndProposalInput:
    """An end."""

    id: strawberry.ID = strawberry.field(description="The proposal's id.")
    reason: str = strawberry.field(default="", description="Why; needed to reject.")


@strawberry.type(description="What became of a proposal.")
class ProposalAnswer:
    """What every mutation of proposals answers."""

    proposal: Proposal | None = attribute(
        source=_ROW, policy=READ, description="The proposal as it is now; null with errors."
    )
    errors: list[UserError] = attribute(
        source=_ROW, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


Answer = TypeVar("Answer", bound=ProposalAnswer)


@strawberry.type(description="What became of `proposeChange`.")
class ProposeChangePayload(ProposalAnswer):
    """The answer of proposeChange."""


@strawberry.type(description="What became of `commentOnProposal`.")
class CommentOnProposalPayload(ProposalAnswer):
    """The answer of commentOnProposal."""


@strawberry.type(description="What became of `approveProposal`.")
class ApproveProposalPayload(ProposalAnswer):
    """The answer of approveProposal."""


@strawberry.type(description="What became of `applyProposal`.")
class ApplyProposalPayload(ProposalAnswer):
    """The answer of applyProposal."""


@strawberry.type(description="What became of `rejectProposal`.")
class RejectProposalPayload(ProposalAnswer):
    """The answer of rejectProposal."""


@strawberry.type(description="What became of `withdrawProposal`.")
class WithdrawProposalPayload(ProposalAnswer):
    """The answer of withdrawProposal."""


@strawberry.type(description="How the contract is changed together.")
class Proposing:
    """Mutations of proposals; a part of the root."""

    @field(
        source=_ROW,
        policy=PROPOSE,
        description="Propose a change of the contract. It is loaded as a whole with what counts now: every mistake is "
        "told, and nothing is kept then.",
        weight=_LOOK,
    )
    async def propose_change(
        self, info: Info, input: Annotated[ProposeChangeInput, strawberry.argument(description="What, and why.")]
    ) -> ProposeChangePayload:
        context = info.context
        files = {one.path: one.text for one in input.files}
        try:
            if len(files) < len(input.files):
                raise Refused("PATH", "A file is named twice.", path="files")
            row, _ = await context.services.collaboration.proposals.propose(
                context.scope, context.grant.actor, files, input.note
            )
        except (InvalidInput, NotFound) as error:
            return ProposeChangePayload(proposal=None, errors=told(error))
        return ProposeChangePayload(proposal=Proposal(row=row), errors=[])

    @field(source=_ROW, policy=PROPOSE, description="Say something about a proposal.")
    async def comment_on_proposal(
        self, info: Info, input: Annotated[CommentOnProposalInput, strawberry.argument(description="On which, what.")]
    ) -> CommentOnProposalPayload:
        service, grant = info.context.services.collaboration.proposals, info.context.grant
        return await _done(
            CommentOnProposalPayload, service.comment(grant.scope, grant.actor, _key(input.id), input.text)
        )

    @field(
        source=_ROW,
        policy=APPROVE,
        description="Approve a proposal for the teams of the API key, which must own files it changes and must not "
        "have proposed it. The last approval needed applies it.",
        weight=_LOOK,
    )
    async def approve_proposal(
        self, info: Info, input: Annotated[ApproveProposalInput, strawberry.argument(description="Which, and how.")]
    ) -> ApproveProposalPayload:
        service, grant = info.context.services.collaboration.proposals, info.context.grant
        return await _done(
            ApproveProposalPayload,
            service.approve(
                grant.scope,
                grant.actor,
                _key(input.id),
                input.note,
                apply=input.apply,
                allow_breaking=input.allow_breaking,
            ),
        )

    @field(
        source=_ROW,
        policy=APPROVE,
        description="Apply a proposal that all have approved, on top of what counts now. Twice is once.",
        weight=_LOOK,
    )
    async def apply_proposal(
        self, info: Info, input: Annotated[ApplyProposalInput, strawberry.argument(description="Which.")]
    ) -> ApplyProposalPayload:
        service, scope = info.context.services.collaboration.proposals, info.context.scope
        return await _done(
            ApplyProposalPayload, service.apply(scope, _key(input.id), allow_breaking=input.allow_breaking)
        )

    @field(source=_ROW, policy=APPROVE, description="Say no to a proposal, with the reason.")
    async def reject_proposal(
        self, info: Info, input: Annotated[EndProposalInput, strawberry.argument(description="Which, and why.")]
    ) -> RejectProposalPayload:
        service, grant = info.context.services.collaboration.proposals, info.context.grant
        return await _done(
            RejectProposalPayload, service.end(grant.scope, grant.actor, _key(input.id), "rejected", input.reason)
        )

    @field(source=_ROW, policy=PROPOSE, description="Take back what one's own team proposed.")
    async def withdraw_proposal(
        self, info: Info, input: Annotated[EndProposalInput, strawberry.argument(description="Which, and why.")]
    ) -> WithdrawProposalPayload:
        service, grant = info.context.services.collaboration.proposals, info.context.grant
        return await _done(
            WithdrawProposalPayload, service.end(grant.scope, grant.actor, _key(input.id), "withdrawn", input.reason)
        )


async def proposal_page(
    context: Context, status: ProposalStatus | None, first: int | None, after: Cursor | None
) -> ProposalConnection:
    """A page of the workspace's proposals."""

    async def read(limit: int, before: Any) -> list[Stored]:
        stored = context.services.collaboration.proposals.stored
        wanted = None if status is None else cast("Status", status.value)
        return await stored.page(context.scope, status=wanted, limit=limit, before=before)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.created_at, one.id),
        node=lambda one: Proposal(row=one),
    )
    return ProposalConnection(edges=edges, page_info=page_info)


async def proposal_by(context: Context, key: str) -> Proposal | None:
    """One proposal; None when there is none."""
    found = await context.services.collaboration.proposals.stored.get(context.scope, key)
    return None if found is None else Proposal(row=found)


async def _outcome(info: Info, row: Stored) -> Outcome:
    return await info.context.services.collaboration.proposals.outcome(row)


async def _done(answer: type[Answer], step: Awaitable[Stored]) -> Answer:
    try:
        return answer(proposal=Proposal(row=await step), errors=[])
    except (InvalidInput, NotFound) as error:
        return answer(proposal=None, errors=told(error))


def _key(given: strawberry.ID) -> str:
    return split_id(given, "proposal")[1]
