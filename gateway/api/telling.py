"""What a caller may still hear at the moment an answer is ready, and whether it can be gone on behind that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import OperationType

from gateway.api.context import Context
from gateway.api.failures import body_of
from gateway.api.requests import Operation
from gateway.api.resuming import kind_of
from gateway.errors import Denied, Unavailable


async def still_open(context: Context, operation: Operation) -> None:
    """Whether what was read may still be told: a visitor may have become known meanwhile. Raises Denied, Unavailable.

    A mutation is told in any case: it has happened, and its answer holds nothing but what the caller itself sent.
    """
    if context.scope.visitor and kind_of(operation) is not OperationType.MUTATION:
        await context.renewed().check_visitor()


async def told(context: Context, operation: Operation, payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """What may be told of a result, and whether the operation goes on behind it.

    It does not when something in it could not be read: a subscriber that heard the next message would take that one's
    cursor, and what it missed here would be lost to it.
    """
    try:
        await still_open(context, operation)
    except (Denied, Unavailable) as refused:
        return {"data": None, **body_of(refused)}, False
    return payload, not any(_passes(error) for error in payload.get("errors") or ())


def _passes(error: Mapping[str, Any]) -> bool:
    return (error.get("extensions") or {}).get("code") == Unavailable.code
