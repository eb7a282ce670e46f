"""graphql-sse: a stream for each operation, or one that many operations share."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from strawberry.types import ExecutionResult

from gateway.api.answers import refusal, result_answer
from gateway.api.context import Context
from gateway.api.media import TEXT, preferred
from gateway.api.requests import Operation
from gateway.api.reservations import Conflict, Reservations
from gateway.api.schema import Schema
from gateway.api.served import ServedSchema
from gateway.api.streaming import Begun, EventStream
from gateway.errors import InvalidInput
from gateway.model.scope import Scope

_TICKET_HEADER = "x-graphql-event-stream-token"
_TICKET_PARAMETER = "token"
_LONGEST_ID = 200


class Streams:
    """The event streams of this process."""

    def __init__(self, schema: ServedSchema | Schema) -> None:
        self._schema = schema
        self._reservations = Reservations(self._new)

    def distinct(self, operation: Operation, context: Context) -> ASGIApp:
        """A stream for one operation."""
        stream = self._new()

        async def serve(scope: Connection, receive: Receive, send: Send) -> None:
            stream.run(operation, context)
            await stream(scope, receive, send)

        return serve

    async def reserve(self, request: Request, context: Context) -> Response:
        """PUT: a ticket, in plain text."""
        if preferred(request.headers.get("accept"), (TEXT,)) is None:
            return refusal(InvalidInput("A ticket is plain text.", hint=f"Accept {TEXT}."), 406)
        ticket = self._reservations.reserve(context.scope)
        return PlainTextResponse(ticket, 201, headers={"cache-control": "no-store"})

    def open(self, ticket: str, scope: Scope | None) -> ASGIApp:
        """GET: the stream behind a ticket."""
        try:
            stream = self._reservations.open(ticket, scope)
        except Conflict as open_already:
            return refusal(open_already, 409)

        async def serve(scope: Connection, receive: Receive, send: Send) -> None:
            try:
                await stream(scope, receive, send)
            finally:
                self._reservations.release(ticket)

        return serve

    async def add(self, ticket: str, operation: Operation, context: Context, media_type: str) -> Response:
        """POST: an operation whose results go into the stream behind the ticket."""
        stream = self._reservations.stream(ticket, context.scope)
        operation_id = (operation.extensions or {}).get("operationId")
        if not isinstance(operation_id, str) or not 0 < len(operation_id) <= _LONGEST_ID:
            raise InvalidInput("There is no operation id.", hint='Send `extensions: {"operationId": "…"}`.')
        if operation_id in stream:
            conflict = Conflict("The stream has an operation of this id.", hint="Choose another, or complete that one.")
            return refusal(conflict, 409, media_type)
        begun = await stream.run(operation, context, operation_id)
        if isinstance(begun, ExecutionResult):
            return result_answer(begun, media_type)
        return Response(status_code=202 if begun is Begun.RUNNING else 204)

    def complete(self, request: Request, context: Context) -> Response:
        """DELETE: end one operation of the stream behind the ticket."""
        ticket, operation_id = self.ticket(request), request.query_params.get("operationId")
        if not ticket or not operation_id:
            raise InvalidInput(
                "This ends one operation of an event stream.",
                hint=f"Send the ticket as {_TICKET_HEADER}, and `operationId` in the address.",
            )
        self._reservations.stream(ticket, context.scope).stop(operation_id)
        return Response(status_code=200)

    @staticmethod
    def meant(request: Request) -> bool:
        """Whether a PUT or DELETE is about event streams: those have no body."""
        return request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers

    @staticmethod
    def ticket(request: Request) -> str:
        """The ticket of a request; empty without one."""
        return request.headers.get(_TICKET_HEADER) or request.query_params.get(_TICKET_PARAMETER, "")

    def _new(self) -> EventStream:
        return EventStream(self._schema)
