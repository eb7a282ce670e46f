"""Who is active when: stickiness, lifecycle, churn, and trends."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import numpy as np
import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.questions import (
    BEHIND,
    CONSENT,
    COST,
    DAY_MS,
    EVER,
    MOST_EVENTS,
    MOST_TOP,
    ONLY,
    WORKED_OUT,
    Answered,
    Asked,
    Behind,
    BehindConnection,
    BreakdownValue,
    ByInput,
    CalendarInterval,
    Counted,
    EventInput,
    Share,
    codes_of,
    duration,
    figure,
    people,
    share,
    told,
    value_of,
    within,
    zone_of,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.api.retentions import RetentionAnswer, RetentionInput, answered_retention
from gateway.api.scalars import DateTime
from gateway.errors import InvalidInput, TooLarge
from gateway.insights.asking import Answer, Gathered, Reading
from gateway.insights.kernels.activity import (
    Churn,
    Lifecycle,
    Stickiness,
    customer_churn,
    lifecycle,
    stickiness,
    usage_churn,
)
from gateway.insights.kernels.calendar import Calendar, Interval, Statistic, Trend, trend
from gateway.insights.kernels.events import Longs, top
from gateway.plugin import field

MOST_POINTS = 1_000


@strawberry.enum(description="What of the events of an interval is the number.")
class TrendStatistic(Enum):
    """Statistics."""

    COUNT = strawberry.enum_value("COUNT", description="How many events.")
    UNIQUES = strawberry.enum_value("UNIQUES", description="How many different users.")
    SUM = strawberry.enum_value("SUM", description="The sum of a property.")
    MEAN = strawberry.enum_value("MEAN", description="The mean of a property.")
    PERCENTILE = strawberry.enum_value("PERCENTILE", description="A percentile of a property.")


@strawberry.input(description="Events in intervals of a calendar.")
class CalendarInput:
    """Which time, and how it is cut."""

    range: RangeInput = strawberry.field(description="Which time; whole intervals that it touches.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    time_zone: str | None = strawberry.field(
        default=None, description="An IANA time zone, such as `Europe/Berlin`; UTC if left out."
    )
    interval: CalendarInterval | None = strawberry.field(default=None, description="DAY if left out.")
    events: list[EventInput] | None = strawberry.field(
        default=None, description=f"Which events count, at most {MOST_EVENTS}. Null: all."
    )


@strawberry.input(description="A trend.")
class TrendInput(CalendarInput):
    """A trend."""

    statistic: TrendStatistic | None = strawberry.field(default=None, description="COUNT if left out.")
    value: str | None = strawberry.field(
        default=None, description="The property whose numbers count, for SUM, MEAN and PERCENTILE."
    )
    percentile: float | None = strawberry.field(default=None, description="Which, 0 to 100; 50 if left out.")
    by: ByInput | None = strawberry.field(default=None, description="By what it is broken down; null: by nothing.")
    top: int | None = strawberry.field(
        default=None, description=f"How many values, the most frequent, at most {MOST_TOP}; 10 if left out."
    )


@strawberry.input(description="Stickiness.")
class StickinessInput(CalendarInput):
    """Stickiness."""


@strawberry.input(description="A lifecycle.")
class LifecycleInput(CalendarInput):
    """A lifecycle."""


@strawberry.input(description="Who was active and is no longer.")
class UsageChurnInput:
    """By usage."""

    events: list[EventInput] = strawberry.field(description="With these events users are active.")
    inactive: str = strawberry.field(description="Who does nothing for so long has left, such as `30d`.")


@strawberry.input(description="Who was a customer and is no longer.")
class CustomerChurnInput:
    """By events that say so."""

    joins: list[EventInput] = strawberry.field(description="With these events users become customers.")
    leaves: list[EventInput] = strawberry.field(description="With these they stop being customers.")


@strawberry.input(one_of=True, description="By what churn is told: exactly one of these.")
class ChurnBy:
    """Usage or customers."""

    usage: UsageChurnInput | None = strawberry.field(default=strawberry.UNSET, description="By what users do.")
    customers: CustomerChurnInput | None = strawberry.field(
        default=strawberry.UNSET, description="By events that say who joins and leaves."
    )


@strawberry.input(description="Churn.")
class ChurnInput:
    """Churn."""

    range: RangeInput = strawberry.field(description="In which time.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    by: ChurnBy = strawberry.field(description="By what it is told.")


# -- answers ------------------------------------------------------------------------------------------------------


@strawberry.type(description="One interval of a trend.")
class TrendPoint(Counted):
    """A point."""

    start: DateTime = figure("Where the interval begins.")
    end: DateTime = figure("Where it ends; not included.")
    value: float | None = figure("The number; null where there is nothing to take a mean or a percentile of.")
    n: int = figure("From how many events.")
    complete: bool = figure("Whether the interval is over.")


@strawberry.type(description="A trend of one value of the breakdown, or of all.")
class TrendSeries:
    """A series."""

    value: BreakdownValue | None = figure("The value of the breakdown; null without one.")
    points: list[TrendPoint] = figure("By interval, the oldest first.", size=30)


@strawberry.type(description="A number for each interval.")
class TrendAnswer(Answered):
    """A trend."""

    series: list[TrendSeries] = figure("One, or one for each value of the breakdown, the most frequent first.", size=3)
    different_values: int = figure("How many different values of the breakdown there are in these events.")


@strawberry.type(description="How many users were active in so many intervals.")
class StickinessBar(Counted):
    """A bar; `users` are those with exactly so many."""

    intervals: int = figure("In how many intervals.")
    exactly: int = figure("Users active in exactly so many.")
    at_least: int = figure("Users active in so many or more.")


@strawberry.type(description="How often users come.")
class StickinessAnswer(Answered):
    """Stickiness."""

    ratio: float | None = figure("Mean active users of an interval / active users of all: DAU/MAU over 30 days.")
    active_users: int = figure("Users active at all.")
    bars: list[StickinessBar] = figure("From 1 interval on.", size=30)
    complete: bool = figure("Whether the last interval is over.")


@strawberry.type(description="A group of users of an interval.")
class LifecycleGroup(Counted):
    """A group."""

    count: int = figure("How many.")


@strawberry.type(description="One interval of a lifecycle.")
class LifecyclePoint:
    """A point."""

    start: DateTime = figure("Where the interval begins.")
    end: DateTime = figure("Where it ends; not included.")
    complete: bool = figure("Whether it is over.")
    new: LifecycleGroup = figure("Active, and seen for the first time.")
    returning: LifecycleGroup = figure("Active, and in the interval before too.")
    resurrecting: LifecycleGroup = figure("Active, not in the interval before, but seen earlier.")
    dormant: LifecycleGroup = figure("Active in the interval before, and not now.")


@strawberry.type(description="Who is new, who stays, who comes back and who is gone.")
class LifecycleAnswer(Answered):
    """A lifecycle."""

    points: list[LifecyclePoint] = figure("By interval, the oldest first.", size=30)


@strawberry.type(description="Who has left; `users` are those.")
class ChurnAnswer(Answered, Counted):
    """Churn."""

    stayed_ones: strawberry.Private[Behind[Any]]
    waiting_ones: strawberry.Private[Behind[Any]]

    churn: Share = figure("Who left, of those who can be judged.")
    open: int = figure("How many cannot be judged yet; they are in no share.")

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who stayed.")
    async def stayed_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.stayed_ones, first, after)

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who cannot be judged yet.")
    async def open_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.waiting_ones, first, after)


@strawberry.type
class ActivityQuestions:
    """What can be asked."""

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="A number for each interval of a calendar.")
    async def trend(
        self,
        info: Info,
        input: Annotated[TrendInput, strawberry.argument(description="Which trend.")],
        at_least: AtLeast = None,
    ) -> TrendAnswer:
        await info.context.wait_for(at_least)
        return await _trend(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="Of those who began, how many came back when.")
    async def retention(
        self,
        info: Info,
        input: Annotated[RetentionInput, strawberry.argument(description="Which retention.")],
        at_least: AtLeast = None,
    ) -> RetentionAnswer:
        await info.context.wait_for(at_least)
        return await answered_retention(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="In how many intervals users are active.")
    async def stickiness(
        self,
        info: Info,
        input: Annotated[StickinessInput, strawberry.argument(description="Of what.")],
        at_least: AtLeast = None,
    ) -> StickinessAnswer:
        await info.context.wait_for(at_least)
        return await _stickiness(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="Who is new, stays, comes back and is gone.")
    async def lifecycle(
        self,
        info: Info,
        input: Annotated[LifecycleInput, strawberry.argument(description="Of what.")],
        at_least: AtLeast = None,
    ) -> LifecycleAnswer:
        await info.context.wait_for(at_least)
        return await _lifecycle(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="Who has left.")
    async def churn(
        self,
        info: Info,
        input: Annotated[ChurnInput, strawberry.argument(description="Of whom.")],
        at_least: AtLeast = None,
    ) -> ChurnAnswer:
        await info.context.wait_for(at_least)
        return await _churn(info.context, input)


# -- in intervals -------------------------------------------------------------------------------------------------


class _Cut:
    """A question in intervals: its calendar as of a moment, its events and its words."""

    def __init__(self, kind: str, given: CalendarInput) -> None:
        self.asked = Asked(kind, given.range, given.segment)
        self.zone = zone_of(given.time_zone)
        self.interval = Interval((given.interval or CalendarInterval.DAY).name)
        within(len(given.events or ()), 0, 0, MOST_EVENTS, "events")
        self.rules = self.asked.events(given.events, "events")
        self.asked.said = {"zone": self.zone.key, "interval": self.interval, "all": not self.rules}
        which = self.asked.words(self.rules) if self.rules else "any event"
        self.words = (
            f"{which} {self.asked.range_words}, by whole {self.interval.lower()}s of {self.zone.key} that this touches"
        )

    def calendar(self, as_of: int, *, before: int = 0) -> Calendar:
        """Of the range; `before`: with so many intervals (0 or 1) more. Raises TooLarge."""
        start, end = self.asked.between(as_of)
        last = max(start, min(end - 1, as_of))
        found = Calendar.covering(self.zone, self.interval, start, last)
        if len(found) > MOST_POINTS:
            raise TooLarge(
                f"The range has {len(found):,} intervals; at most {MOST_POINTS:,} are possible.",
                hint="Ask for longer intervals, or about a shorter range.",
                path="interval",
            )
        if before:
            found = Calendar.covering(self.zone, self.interval, int(found.bounds[0]) - 1, last)
        return found

    def codes(self, gathered: Gathered) -> tuple[int, ...]:
        """Of the events that count."""
        return codes_of(gathered, self.rules) if self.rules else tuple(range(len(gathered.names)))

    def reading(self, calendar: Calendar, **more: Any) -> Reading:
        """What is read for it."""
        return self.asked.reading((int(calendar.bounds[0]), int(calendar.bounds[-1])), others=not self.rules, **more)

    def told(self, answer: Answer[Any], calendar: Calendar, sentence: str) -> dict[str, Any]:
        """What `Answered` says; the range is that of the calendar."""
        bounds = {"start": DateTime(int(calendar.bounds[0])), "end": DateTime(int(calendar.bounds[-1]))}
        return {**told(self.asked, answer, sentence), **bounds}


_TrendFound = tuple[Calendar, list[tuple[int | None, Trend]]]


async def _trend(context: Context, given: TrendInput) -> TrendAnswer:
    cut = _Cut("trend", given)
    statistic = Statistic((given.statistic or TrendStatistic.COUNT).name)
    of_value = statistic in (Statistic.SUM, Statistic.MEAN, Statistic.PERCENTILE)
    if of_value != bool(given.value):
        raise InvalidInput("`value` goes with SUM, MEAN and PERCENTILE.", path="value")
    percentile = 50.0 if given.percentile is None else given.percentile
    if not 0 <= percentile <= 100:
        raise InvalidInput(f"`percentile` is {percentile:g}; it is 0 to 100.", path="percentile")
    most = within(given.top, 10, 1, MOST_TOP, "top")
    asked = cut.asked
    asked.break_down(given.by)
    if given.value:
        asked.properties.append(("value", given.value))
    asked.said |= {"statistic": statistic, "value": given.value, "percentile": percentile, "top": most}

    def reading(as_of: int) -> Reading:
        return cut.reading(cut.calendar(as_of), value=given.value)

    def work(gathered: Gathered, as_of: int) -> _TrendFound:
        calendar, codes, events = cut.calendar(as_of), cut.codes(gathered), gathered.events
        if events.breakdown is None:
            return calendar, [(None, trend(events, codes, calendar, as_of, statistic, percentile / 100))]
        events = events.take(events.having(codes))
        assert events.breakdown is not None
        value = events.breakdown.astype(np.int64)
        kept = [place - 1 for place in top(np.bincount(value + 1), most)]
        value = np.where(np.isin(value, kept), value, -2)
        values = [*kept, *([-2] if (value == -2).any() else [])]
        return calendar, [
            (one, trend(events.take(value == one), codes, calendar, as_of, statistic, percentile / 100))
            for one in values
        ]

    answer = await asked.answer(context, reading, work)
    calendar, found = answer.found
    what = {
        Statistic.COUNT: "How many events",
        Statistic.UNIQUES: "How many different users",
        Statistic.SUM: f"The sum of {given.value}",
        Statistic.MEAN: f"The mean of {given.value}",
        Statistic.PERCENTILE: f"The {percentile:g}th percentile of {given.value}",
    }[statistic]
    by = f" By {asked.by_words}: the {most} most frequent values, all others as other." if asked.by else ""
    sentence = f"{what}: {cut.words}.{by} {CONSENT}"
    series = [
        TrendSeries(value=None if value is None else value_of(answer, value), points=_points(answer, one))
        for value, one in found
    ]
    return TrendAnswer(**cut.told(answer, calendar, sentence), series=series, different_values=len(answer.values))


def _points(answer: Answer[Any], found: Trend) -> list[TrendPoint]:
    def behind(place: int) -> Behind[Any]:
        return Behind(answer, lambda: found.people(place))

    return [
        TrendPoint(
            behind=behind(place),
            start=DateTime(one.start),
            end=DateTime(one.end),
            value=one.value,
            n=one.n,
            complete=one.complete,
        )
        for place, one in enumerate(found.points)
    ]


async def _stickiness(context: Context, given: StickinessInput) -> StickinessAnswer:
    cut = _Cut("stickiness", given)

    def work(gathered: Gathered, as_of: int) -> tuple[Calendar, Stickiness]:
        calendar = cut.calendar(as_of)
        return calendar, stickiness(gathered.events, cut.codes(gathered), calendar)

    answer = await cut.asked.answer(context, lambda as_of: cut.reading(cut.calendar(as_of)), work)
    calendar, found = answer.found

    def behind(intervals: int) -> Behind[Any]:
        return Behind(answer, lambda: found.people(intervals))

    bars = [
        StickinessBar(
            behind=behind(count), intervals=count, exactly=found.exactly[count], at_least=found.at_least[count]
        )
        for count in range(1, len(found.exactly))
    ]
    sentence = f"In how many intervals users have {cut.words}. {CONSENT}"
    return StickinessAnswer(
        **cut.told(answer, calendar, sentence),
        ratio=found.ratio,
        active_users=len(found.user),
        bars=bars,
        complete=int(calendar.bounds[-1]) <= answer.as_of,
    )


async def _lifecycle(context: Context, given: LifecycleInput) -> LifecycleAnswer:
    cut = _Cut("lifecycle", given)

    def reading(as_of: int) -> Reading:
        end = int(cut.calendar(as_of).bounds[-1])
        return cut.asked.reading((EVER, end), others=not cut.rules)

    def work(gathered: Gathered, as_of: int) -> Lifecycle:
        return lifecycle(gathered.events, cut.codes(gathered), cut.calendar(as_of, before=1), as_of)

    answer = await cut.asked.answer(context, reading, work)
    found = answer.found

    def group(users: Longs) -> LifecycleGroup:
        return LifecycleGroup(behind=Behind(answer, lambda: users), count=len(users))

    points = [
        LifecyclePoint(
            start=DateTime(one.start),
            end=DateTime(one.end),
            complete=one.complete,
            new=group(found.new[place]),
            returning=group(found.returning[place]),
            resurrecting=group(found.resurrecting[place]),
            dormant=group(found.dormant[place]),
        )
        for place, one in enumerate(found.points)
    ]
    sentence = (
        f"Users active by {cut.words}: new with their first such event ever, returning when active in the interval "
        f"before too, resurrecting when not; dormant were active in the one before and are not now. {CONSENT}"
    )
    return LifecycleAnswer(**cut.told(answer, cut.calendar(answer.as_of), sentence), points=points)


# -- from a start -------------------------------------------------------------------------------------------------


async def _churn(context: Context, given: ChurnInput) -> ChurnAnswer:
    asked = Asked("churn", given.range, given.segment)
    usage, customers = given.by.usage, given.by.customers
    if usage:
        active = asked.events(usage.events, "by.usage.events")
        inactive = duration(usage.inactive, "by.usage.inactive") or 0
        if not active or inactive < DAY_MS:
            raise InvalidInput("Churn by usage needs events, and a pause of a day or more.", path="by.usage")
        asked.said = {"usage": inactive}

        def reading(as_of: int) -> Reading:
            start, end = asked.between(as_of)
            return asked.reading((start, end + inactive + 1))

        def work(gathered: Gathered, as_of: int) -> Churn:
            return usage_churn(gathered.events, codes_of(gathered, active), asked.between(as_of), inactive, as_of)

        sentence = (
            f"Users with {asked.words(active)} {asked.range_words}; left is who then does nothing of it for "
            f"{usage.inactive}. Who still has time to come back is open. {CONSENT}"
        )
    elif customers:
        joins = asked.events(customers.joins, "by.customers.joins")
        leaves = asked.events(customers.leaves, "by.customers.leaves")
        if not joins or not leaves:
            raise InvalidInput("Churn of customers needs events that join and that leave.", path="by.customers")
        asked.said = {"customers": len(joins)}

        def reading(as_of: int) -> Reading:
            return asked.reading((EVER, asked.between(as_of)[1]))

        def work(gathered: Gathered, as_of: int) -> Churn:
            between = asked.between(as_of)
            return customer_churn(gathered.events, codes_of(gathered, joins), codes_of(gathered, leaves), between)

        sentence = (
            f"Customers join with {asked.words(joins)} and leave with {asked.words(leaves)}; of those who are "
            f"customers at the start of the range, who is none at its end, {asked.range_words}. {CONSENT}"
        )
    else:
        raise InvalidInput("Churn is told by usage or by customers.", path="by")
    answer = await asked.answer(context, reading, work)
    found = answer.found
    return ChurnAnswer(
        **told(asked, answer, sentence),
        behind=Behind(answer, lambda: found.left.astype(np.int64)),
        stayed_ones=Behind(answer, lambda: found.stayed),
        waiting_ones=Behind(answer, lambda: found.waiting),
        churn=share(found.churn),
        open=found.open,
    )
