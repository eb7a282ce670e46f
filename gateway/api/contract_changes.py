"""What changed in the contract: graded changes, the versions there were, and who did it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.lineage import LineageNode
from gateway.api.mutations import InputError, UserError
from gateway.api.scalars import Cursor, DateTime
from gateway.contract.changes import Change
from gateway.errors import ContractError, GatewayError, InvalidInput
from gateway.model.actor import Actor
from gateway.plugin import Policy, Source, attribute, field
from gateway.store.contracts import Version
from gateway.store.proposals import Remark as Said

READ = Policy("contract:read")
PROPOSE = Policy("contract:propose")
APPROVE = Policy("contract:approve")

_CHANGE = Source.loader("classified changes")
_VERSION = Source.document("contracts", "*")
_PARENT = Source.parent("by")
KEYSET = Keyset("version", (int,))
_PROBLEM = re.compile(r"(?P<file>[^:]+):(?P<line>\d+)(?: (?P<key>.+?))?: (?P<what>.+) - (?P<fix>.+)", re.DOTALL)


@strawberry.enum(description="How much a change may break.")
class ChangeGrade(Enum):
    """Grades."""

    SAFE = strawberry.enum_value("safe", description="Nobody has to do anything.")
    DANGEROUS = strawberry.enum_value("dangerous", description="Numbers, or what people see, may change.")
    BREAKING = strawberry.enum_value("breaking", description="Senders or clients of the API have to be mended.")


@strawberry.enum(description="What is done to something of the contract.")
class ChangeKind(Enum):
    """Kinds."""

    ADDED = strawberry.enum_value("added", description="It is new.")
    REMOVED = strawberry.enum_value("removed", description="It is there no longer.")
    CHANGED = strawberry.enum_value("changed", description="It says something else.")


@strawberry.type(description="One change of the contract, graded, with the reason and what lives on what it changes.")
class ContractDifference:
    """A change."""

    found: strawberry.Private[Change]

    @field(
        source=_CHANGE,
        policy=READ,
        description="What is changed: `event`, `property`, `map`, `stage`, `kpi`, `survey`, `term`, `persona`, "
        "`consent`, `request` or `example`.",
    )
    def kind(self) -> str:
        return self.found.kind

    @field(source=_CHANGE, policy=READ, description="Its key.")
    def key(self) -> str:
        return self.found.key

    @field(source=_CHANGE, policy=READ, description="Whether it comes, goes, or says something else.")
    def change(self) -> ChangeKind:
        return ChangeKind(self.found.change)

    @field(source=_CHANGE, policy=READ, description="What is changed, in words.")
    def what(self) -> str:
        return self.found.what

    @field(source=_CHANGE, policy=READ, description="How much it may break.")
    def grade(self) -> ChangeGrade:
        return ChangeGrade(self.found.grade.value)

    @field(source=_CHANGE, policy=READ, description="The reason of the grade.")
    def why(self) -> str:
        return self.found.why

    @field(
        source=_CHANGE,
        policy=READ,
        description="Whether it is never applied: a KPI would read what it takes away.",
    )
    def refused(self) -> bool:
        return self.found.refused

    @field(source=_CHANGE, policy=READ, description="What lives on what is changed.", size=5)
    def dependants(self) -> list[LineageNode]:
        return [LineageNode(node=one, lacking=False) for one in self.found.dependants]


@strawberry.type(description="Who did something to what teams define together.")
class ContractActor:
    """An actor."""

    key: str | None = attribute(
        source=_PARENT,
        policy=READ,
        description="The id of the API key, as `keys list` shows it; null: the gateway itself, or a token without one.",
    )
    teams: list[str] = attribute(source=_PARENT, policy=READ, description="The teams that the key speaks for.", size=1)


@strawberry.type(description="What somebody said, and when.")
class Remark:
    """A remark."""

    said: strawberry.Private[Said]

    @field(source=_PARENT, policy=READ, description="Who.")
    def by(self) -> ContractActor:
        return as_actor(self.said.by)

    @field(source=_PARENT, policy=READ, description="When.")
    def at(self) -> DateTime:
        return DateTime(self.said.at)

    @field(source=_PARENT, policy=READ, description="In which words.")
    def text(self) -> str:
        return self.said.text


@strawberry.type(description="A mistake in a file of the contract, as it would be.")
class ContractProblem(UserError):
    """A problem of a file."""

    file: str | None = attribute(source=_CHANGE, policy=READ, description="The file, with the contract's name.")
    line: int | None = attribute(source=_CHANGE, policy=READ, description="The line in it, from 1.")
    key: str | None = attribute(source=_CHANGE, policy=READ, description="Where in the file: `stages[1].enter`.")


@strawberry.type(description="A version of the contract, and what it changed.")
class ContractVersion:
    """A version."""

    head: strawberry.Private[Version]

    @field(source=Source.document("contracts", "_id"), policy=READ, description="Its number: the highest counts.")
    def number(self) -> int:
        return self.head.number

    @field(source=Source.document("contracts", "appliedAt"), policy=READ, description="When it was applied.")
    def applied_at(self) -> DateTime:
        return DateTime(self.head.applied_at)

    @field(
        source=Source.document("contracts", "appliedBy"),
        policy=READ,
        description="What applied it: `start`, `contract apply`, or `proposal` with its id.",
    )
    def applied_by(self) -> str:
        return self.head.applied_by

    @field(source=Source.document("contracts", "note"), policy=READ, description="Why, in the words of who applied it.")
    def note(self) -> str:
        return self.head.note

    @field(
        source=_CHANGE,
        policy=READ,
        description="What it changed, the worst first; null when it does not load in this gateway.",
        weight=100,
        size=5,
    )
    async def changes(self, info: Info) -> list[ContractDifference] | None:
        found = await info.context.services.collaboration.history.changes(self.head.number)
        return None if found is None else as_changes(found)


@strawberry.type(description="One page of versions of the contract, the newest first.")
class ContractVersionConnection(Connection[ContractVersion]):
    """A page of versions."""


async def version_page(
    context: Context, since: int | None, first: int | None, after: Cursor | None
) -> ContractVersionConnection:
    """A page of the versions applied since a moment."""

    async def read(limit: int, before: Any) -> list[Version]:
        versions = context.services.collaboration.history.versions
        return await versions.heads_between(since=since or 0, before=None if before is None else before[0], limit=limit)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.number,),
        node=lambda one: ContractVersion(head=one),
    )
    return ContractVersionConnection(edges=edges, page_info=page_info)


def as_changes(found: Sequence[Change]) -> list[ContractDifference]:
    return [ContractDifference(found=one) for one in found]


def as_actor(actor: Actor) -> ContractActor:
    return ContractActor(key=actor.key, teams=list(actor.teams))


def as_problems(lines: Sequence[str]) -> list[ContractProblem]:
    """Lines of a ContractError, taken apart."""
    return [_problem(line) for line in lines]


def told(error: GatewayError) -> list[UserError]:
    """An error that the caller can mend, as the payload of a mutation has it."""
    if isinstance(error, ContractError):
        return [*as_problems(error.problems)]
    path = error.path.split(".") if isinstance(error, InvalidInput) and error.path else []
    return [InputError(code=error.code, path=["input", *path], message=error.message, hint=error.hint or None)]


def _problem(line: str) -> ContractProblem:
    parts = _PROBLEM.fullmatch(line)
    place = None if parts is None else (parts["file"], int(parts["line"]), parts["key"])
    file, number, key = place or (None, None, None)
    message, hint = (line, None) if parts is None else (parts["what"], parts["fix"])
    return ContractProblem(
        code="CONTRACT", path=["input", "files"], message=message, hint=hint, file=file, line=number, key=key
    )
