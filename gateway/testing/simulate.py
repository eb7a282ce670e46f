"""A made-up shop's visitors, as the messages their SDKs would send (Segment wire format). Pure and seeded.

The same `Population` yields the same bytes, on every machine: the only source of chance is `random.Random` seeded with
text, the only source of time `Population.now`. `backfill` is a history that ends at `now`; `live` goes on from there,
endlessly and denser, with the same people and new ones.

`late`, `duplicates`, `skew` and `disorder` worsen the delivery and leave the messages as they are, so that a gateway
has to come to the same answers with them as without (but for the clocks of skewed devices, which it has to correct).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from math import exp, log
from random import Random

import orjson

from gateway.errors import InvalidInput
from gateway.testing import personas
from gateway.testing.visits import Message, Step, Visitor, visit

Life = Iterator[tuple[datetime, Step]]

DISORDER_SECONDS = (30.0, 180.0)  # behind the next messages of its own session
LATE_SECONDS = (600.0, 172_800.0)  # ten minutes to two days
DUPLICATE_SECONDS = (1.0, 3_600.0)
# How many seconds apart two events of one live session are on average, hence how many sessions run at a time.
LIVE_PAUSE = 20.0
LIVE_RETURNING = 0.4
# A watcher sees most visitors for one session only: in it they do what takes several in the backfill.
LIVE_EAGERNESS = 2.5
LIVE_VISITORS = 20_000  # an endless stream must not remember everybody


@dataclass(frozen=True, slots=True)
class Emission:
    """One message on its way: it happened `at` (true time), is sent when it is `due`, and its device's clock shows
    the true time plus `device_offset`. A sender adds `device_offset` to the batch's `sentAt` as well."""

    at: datetime
    due: datetime
    message: Message
    device_offset: timedelta = timedelta(0)


@dataclass(frozen=True)
class Population:
    """A shop's visitors over `weeks` weeks up to `now` (aware, UTC), with `visitors_per_week` new ones in each.

    `late`, `duplicates` and `disorder` are shares of messages, `skew` is a share of devices, each 0..1.
    """

    seed: int
    now: datetime
    weeks: int = 8
    visitors_per_week: int = 150
    late: float = 0
    duplicates: float = 0
    skew: float = 0
    disorder: float = 0

    def __post_init__(self) -> None:
        _require_utc("now", self.now)
        for name in ("late", "duplicates", "skew", "disorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}.", hint="Give a share from 0 to 1.")

    def backfill(self) -> Iterator[Emission]:
        """Everything from `weeks` ago to `now`, ordered by `due`; about 30,000 messages with the defaults."""
        happened = self._history([])
        for emission in self._deliver(happened, self._random("delivery")):
            # What is still under way at the end arrives at the end: nothing is lost.
            yield emission if emission.due <= self.now else replace(emission, due=self.now)

    def live(self, start: datetime | None = None, rate: float = 2.0) -> Iterator[tuple[float, Emission]]:
        """Endless: (seconds from `start` to when it is due, emission), `rate` messages a second on average.

        Goes on from the end of `backfill`: the first call of `next` walks through that history once to know who has
        an account and a cart. `start` is `now` by default; another start gives other messages of the same people.
        """
        start = start or self.now
        _require_utc("start", start)
        if rate <= 0:
            raise InvalidInput(f"rate is {rate}.", hint="Give messages per second, more than 0.")
        happened = self._bustle(start, rate)
        for emission in self._deliver(happened, self._random(f"delivery/{start.isoformat()}")):
            yield (emission.due - start).total_seconds(), emission

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.seed}/{self.now.isoformat()}/{purpose}")

    def _visitor(self, key: str) -> Visitor:
        return Visitor.named(f"{self.seed}/{key}", skew=self.skew)

    def _history(self, visitors: list[Visitor]) -> Iterator[Emission]:
        """The backfill in the order of true time; everybody who came is appended to `visitors`."""
        rng = self._random("history")
        # One entry per visitor still around, with the next thing that visitor does.
        upcoming: list[tuple[datetime, int, Step, Life]] = []

        def until(limit: datetime) -> Iterator[Emission]:
            while upcoming and upcoming[0][0] < limit:
                at, number, step, life = heappop(upcoming)
                yield _emission(at, step)
                if following := next(life, None):
                    heappush(upcoming, (following[0], number, following[1], life))

        for number, arrival in enumerate(self._arrivals(rng)):
            yield from until(arrival)
            visitors.append(self._visitor(str(number)))
            life = _life(visitors[-1], arrival, rng)
            at, step = next(life)
            heappush(upcoming, (at, number, step, life))
        yield from until(self.now)

    def _arrivals(self, rng: Random) -> Iterator[datetime]:
        for weeks_left in range(self.weeks, 0, -1):
            since, week = self.now - timedelta(weeks=weeks_left), timedelta(weeks=1)
            yield from sorted(_busy_time(since, week, personas.EVENING, rng) for _ in range(self.visitors_per_week))

    def _bustle(self, start: datetime, rate: float) -> Iterator[Emission]:
        """Sessions side by side, each as if alone; whose turn it is is drawn, so that the rate holds whatever they do.

        A plain pool instead of everybody's own clock: at their own pace a shop of this size sends a message in minutes.
        """
        visitors: list[Visitor] = []
        for _ in self._history(visitors):
            pass
        rng = self._random(f"live/{start.isoformat()}")
        busy: set[str] = set()
        newcomers = count()

        def session() -> Iterator[Step]:
            visitor = rng.choice(visitors) if visitors and rng.random() < LIVE_RETURNING else None
            if visitor is None or visitor.user_id in busy:
                visitor = self._visitor(f"{start.isoformat()}/{next(newcomers)}")
                if len(visitors) < LIVE_VISITORS:
                    visitors.append(visitor)
                else:
                    visitors[rng.randrange(LIVE_VISITORS)] = visitor
            busy.add(visitor.user_id)
            yield from visit(visitor, rng, eagerness=LIVE_EAGERNESS)
            busy.remove(visitor.user_id)

        sessions = [session() for _ in range(max(1, round(rate * LIVE_PAUSE)))]
        at = start
        while True:
            at += timedelta(seconds=rng.expovariate(rate))
            turn = rng.randrange(len(sessions))
            while (step := next(sessions[turn], None)) is None:
                sessions[turn] = session()
            yield _emission(at, step)

    def _deliver(self, happened: Iterable[Emission], rng: Random) -> Iterator[Emission]:
        """The same messages in the order in which they arrive, some behind others and some twice."""
        under_way: list[tuple[datetime, int, Emission]] = []
        numbers = count()

        def send(emission: Emission, delay: float) -> None:
            due = emission.due + timedelta(seconds=delay)
            heappush(under_way, (due, next(numbers), replace(emission, due=due)))

        for emission in happened:
            while under_way and under_way[0][0] < emission.at:
                yield heappop(under_way)[2]
            delay = 0.0
            if rng.random() < self.late:
                delay = _drawn(LATE_SECONDS, rng)
            elif rng.random() < self.disorder:
                delay = _drawn(DISORDER_SECONDS, rng)
            send(emission, delay)
            if rng.random() < self.duplicates:
                send(emission, delay + _drawn(DUPLICATE_SECONDS, rng))
        while under_way:
            yield heappop(under_way)[2]


def ndjson(emissions: Iterable[Emission]) -> Iterator[bytes]:
    """One line of JSON per message, with its line end."""
    for emission in emissions:
        yield orjson.dumps(emission.message, option=orjson.OPT_APPEND_NEWLINE)


def wire_time(at: datetime) -> str:
    """ISO 8601 with milliseconds and Z, as SDKs write it; `at` is aware and UTC."""
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def stamped(message: Message, shown: datetime) -> Message:
    """The message with both times set to what the device's clock shows."""
    text = wire_time(shown)
    return {**message, "timestamp": text, "originalTimestamp": text}


def _emission(at: datetime, step: Step) -> Emission:
    return Emission(at, at, stamped(step.message, at + step.device_offset), step.device_offset)


def _life(visitor: Visitor, arrival: datetime, rng: Random) -> Life:
    """All sessions of one visitor, the first at `arrival`, with pauses of days between them."""
    at = arrival
    while True:
        for number, step in enumerate(visit(visitor, rng)):
            at += timedelta(seconds=step.pause if number else 0)
            yield at, step
        if rng.random() >= visitor.persona.returns:
            return
        rested = at + timedelta(hours=1, days=rng.expovariate(1 / visitor.persona.days_between))
        at = _busy_time(rested, timedelta(days=1), visitor.persona.hours, rng)


def _busy_time(since: datetime, within: timedelta, hours: tuple[int, ...], rng: Random) -> datetime:
    """A time drawn from [since, since + within) by how busy its hour and weekday are (rejection sampling)."""
    while True:
        at = since + within * rng.random()
        if rng.random() < hours[at.hour] / personas.PEAK * personas.WEEK[at.weekday()]:
            return at


def _drawn(bounds: tuple[float, float], rng: Random) -> float:
    """Log-uniform: seconds, minutes and hours are equally likely."""
    return exp(rng.uniform(log(bounds[0]), log(bounds[1])))


def _require_utc(name: str, at: datetime) -> None:
    if at.utcoffset() != timedelta(0):
        raise InvalidInput(f"{name} is {at.isoformat()}.", hint="Give an aware datetime in UTC.")
