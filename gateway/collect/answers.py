"""What the doors for events answer: JSON always, refusals as `{"code", "message"}`.

Official SDKs take exactly 200 for success, send again after 5xx, and drop the events of any other answer; some fail
on a refusal without `code` and `message`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.collect.bodies import Bodies
from gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidInput,
    NotFound,
    OperatorError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("gateway.collect")

#: The first that fits wins.
_STATUS: tuple[tuple[type[GatewayError], int], ...] = (
    (TooLarge, 413),
    (InvalidInput, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
)
_OPERATOR_SECONDS = 10

Answer = Callable[[Scope, Headers, bytes], Awaitable[Response]]


class Post:
    """An ASGI endpoint for POST alone: reads the body, answers, turns the gateway's errors into refusals.

    `refused` is what the caller should know besides the error, whenever the request had no effect.
    """

    def __init__(self, bodies: Bodies, answer: Answer, *, refused: str = "") -> None:
        self._bodies = bodies
        self._answer = answer
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope, receive)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] != "POST":
            return _refusal(405, "METHOD_NOT_ALLOWED", "Use POST here.", {"Allow": "POST"})
        headers = Headers(scope=scope)
        try:
            async with self._bodies.read(headers, receive) as body:
                return await self._answer(scope, headers, body)
        except Unavailable as error:
            return _unavailable(error.message, error.retry_after)
        except OperatorError as error:
            log.error("a request could not be served", extra={"code": error.code, "reason": error.message})
            return _unavailable("The gateway cannot store anything now; its log says why.", _OPERATOR_SECONDS)
        except GatewayError as error:
            status = next((number for kind, number in _STATUS if isinstance(error, kind)), 400)
            return _refusal(status, error.code, f"{error} {self._refused}".strip())


def answer(payload: dict[str, Any]) -> Response:
    """200 with this JSON."""
    return Response(orjson.dumps(payload), media_type="application/json")


def _unavailable(reason: str, seconds: int) -> Response:
    message = f"{reason} Nothing was acknowledged; sending the same again is safe."
    return _refusal(503, Unavailable.code, message, {"Retry-After": str(seconds)})


def _refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"code": code, "message": message}), status, headers, "application/json")
