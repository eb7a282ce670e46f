"""Scalars of the API, and the enumerations that several nouns share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError, GraphQLScalarType
from strawberry.scalars import JSON
from strawberry.types.scalar import ScalarDefinition

from gateway.plugin import DateTime as DateTime

#: A position to go on from; opaque to clients.
Cursor = NewType("Cursor", str)

#: Where what the tracking plan generates is put in; without a plan, what has these types is not there.
EventWhere = NewType("EventWhere", dict[str, Any])
TrackedEvents = NewType("TrackedEvents", list[dict[str, Any]])

_EARLIEST = -62_135_596_800_000  # the year 1
_LATEST = 253_402_300_799_999  # the end of the year 9999
_LONGEST_CURSOR = 1_000


def iso(milliseconds: int) -> str:
    """`2026-11-21T10:03:05.000Z`; what no calendar date can say becomes the nearest that can."""
    seconds, rest = divmod(min(max(milliseconds, _EARLIEST), _LATEST), 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03}Z".rjust(24, "0")


def read_time(value: object) -> DateTime:
    """The moment that ISO 8601 text with a time zone says. Raises GraphQLError."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise GraphQLError('A DateTime is text such as "2026-11-21T10:03:05.000Z".') from None
    if moment.tzinfo is None:
        raise GraphQLError('A DateTime names its time zone, such as the Z in "2026-11-21T10:03:05.000Z".')
    return DateTime((moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND)


def _write_long(value: object) -> int | str:
    assert isinstance(value, int)
    return value if abs(value) <= _SAFE else str(value)


def _read_long(value: object) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not is_long(value):
        raise GraphQLError("A Long is a whole number of at most 64 bits, or its digits as text.")
    return value


def is_long(value: int) -> bool:
    """Whether it has at most 64 bits."""
    return -(2**63) <= value < 2**63


def _read_cursor(value: object) -> Cursor:
    if not isinstance(value, str) or len(value) > _LONGEST_CURSOR:
        raise GraphQLError("A Cursor is text that a list or a message of this API gave out.")
    return Cursor(value)


_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)

_DIGITS = re.compile("-?[0-9]{1,19}")
#: What every reader of JSON reads exactly.
_SAFE = 2**53 - 1

#: Of whole numbers that the plan does not bound to 32 bits. No field of the product's own has it.
LONG = GraphQLScalarType(
    "Long",
    description=(
        "A whole number of at most 64 bits: a JSON number as long as JavaScript reads it exactly (up to 2^53 - 1), "
        "beyond that its digits as text, so that none is lost. Both are taken."
    ),
    serialize=_write_long,
    parse_value=_read_long,
)

SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A moment as ISO 8601 text, in UTC with milliseconds: `2026-11-21T10:03:05.000Z`.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=iso,
        parse_value=read_time,
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
    EventWhere: strawberry.scalar(name="EventWhere", description="Generated from the tracking plan."),
    TrackedEvents: strawberry.scalar(name="TrackedEvents", description="Generated from the tracking plan."),
}
