"""What all questions share: events by name and condition, ranges, zones, breakdowns; and who is behind an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from datetime import timedelta
from enum import Enum
from typing import Any, Generic, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import strawberry
from strawberry.scalars import JSON

from gateway.api.connections import DEFAULT_FIRST, After, Connection, First, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.maps import checked_segment
from gateway.api.ranges import KPIS, RangeInput, moments, range_of
from gateway.api.scalars import DateTime
from gateway.api.users import User, load_user
from gateway.contract import Condition, EventRule, parse_duration
from gateway.contract import Segment as SegmentFile
from gateway.contract.hashing import content_hash
from gateway.contract.rules import OPERATORS, kind_of
from gateway.contract.shape import closest
from gateway.errors import Forbidden, InvalidInput
from gateway.insights.asking import Answer, By, Gathered, Reading, in_words, only_in
from gateway.insights.columnar.selecting import Scalar
from gateway.insights.kernels import statistics
from gateway.insights.kernels.events import Longs, Unit
from gateway.plugin import Policy, Source, attribute, field

T = TypeVar("T")

#: What answering one question costs: it reads the range's events.
COST = 2_000
#: Who is behind a number is shown to those who may see users at all.
BEHIND = Policy("journeys:read")
WORKED_OUT = Source.loader("questions")
MOST_CONDITIONS = 20
MOST_TOP = 100
MOST_EVENTS = 30

EVER = -62_135_596_800_000  # the year 1
DAY_MS = 86_400_000
CONSENT = "Users who deny analytics are left out."

_PEOPLE = Keyset("behind", (str,))


def figure(description: str, *, size: int | None = None) -> Any:
    """A field that the answer has already."""
    return attribute(source=WORKED_OUT, policy=KPIS, description=description, size=size)


# -- what is asked ------------------------------------------------------------------------------------------------


@strawberry.input(description="One condition on a property: exactly one test. Unlike kinds never match.")
class ConditionInput:
    """As in files of the contract."""

    property: str = strawberry.field(description="The property; a dotted path leads into objects.")
    equals: JSON | None = strawberry.field(default=strawberry.UNSET, description="It is this scalar.")
    in_: list[JSON] | None = strawberry.field(
        default=strawberry.UNSET, name="in", description="It is one of these scalars."
    )
    gt: JSON | None = strawberry.field(default=strawberry.UNSET, description="It is more than this number or text.")
    gte: JSON | None = strawberry.field(default=strawberry.UNSET, description="It is this or more.")
    lt: JSON | None = strawberry.field(default=strawberry.UNSET, description="It is less than this number or text.")
    lte: JSON | None = strawberry.field(default=strawberry.UNSET, description="It is this or less.")
    exists: bool | None = strawberry.field(default=strawberry.UNSET, description="It is there, or it is not.")


@strawberry.input(description="Which events: those of a name that meet all conditions.")
class EventInput:
    """As `event` and `where` in files of the contract."""

    event: str = strawberry.field(description="The event's name.")
    where: list[ConditionInput] | None = strawberry.field(
        default=None, description=f"Conditions that all hold, at most {MOST_CONDITIONS}."
    )


@strawberry.enum(name="QuestionUnit", description="Whose sequence of events is looked at.")
class QuestionUnit(Enum):
    """Users or sessions."""

    USER = strawberry.enum_value("USER", description="All events of a user.")
    SESSION = strawberry.enum_value("SESSION", description="A visit: events without a pause of more than 30 minutes.")


@strawberry.enum(description="What is known of the client that sent an event.")
class ClientColumn(Enum):
    """Columns of a client."""

    PLATFORM = strawberry.enum_value("platform", description="Web, iOS, Android, server, …")
    DEVICE = strawberry.enum_value("device", description="The kind of device.")
    COUNTRY = strawberry.enum_value("country", description="The country, by the address it was sent from.")
    APP = strawberry.enum_value("app", description="The name of the app.")
    APP_VERSION = strawberry.enum_value("app_version", description="The version of the app.")


@strawberry.input(one_of=True, description="By what an answer is broken down: exactly one of these.")
class ByInput:
    """Names values."""

    property: str | None = strawberry.field(default=strawberry.UNSET, description="A property of the events.")
    client: ClientColumn | None = strawberry.field(default=strawberry.UNSET, description="What sent them.")
    trait: str | None = strawberry.field(
        default=strawberry.UNSET, description="A trait of the user, as it is now; needs `pii:read`."
    )


#: Of whom a question asks.
ONLY = "Only events of the users who are in the segment of this key now."


def unit_of(given: QuestionUnit | None, otherwise: Unit) -> Unit:
    """The kernel's word for it."""
    return otherwise if given is None else Unit(given.name)


@dataclass(slots=True)
class Asked:
    """One question as it comes together: its rules, each with the argument it stands in, and its words.

    `said` is all that was asked, with every default; the answer is remembered under its hash.
    """

    kind: str
    range: RangeInput
    segment: str | None = None
    said: dict[str, object] = made(default_factory=dict)
    rules: list[tuple[str, EventRule]] = made(default_factory=list)
    properties: list[tuple[str, str]] = made(default_factory=list)
    by: By | None = None
    #: What the segment says, once it has been looked up.
    group: SegmentFile | None = None

    def rule(self, given: EventInput, argument: str) -> int:
        """The place of a rule among all of the question's. Raises InvalidInput."""
        where = given.where or []
        if len(where) > MOST_CONDITIONS:
            raise InvalidInput(
                f"An event has {len(where)} conditions; at most {MOST_CONDITIONS} are possible.",
                path=f"{argument}.where",
            )
        conditions = tuple(_condition(one, f"{argument}.where") for one in where)
        self.rules.append((argument, EventRule(f"r{len(self.rules)}", given.event, conditions)))
        return len(self.rules) - 1

    def events(self, given: Sequence[EventInput] | None, argument: str) -> tuple[int, ...]:
        """The places of several rules."""
        return tuple(self.rule(one, f"{argument}.{place}") for place, one in enumerate(given or ()))

    def words(self, rules: Sequence[int]) -> str:
        """Rules in words."""
        return " or ".join(in_words(self.rules[place][1]) for place in rules)

    def break_down(self, given: ByInput | None) -> None:
        """By what; None: by nothing."""
        if given is None:
            return
        if given.property:
            self.by = By("property", given.property)
            self.properties.append(("by.property", given.property))
        elif given.client:
            self.by = By("client", str(given.client.value))
        elif given.trait:
            self.by = By("trait", given.trait)
        else:
            raise InvalidInput("The breakdown names nothing.", path="by")

    @property
    def by_words(self) -> str:
        """What it is broken down by."""
        return "" if self.by is None else f"{self.by.kind} {self.by.key}"

    def between(self, now: int) -> tuple[int, int]:
        """The range as of a moment, in ms. Raises InvalidInput."""
        return moments(self.range, now)

    @property
    def range_words(self) -> str:
        """The range."""
        return range_of(self.range).words

    @property
    def hash(self) -> str:
        """Of all that was asked, whatever its order in the text."""
        between = self.range.between
        content = {
            "kind": self.kind,
            "range": [between.from_, between.to] if between else self.range.last,
            "rules": [
                [rule.event, [[one.property, one.op, _plain(one)] for one in rule.where]] for _, rule in self.rules
            ],
            "by": None if self.by is None else [self.by.kind, self.by.key],
            "said": self.said,
        }
        if self.group is not None:
            content["segment"] = [self.group.key, self.group.hash]
        return content_hash(content)

    async def answer(
        self, context: Context, reading: Callable[[int], Reading], work: Callable[[Gathered, int], T]
    ) -> Answer[T]:
        """The answer within the caller's scope. Raises InvalidInput, Forbidden, Unavailable."""
        self.between(context.services.clock.now())
        self._check_personal(context)
        if self.segment is not None:
            self.group = checked_segment(context.services.contract, self.segment, "segment")
        questions, contract = context.services.questions, context.services.contract
        await questions.vocabulary.check(context.scope, contract, self.rules, self.properties)
        if self.by is not None and self.by.kind == "trait":
            await questions.vocabulary.check_trait(context.scope, contract, self.by.key, "by.trait")
        return await questions.ask(context.scope, self.hash, reading, work)

    def reading(self, between: tuple[int, int], **more: Any) -> Reading:
        """What is read for it."""
        rules = tuple(rule for _, rule in self.rules)
        return Reading(rules=rules, between=between, by=self.by, segment=self.segment, **more)

    def _check_personal(self, context: Context) -> None:
        """Personal data is asked about by those who may see it."""
        if context.scope.may("pii:read"):
            return
        check_trait(context, self.by)
        paths = {condition.property for _, rule in self.rules for condition in rule.where}
        paths |= {path for _, path in self.properties}
        check_personal(context, {rule.event for _, rule in self.rules}, paths)


def check_trait(context: Context, by: By | None) -> None:
    """Raises Forbidden for a breakdown by a trait that the caller may not see."""
    if by is not None and by.kind == "trait" and not context.scope.may("pii:read"):
        raise Forbidden("A breakdown by a trait needs the permission pii:read.", hint="Break down by a property.")


def check_personal(context: Context, events: Collection[str], paths: Collection[str]) -> None:
    """Raises Forbidden for a personal property of these events that the caller may not see."""
    if context.scope.may("pii:read"):
        return
    for event in context.services.contract.events.values():
        for one in event.properties:
            personal = one.definition.privacy != "none" and event.name in events
            if personal and one.key in {path.partition(".")[0] for path in paths}:
                raise Forbidden(
                    f"The property {one.key!r} of {event.name!r} is personal: to ask about it needs the permission "
                    "pii:read.",
                    hint="Use a credential that has it, or leave the property out.",
                )


def _plain(condition: Condition) -> object:
    value = condition.value
    return [[kind_of(one), one] for one in value] if isinstance(value, tuple) else [kind_of(value), value]


def _condition(given: ConditionInput, argument: str) -> Condition:
    said = {name: getattr(given, "in_" if name == "in" else name) for name in OPERATORS}
    said = {name: value for name, value in said.items() if value is not strawberry.UNSET}
    if len(said) != 1 or not given.property:
        raise InvalidInput(f"A condition names a property and exactly one of {', '.join(OPERATORS)}.", path=argument)
    ((name, value),) = said.items()
    op = name
    if op == "in":
        value = tuple(value) if isinstance(value, list) else ()
        good = bool(value) and all(kind_of(one) is not None for one in value)
    elif op == "exists":
        good = isinstance(value, bool)
    else:
        good = kind_of(value) in (("number", "string") if op != "equals" else ("number", "string", "boolean", "null"))
    if not good:
        wanted = {"in": "a list of scalars", "exists": "true or false", "equals": "a scalar"}
        raise InvalidInput(f"`{name}` takes {wanted.get(name, 'a number or a text')}.", path=f"{argument}.{name}")
    return Condition(given.property, op, value)


def duration(text: str | None, argument: str) -> int | None:
    """Milliseconds of a duration such as `7d`; None of None. Raises InvalidInput."""
    if text is None:
        return None
    try:
        return parse_duration(text) // timedelta(milliseconds=1)
    except ValueError as error:
        raise InvalidInput(f"`{argument}` is no duration: {error}.", path=argument) from None


def zone_of(name: str | None) -> ZoneInfo:
    """The IANA time zone; UTC of None. Raises InvalidInput."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = closest(name, sorted(available_timezones()))
        hint = f"Did you mean {meant!r}?" if meant else "Write an IANA name, such as Europe/Berlin."
        raise InvalidInput(f"There is no time zone {str(name)[:60]!r}.", hint=hint, path="timeZone") from None


def within(value: int | None, otherwise: int, least: int, most: int, argument: str) -> int:
    """A number within its limits. Raises InvalidInput."""
    found = otherwise if value is None else value
    if not least <= found <= most:
        raise InvalidInput(f"`{argument}` is {found}; it is {least:,} to {most:,}.", path=argument)
    return found


# -- what is answered ---------------------------------------------------------------------------------------------


@strawberry.interface(description="An answer, with what exactly was counted.")
class Answered:
    """What every answer says of itself."""

    definition: str = figure("What exactly was counted, in words, with every option.")
    hash: str = figure("Of all that was asked: the same question has the same hash.")
    as_of: DateTime = figure("When it was worked out; nothing later counts.")
    start: DateTime = figure("Where the range begins.")
    end: DateTime = figure("Where the range ends; not included.")


@strawberry.type(description="A share with its 95 % interval (Wilson); null, never 0, when there is nothing to count.")
class Share:
    """A fraction."""

    hits: int = figure("How many it is true of.")
    n: int = figure("Of how many.")
    value: float | None = figure("The share, 0 to 1.")
    low: float | None = figure("Where the 95 % interval begins.")
    high: float | None = figure("Where the 95 % interval ends.")


@strawberry.type(description="How some numbers are spread; null when there are none.")
class Spread:
    """Mean and percentiles."""

    n: int = figure("How many numbers.")
    mean: float | None = figure("Their mean.")
    p50: float | None = figure("The median.")
    p75: float | None = figure("Three quarters are not above it.")
    p90: float | None = figure("Nine tenths are not above it.")


def share(found: statistics.Share) -> Share:
    """The API's object for it."""
    return Share(hits=found.hits, n=found.n, value=found.value, low=found.low, high=found.high)


def spread(found: statistics.Spread) -> Spread:
    """Of plain numbers."""
    return Spread(n=found.n, mean=found.mean, p50=found.p50, p75=found.p75, p90=found.p90)


def seconds(found: statistics.Spread) -> Spread:
    """Of milliseconds, in seconds."""
    values = (found.mean, found.p50, found.p75, found.p90)
    mean, p50, p75, p90 = (None if value is None else value / 1000 for value in values)
    return Spread(n=found.n, mean=mean, p50=p50, p75=p75, p90=p90)


@dataclass(slots=True)
class Behind(Generic[T]):
    """The people behind one number: found in a thread when they are asked for."""

    answer: Answer[T]
    find: Callable[[], Longs]


@strawberry.type(description="One page of the users behind a number, in the order of their ids.")
class BehindConnection(Connection[User]):
    """A page of users."""

    total_count: int = attribute(source=WORKED_OUT, policy=BEHIND, description="How many there are.")


@strawberry.interface(description="A number, with the people behind it.")
class Counted:
    """What can be looked into."""

    behind: strawberry.Private[Behind[Any]]

    @field(source=WORKED_OUT, policy=BEHIND, description="The users behind it, each once.")
    async def users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.behind, first, after)


async def people(context: Context, behind: Behind[Any], first: int | None, after: Any) -> BehindConnection:
    """A page of the users behind a number. Who has gone since is left out."""
    found = await context.services.questions.scans.engine.run(lambda _: behind.find())

    async def read(limit: int, position: Any) -> list[str]:
        return behind.answer.page(found, limit, None if position is None else _checked(position[0]))

    edges, page_info = await page(_PEOPLE, first, after, read=read, position=lambda one: (one,), node=lambda one: one)
    there = []
    for edge in edges:
        user = await load_user(context, edge.node)
        if user is not None:
            there.append(cast(Any, type(edge))(cursor=edge.cursor, node=user))
    return BehindConnection(edges=there, page_info=page_info, total_count=len(found))


def _checked(position: str) -> str:
    if len(position) != 32 or not set(position) <= set("0123456789abcdef"):
        raise InvalidInput("`after` is not a position in this list.", path="after")
    return position


@strawberry.type(description="A value of a breakdown.")
class BreakdownValue:
    """One value, or what is said of several."""

    value: JSON | None = figure("The value as it was sent; null where there is none, and of OTHER.")
    label: str = figure("The same as text: `none` without one, `other` for all beyond the most frequent.")
    is_other: bool = figure("Whether it stands for all values beyond the most frequent ones.")


def value_of(answer: Answer[Any], number: int) -> BreakdownValue:
    """The value that a number of the breakdown stands for: -1 none, -2 other."""
    return shown_value(answer.values, number)


def shown_value(values: Sequence[Scalar], number: int) -> BreakdownValue:
    """The same, of the values by number."""
    if number < 0:
        return BreakdownValue(value=None, label="none" if number == -1 else "other", is_other=number == -2)
    found = values[number]
    text = {True: "true", False: "false"}[found] if isinstance(found, bool) else "null" if found is None else str(found)
    return BreakdownValue(value=JSON(found), label=text, is_other=False)


def told(asked: Asked, answer: Answer[Any], sentence: str) -> dict[str, Any]:
    """What `Answered` says."""
    start, end = asked.between(answer.as_of)
    if asked.group is not None:
        sentence += f" {only_in(asked.group)}"
    return {
        "definition": sentence,
        "hash": asked.hash,
        "as_of": DateTime(answer.as_of),
        "start": DateTime(start),
        "end": DateTime(end),
    }


@strawberry.enum(description="A stretch of the calendar of a time zone; weeks begin on Monday.")
class CalendarInterval(Enum):
    """Intervals."""

    HOUR = strawberry.enum_value("HOUR", description="An hour.")
    DAY = strawberry.enum_value("DAY", description="A local day, of 23 to 25 hours.")
    WEEK = strawberry.enum_value("WEEK", description="Seven local days from Monday.")
    MONTH = strawberry.enum_value("MONTH", description="A calendar month.")


def codes_of(gathered: Gathered, rules: Sequence[int]) -> tuple[int, ...]:
    """The codes of several rules."""
    return tuple(sorted({code for place in rules for code in gathered.codes[place]}))
