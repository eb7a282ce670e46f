"""Funnels: how many get how far, how fast, and who."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.questions import (
    BEHIND,
    COST,
    MOST_TOP,
    ONLY,
    WORKED_OUT,
    Answered,
    Asked,
    Behind,
    BehindConnection,
    BreakdownValue,
    ByInput,
    Counted,
    EventInput,
    Share,
    Spread,
    duration,
    figure,
    people,
    seconds,
    share,
    told,
    value_of,
    within,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.errors import InvalidInput
from gateway.insights.asking import Answer, Gathered, Reading
from gateway.insights.kernels.attempts import Counting, Exclusion, FunnelQuestion, Order, ReEntry, Step
from gateway.insights.kernels.funnel import Attempts, Attribution, Breakdown, FunnelAnswer, Outcome, funnel
from gateway.insights.kernels.funnel import Funnel as Numbers
from gateway.plugin import field

MOST_STEPS = 30
MOST_EXCLUSIONS = 10
MOST_TOLERANCE_MS = 60_000


@strawberry.enum(description="In which order the steps count.")
class FunnelOrder(Enum):
    """Orders."""

    ORDERED = strawberry.enum_value("ORDERED", description="One after the other, with anything in between.")
    STRICT = strawberry.enum_value("STRICT", description="One after the other, with nothing in between.")
    ANY_ORDER = strawberry.enum_value("ANY_ORDER", description="In any order; step k means any k of them.")


@strawberry.enum(description="What another first step does.")
class FunnelReEntry(Enum):
    """Ways to enter again."""

    BEST_ATTEMPT = strawberry.enum_value("BEST_ATTEMPT", description="It may make a better attempt.")
    FIRST_TOUCH = strawberry.enum_value("FIRST_TOUCH", description="Nothing: the first attempt is the one.")


@strawberry.enum(description="What is counted.")
class FunnelCounting(Enum):
    """Countings."""

    UNIQUES = strawberry.enum_value("UNIQUES", description="One attempt of each user.")
    TOTALS = strawberry.enum_value("TOTALS", description="All attempts of a user, one after the other.")
    SESSIONS = strawberry.enum_value("SESSIONS", description="One attempt of each session.")


@strawberry.enum(description="Whose value of the breakdown an attempt has.")
class FunnelAttribution(Enum):
    """Attributions."""

    FIRST = strawberry.enum_value("FIRST", description="Of its first step that has one.")
    LAST = strawberry.enum_value("LAST", description="Of its last step that has one.")
    STEP = strawberry.enum_value("STEP", description="Of one step.")
    ALL = strawberry.enum_value("ALL", description="Of all its steps: each value apart; they do not add up.")


@strawberry.input(description="One step of a funnel.")
class FunnelStepInput(EventInput):
    """A step."""

    optional: bool | None = strawberry.field(
        default=False, description="Whether it is only counted, and hinders nobody. Neither the first nor the last."
    )


@strawberry.input(description="An event that ends an attempt.")
class FunnelExclusionInput(EventInput):
    """An exclusion."""

    after: int | None = strawberry.field(
        default=None, description="Once this step is done, counted from 1; the first if left out."
    )
    before: int | None = strawberry.field(
        default=None, description="While this step is not yet done, counted from 1; the last if left out."
    )


@strawberry.input(description="By what a funnel is broken down.")
class FunnelBreakdownInput:
    """A breakdown."""

    by: ByInput = strawberry.field(description="By which values.")
    attribution: FunnelAttribution | None = strawberry.field(
        default=None, description="Whose value an attempt has; FIRST if left out."
    )
    step: int | None = strawberry.field(default=None, description="The step, counted from 1, that goes with STEP.")
    top: int | None = strawberry.field(
        default=None,
        description=f"How many values, the most frequent, at most {MOST_TOP}; others are one. 25 if left out.",
    )


@strawberry.input(description="A funnel.")
class FunnelInput:
    """A funnel."""

    steps: list[FunnelStepInput] = strawberry.field(description=f"Its steps, 1 to {MOST_STEPS}.")
    range: RangeInput = strawberry.field(description="In which time attempts begin; later steps may lie behind it.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    window: str | None = strawberry.field(
        default=None, description="How long an attempt lasts at most, such as `7d`; without limit if left out."
    )
    order: FunnelOrder | None = strawberry.field(default=None, description="ORDERED if left out.")
    re_entry: FunnelReEntry | None = strawberry.field(default=None, description="BEST_ATTEMPT if left out.")
    counting: FunnelCounting | None = strawberry.field(default=None, description="UNIQUES if left out.")
    exclusions: list[FunnelExclusionInput] | None = strawberry.field(
        default=None, description=f"Events that end an attempt, at most {MOST_EXCLUSIONS}."
    )
    tolerance_ms: int | None = strawberry.field(
        default=None, description="So much earlier than the step before it a step may be, in ms; 0 if left out."
    )
    breakdown: FunnelBreakdownInput | None = strawberry.field(default=None, description="By what; null: by nothing.")


@strawberry.type(description="One step of a funnel, and who did it.")
class FunnelAnswerStep(Counted):
    """A step."""

    dropped_here: strawberry.Private[Behind[Any]]
    open_here: strawberry.Private[Behind[Any]]

    number: int = figure("Which step, from 1.")
    label: str = figure("What it is.")
    optional: bool = figure("Whether it is optional.")
    reached: int = figure("How many did it.")
    of_first: Share = figure("Of those who entered, without who still has time.")
    of_previous: Share = figure("Of those who did the required step before, without who still has time.")
    since_previous: Spread = figure("Seconds since the required step before.")
    dropped: int | None = figure("How many did no further step; null of an optional one.")
    open: int | None = figure("How many did none yet and still have time; null of an optional one.")
    excluded: int | None = figure("How many were ended here by an exclusion; null of an optional one.")

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who did no further step, each once.")
    async def dropped_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.dropped_here, first, after)

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who still have time here, each once.")
    async def open_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.open_here, first, after)


@strawberry.type(description="The numbers of a funnel: entered = converted + dropped + open + excluded.")
class Funnel:
    """Numbers."""

    entered: int = figure("How many began.")
    converted: int = figure("How many did all required steps.")
    dropped: int = figure("How many ran out of time, or of events where there is no window.")
    open: int = figure("How many still have time; they are in no share.")
    excluded: int = figure("How many an exclusion ended.")
    conversion: Share = figure("Converted of those who are not open.")
    to_convert: Spread = figure("Seconds from the first step to the last, of those who converted.")
    steps: list[FunnelAnswerStep] = figure("Its steps, as asked.", size=10)


@strawberry.type(description="The funnel of one value of the breakdown.")
class FunnelSlice:
    """A value."""

    value: BreakdownValue = figure("The value.")
    funnel: Funnel = figure("Its funnel.")


@strawberry.type(name="FunnelAnswer", description="The answer to a funnel.")
class Result(Answered):
    """A funnel, and the same by value."""

    complete: bool = figure("Whether nobody has time left: no later event can change it.")
    funnel: Funnel = figure("All values together.")
    slices: list[FunnelSlice] = figure("By value of the breakdown, the most frequent first.", size=10)
    different_values: int = figure("How many different values of the breakdown there are in these events.")


@strawberry.type
class Funnels:
    """What can be asked."""

    @field(
        source=WORKED_OUT,
        policy=KPIS,
        weight=COST,
        description="How many get how far through some steps, how fast, where they stop, and who they are.",
    )
    async def funnel(
        self,
        info: Info,
        input: Annotated[FunnelInput, strawberry.argument(description="Which funnel.")],
        at_least: AtLeast = None,
    ) -> Result:
        await info.context.wait_for(at_least)
        return await _answered(info.context, input)


async def _answered(context: Context, given: FunnelInput) -> Result:
    asked = Asked("funnel", given.range, given.segment)
    if not 1 <= len(given.steps) <= MOST_STEPS:
        raise InvalidInput(
            f"The funnel has {len(given.steps)} steps; 1 to {MOST_STEPS} are possible.",
            hint="Ask about the steps that matter, or in several funnels.",
            path="steps",
        )
    for place, step in enumerate(given.steps):
        asked.rule(step, f"steps.{place}")
    exclusions = _exclusions(asked, given)
    window = duration(given.window, "window")
    order = Order((given.order or FunnelOrder.ORDERED).name)
    counting = Counting((given.counting or FunnelCounting.UNIQUES).name)
    re_entry = ReEntry((given.re_entry or FunnelReEntry.BEST_ATTEMPT).name)
    tolerance = within(given.tolerance_ms, 0, 0, MOST_TOLERANCE_MS, "toleranceMs")
    breakdown = _breakdown(asked, given.breakdown)
    optional = [bool(step.optional) for step in given.steps]
    asked.said = {
        "optional": optional,
        "exclusions": [[one.after, one.before] for one in exclusions],
        "window": window,
        "order": order,
        "counting": counting,
        "reEntry": re_entry,
        "tolerance": tolerance,
        "breakdown": None if breakdown is None else [breakdown.attribution, breakdown.step, breakdown.most],
    }

    def question(codes: tuple[tuple[int, ...], ...], as_of: int) -> FunnelQuestion:
        return FunnelQuestion(
            steps=tuple(Step(codes[place], one) for place, one in enumerate(optional)),
            as_of=as_of,
            window_ms=window,
            order=order,
            re_entry=re_entry,
            counting=counting,
            exclusions=tuple(
                Exclusion(codes[len(optional) + place], one.after, one.before) for place, one in enumerate(exclusions)
            ),
            tolerance_ms=tolerance,
            between=asked.between(as_of),
        )

    def reading(as_of: int) -> Reading:
        start, end = asked.between(as_of)
        horizon = as_of + 1 if window is None else end + window + 1
        sessions = counting is Counting.SESSIONS
        return asked.reading((start - tolerance, horizon), others=order is Order.STRICT, sessions=sessions)

    def work(gathered: Gathered, as_of: int) -> FunnelAnswer:
        return funnel(gathered.events, question(gathered.codes, as_of), breakdown)

    # Options that contradict each other are refused before anything is read.
    question(tuple((place,) for place in range(len(asked.rules))), context.services.clock.now())
    answer = await asked.answer(context, reading, work)
    labels = [asked.words([place]) for place in range(len(optional))]
    if order is Order.ANY_ORDER:
        labels = [f"any {place + 1} of {len(optional)} steps" for place in range(len(optional))]
    return _result(asked, answer, _sentence(asked, given, optional, order, counting, re_entry), labels, optional)


def _exclusions(asked: Asked, given: FunnelInput) -> list[Exclusion]:
    last = len(given.steps)
    found = []
    if len(given.exclusions or ()) > MOST_EXCLUSIONS:
        raise InvalidInput(f"At most {MOST_EXCLUSIONS} exclusions are possible.", path="exclusions")
    for place, one in enumerate(given.exclusions or ()):
        asked.rule(one, f"exclusions.{place}")
        after = 1 if one.after is None else one.after
        before = last if one.before is None else one.before
        found.append(Exclusion((), after - 1, before - 1))
    return found


def _breakdown(asked: Asked, given: FunnelBreakdownInput | None) -> Breakdown | None:
    if given is None:
        return None
    asked.break_down(given.by)
    attribution = Attribution((given.attribution or FunnelAttribution.FIRST).name)
    if (given.step is not None) != (attribution is Attribution.STEP):
        raise InvalidInput("`step` goes with the attribution STEP.", path="breakdown.step")
    top = within(given.top, 25, 1, MOST_TOP, "top")
    step = within(given.step, 1, 1, MOST_STEPS, "breakdown.step")
    return Breakdown(attribution, step - 1, top)


def _sentence(
    asked: Asked,
    given: FunnelInput,
    optional: list[bool],
    order: Order,
    counting: Counting,
    re_entry: ReEntry,
) -> str:
    steps = [f"{place + 1} {asked.words([place])}{' (optional)' if one else ''}" for place, one in enumerate(optional)]
    how = {
        Order.ORDERED: "one after the other with anything in between",
        Order.STRICT: "one after the other with nothing in between",
        Order.ANY_ORDER: "in any order",
    }[order]
    who = {
        Counting.UNIQUES: "one attempt of each user",
        Counting.TOTALS: "all attempts of each user, one after the other",
        Counting.SESSIONS: "one attempt of each session",
    }[counting]
    which = (
        "" if counting is Counting.TOTALS else ", the deepest" if re_entry is ReEntry.BEST_ATTEMPT else ", the first"
    )
    window = "without a window" if given.window is None else f"within {given.window} of the first step"
    said = f"Steps: {'; '.join(steps)}; {how}, {window}. Counted: {who}{which}, that begins {asked.range_words}."
    for place, one in enumerate(given.exclusions or ()):
        after, before = one.after or 1, one.before or len(optional)
        said += f" {asked.words([len(optional) + place])} between steps {after} and {before} ends an attempt."
    if given.tolerance_ms:
        said += f" A step may be {given.tolerance_ms} ms before the one before it."
    if given.breakdown is not None:
        attribution = (given.breakdown.attribution or FunnelAttribution.FIRST).name
        of = (
            f"of step {given.breakdown.step}"
            if attribution == "STEP"
            else f"of the {attribution.lower()} step that has one"
        )
        of = "the same in all steps" if attribution == "ALL" else of
        top = given.breakdown.top or 25
        said += f" By {asked.by_words}, {of}; the {top} most frequent values, all others as other."
    return f"{said} Who still has time is in no share. Users who deny analytics are left out."


def _result(
    asked: Asked, answer: Answer[FunnelAnswer], sentence: str, labels: list[str], optional: list[bool]
) -> Result:
    found = answer.found
    slices = [
        FunnelSlice(
            value=value_of(answer, value),
            funnel=_numbers(answer, one, found.attempts_by_value, labels, optional, value),
        )
        for value, one in found.by_value
    ]
    return Result(
        **told(asked, answer, sentence),
        complete=not found.funnel.open and asked.between(answer.as_of)[1] <= answer.as_of,
        funnel=_numbers(answer, found.funnel, found.attempts, labels, optional),
        slices=slices,
        different_values=len(answer.values),
    )


def _numbers(
    answer: Answer[FunnelAnswer],
    found: Numbers,
    attempts: Attempts | None,
    labels: list[str],
    optional: list[bool],
    value: int | None = None,
) -> Funnel:
    assert attempts is not None

    def some() -> Attempts:
        return attempts if value is None else attempts.only(attempts.value == value)

    def reached(place: int) -> Behind[FunnelAnswer]:
        return Behind(answer, lambda: (one := some()).people(one.reached(place)))

    def ended(outcome: Outcome, depth: int) -> Behind[FunnelAnswer]:
        return Behind(answer, lambda: (one := some()).people(one.ended(outcome, depth)))

    steps, depth = [], 0
    for place, step in enumerate(found.steps):
        depth += not optional[place]
        # An optional step ends nobody: of no attempt is the depth 0.
        here = 0 if optional[place] else depth
        steps.append(
            FunnelAnswerStep(
                behind=reached(place),
                dropped_here=ended(Outcome.DROPPED, here),
                open_here=ended(Outcome.OPEN, here),
                number=place + 1,
                label=labels[place],
                optional=optional[place],
                reached=step.reached,
                of_first=share(step.of_first),
                of_previous=share(step.of_previous),
                since_previous=seconds(step.since_previous),
                dropped=step.dropped,
                open=step.open,
                excluded=step.excluded,
            )
        )
    return Funnel(
        entered=found.entered,
        converted=found.converted,
        dropped=found.dropped,
        open=found.open,
        excluded=found.excluded,
        conversion=share(found.conversion),
        to_convert=seconds(found.to_convert),
        steps=steps,
    )
