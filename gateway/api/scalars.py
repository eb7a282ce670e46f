"""Scalars of the API, and the enumerations that several nouns share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from gateway.plugin import DateTime as DateTime

#: A position to go on from; opaque to clients.
Cursor = NewType("Cursor", str)

_EARLIEST = -62_135_596_800_000  # the year 1
_LATEST = 253_402_300_799_999  # the end of the year 9999
_LONGEST_CURSOR = 1_000


def iso(milliseconds: int) -> str:
    """`2026-11-21T10:03:05.000Z`; what no calendar date can say becomes the nearest that can."""
    seconds, rest = divmod(min(max(milliseconds, _EARLIEST), _LATEST), 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03}Z".rjust(24, "0")


def _read_time(value: object) -> DateTime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise GraphQLError('A DateTime is text such as "2026-11-21T10:03:05.000Z".') from None
    if moment.tzinfo is None:
        raise GraphQLError('A DateTime names its time zone, such as the Z in "2026-11-21T10:03:05.000Z".')
    return DateTime((moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND)


def _read_cursor(value: object) -> Cursor:
    if not isinstance(value, str) or len(value) > _LONGEST_CURSOR:
        raise GraphQLError("A Cursor is text that a list or a message of this API gave out.")
    return Cursor(value)


_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)

SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A moment as ISO 8601 text, in UTC with milliseconds: `2026-11-21T10:03:05.000Z`.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=iso,
        parse_value=_read_time,
    ),
    Cursor: strawberry.scalar(
        name="Cursor",
        description="A position in a list or in live updates. Pass it back as it came; its content may change.",
        serialize=str,
        parse_value=_read_cursor,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value, as it was sent.",
        specified_by_url="https://ecma-international.org/publications-and-standards/standards/ecma-404/",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
