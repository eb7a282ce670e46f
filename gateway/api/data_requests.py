"""Data requests: what UX asks backend to send, and how far it has come."""

from __future__ import annotations

from collections.abc import Awaitable
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.contract_changes import APPROVE, PROPOSE, READ, ContractActor, Remark, as_actor, told
from gateway.api.mutations import UserError
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.errors import InvalidInput, NotFound
from gateway.plugin import ANYONE, Source, attribute, field
from gateway.quality.data_requests import Draft
from gateway.store.requests import Request, Status, Step

KEYSET = Keyset("request", (int, str))
_ROW = Source.document("requests", "*")


@strawberry.enum(description="How far a data request has come.")
class DataRequestStatus(Enum):
    """Statuses."""

    REQUESTED = strawberry.enum_value("requested", description="It waits for an answer.")
    AGREED = strawberry.enum_value("agreed", description="Somebody will send it.")
    SHIPPED = strawberry.enum_value("shipped", description="It is sent, as they say; no event of it has come yet.")
    VERIFIED = strawberry.enum_value(
        "verified", description="An event with all that was asked for has come, and fits the plan."
    )
    REFUSED = strawberry.enum_value("refused", description="It will not be sent; the last step says why.")


@strawberry.type(description="A status that a data request came to.")
class DataRequestStep:
    """A step."""

    step: strawberry.Private[Step]

    @field(source=Source.document("requests", "steps"), policy=READ, description="The status.")
    def status(self) -> DataRequestStatus:
        return DataRequestStatus(self.step.status)

    @field(source=Source.document("requests", "steps"), policy=READ, description="Who brought it there, when, why.")
    def said(self) -> Remark:
        return Remark(said=self.step.said)


@strawberry.type(description="Data that somebody asks for.")
class DataRequest(Node):
    """A request."""

    row: strawberry.Private[Request]

    def global_id(self) -> str:
        return f"request_{self.row.id}"

    @field(source=Source.document("requests", "key"), policy=READ, description="The name programs use.")
    def key(self) -> str:
        return self.row.key

    @field(source=Source.document("requests", "title"), policy=READ, description="What it is, in a line.")
    def title(self) -> str:
        return self.row.title

    @field(source=Source.document("requests", "what"), policy=READ, description="What is wanted.")
    def what(self) -> str:
        return self.row.what

    @field(source=Source.document("requests", "why"), policy=READ, description="What it is needed for.")
    def why(self) -> str:
        return self.row.why

    @field(source=Source.document("requests", "askedBy"), policy=READ, description="The team that asks.")
    def asked_by(self) -> str:
        return self.row.asked_by

    @field(
        source=Source.document("requests", "by"),
        policy=READ,
        description="Who asked over the API; null for one that stands in a file of the contract only.",
    )
    def by(self) -> ContractActor | None:
        return None if self.row.by is None else as_actor(self.row.by)

    @field(
        source=Source.document("requests", "event"),
        policy=READ,
        description="The event that carries it; null as long as nobody has said.",
    )
    def event(self) -> str | None:
        return self.row.event

    @field(source=Source.document("requests", "properties"), policy=READ, description="The properties wanted of it.")
    def properties(self) -> list[str]:
        return list(self.row.properties)

    @field(source=Source.document("requests", "status"), policy=READ, description="How far it has come.")
    def status(self) -> DataRequestStatus:
        return DataRequestStatus(self.row.status)

    @field(
        source=Source.document("requests", "filed"),
        policy=READ,
        description="Whether it stands in a file of the contract: `requests/<key>.yaml`.",
    )
    def filed(self) -> bool:
        return self.row.filed

    @field(source=Source.document("requests", "createdAt"), policy=READ, description="When it was first known.")
    def created_at(self) -> DateTime:
        return DateTime(self.row.created_at)

    @field(source=Source.document("requests", "steps"), policy=READ, description="How it came there.", size=4)
    def steps(self) -> list[DataRequestStep]:
        return [DataRequestStep(step=one) for one in self.row.steps]

    @field(
        source=Source.document("requests", "verifiedBy"),
        policy=READ,
        description="The id of the event that verified it, for `node`; null until then.",
    )
    def verified_by(self) -> strawberry.ID | None:
        return None if self.row.verified_by is None else strawberry.ID(f"event_{self.row.verified_by}")


@strawberry.type(description="One page of data requests, the newest first.")
class DataRequestConnection(Connection[DataRequest]):
    """A page of requests."""


@strawberry.input(description="Data to ask for.")
class RequestDataInput:
    """A request."""

    title: str = strawberry.field(description="What it is, in a line.")
    what: str = strawberry.field(description="What is wanted, in your words.")
    why: str = strawberry.field(description="What it is needed for.")
    key: str | None = strawberry.field(
        default=None, description="The name programs use; made of the title if left out."
    )
    event: str | None = strawberry.field(default=None, description="The event that should carry it, if known.")
    properties: list[str] | None = strawberry.field(
        default=None, description="The properties wanted of it, as dotted paths, if known."
    )


@strawberry.input(description="A promise to send data.")
class AgreeDataRequestInput:
    """An agreement."""

    key: str = strawberry.field(description="The key of the request.")
    note: str = strawberry.field(default="", description="What there is to say: when, how.")


@strawberry.input(description="A no to a data request.")
class RefuseDataRequestInput:
    """A refusal."""

    key: str = strawberry.field(description="The key of the request.")
    reason: str = strawberry.field(description="Why not.")


@strawberry.input(description="Data that is sent from now on.")
class ShipDataRequestInput:
    """A shipment."""

    key: str = strawberry.field(description="The key of the request.")
    event: str | None = strawberry.field(
        default=None, description="The event that carries it; as it was asked for if left out."
    )
    properties: list[str] | None = strawberry.field(
        default=None, description="The properties that carry it; as they were asked for if left out."
    )
    note: str = strawberry.field(default="", description="What there is to say: since which release.")


@strawberry.type(description="What became of a data request.")
class DataRequestAnswer:
    """What every mutation of data requests answers."""

    request: DataRequest | None = attribute(
        source=_ROW, policy=READ, description="The request as it is now; null with errors."
    )
    errors: list[UserError] = attribute(
        source=_ROW, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


Answer = TypeVar("Answer", bound=DataRequestAnswer)


@strawberry.type(description="What became of `requestData`.")
class RequestDataPayload(DataRequestAnswer):
    """The answer of requestData."""


@strawberry.type(description="What became of `agreeDataRequest`.")
class AgreeDataRequestPayload(DataRequestAnswer):
    """The answer of agreeDataRequest."""


@strawberry.type(description="What became of `refuseDataRequest`.")
class RefuseDataRequestPayload(DataRequestAnswer):
    """The answer of refuseDataRequest."""


@strawberry.type(description="What became of `shipDataRequest`.")
class ShipDataRequestPayload(DataRequestAnswer):
    """The answer of shipDataRequest."""


@strawberry.type(description="How data is asked for.")
class Requesting:
    """Mutations of data requests; a part of the root."""

    @field(source=_ROW, policy=PROPOSE, description="Ask for data that is not sent yet.")
    async def request_data(
        self, info: Info, input: Annotated[RequestDataInput, strawberry.argument(description="What, and why.")]
    ) -> RequestDataPayload:
        service, grant = info.context.services.collaboration.requests, info.context.grant
        await _filed(info.context)
        draft = Draft(input.title, input.what, input.why, input.key, input.event, input.properties or ())
        return await _done(RequestDataPayload, service.request(grant.scope, grant.actor, draft))

    @field(source=_ROW, policy=APPROVE, description="Promise to send the data; not for the team that asked.")
    async def agree_data_request(
        self, info: Info, input: Annotated[AgreeDataRequestInput, strawberry.argument(description="Which.")]
    ) -> AgreeDataRequestPayload:
        service, grant = info.context.services.collaboration.requests, info.context.grant
        await _filed(info.context)
        return await _done(AgreeDataRequestPayload, service.agree(grant.scope, grant.actor, input.key, input.note))

    @field(source=_ROW, policy=APPROVE, description="Say that the data will not be sent, with the reason.")
    async def refuse_data_request(
        self, info: Info, input: Annotated[RefuseDataRequestInput, strawberry.argument(description="Which, and why.")]
    ) -> RefuseDataRequestPayload:
        service, grant = info.context.services.collaboration.requests, info.context.grant
        await _filed(info.context)
        return await _done(RefuseDataRequestPayload, service.refuse(grant.scope, grant.actor, input.key, input.reason))

    @field(
        source=_ROW,
        policy=APPROVE,
        description="Say that the data is sent from now on. It is verified by itself when the first valid event comes.",
    )
    async def ship_data_request(
        self, info: Info, input: Annotated[ShipDataRequestInput, strawberry.argument(description="Which, as what.")]
    ) -> ShipDataRequestPayload:
        service, grant = info.context.services.collaboration.requests, info.context.grant
        await _filed(info.context)
        step = service.ship(grant.scope, grant.actor, input.key, input.note, input.event, input.properties)
        return await _done(ShipDataRequestPayload, step)


async def request_page(
    context: Context, status: DataRequestStatus | None, first: int | None, after: Cursor | None
) -> DataRequestConnection:
    """A page of the workspace's data requests."""
    await _filed(context)

    async def read(limit: int, before: Any) -> list[Request]:
        stored = context.services.collaboration.requests.stored
        wanted = None if status is None else cast("Status", status.value)
        return await stored.page(context.scope, status=wanted, limit=limit, before=before)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.created_at, one.id),
        node=lambda one: DataRequest(row=one),
    )
    return DataRequestConnection(edges=edges, page_info=page_info)


async def request_by(context: Context, key: str) -> DataRequest | None:
    """One request by its id; None when there is none."""
    found = await context.services.collaboration.requests.stored.get(context.scope, key)
    return None if found is None else DataRequest(row=found)


async def _filed(context: Context) -> None:
    """What stands in files is there too."""
    await context.services.collaboration.requests.file(context.scope.workspace, context.services.contract)


async def _done(answer: type[Answer], step: Awaitable[Request]) -> Answer:
    try:
        return answer(request=DataRequest(row=await step), errors=[])
    except (InvalidInput, NotFound) as error:
        return answer(request=None, errors=told(error))
