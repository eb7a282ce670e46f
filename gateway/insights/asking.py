"""From a question to the arrays that a kernel reads, and from its answer back to people.

Whoever asks says which events count (`Reading`) and what is to be worked out of them; the events are scanned, coded and
counted in worker threads, within the deadline of a scan. An answer is remembered until something has come that may
change it: an event, a merge, a split, an erasure, a word about consent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Generic, Literal, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np

from gateway.clock import Clock
from gateway.contract import Condition, EventRule, Segment
from gateway.contract.rules import kind_of
from gateway.errors import InvalidInput
from gateway.insights.columnar.engine import within
from gateway.insights.columnar.scan import Scanned, Scans, Version
from gateway.insights.columnar.selecting import Column, Scalar, Selection
from gateway.insights.columnar.users import Codes, Users
from gateway.insights.filtering import Filters
from gateway.insights.kernels.events import NONE, Events, Floats, Ints, Longs, by_gap, distinct
from gateway.insights.remembering import Memory, Remembered, Together, bytes_of
from gateway.insights.vocabulary import Vocabulary
from gateway.model.scope import Scope
from gateway.store.database import Database
from gateway.store.known import Known
from gateway.store.measures import Denying, Measures
from gateway.store.stage_visits import VisitRows, stage_visits
from gateway.store.users import Users as StoredUsers

T = TypeVar("T")
K = TypeVar("K")

#: Rules that one question may have: each is a bit of an int64.
MOST_RULES = 60
#: An answer is given again for so long, so that what changes with time alone (`open`, `complete`) is not older.
REMEMBERED_MS = 60_000
_DENSE = 1 << 16
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class By:
    """What an answer is broken down by: a property of the events, what their sender's client is, a trait of users.

    `key` is a dotted path; of a client one of the columns of a scan.
    """

    kind: Literal["property", "client", "trait"]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Which events a question is about: those that one of `rules` matches, with `at` in [start, end) ms.

    `others`: all other events as well, with codes of their own. `sessions`: events carry the number of their session,
    for which all events are looked at. `value` is the path of the number that counts; `numbers` of several of them.
    Events that do not meet all `filters` are as if they had never been: a filter is on a property, on `client.device`
    and the like, or on `traits.plan`. `segment`: only events of the users who are in it now.
    """

    rules: tuple[EventRule, ...]
    between: tuple[int, int]
    others: bool = False
    sessions: bool = False
    value: str | None = None
    by: By | None = None
    numbers: tuple[str, ...] = ()
    filters: tuple[Condition, ...] = ()
    segment: str | None = None

    def __post_init__(self) -> None:
        if len(self.rules) > MOST_RULES:
            raise InvalidInput(
                f"The question names {len(self.rules)} events; at most {MOST_RULES} are possible.",
                hint="Ask several questions.",
            )


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a kernel reads. `codes[r]` are the codes of the events that rule r matches; `names` is what each code is
    called, `values` what each number of the breakdown stands for, sorted. `numbers` are columns of the
    same length."""

    events: Events
    codes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    values: tuple[Scalar, ...]
    users: Users
    numbers: Mapping[str, Floats] = field(default_factory=dict)
    #: The codes of the users that it is about; None: all.
    among: Codes | None = None


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was found as of `as_of` ms; `names` and `values` as `Gathered` has them. `rows` events were looked at."""

    found: T
    as_of: int
    rows: int
    names: tuple[str, ...]
    values: tuple[Scalar, ...]
    users: Users

    def page(self, people: Ints, limit: int, behind: str | None = None) -> list[str]:
        """Ids of some users (codes, each once, ascending), in the order of ids, from behind one of them."""
        start = 0
        if behind is not None:
            # Codes are in the order of the first halves of ids.
            start = int(np.searchsorted(self.users.high[people], np.uint64(int(behind[:16], 16)), side="right"))
        return self.users.ids(people[start : start + limit].tolist())


@dataclass(frozen=True, slots=True)
class _Then:
    """A clock that stands at a moment (ms), but for how long things take."""

    clock: Clock
    moment: int

    def now(self) -> int:
        """The moment."""
        return self.moment

    def sequence(self, count: int = 1) -> int:
        """As the clock itself has it."""
        return self.clock.sequence(count)

    def monotonic(self) -> float:
        """As the clock itself has it."""
        return self.clock.monotonic()


class Questions:
    """Questions of all callers of one process."""

    def __init__(self, scans: Scans, measures: Measures, known: Known, users: StoredUsers, clock: Clock) -> None:
        self.scans = scans
        self._measures = measures
        self._known = known
        self._users = users
        self._clock = clock
        self.vocabulary = Vocabulary(known, users)
        self._memory = Memory()
        self._standing = Together(self._stands)
        self._order = count()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @classmethod
    def of(cls, scans: Scans, database: Database, clock: Clock) -> Questions:
        """What one process needs for them."""
        return cls(scans, Measures(database), Known(database), StoredUsers(database), clock)

    def at(self, moment: int) -> Questions:
        """The same questions, answered as of a moment (ms) that has passed; nothing is remembered of them."""
        then = _Then(self._clock, moment)
        return Questions(self.scans, self._measures, self._known, self._users, then)

    def now(self) -> int:
        """The moment (ms) as of which a question would be answered."""
        return self._clock.now()

    async def visits(self, scope: Scope, map_key: str, between: tuple[int, int]) -> VisitRows:
        """Stage visits of the runs that began in [start, end) ms, for friction. Raises TooLarge."""
        return await stage_visits(self.scans.database, scope, map_key, between)

    async def ask(
        self,
        scope: Scope,
        key: str,
        reading: Callable[[int], Reading],
        work: Callable[[Gathered, int], T],
    ) -> Answer[T]:
        """The answer as of now, or the same as of a moment ago when nothing has come since.

        `key` stands for everything that was asked (see `gateway.contract.hashing.content_hash`). `reading` and `work`
        get the moment (ms) as of which they answer; nothing later is read. `work` runs in a thread. Raises
        InvalidInput, TooLarge, and Unavailable when it takes too long or too many wait.
        """
        place, asked = (scope.workspace, key), next(self._order)
        # Many who ask the same at the same time are answered together: whoever waited takes what began to be worked
        # out after they had asked.
        async with within(self.scans.limits.seconds), self._turns.setdefault(place, asyncio.Lock()):
            latest = self._memory.get(place)
            if latest is not None and latest.began > asked:
                return cast("Answer[T]", latest.answer)
            if (known := await self._again(scope, place)) is not None:
                return cast("Answer[T]", known)
            return await self._anew(scope, place, reading, work)

    async def _anew(
        self,
        scope: Scope,
        place: tuple[str, str],
        reading: Callable[[int], Reading],
        work: Callable[[Gathered, int], T],
    ) -> Answer[T]:
        began, as_of = next(self._order), self._clock.now()
        denying = (await self._measures.denying(scope)).users
        wanted = reading(as_of)
        start, end = wanted.between
        wanted = replace(wanted, between=(min(start, as_of + 1), min(end, as_of + 1)))
        members = None if wanted.segment is None else await self.members(scope, wanted.segment)
        scanned = await self.scans.scan(scope, await self._selection(scope, wanted), members)
        traits = None
        if wanted.by is not None and wanted.by.kind == "trait":
            traits = await self._traits(scope, scanned, wanted.by.key)
        filters = Filters.of(wanted.filters)
        of_users = {path: await self._traits(scope, scanned, path) for path in filters.traits}

        def worked(_: object) -> tuple[Gathered, T, int]:
            gathered = gather(filters.met(scanned, of_users), wanted, traits)
            if members is not None:
                gathered = replace(gathered, among=scanned.users.codes(members))
            found = work(gathered, as_of)
            return gathered, found, bytes_of(found)

        gathered, found, size = await self.scans.engine.run(worked)
        answer = Answer(found, as_of, len(scanned), gathered.names, gathered.values, gathered.users)
        # Traits change with what comes under other names, and so do sessions.
        traits_count = bool(of_users) or traits is not None
        whatever = traits_count or wanted.others or wanted.sessions or not wanted.rules
        names = None if whatever else frozenset(scanned.names)
        one = Remembered(answer, scanned.version, denying, names, began, wanted.segment, members, size)
        self._memory.keep(place, one)
        return answer

    async def _again(self, scope: Scope, place: tuple[str, str]) -> Answer[Any] | None:
        known = self._memory.get(place)
        if known is None or not 0 <= self._clock.now() - known.answer.as_of < REMEMBERED_MS:
            return None
        users, version, denying = await self._standing.ask(scope)
        if users.moves != known.answer.users.moves or denying.users != known.denying:
            return None
        if not await self.scans.same(scope, known.version, version, known.names):
            return None
        if known.segment is not None and await self.members(scope, known.segment) != known.members:
            return None
        self._memory.keep(place, replace(known, version=version))
        return cast("Answer[Any]", known.answer)

    async def _stands(self, scope: Scope) -> tuple[Users, Version, Denying]:
        return await asyncio.gather(
            self.scans.directory.users(scope.workspace), self.scans.version(scope), self._measures.denying(scope)
        )

    async def members(self, scope: Scope, segment: str) -> frozenset[str]:
        """The ids of the users who are in a segment as they were folded last: for `Scans.scan`, and whoever else counts
        only them. Raises Unavailable when that takes too long."""
        return frozenset(await self._users.ids_in_segment(scope, segment))

    def forget(self) -> None:
        """Remember no answer of before."""
        self._memory.clear()

    async def denying(self, scope: Scope) -> frozenset[str]:
        """The ids of the users who deny to be counted now."""
        return (await self._measures.denying(scope)).users

    async def _selection(self, scope: Scope, wanted: Reading) -> Selection:
        others: tuple[str, ...] = ()
        if wanted.others or wanted.sessions:
            others = tuple(await self._known.names(scope.workspace))
        by, filters = wanted.by, Filters.of(wanted.filters)
        columns = (*((cast("Column", by.key),) if by is not None and by.kind == "client" else ()), *filters.columns)
        return Selection(
            rules=wanted.rules,
            # A name that nothing has, where there is no event at all.
            others=others if others or wanted.rules else ("",),
            between=wanted.between,
            numbers=tuple(dict.fromkeys((*(() if wanted.value is None else (wanted.value,)), *wanted.numbers))),
            labels=(by.key,) if by is not None and by.kind == "property" else (),
            columns=tuple(dict.fromkeys(columns)),
            filters=filters.properties,
        )

    async def _traits(self, scope: Scope, scanned: Scanned, path: str) -> dict[int, object]:
        """The trait of each user who has it, by the user's code."""
        codes = distinct(scanned.user).tolist()
        ids = scanned.ids_of(codes)
        values = await self.traits(scope, ids, path)
        return {code: values[one] for code, one in zip(codes, ids, strict=True) if one in values}

    async def traits(self, scope: Scope, users: Sequence[str], path: str) -> dict[str, object]:
        """The trait of each of these users who has it, by the user's id."""
        found: dict[str, object] = {}
        for start in range(0, len(users), _AT_ONCE):
            found |= await self._users.traits(scope, users[start : start + _AT_ONCE], path)
        return found


# -- in a worker thread -------------------------------------------------------------------------------------------


def gather(scanned: Scanned, wanted: Reading, traits: dict[int, object] | None = None) -> Gathered:
    """A scan as kernels read it. An event that several rules match has a code of its own, which all of them name."""
    mask = np.zeros(len(scanned), np.int64)
    for place in range(len(wanted.rules)):
        mask |= scanned.matches[place].astype(np.int64) << place
    kinds, masks = _numbered(mask)
    code, keys = _numbered(scanned.name.astype(np.int64) * max(1, len(masks)) + kinds)
    of_code = masks[keys % max(1, len(masks))]
    values: tuple[Scalar, ...] = ()
    breakdown: Ints | None = None
    if wanted.by is not None:
        breakdown, values = _breakdown(scanned, wanted.by, traits)
    value = None if wanted.value is None else scanned.numbers[wanted.value]
    events = Events(scanned.user, scanned.at, code, value, None, breakdown)
    if wanted.sessions:
        events = replace(events, session=by_gap(events))
    numbers = {path: scanned.numbers[path] for path in wanted.numbers}
    if wanted.sessions and not wanted.others:
        events = events.take(mask > 0)
        numbers = {path: column[mask > 0] for path, column in numbers.items()}
    names = tuple(
        _called(scanned.names[int(key) // len(masks)], int(found), wanted.rules)
        for key, found in zip(keys, of_code, strict=True)
    )
    codes = tuple(tuple(np.flatnonzero(of_code >> place & 1).tolist()) or (NONE,) for place in range(len(wanted.rules)))
    return Gathered(events, codes, names, values, scanned.users, numbers)


def only_in(segment: Segment) -> str:
    """Of whom alone a question is, in words."""
    return f"Only events of those who are in the segment {segment.name!r} now: {segment.definition}"


def in_words(rule: EventRule) -> str:
    """`Order Completed (total gt 100)`."""
    said = " and ".join(f"{one.property} {one.op} {_told(one.value)}" for one in rule.where)
    return f"{rule.event} ({said})" if said else rule.event


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return " or ".join(map(_told, value))
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _called(name: str, mask: int, rules: tuple[EventRule, ...]) -> str:
    """An event by its name, and by the conditions that it meets."""
    met = dict.fromkeys(in_words(rule) for place, rule in enumerate(rules) if rule.where and mask >> place & 1)
    return " + ".join(met) or name


def _numbered(keys: Longs) -> tuple[Longs, Longs]:
    """Numbers from 0 on, the same for the same key and rising with it; the keys by number."""
    if not len(keys):
        return keys, keys
    highest = int(keys.max())
    if highest > max(_DENSE, len(keys)):
        found, numbers = np.unique(keys, return_inverse=True)
        return numbers.astype(np.int64), found
    there = np.zeros(highest + 1, np.bool_)
    there[keys] = True
    return (np.cumsum(there) - 1)[keys], np.flatnonzero(there)


def _breakdown(scanned: Scanned, by: By, traits: dict[int, object] | None) -> tuple[Ints, tuple[Scalar, ...]]:
    """The numbers of the values, in their order, so that ties are always the same."""
    if by.kind == "trait":
        assert traits is not None
        place, ranked = numbered_values(traits)
        codes, number = np.unique(scanned.user, return_inverse=True)
        return np.array([place.get(one, NONE) for one in codes.tolist()], np.int64)[number], ranked
    label = f"@{by.key}" if by.kind == "client" else by.key
    values = scanned.values.get(label, [])
    order = sorted(range(len(values)), key=lambda place: _rank((kind_of(values[place]), values[place])))
    rank = np.full(len(values) + 1, NONE, np.int64)  # the last one is for those without
    rank[order] = np.arange(len(values))
    return rank[scanned.labels[label]], tuple(values[place] for place in order)


def numbered_values(traits: Mapping[K, object]) -> tuple[dict[K, int], tuple[Scalar, ...]]:
    """The number of each user's value, and the values by number, sorted: 1 and true are two, 1 and 1.0 are one."""
    told = {(kind_of(value), value): cast("Scalar", value) for value in traits.values()}
    ranked = sorted(told, key=_rank)
    place = {key: number for number, key in enumerate(ranked)}
    return {user: place[(kind_of(value), value)] for user, value in traits.items()}, tuple(told[key] for key in ranked)


def _rank(key: tuple[str | None, object]) -> tuple[str, Any]:
    kind, value = key
    return str(kind), 0 if value is None else value
