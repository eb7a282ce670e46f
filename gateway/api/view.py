"""The door: GraphQL over HTTP, as event streams (graphql-sse) and over WebSocket (graphql-transport-ws)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType as Kind
from strawberry.types.unset import UnsetType

from gateway.api.answers import refusal, result_answer
from gateway.api.context import Context, Services
from gateway.api.failures import no_operation
from gateway.api.graphiql import graphiql_page
from gateway.api.media import EVENTS, GRAPHQL, HTML, JSON, preferred
from gateway.api.requests import HINT, MAX_BODY_BYTES, Operation, read_address, read_body, read_json
from gateway.api.resuming import kind_of, resumed
from gateway.api.schema import Schema
from gateway.api.served import ServedSchema
from gateway.api.sockets import Handler, TextAdapter
from gateway.api.streams import Streams
from gateway.api.telling import still_open
from gateway.errors import GatewayError, InvalidInput, NotFound
from gateway.settings import Settings

INIT_SECONDS = 5
MAX_SUBSCRIPTIONS = 100
_BY_POST = f"Send queries and mutations by POST. PUT and DELETE belong to event streams (graphql-sse). {HINT}"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def graphql_app(schema: ServedSchema | Schema, services: Services, settings: Settings) -> Door:
    """The ASGI application; GraphiQL is there in development only."""
    return Door(
        schema,
        services,
        graphql_ide="graphiql" if settings.env == "development" else None,
        subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
        connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
        max_subscriptions_per_connection=MAX_SUBSCRIPTIONS,
        # No cookies are used, so that an origin by itself opens nothing.
        allowed_origins=settings.cors_origins,
    )


class Door(GraphQL[Context, None]):
    """WebSockets by Strawberry's view; everything over HTTP is read and answered here."""

    websocket_adapter_class = TextAdapter
    graphql_transport_ws_handler_class = Handler

    def __init__(self, schema: ServedSchema | Schema, services: Services, **options: Any) -> None:
        super().__init__(cast("Schema", schema), **options)
        self._services = services
        self._streams = Streams(schema)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
            return
        try:
            response = await self._respond(Request(scope, receive))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    # -- over HTTP ----------------------------------------------------------------------------------------------

    async def _respond(self, request: Request) -> ASGIApp:
        try:
            match request.method:
                case "GET" | "HEAD":
                    return await self._get(request)
                case "POST":
                    return await self._post(request)
                case "PUT" | "DELETE" if not self._streams.meant(request):
                    pass
                case "PUT":
                    return await self._streams.reserve(request, await self._caller(request))
                case "DELETE":
                    return self._streams.complete(request, await self._caller(request))
                case "OPTIONS":
                    return Response(status_code=204, headers={"allow": ", ".join(METHODS)})
            return _not_allowed(InvalidInput(f"{request.method} is not for GraphQL.", hint=_BY_POST), METHODS)
        except GatewayError as error:
            wanted = preferred(request.headers.get("accept"), (JSON, GRAPHQL))
            return refusal(error, media_type=wanted or JSON)

    async def _get(self, request: Request) -> ASGIApp:
        offered = (JSON, GRAPHQL, EVENTS, HTML) if request.method == "GET" else (JSON, GRAPHQL, HTML)
        media_type = preferred(request.headers.get("accept"), offered)
        if media_type == HTML:
            return self._page()
        if media_type is None:
            return _not_acceptable(offered)
        if media_type == EVENTS and (ticket := self._streams.ticket(request)):
            named = request.headers.get("authorization") is not None
            return self._streams.open(ticket, (await self._caller(request)).scope if named else None)
        context = await self._caller(request)
        operation = read_address(request)
        if kind_of(operation) is OperationType.MUTATION:
            return _not_allowed(InvalidInput("A GET changes nothing.", hint="Send mutations by POST."), ("POST",))
        return await self._answer(request, operation, context, media_type)

    async def _post(self, request: Request) -> ASGIApp:
        ticket = self._streams.ticket(request)
        offered = (JSON, GRAPHQL) if ticket else (JSON, GRAPHQL, EVENTS)
        media_type = preferred(request.headers.get("accept"), offered)
        if media_type is None:
            return _not_acceptable(offered)
        context = await self._caller(request)
        operation = await read_body(request)
        if ticket:
            return await self._streams.add(ticket, operation, context, media_type)
        return await self._answer(request, operation, context, media_type)

    async def _answer(self, request: Request, operation: Operation, context: Context, media_type: str) -> ASGIApp:
        if media_type == EVENTS:
            last_seen = request.headers.get("last-event-id")
            if last_seen:
                operation = resumed(self.schema._schema, operation, last_seen)  # type: ignore[attr-defined]
            return self._streams.distinct(operation, context)
        return result_answer(await self._executed(operation, context), media_type)

    async def _executed(self, operation: Operation, context: Context) -> ExecutionResult:
        try:
            result = await self.schema.execute(
                operation.query,
                variable_values=operation.variables,
                context_value=context,
                operation_name=operation.operation_name,
                allowed_operation_types=(Kind.QUERY, Kind.MUTATION),
                operation_extensions=operation.extensions,
            )
        except InvalidOperationTypeError:
            raise InvalidInput(
                "Subscriptions do not run over plain HTTP.",
                hint="Use a WebSocket with graphql-transport-ws, or accept text/event-stream.",
            ) from None
        except (CannotGetOperationTypeError, MissingQueryError):
            raise no_operation() from None
        await still_open(context, operation)
        return result

    def _page(self) -> Response:
        if self.graphql_ide is None:
            raise NotFound("GraphiQL is not served in production.", hint="GATEWAY_ENV=development serves it.")
        return graphiql_page()

    async def _caller(self, request: Request) -> Context:
        context = Context(self._services)
        await context.admit(request.headers.get("authorization"))
        return context

    # -- over WebSocket -----------------------------------------------------------------------------------------

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        return Context(self._services)

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        params = context.connection_params or {}
        given = params.get("authorization", params.get("Authorization"))
        await context.admit(given if isinstance(given, str) else None)
        return UnsetType()

    def decode_json(self, data: str | bytes) -> object:
        if len(data) > MAX_BODY_BYTES:
            raise json.JSONDecodeError("too long", "", 0)
        return read_json(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def _not_acceptable(offered: tuple[str, ...]) -> Response:
    return refusal(InvalidInput("`Accept` names nothing that can be served.", hint=f"It is {', '.join(offered)}."), 406)


def _not_allowed(error: InvalidInput, allowed: tuple[str, ...]) -> Response:
    response = refusal(error, 405)
    response.headers["allow"] = ", ".join(allowed)
    return response
