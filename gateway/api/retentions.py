"""Retention: of those who began, how many came back when."""

from __future__ import annotations

from enum import Enum
from zoneinfo import ZoneInfo

import strawberry

from gateway.api.context import Context
from gateway.api.questions import (
    CONSENT,
    DAY_MS,
    EVER,
    MOST_EVENTS,
    ONLY,
    Answered,
    Asked,
    Behind,
    CalendarInterval,
    Counted,
    EventInput,
    Share,
    codes_of,
    figure,
    share,
    told,
    within,
    zone_of,
)
from gateway.api.ranges import RangeInput
from gateway.api.scalars import DateTime
from gateway.errors import InvalidInput, TooLarge
from gateway.insights.asking import Answer, Gathered, Reading
from gateway.insights.kernels.calendar import Calendar, Interval
from gateway.insights.kernels.retention import ROLLING_MS, Clock, Retained, Retention, RetentionQuestion, retention

MOST_BUCKETS = 100
MOST_COHORTS = 400


@strawberry.enum(description="What counts as retained in bucket n.")
class RetentionKind(Enum):
    """Kinds."""

    N_DAY = strawberry.enum_value("N_DAY", description="Back in n.")
    UNBOUNDED = strawberry.enum_value("UNBOUNDED", description="Back in n or later.")
    UP_TO = strawberry.enum_value("UP_TO", description="Back in one of 1 to n.")
    STREAK = strawberry.enum_value("STREAK", description="Back in each of 1 to n.")
    BRACKET = strawberry.enum_value("BRACKET", description="Back in a bracket of buckets.")


@strawberry.enum(description="How buckets are measured.")
class RetentionClock(Enum):
    """Clocks."""

    ROLLING = strawberry.enum_value("ROLLING", description="24 hours, 7 or 30 days from the user's own start.")
    CALENDAR = strawberry.enum_value("CALENDAR", description="Local days, weeks or months after that of the start.")


@strawberry.input(description="Retention.")
class RetentionInput:
    """Retention."""

    start: list[EventInput] = strawberry.field(description="With one of these events users begin.")
    back: list[EventInput] = strawberry.field(description="With one of these they come back.")
    range: RangeInput = strawberry.field(description="In which time they begin.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    time_zone: str | None = strawberry.field(default=None, description="An IANA time zone; UTC if left out.")
    interval: CalendarInterval | None = strawberry.field(
        default=None, description="DAY, WEEK or MONTH, of cohorts and of buckets; DAY if left out."
    )
    buckets: int | None = strawberry.field(
        default=None, description=f"How many after the first, 1 to {MOST_BUCKETS}; 7 if left out."
    )
    kind: RetentionKind | None = strawberry.field(default=None, description="N_DAY if left out.")
    clock: RetentionClock | None = strawberry.field(default=None, description="ROLLING if left out.")
    first_ever: bool | None = strawberry.field(
        default=True, description="Whether their first start of all must lie in the range; else any start counts."
    )
    brackets: list[list[int]] | None = strawberry.field(
        default=None, description="For BRACKET: the first and the last bucket of each."
    )


@strawberry.type(description="Of a cohort, who came back in a bucket; `users` are those who did.")
class RetentionCell(Counted):
    """A cell."""

    first: int = figure("The bucket; of a bracket the first.")
    last: int = figure("The bucket; of a bracket the last.")
    share: Share = figure("Of the cohort.")
    complete: bool = figure("Whether the bucket is over for whoever may be in the cohort.")


@strawberry.type(description="Those who began in one interval.")
class RetentionCohort(Counted):
    """A cohort."""

    start: DateTime = figure("Where the interval begins.")
    end: DateTime = figure("Where it ends; not included.")
    size: int = figure("How many began.")
    cells: list[RetentionCell] = figure("By bucket.", size=8)


@strawberry.type(description="Of those who began, how many came back when.")
class RetentionAnswer(Answered):
    """Retention."""

    cohorts: list[RetentionCohort] = figure("The oldest first.", size=15)
    average: list[Share] = figure("By bucket: all complete cells together.", size=8)


async def answered_retention(context: Context, given: RetentionInput) -> RetentionAnswer:
    asked, zone = Asked("retention", given.range, given.segment), zone_of(given.time_zone)
    for name in ("start", "back"):
        if not 1 <= len(getattr(given, name)) <= MOST_EVENTS:
            raise InvalidInput(f"`{name}` names 1 to {MOST_EVENTS} events.", path=name)
    start, back = asked.events(given.start, "start"), asked.events(given.back, "back")
    interval = Interval((given.interval or CalendarInterval.DAY).name)
    buckets = within(given.buckets, 7, 1, MOST_BUCKETS, "buckets")
    kind = Retained((given.kind or RetentionKind.N_DAY).name)
    clock = Clock((given.clock or RetentionClock.ROLLING).name)
    first_ever = given.first_ever is not False
    brackets = _brackets(given.brackets)
    asked.said = {
        "options": [len(start), zone.key, interval, buckets, kind, clock, first_ever, [list(one) for one in brackets]]
    }

    def question(starts: tuple[int, ...], backs: tuple[int, ...], as_of: int) -> RetentionQuestion:
        begin, end = asked.between(as_of)
        return RetentionQuestion(
            start=starts,
            back=backs,
            between=(begin, max(begin + 1, min(end, as_of + 1))),
            as_of=as_of,
            zone=zone,
            interval=interval,
            buckets=buckets,
            kind=kind,
            clock=clock,
            first_ever=first_ever,
            brackets=brackets,
        )

    def reading(as_of: int) -> Reading:
        begin, end = asked.between(as_of)
        until = as_of + 1 if kind is Retained.UNBOUNDED else end + (buckets + 2) * (ROLLING_MS[interval] + DAY_MS)
        return asked.reading((EVER if first_ever else begin, until))

    def work(gathered: Gathered, as_of: int) -> Retention:
        return retention(gathered.events, question(codes_of(gathered, start), codes_of(gathered, back), as_of))

    now = context.services.clock.now()
    checked = question((0,), (0,), now)
    _check_cohorts(checked, zone)
    answer = await asked.answer(context, reading, work)
    unit = interval.lower()
    when = f"local {unit}s after that of the start" if clock is Clock.CALENDAR else f"{unit}s from the user's own start"
    if clock is Clock.ROLLING:
        when += f", of {ROLLING_MS[interval] // 3_600_000} hours each"
    what = {
        Retained.N_DAY: "back in bucket n",
        Retained.UNBOUNDED: "back in bucket n or later",
        Retained.UP_TO: "back in one of the buckets 1 to n",
        Retained.STREAK: "back in each of the buckets 1 to n",
        Retained.BRACKET: "back in a bracket of buckets",
    }[kind]
    sentence = (
        f"Users who begin with {asked.words(start)} {asked.range_words} ({'their first ever' if first_ever else 'any'})"
        f", by {unit} of {zone.key}; retained: {what} with {asked.words(back)}; buckets are {when}. The average has "
        f"complete cells only. {CONSENT}"
    )
    return _retained(asked, answer, checked.spans, sentence)


def _brackets(given: list[list[int]] | None) -> tuple[tuple[int, int], ...]:
    found = []
    for one in given or ():
        if len(one) != 2:
            raise InvalidInput("A bracket is a first and a last bucket, such as [1, 7].", path="brackets")
        found.append((one[0], one[1]))
    if len(found) > MOST_BUCKETS:
        raise InvalidInput(f"At most {MOST_BUCKETS} brackets are possible.", path="brackets")
    return tuple(found)


def _check_cohorts(question: RetentionQuestion, zone: ZoneInfo) -> None:
    start, end = question.between
    cohorts = len(Calendar.covering(zone, question.interval, start, end - 1))
    if cohorts > MOST_COHORTS:
        raise TooLarge(
            f"The range has {cohorts:,} cohorts; at most {MOST_COHORTS} are possible.",
            hint="Ask for longer intervals, or about a shorter range.",
            path="interval",
        )


def _retained(asked: Asked, answer: Answer[Retention], spans: list[tuple[int, int]], sentence: str) -> RetentionAnswer:
    found = answer.found

    def behind(cohort: int, column: int | None = None) -> Behind[Retention]:
        return Behind(answer, lambda: found.people(cohort, column))

    cohorts = [
        RetentionCohort(
            behind=behind(place),
            start=DateTime(cohort.start),
            end=DateTime(cohort.end),
            size=cohort.size,
            cells=[
                RetentionCell(
                    behind=behind(place, column),
                    first=spans[column][0],
                    last=spans[column][1],
                    share=share(cell.share),
                    complete=cell.complete,
                )
                for column, cell in enumerate(cohort.cells)
            ],
        )
        for place, cohort in enumerate(found.cohorts)
    ]
    average = [share(one) for one in found.average]
    return RetentionAnswer(**told(asked, answer, sentence), cohorts=cohorts, average=average)
