"""How errors look to callers: ours with code and hint, GraphQL's own as they are, everything else masked."""

from __future__ import annotations

import logging
import traceback

from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError

from gateway.api.requests import HINT
from gateway.clock import random_id
from gateway.errors import GatewayError, InvalidInput, OperatorError, Unavailable

log = logging.getLogger("gateway.api")

_FRAMES = 4
_LONGEST_PATH = 200
#: GraphQL's own words quote what was sent, however long it is.
_LONGEST_MESSAGE = 500


def presented(error: GraphQLError) -> GraphQLError:
    """The error as the caller gets it. What is masked is logged under the id that the caller is told."""
    original = _original(error)
    if isinstance(original, GatewayError) and not isinstance(original, OperatorError):
        return _with(error, original.message, _extensions(original))
    if original is None or isinstance(original, StrawberryInputCoercionError):
        return _with(error, _shortened(error.message), {"code": InvalidInput.code, **(error.extensions or {})})
    if isinstance(original, CannotGetOperationTypeError | MissingQueryError):
        return _with(error, no_operation().message, _extensions(no_operation()))
    number = random_id()[:12]
    log.error(
        "a request failed",
        extra={
            "id": number,
            "error": type(original).__name__,
            "at": _where(original),
            "field": ".".join(str(part) for part in error.path or ())[:_LONGEST_PATH],
        },
    )
    hint = f"The operator finds the cause in the log under {number}."
    return _with(error, "Internal error.", {"code": "INTERNAL", "id": number, "hint": hint})


def no_operation() -> InvalidInput:
    """What is said where `operationName` names nothing that stands in the query."""
    return InvalidInput("The query has no operation of this name, or none at all.", hint=HINT)


def body_of(error: GatewayError) -> dict[str, object]:
    """A GraphQL answer that holds nothing but one error."""
    return {"errors": [{"message": error.message, "extensions": _extensions(error)}]}


def _extensions(error: GatewayError) -> dict[str, object]:
    extensions: dict[str, object] = {"code": error.code}
    if error.hint:
        extensions["hint"] = error.hint
    if isinstance(error, InvalidInput) and error.path:
        extensions["argument"] = error.path
    if isinstance(error, Unavailable):
        extensions["retryAfter"] = error.retry_after
    return extensions


def _original(error: GraphQLError) -> Exception | None:
    """The exception at the bottom; None when graphql-core itself refuses."""
    found: Exception | None = error.original_error
    while isinstance(found, GraphQLError):
        found = found.original_error
    return found


def _with(error: GraphQLError, message: str, extensions: dict[str, object]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )


def _shortened(message: str) -> str:
    """Without its middle when it is long: what is quoted stands there."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    half = _LONGEST_MESSAGE // 2
    return f"{message[:half]} … {message[-half:]}"


def _where(error: Exception) -> str:
    """The innermost lines of code; the message stays out, it may quote what a log must not hold."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " < ".join(f"{frame.filename.rpartition('gateway/')[2]}:{frame.lineno}" for frame in reversed(frames))
