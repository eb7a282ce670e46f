"""Answers over HTTP: bodies, media types and status codes, as GraphQL over HTTP has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.responses import Response
from strawberry.types import ExecutionResult

from gateway.api.failures import body_of
from gateway.api.media import GRAPHQL, JSON
from gateway.api.requests import NotJson
from gateway.errors import Forbidden, GatewayError, Late, NotFound, RateLimited, TooLarge, Unauthenticated, Unavailable

#: By code of the first error; what is not here is the client's mistake.
_STATUS = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}


def body_of_result(result: ExecutionResult, *, executed: bool = False) -> dict[str, Any]:
    """A result as the specification has it: what was never executed has no `data`."""
    errors = [error.formatted for error in result.errors or ()]
    body: dict[str, Any] = {"errors": errors} if errors else {}
    if result.extensions:
        body["extensions"] = result.extensions
    return {"data": result.data, **body} if executed or not is_refused(result) else body


def is_refused(result: ExecutionResult) -> bool:
    """Whether nothing was executed: the text, its policy or its variables did not pass."""
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def result_answer(result: ExecutionResult, media_type: str) -> Response:
    """The answer to an operation.

    As application/json it is 200 whatever it says, as clients of that type expect; as
    application/graphql-response+json what was not executed has a status of its own.
    """
    status = 200
    if media_type == GRAPHQL and is_refused(result):
        status = _status_of(result.errors or ())
    return answer(body_of_result(result), media_type, status)


def refusal(error: GatewayError, status: int | None = None, media_type: str = JSON) -> Response:
    """The answer to a request that gets no operation run."""
    found, headers = status_of(error)
    return answer(body_of(error), media_type, status or found, headers)


def status_of(error: GatewayError) -> tuple[int, dict[str, str]]:
    """The status of a refusal and what else its headers say."""
    status = _status_of_refusal(error)
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, Unavailable) else {}
    headers |= {"connection": "close"} if isinstance(error, Late) else {}
    return status, headers | ({"www-authenticate": "Bearer"} if status == 401 else {})


def answer(
    body: object, media_type: str = JSON, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that no cache keeps: it belongs to one caller, and to one moment."""
    kept_out = {"cache-control": "no-store", "vary": "Accept, Authorization", **(headers or {})}
    if media_type == GRAPHQL:
        media_type = f"{GRAPHQL}; charset=utf-8"
    return Response(orjson.dumps(body), status, kept_out, media_type)


def _status_of(errors: Sequence[GraphQLError]) -> int:
    codes = {str((error.extensions or {}).get("code")) for error in errors}
    return _STATUS.get(codes.pop(), 400) if len(codes) == 1 else 400


def _status_of_refusal(error: GatewayError) -> int:
    for kind, status in (
        (RateLimited, 429),
        (Unavailable, 503),
        (TooLarge, 413),
        (NotJson, 415),
        (Unauthenticated, 401),
        (Forbidden, 403),
        (NotFound, 404),
    ):
        if isinstance(error, kind):
            return status
    return 400
