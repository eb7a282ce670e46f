"""Which time is asked about, by KPIs, questions and audits alike."""

from __future__ import annotations

from datetime import timedelta

import strawberry

from gateway.api.scalars import DateTime
from gateway.contract import parse_duration
from gateway.errors import InvalidInput
from gateway.insights.kpis.ranges import TimeRange
from gateway.plugin import Policy

KPIS = Policy("kpis:read")


@strawberry.input(description="From one moment up to, but not including, another.")
class BetweenInput:
    """A half-open range."""

    from_: DateTime = strawberry.field(name="from", description="The first moment that counts.")
    to: DateTime = strawberry.field(description="The first moment that counts no longer.")


@strawberry.input(one_of=True, description="Which time: exactly one of these.")
class RangeInput:
    """Names a range of time."""

    last: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Up to now: a number and m, h, d or w, such as `30m`, `12h`, `28d`, `8w`. From a day on it begins "
        "at a full quarter of an hour (UTC).",
    )
    between: BetweenInput | None = strawberry.field(default=strawberry.UNSET, description="Between two moments.")


def range_of(given: RangeInput) -> TimeRange:
    """The range as it was given. Raises InvalidInput."""
    if given.last:
        try:
            return TimeRange(given.last, parse_duration(given.last) // timedelta(milliseconds=1))
        except ValueError as error:
            raise InvalidInput(f"`last` is no duration: {error}.", path="range.last") from None
    if not given.between:
        raise InvalidInput("`last` is empty.", hint="Write for example 28d.", path="range.last")
    start, end = given.between.from_, given.between.to
    if start >= end:
        raise InvalidInput("`from` is not before `to`.", path="range.between")
    return TimeRange(start=start, end=end)


def moments(given: RangeInput, now: int) -> tuple[int, int]:
    """The range's first moment, and the first behind it. Raises InvalidInput."""
    return range_of(given).at(now)
