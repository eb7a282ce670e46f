"""Around the whole application: request ids, numbers, spans, faults, and the end of what never ends by itself."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app.metrics import Metrics
from gateway.app.spans import Span, Spans
from gateway.clock import REQUEST_ID, monotonic, random_id
from gateway.collect.answers import REFUSED_CODE

log = logging.getLogger("gateway.app")

#: What is being served: intake finds its door in it.
SERVED: ContextVar[Scope | None] = ContextVar("served", default=None)

#: Answered whatever else is refused, and no reason to trace or to warn.
HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})
GOING = "The gateway restarts. Connect again and go on behind the last cursor."
_GOING_CODE = 1001
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_LONGEST_REASON = 120
_LONGEST_REFUSAL = 65_536
_SSE = b"text/event-stream"
_CLOSE = (b"connection", b"close")
_GONE_SECONDS = 1.0
UNMATCHED = "(none)"
#: Here refusals have GraphQL's form.
_GRAPHQL = "/graphql"
#: In a scope whose errors have been counted where they arose.
COUNTED = "gateway.counted"
#: What the codes that sockets are closed with say, in the words of errors.
_CLOSE_CODES = {
    1009: "TOO_LARGE",
    1013: "UNAVAILABLE",
    4400: "INVALID_INPUT",
    4401: "UNAUTHENTICATED",
    4403: "FORBIDDEN",
}


class Exchanges:
    """The outermost ASGI application. `drain` and `end` are the first two steps of stopping."""

    app: ASGIApp

    def __init__(self, metrics: Metrics, spans: Spans, *, slow_seconds: float) -> None:
        self._metrics = metrics
        self._spans = spans
        self._slow_seconds = slow_seconds
        self._connections: Callable[[], int] = int
        self._most = 0
        self._endless: set[_Exchange] = set()
        self.draining = False
        #: Codes of refusals with their numbers, for whoever sums them up and clears this.
        self.refused: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self, scope, receive, send)
        REQUEST_ID.set(exchange.id)
        SERVED.set(scope)
        if scope["type"] == "http":
            await self._http(exchange)
        else:
            await self._socket(exchange)

    def limit(self, connections: Callable[[], int], most: int) -> None:
        """Refuse requests while there are more connections than `most`."""
        self._connections, self._most = connections, most

    def drain(self) -> None:
        """From here on answers end their connections, and WebSockets are sent elsewhere."""
        self.draining = True

    async def end(self) -> None:
        """End WebSockets and event streams so that their clients connect again; at most a second."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE_SECONDS):
                await asyncio.gather(*(exchange.end() for exchange in list(self._endless)))
                while self._endless:  # noqa: ASYNC110 - each leaves the set as its task ends
                    await asyncio.sleep(0.01)

    def fail(self, code: object) -> None:
        known = self._metrics.failed(code)
        self.refused[known] = self.refused.get(known, 0) + 1

    async def _http(self, exchange: _Exchange) -> None:
        metrics, scope = self._metrics, exchange.scope
        began = monotonic()
        metrics.requests_open.inc()
        try:
            with self._spans.request(scope) as span:
                await self._served(exchange)
                _describe(span, scope, exchange.status)
        finally:
            metrics.requests_open.dec()
            if exchange.body_bytes:
                metrics.body_bytes.dec(exchange.body_bytes)
            if exchange.streams:
                metrics.streams_open.dec()
                self._endless.discard(exchange)
            else:
                self._answered(exchange, monotonic() - began)

    def _answered(self, exchange: _Exchange, seconds: float) -> None:
        scope, route = exchange.scope, route_of(exchange.scope)
        self._metrics.answered(scope["method"], route, exchange.status, seconds)
        if seconds > self._slow_seconds and scope["path"] not in HEALTH:
            log.warning(
                "a request was slow",
                extra={"route": route, "status": exchange.status, "seconds": round(seconds, 3)},
            )

    async def _served(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        if self._connections() > self._most and scope["path"] not in HEALTH:
            await exchange.refuse(503, "OVERLOADED", "The gateway has as many connections as it can take.")
            return
        if self.draining and _asks_for_stream(scope):
            await exchange.refuse(503, "UNAVAILABLE", GOING)
            return
        try:
            await self.app(scope, exchange.receiving, exchange.sending)
        except asyncio.CancelledError:
            if not exchange.ended:
                raise
        except Exception:
            log.exception("a request failed", extra={"route": route_of(scope)})
            # Where an answer has begun it stays incomplete, and the server cuts the connection.
            if not exchange.started:
                await exchange.refuse(500, "INTERNAL", f"A fault of the gateway; its log says where: {exchange.id}.")

    async def _socket(self, exchange: _Exchange) -> None:
        if self.draining or self._connections() > self._most:
            await exchange.refuse_socket()
            return
        self._metrics.sockets_open.inc()
        self._endless.add(exchange)
        try:
            await self.app(exchange.scope, exchange.receive, exchange.sending_frames)
        except OSError:
            pass  # the client is gone
        except Exception:
            if not exchange.ended:
                log.exception("a socket failed", extra={"route": route_of(exchange.scope)})
                await exchange.fault()
        finally:
            self._endless.discard(exchange)
            self._metrics.sockets_open.dec()

    def took(self, exchange: _Exchange, size: int) -> None:
        exchange.body_bytes += size
        self._metrics.body_bytes.inc(size)

    def streams(self, exchange: _Exchange) -> None:
        exchange.streams = True
        self._metrics.streams_open.inc()
        self._endless.add(exchange)


class _Exchange:
    """One request, or one WebSocket."""

    __slots__ = (
        "_all",
        "_send",
        "_task",
        "body_bytes",
        "ended",
        "id",
        "receive",
        "scope",
        "started",
        "status",
        "streams",
    )

    def __init__(self, exchanges: Exchanges, scope: Scope, receive: Receive, send: Send) -> None:
        self._all = exchanges
        self._send = send
        self._task = asyncio.current_task()
        self.scope = scope
        self.receive = receive
        self.id = _request_id(scope["headers"])
        self.status = 499  # as long as nothing is answered: the client may have gone
        self.body_bytes = 0
        self.started = self.streams = self.ended = False

    async def receiving(self) -> Message:
        message = await self.receive()
        size = len(message.get("body", b""))
        if size:
            self._all.took(self, size)
        return message

    async def sending(self, message: Message) -> None:
        if self.ended:
            return
        if message["type"] == "http.response.start":
            self._start(message)
        elif self.status >= 400 and COUNTED not in self.scope:
            known = self.scope.get(REFUSED_CODE)
            for code in [known] if known else _codes_in(message.get("body", b"")[:_LONGEST_REFUSAL]):
                self._all.fail(code)
        await self._send(message)

    def _start(self, message: Message) -> None:
        self.started = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        message["headers"] = headers
        if any(name == b"content-type" and value.startswith(_SSE) for name, value in headers):
            self._all.streams(self)
        elif self._all.draining:
            headers.append(_CLOSE)

    async def sending_frames(self, message: Message) -> None:
        if self.ended:
            return
        if message["type"] in ("websocket.accept", "websocket.http.response.start"):
            self.started = True
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        elif message["type"] == "websocket.close" and not self.started and route_of(self.scope) == UNMATCHED:
            await self._refuse_place()
            return
        elif message["type"] == "websocket.close" and (code := _CLOSE_CODES.get(message.get("code", 1000))):
            self._all.fail(code)
        await self._send(message)

    async def fault(self) -> None:
        """Close a WebSocket whose application failed."""
        self._all.fail("INTERNAL")
        if self.started:
            with suppress(RuntimeError, OSError):
                reason = f"A fault of the gateway; its log says where: {self.id}"[:_LONGEST_REASON]
                await self._send({"type": "websocket.close", "code": 1011, "reason": reason})

    async def end(self) -> None:
        """End it from our side; what the application still says goes nowhere."""
        if self.ended:
            return
        self.ended = True
        with suppress(RuntimeError, OSError):  # the client may have been quicker
            if self.scope["type"] == "websocket":
                await self._send({"type": "websocket.close", "code": _GOING_CODE, "reason": GOING})
            else:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                if self._task is not None:
                    self._task.cancel()

    async def refuse(self, status: int, code: str, message: str) -> None:
        said: dict[str, object] = {"code": code, "message": message, "requestId": self.id}
        if self.scope["path"].rstrip("/") == _GRAPHQL:
            hint = "Send it again in a moment." if status == 503 else "Tell the operator this id."
            said = {"errors": [{"message": message, "extensions": {"code": code, "hint": hint, "requestId": self.id}}]}
        body = orjson.dumps(said)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers += [(b"retry-after", b"1"), _CLOSE]
        await self.sending({"type": "http.response.start", "status": status, "headers": headers})
        await self.sending({"type": "http.response.body", "body": body})

    async def _refuse_place(self) -> None:
        """Answer the handshake with 404: no WebSocket is spoken at this path."""
        message = "There is no WebSocket here. Connect to /graphql."
        said = {"code": "NOT_FOUND", "message": message, "requestId": self.id}
        headers = [(b"content-type", b"application/json")]
        self._all.fail("NOT_FOUND")
        await self.sending_frames({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": orjson.dumps(said)})

    async def refuse_socket(self) -> None:
        """Answer the handshake with 503, so that the client tries elsewhere."""
        await self.receive()
        headers = [(b"retry-after", b"1"), (b"content-type", b"application/json")]
        body = orjson.dumps({"code": "OVERLOADED", "message": GOING, "requestId": self.id})
        self._all.fail("OVERLOADED")
        await self.sending_frames({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await self._send({"type": "websocket.http.response.body", "body": body})


def route_of(scope: Scope) -> str:
    """The template of the route that serves this, never the address itself."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNMATCHED


def _asks_for_stream(scope: Scope) -> bool:
    return any(name == b"accept" and _SSE in value for name, value in scope["headers"])


def _request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The client's X-Request-ID if it is a plain word of at most 128 characters, else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _WELL_FORMED.fullmatch(given):
                return given
            break
    return random_id()


def _codes_in(body: bytes) -> list[object]:
    """The codes of a refusal: `{"code"}`, or those of GraphQL's errors."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(content, dict):
        return []
    if "code" in content:
        return [content["code"]]
    errors = content.get("errors")
    if not isinstance(errors, list):
        return []
    return [(error.get("extensions") or {}).get("code") for error in errors if isinstance(error, dict)]


def _describe(span: Span, scope: Scope, status: int) -> None:
    route = route_of(scope)
    span.name(f"{scope['method']} {route}")
    span.note(**{"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.fail(str(status))
