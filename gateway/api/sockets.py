"""GraphQL over WebSocket: graphql-transport-ws, with readable reasons whenever a connection is refused."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler

from gateway.api.context import Context
from gateway.api.failures import body_of
from gateway.api.requests import Operation, is_request
from gateway.api.telling import told
from gateway.errors import Denied, GatewayError, InvalidInput, Unavailable

_LONGEST_REASON = 123  # bytes, in a WebSocket's close frame
_REASONS = {4406: "Ask for the subprotocol graphql-transport-ws; graphql-ws and others are not spoken here."}


class TextAdapter(ASGIWebSocketAdapter):
    """Sends text frames; orjson gives bytes."""

    async def send_json(self, message: Any) -> None:
        try:
            await self.ws.send_text(orjson.dumps(message).decode())
        except (WebSocketDisconnect, RuntimeError) as gone:
            raise WebSocketDisconnected from gone

    async def close(self, code: int, reason: str) -> None:
        await super().close(code, _cut(_REASONS.get(code, reason)))


class Handler(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol, with messages checked for their form, and a reason when a connection is refused."""

    async def handle_message(self, message: Any) -> None:
        if not _is_message(message):
            await self.handle_invalid_message("This is not a message of graphql-transport-ws")
            return
        if message["type"] == "subscribe" and self.connection_acknowledged:
            try:
                await self.context.check_credential()
            except Denied as ended:
                # Nothing more can be had on this connection; clients open another with a new credential.
                await self.websocket.close(code=4403, reason=_reason(ended))
                return
            except Unavailable:
                pass  # the operation finds out for itself what it can have
        await super().handle_message(message)

    async def handle_subscribe(self, message: Any) -> None:
        most, operations = self.max_subscriptions_per_connection, self.operations
        full = self.connection_acknowledged and most is not None and len(operations) >= most
        if full and message["id"] not in operations:  # one that is there closes the connection, as the protocol wants
            error = InvalidInput(
                f"This connection has {most} operations, which is the limit.",
                hint="Complete some, or open another connection.",
            )
            await self.send_message({"id": message["id"], "type": "error", "payload": body_of(error)["errors"]})
            return
        await super().handle_subscribe(message)

    async def send_message(self, message: Any) -> None:
        if message["type"] != "next":
            await super().send_message(message)
            return
        operation = self.operations.get(message["id"])
        if operation is None:
            return  # the client has ended it; nothing is told unchecked
        asked = Operation(query=operation.query, operation_name=operation.operation_name)
        message["payload"], goes_on = await told(self.context, asked, message["payload"])
        await super().send_message(message)
        if not goes_on and operation.task is not None:
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
            operation.task.cancel()

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Denied as refused:
            await self.websocket.close(code=4403, reason=_reason(refused))
        except Unavailable as away:
            await self.websocket.close(code=1013, reason=_reason(away))


def _is_message(message: object) -> bool:
    """Whether it has the form of the protocol; the handler looks at what it says."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] in ("subscribe", "complete") and not isinstance(message.get("id"), str):
        return False
    return message["type"] != "subscribe" or is_request(message.get("payload"))


def _reason(error: GatewayError) -> str:
    return _cut(str(error))


def _cut(reason: str) -> str:
    return reason.encode(errors="replace")[:_LONGEST_REASON].decode(errors="ignore")
