"""The door: GraphQL over HTTP (POST, JSON) and over WebSocket (graphql-transport-ws)."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import orjson
import strawberry
from cross_web import AsyncHTTPRequestAdapter, HTTPException, StarletteRequestAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UnsetType

from gateway.api.context import Context, Services
from gateway.api.failures import body_of
from gateway.errors import Denied, Forbidden, GatewayError, InvalidInput, TooLarge, Unavailable
from gateway.settings import Settings

MAX_BODY_BYTES = 256 * 1024
INIT_SECONDS = 5
MAX_SUBSCRIPTIONS = 100

_LONG_NUMBER = re.compile("[0-9]{19}")
_LONGEST_REASON = 123  # bytes, in a WebSocket's close frame
_HINT = 'Send {"query": "…", "variables": {…}} as application/json.'


def graphql_app(schema: strawberry.Schema, services: Services, settings: Settings) -> ASGIApp:
    """The ASGI application; GraphiQL is there in development only."""
    return _Door(
        schema,
        services,
        graphql_ide="graphiql" if settings.env == "development" else None,
        subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
        connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
        max_subscriptions_per_connection=MAX_SUBSCRIPTIONS,
        # No cookies are used, so that an origin by itself opens nothing.
        allowed_origins=settings.cors_origins,
        allow_queries_via_get=False,
    )


class _Reader(StarletteRequestAdapter):
    """Reads no more of a body than is allowed."""

    async def get_body(self) -> bytes:
        body = bytearray()
        async for chunk in self._request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise TooLarge(
                    f"The body has more than {MAX_BODY_BYTES // 1024} KB.", hint="Send many events to /v1/batch."
                )
        return bytes(body)


class _TextAdapter(ASGIWebSocketAdapter):
    """Sends text frames; orjson gives bytes."""

    async def send_json(self, message: Any) -> None:
        try:
            await self.ws.send_text(orjson.dumps(message).decode())
        except (WebSocketDisconnect, RuntimeError) as gone:
            raise WebSocketDisconnected from gone


class _Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol, with messages checked for their form, and a reason when a connection is refused."""

    async def handle_message(self, message: Any) -> None:
        if not _is_message(message):
            await self.handle_invalid_message("This is not a message of graphql-transport-ws")
            return
        await super().handle_message(message)

    async def send_message(self, message: Any) -> None:
        if message["type"] == "next":
            try:
                await self.context.renewed().check_visitor()
            except (Denied, Unavailable) as refused:
                # What was read for this message may be somebody else's by now.
                message = {**message, "payload": {"data": None, **body_of(refused)}}
        await super().send_message(message)

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Denied as refused:
            await self.websocket.close(code=4403, reason=_reason(refused))
        except Unavailable as away:
            await self.websocket.close(code=1013, reason=_reason(away))


class _Door(GraphQL[Context, None]):
    """Strawberry's view behind our own reading of requests, with our own form of refusals."""

    request_adapter_class = _Reader
    websocket_adapter_class = _TextAdapter
    graphql_transport_ws_handler_class = _Handler

    def __init__(self, schema: strawberry.Schema, services: Services, **options: Any) -> None:
        super().__init__(schema, **options)
        self._services = services

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except GatewayError as error:
            response = _refusal(error)
        except HTTPException as error:
            response = _refusal(InvalidInput(f"{error.reason}.", hint=_HINT), error.status_code)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "GET" and self.graphql_ide and "text/html" in request.headers.get("accept", ""):
            return await self.render_graphql_ide(request)
        if request.method != "POST":
            response = _refusal(InvalidInput("GraphQL is asked by POST here.", hint=_HINT), 405)
            response.headers["allow"] = "POST"
            return response
        return await self.run(request)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        context = Context(self._services)
        if isinstance(request, Request):
            await context.admit(request.headers.get("authorization"))
        return context

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        params = context.connection_params or {}
        given = params.get("authorization", params.get("Authorization"))
        await context.admit(given if isinstance(given, str) else None)
        return UnsetType()

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        content_type, _, _ = (request.content_type or "").partition(";")
        if content_type.strip().lower() != "application/json":
            raise HTTPException(415, "The body is not application/json")
        try:
            data: Any = _read_json(await request.get_body())
        except orjson.JSONDecodeError:
            raise InvalidInput("The body is not JSON in UTF-8, or nested too deeply.", hint=_HINT) from None
        if not _is_request(data):
            raise InvalidInput("The body is not a GraphQL request.", hint=_HINT)
        return GraphQLRequestData(
            query=data["query"],
            variables=data.get("variables"),
            operation_name=data.get("operationName"),
            extensions=data.get("extensions"),
            protocol="http",
        )

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> ExecutionResult:
        assert isinstance(request_data, GraphQLRequestData)  # lists are no requests here
        try:
            result = await self.schema.execute(
                request_data.query,
                variable_values=request_data.variables,
                context_value=context,
                operation_name=request_data.operation_name,
                allowed_operation_types=(OperationType.QUERY, OperationType.MUTATION),
                operation_extensions=request_data.extensions,
            )
        except InvalidOperationTypeError:
            raise InvalidInput(
                "Subscriptions do not run over plain HTTP.", hint="Use a WebSocket with graphql-transport-ws."
            ) from None
        except (CannotGetOperationTypeError, MissingQueryError):
            raise InvalidInput("The query has no operation of this name, or none at all.", hint=_HINT) from None
        await context.check_visitor()  # once more: somebody may have become known while it was answered
        return result

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        answer = await super().process_result(request, result)
        if isinstance(result, PreExecutionError):
            del answer["data"]  # as the specification has it for what was never executed
        return answer

    def decode_json(self, data: str | bytes) -> object:
        if len(data) > MAX_BODY_BYTES:
            raise json.JSONDecodeError("too long", "", 0)
        return _read_json(data)

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def _read_json(data: str | bytes) -> object:
    """JSON with its integers exact; orjson would round those beyond 64 bits, and an id would become another."""
    value = orjson.loads(data)
    text = data if isinstance(data, str) else data.decode()
    return json.loads(text, parse_int=_integer) if _LONG_NUMBER.search(text) else value


def _integer(digits: str) -> int:
    return int(digits[:4_000])  # Python refuses to read longer ones; this one is out of range in any case


def _is_request(data: object) -> bool:
    return (
        isinstance(data, dict)
        and isinstance(data.get("query"), str)
        and isinstance(data.get("variables"), dict | None)
        and isinstance(data.get("operationName"), str | None)
        and isinstance(data.get("extensions"), dict | None)
    )


def _is_message(message: object) -> bool:
    """Whether it has the form of the protocol; the handler looks at what it says."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] in ("subscribe", "complete") and not isinstance(message.get("id"), str):
        return False
    return message["type"] != "subscribe" or _is_request(message.get("payload"))


def _refusal(error: GatewayError, status: int | None = None) -> Response:
    headers = {"cache-control": "no-store"}
    if status is None:
        status = 400
        if isinstance(error, Unavailable):
            status, headers["retry-after"] = 503, str(error.retry_after)
        elif isinstance(error, TooLarge):
            status = 413
        elif isinstance(error, Denied):
            status = 403 if isinstance(error, Forbidden) else 401
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(body_of(error)), status, headers, "application/json")


def _reason(error: GatewayError) -> str:
    return str(error).encode()[:_LONGEST_REASON].decode(errors="ignore")
