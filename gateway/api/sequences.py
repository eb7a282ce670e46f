"""Sequences of events: paths from an anchor, variants, and which event comes right after which."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import strawberry

from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.questions import (
    COST,
    MOST_TOP,
    ONLY,
    WORKED_OUT,
    Answered,
    Asked,
    Behind,
    Counted,
    EventInput,
    QuestionUnit,
    Share,
    Spread,
    duration,
    figure,
    seconds,
    share,
    told,
    unit_of,
    within,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.insights.asking import Answer, Gathered, Reading
from gateway.insights.kernels.events import Unit
from gateway.insights.kernels.follows import Edge, Follows, follows
from gateway.insights.kernels.paths import EXIT, OTHER, Direction, PathQuestion, Paths, paths
from gateway.insights.kernels.variants import Variants, variants
from gateway.plugin import field

MOST_DEPTH = 10
MOST_NODES = 20
MOST_EDGES = 1_000
MOST_EVENTS = 30


@strawberry.enum(description="Which way paths go.")
class PathDirection(Enum):
    """Directions."""

    FROM = strawberry.enum_value("FROM", description="What comes after the anchor.")
    TO = strawberry.enum_value("TO", description="What leads to the anchor.")


@strawberry.input(description="Sequences of events.")
class SequencesInput:
    """Which events, and whose sequences."""

    range: RangeInput = strawberry.field(description="Events of which time.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    events: list[EventInput] | None = strawberry.field(
        default=None, description=f"Only these, at most {MOST_EVENTS}; others are skipped, not broken at. Null: all."
    )
    unit: QuestionUnit | None = strawberry.field(default=None, description="Whose sequences; SESSION if left out.")


@strawberry.input(description="Paths.")
class PathsInput(SequencesInput):
    """Paths."""

    anchor: list[EventInput] | None = strawberry.field(
        default=None, description="Where paths begin (TO: end): one of these events. Null: where the sequence does."
    )
    direction: PathDirection | None = strawberry.field(default=None, description="FROM if left out.")
    depth: int | None = strawberry.field(
        default=None, description=f"How many columns beside the anchor's, 1 to {MOST_DEPTH}; 5 if left out."
    )
    top: int | None = strawberry.field(
        default=None, description=f"How many names of a column, 1 to {MOST_NODES}; others are one. 10 if left out."
    )
    totals: bool | None = strawberry.field(
        default=False, description="Whether every event of the anchor begins a path, not only the first of a sequence."
    )
    collapse: bool | None = strawberry.field(
        default=True, description="Whether repeats of an event right after each other are one."
    )
    window: str | None = strawberry.field(
        default=None, description="What is further than this from the anchor is not part of a path, such as `1h`."
    )


@strawberry.input(description="Variants.")
class VariantsInput(SequencesInput):
    """Variants."""

    collapse: bool | None = strawberry.field(
        default=False, description="Whether repeats of an event right after each other are one."
    )
    top: int | None = strawberry.field(
        default=None, description=f"How many of them, the most frequent, 1 to {MOST_TOP}; 25 if left out."
    )


@strawberry.input(description="Directly follows.")
class DirectlyFollowsInput(SequencesInput):
    """Edges."""

    top: int | None = strawberry.field(
        default=None, description=f"How many edges, the most frequent, 1 to {MOST_EDGES:,}; 100 if left out."
    )


@strawberry.type(description="So many paths have this event in this column.")
class PathNode(Counted):
    """A node."""

    label: str = figure("The event; `other` for all beyond the most frequent.")
    is_other: bool = figure("Whether it stands for all beyond the most frequent.")
    paths: int = figure("How many paths.")


@strawberry.type(description="One column of paths; the paths of its nodes and those that ended are all paths.")
class PathColumn:
    """A column."""

    number: int = figure("Which, from 0: that of the anchor.")
    nodes: list[PathNode] = figure("The most frequent first, `other` last.", size=10)
    exited: int = figure("How many paths ended (looking back: began) before it.")


@strawberry.type(description="So many paths go from one event to the next.")
class PathLink(Counted):
    """A link."""

    column: int = figure("From which column; it leads to the next.")
    source: str = figure("From which event, or `other`.")
    target: str = figure("To which event, or `other`; `end` (looking back: `start`) where the sequence is over.")
    paths: int = figure("How many paths.")


@strawberry.type(description="Paths, column by column.")
class PathsAnswer(Answered):
    """Paths."""

    total: int = figure("How many paths.")
    columns: list[PathColumn] = figure("The anchor's column and those beside it.", size=6)
    links: list[PathLink] = figure("Between columns, the most frequent of each first.", size=50)


@strawberry.type(description="One sequence of events, and how many have exactly it.")
class Variant(Counted):
    """A variant."""

    events: list[str] = figure("The events, in order.")
    count: int = figure("How many sequences.")
    share: Share = figure("Of all sequences.")
    coverage: float = figure("What it covers together with those before it, 0 to 1.")
    seconds: Spread = figure("Seconds from its first event to its last.")


@strawberry.type(description="The different sequences of events.")
class VariantsAnswer(Answered):
    """Variants."""

    total: int = figure("How many sequences.")
    different: int = figure("How many different ones.")
    variants: list[Variant] = figure("The most frequent first.", size=25)


@strawberry.type(description="One event comes right after another.")
class DirectlyFollowsEdge(Counted):
    """An edge."""

    source: str = figure("The event before.")
    target: str = figure("The event right after it.")
    count: int = figure("How often.")
    sequences: int = figure("In how many sequences.")
    mean_seconds: float = figure("Seconds between them, the mean.")
    p50_seconds: float = figure("The median of them.")
    p90_seconds: float = figure("Nine tenths are not above it.")


@strawberry.type(description="How many sequences begin or end with an event.")
class SequenceEnd:
    """An end."""

    event: str = figure("The event.")
    sequences: int = figure("How many sequences.")


@strawberry.type(description="Which event comes right after which.")
class DirectlyFollowsAnswer(Answered):
    """Edges."""

    different: int = figure("How many different edges there are.")
    other: int = figure("How often all those that are not shown occur.")
    edges: list[DirectlyFollowsEdge] = figure("The most frequent first.", size=50)
    begins: list[SequenceEnd] = figure("With what sequences begin, the most frequent first.", size=25)
    ends: list[SequenceEnd] = figure("With what they end.", size=25)


@strawberry.type
class SequenceQuestions:
    """What can be asked."""

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="What comes after an event, or leads to it.")
    async def paths(
        self,
        info: Info,
        input: Annotated[PathsInput, strawberry.argument(description="Which paths.")],
        at_least: AtLeast = None,
    ) -> PathsAnswer:
        await info.context.wait_for(at_least)
        return await _paths(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="The different sequences of events there are.")
    async def variants(
        self,
        info: Info,
        input: Annotated[VariantsInput, strawberry.argument(description="Of what.")],
        at_least: AtLeast = None,
    ) -> VariantsAnswer:
        await info.context.wait_for(at_least)
        return await _variants(info.context, input)

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="Which event comes right after which, how often.")
    async def directly_follows(
        self,
        info: Info,
        input: Annotated[DirectlyFollowsInput, strawberry.argument(description="Of what.")],
        at_least: AtLeast = None,
    ) -> DirectlyFollowsAnswer:
        await info.context.wait_for(at_least)
        return await _follows(info.context, input)


def _asked(kind: str, given: SequencesInput) -> tuple[Asked, Unit, str]:
    """The question with its events, whose sequences, and both in words."""
    asked, unit = Asked(kind, given.range, given.segment), unit_of(given.unit, Unit.SESSION)
    within(len(given.events or ()), 0, 0, MOST_EVENTS, "events")
    rules = asked.events(given.events, "events")
    which = f"only {asked.words(rules)}" if rules else "all events"
    asked.said = {"unit": unit, "all": not rules}
    return asked, unit, f"Sequences of each {unit.lower()}, {which} {asked.range_words}"


def _reading(asked: Asked, unit: Unit, as_of: int) -> Reading:
    return asked.reading(asked.between(as_of), others=bool(asked.said["all"]), sessions=unit is Unit.SESSION)


_CONSENT = "Users who deny analytics are left out."


async def _paths(context: Context, given: PathsInput) -> PathsAnswer:
    asked, unit, words = _asked("paths", given)
    within(len(given.anchor or ()), 0, 0, MOST_EVENTS, "anchor")
    anchor = asked.events(given.anchor, "anchor")
    direction = Direction((given.direction or PathDirection.FROM).name)
    depth, top = within(given.depth, 5, 1, MOST_DEPTH, "depth"), within(given.top, 10, 1, MOST_NODES, "top")
    window, totals, collapse = duration(given.window, "window"), bool(given.totals), given.collapse is not False
    options = [direction, depth, top, window, totals, collapse, len(anchor)]
    asked.said |= {"paths": options}

    def question(codes: tuple[int, ...]) -> PathQuestion:
        return PathQuestion(
            anchor=codes,
            direction=direction,
            depth=depth,
            most=top,
            unit=unit,
            totals=totals,
            collapse=collapse,
            window_ms=window,
        )

    def work(gathered: Gathered, as_of: int) -> Paths:
        codes = tuple(sorted({code for place in anchor for code in gathered.codes[place]}))
        return paths(gathered.events, question(codes))

    question(tuple(anchor))
    answer = await asked.answer(context, lambda as_of: _reading(asked, unit, as_of), work)
    end = "end" if direction is Direction.FROM else "start"
    where = asked.words(anchor) if anchor else f"the {'first' if direction is Direction.FROM else 'last'} event"
    every = "every" if totals else "the first" if direction is Direction.FROM or anchor else "the last"
    sentence = (
        f"{words}. Paths {direction.lower()} {every} {where} of each, {depth} columns, the {top} most frequent events "
        f"of each, all others as other; repeats right after each other are {'one' if collapse else 'kept'}"
        f"{'' if given.window is None else f'; at most {given.window} from the anchor'}. {_CONSENT}"
    )
    found = answer.found
    columns = []
    for place, column in enumerate(found.columns):
        nodes = [*column.shown, *([(OTHER, column.other)] if column.other else [])]
        columns.append(
            PathColumn(
                number=place,
                nodes=[
                    PathNode(
                        behind=_behind(answer, place, code),
                        label=_label(answer, code, end),
                        is_other=code == OTHER,
                        paths=count,
                    )
                    for code, count in nodes
                ],
                exited=column.exited,
            )
        )
    links = [
        PathLink(
            behind=_behind(answer, one.column, one.source, one.to),
            column=one.column,
            source=_label(answer, one.source, end),
            target=_label(answer, one.to, end),
            paths=one.paths,
        )
        for one in found.links
    ]
    return PathsAnswer(**told(asked, answer, sentence), total=found.total, columns=columns, links=links)


def _behind(answer: Answer[Paths], column: int, code: int, to: int | None = None) -> Behind[Paths]:
    return Behind(answer, lambda: answer.found.people(column, code, to))


def _label(answer: Answer[Any], code: int, end: str) -> str:
    return {OTHER: "other", EXIT: end}.get(code) or answer.names[code]


async def _variants(context: Context, given: VariantsInput) -> VariantsAnswer:
    asked, unit, words = _asked("variants", given)
    top, collapse = within(given.top, 25, 1, MOST_TOP, "top"), bool(given.collapse)
    asked.said |= {"variants": [top, collapse]}

    def work(gathered: Gathered, as_of: int) -> Variants:
        return variants(gathered.events, unit, collapse=collapse, most=top)

    answer = await asked.answer(context, lambda as_of: _reading(asked, unit, as_of), work)
    kept = "one" if collapse else "kept"
    sentence = f"{words}; repeats right after each other are {kept}. The {top} most frequent are shown. {_CONSENT}"

    def behind(place: int) -> Behind[Variants]:
        return Behind(answer, lambda: answer.found.people(place))

    shown = [
        Variant(
            behind=behind(place),
            events=[answer.names[code] for code in one.codes],
            count=one.count,
            share=share(one.share),
            coverage=one.coverage,
            seconds=seconds(one.duration),
        )
        for place, one in enumerate(answer.found.shown)
    ]
    found = answer.found
    return VariantsAnswer(**told(asked, answer, sentence), total=found.total, different=found.distinct, variants=shown)


async def _follows(context: Context, given: DirectlyFollowsInput) -> DirectlyFollowsAnswer:
    asked, unit, words = _asked("directlyFollows", given)
    top = within(given.top, 100, 1, MOST_EDGES, "top")
    asked.said |= {"follows": top}

    def work(gathered: Gathered, as_of: int) -> Follows:
        return follows(gathered.events, unit)

    answer = await asked.answer(context, lambda as_of: _reading(asked, unit, as_of), work)
    found = answer.found

    def behind(edge: Edge) -> Behind[Follows]:
        return Behind(answer, lambda: found.people(edge.source, edge.to))

    edges = [
        DirectlyFollowsEdge(
            behind=behind(one),
            source=answer.names[one.source],
            target=answer.names[one.to],
            count=one.count,
            sequences=one.sequences,
            mean_seconds=one.mean / 1000,
            p50_seconds=one.p50 / 1000,
            p90_seconds=one.p90 / 1000,
        )
        for one in found.edges[:top]
    ]
    sentence = f"{words}: each event with the one right after it. The {top} most frequent pairs are shown. {_CONSENT}"
    return DirectlyFollowsAnswer(
        **told(asked, answer, sentence),
        different=len(found.edges),
        other=sum(one.count for one in found.edges[top:]),
        edges=edges,
        begins=[SequenceEnd(event=answer.names[code], sequences=count) for code, count in found.begins],
        ends=[SequenceEnd(event=answer.names[code], sequences=count) for code, count in found.ends],
    )
