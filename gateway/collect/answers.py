"""What the doors for events answer: JSON always, refusals as `{"code", "message"}`.

Official SDKs take exactly 200 for success, send again after 429 and 5xx (when Retry-After says, in whole seconds), and
drop the events of any other answer; some fail on a refusal without `code` and `message`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.collect.bodies import Bodies
from gateway.errors import (
    Forbidden,
    GatewayError,
    InvalidInput,
    Late,
    NotFound,
    OperatorError,
    RateLimited,
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
#: What senders should know besides an error, when nothing of a request was stored.
REFUSED = "Nothing was stored."
#: A transparent image, for senders that show one in order to send.
PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
#: Of a scope: the code of a refusal whose answer says another one, in a vendor's words.
REFUSED_CODE = "gateway.refused_code"

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
            return method_not_allowed("POST")
        headers = Headers(scope=scope)
        try:
            async with self._bodies.read(headers, receive) as body:
                return await self._answer(scope, headers, body)
        except GatewayError as error:
            return refusal_of(error, self._refused)
        except asyncio.CancelledError:
            return _stopping()


class Get:
    """An ASGI endpoint for GET (and HEAD) alone, with the same refusals."""

    def __init__(self, answer: Callable[[Scope, Headers], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._respond(scope))(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return method_not_allowed("GET, HEAD")
        try:
            return await self._answer(scope, Headers(scope=scope))
        except GatewayError as error:
            return refusal_of(error)
        except asyncio.CancelledError:
            return _stopping()


def door(path: str, endpoint: ASGIApp, name: str) -> Route:
    """A route that takes its path with a slash at the end too: a redirect would make senders lose body or key."""
    route = Route(path, endpoint, name=name)
    route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + "/?$")
    return route


def answer(payload: dict[str, Any]) -> Response:
    """200 with this JSON."""
    return Response(orjson.dumps(payload), media_type="application/json")


def refusal_of(error: GatewayError, also: str = "") -> Response:
    """The answer that an error is; `also` is said behind it when the request had no effect."""
    if isinstance(error, Unavailable):
        return _unavailable(error)
    if isinstance(error, OperatorError):
        log.error("a request could not be served", extra={"code": error.code, "reason": error.message})
        reason = "The gateway cannot store anything now; its log says why."
        return _unavailable(Unavailable(reason, retry_after=_OPERATOR_SECONDS))
    status = next((number for kind, number in _STATUS if isinstance(error, kind)), 400)
    return refusal(status, error.code, f"{error} {also}".strip())


def method_not_allowed(allowed: str) -> Response:
    """405, naming the methods that are."""
    return refusal(405, "METHOD_NOT_ALLOWED", f"Use {allowed.split(',')[0]} here.", {"Allow": allowed})


def _unavailable(error: Unavailable) -> Response:
    message = f"{error} Nothing was acknowledged; sending the same again is safe."
    status = 429 if isinstance(error, RateLimited) else 503
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if isinstance(error, Late):
        # Not 408: RudderStack's and Mixpanel's SDKs for Python would drop the events.
        headers["Connection"] = "close"
    return refusal(status, error.code, message, headers)


def _stopping() -> Response:
    """Only a server that stops cancels a request; its sender shall try again, elsewhere or later."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    return _unavailable(Unavailable("The gateway is stopping."))


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal in the form that every SDK understands."""
    return Response(orjson.dumps({"code": code, "message": message}), status, headers, "application/json")
