"""One instance at work: turn by turn it reads ahead, sends, and writes what became of it.

A turn takes what is due of what did not go through, then what the feed brings, then replays. Nothing is in two turns at
once, and the next begins when the last is written: so memory holds one turn and what is read ahead, however far behind
the instance is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.connectors.condition import Condition
from gateway.connectors.instances import Instance
from gateway.connectors.lanes import LanesOf
from gateway.connectors.limits import Patience, TokenBucket
from gateway.connectors.news import News
from gateway.connectors.outcomes import Done, Failed, Untouched, Weather
from gateway.connectors.pieces import Loader, Piece
from gateway.connectors.sending import Outcomes, Sender
from gateway.connectors.settling import Settlement
from gateway.errors import Unavailable
from gateway.model.identity import LANES
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries, Position
from gateway.store.lane_items import Changes
from gateway.store.lanes import LeaseLost

log = logging.getLogger("gateway.connectors")

IDLE_SECONDS = 0.5
_AGAIN_SECONDS = 0.5
_MOST_PIECES = 2_000
#: How often cursors of lanes without news are written, and rows looked for that others have left.
_TELL_SECONDS = 5.0
_NEVER_SENT = frozenset({"skipped", "withheld", "gone"})
_LOOK_SECONDS, _IDLE_LOOK_SECONDS = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Ours:
    """The lanes of derivation that this process owns: epoch and last feed position of each."""

    epochs: Mapping[int, int]
    heads: Mapping[int, int]


@dataclass(slots=True)
class _Turn:
    stored: list[Piece]
    fresh: dict[int, list[Piece]]
    log: list[Piece]
    held: set[str]

    @property
    def pieces(self) -> list[Piece]:
        return [*self.stored, *self.log, *(one for pieces in self.fresh.values() for one in pieces)]

    @property
    def only_feed(self) -> bool:
        """Whether nothing but what the feed brought is in it."""
        return not self.stored and not self.log


def _untried(outcomes: Outcomes) -> bool:
    """Whether all of it is done, and nothing of it was sent."""
    return all(isinstance(one, Done) and one.how in _NEVER_SENT for one in outcomes.values())


class Runner:
    """Delivers to one instance from the lanes that this process owns."""

    def __init__(
        self,
        database: Database,
        instance: Instance,
        news: News,
        loader: Loader,
        alerts: Alerts,
        clock: Clock,
        patience: Patience,
        ours: Callable[[], Ours],
    ) -> None:
        self.instance = instance
        self._deliveries = Deliveries(database)
        self._loader = loader
        self._clock = clock
        self._patience = patience
        self._ours = ours
        capabilities = instance.capabilities
        self._bucket = TokenBucket(capabilities.per_second, clock)
        self._sender = Sender(instance, self._bucket, patience)
        self._lanes = LanesOf(database, instance.workspace, instance.name, instance.wanted, news, loader, clock)
        self._lanes.ordered = capabilities.ordering == "user"
        self.condition = Condition(self._deliveries, instance, alerts, clock, patience)
        self._limit = capabilities.max_items
        self._looked = self._told = self._rest_until = 0.0
        self._awake = asyncio.Event()
        self._stopping = False
        #: What became of what was to be delivered since the start.
        self.counts: Counter[str] = Counter()

    def wake(self) -> None:
        """There may be something new."""
        self._awake.set()

    def stop(self) -> None:
        """Finish the turn in hand and return from `run`."""
        self._stopping = True
        self._awake.set()

    async def run(self) -> None:
        """Deliver until stopped, through take-overs, outages and whatever the connector does."""
        try:
            await self._persist(self.condition.begin)
            while not self._stopping:
                pause = await self._persist(self._turn)
                if pause is not None:
                    await self._pause(pause)
            await self._persist(self._tell, once=True)
        finally:
            await self._lanes.forget()
            await self.instance.close()

    async def _persist(self, step: Callable[[], Awaitable[float | None]], *, once: bool = False) -> float | None:
        """Take a step; MongoDB being away, or a fault of ours, is no reason to end."""
        while True:
            try:
                return await step()
            except LeaseLost:
                await self._lanes.forget()
            except Unavailable:
                await self._lanes.forget()  # what was written is not known
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception:
                log.exception("delivery failed; trying again", extra={"instance": self.instance.name})
                await self._lanes.forget()
                await asyncio.sleep(_AGAIN_SECONDS)
            if self._stopping or once:
                return None

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        self._awake.clear()

    # -- one turn -----------------------------------------------------------------------------------------------

    async def _turn(self) -> float | None:
        """One turn; the seconds until the next one is worth while, None: at once."""
        if (rest := self._rest_until - self._clock.monotonic()) > 0:
            return rest  # whatever news there is
        ours = self._ours()
        if await self._lanes.own(ours.epochs):
            self._bucket.share(len(ours.epochs) / LANES)
            self._looked = 0.0
        if not self._lanes.lanes:
            return IDLE_SECONDS
        probing = False
        if not self.condition.fine:
            wait = await self.condition.wait_for_probe()
            if wait is not None:
                return min(wait, IDLE_SECONDS)
            probing = not self.condition.fine
        await self._look()
        turn = await self._gather(ours, 1 if probing else self._most(), probing)
        if not turn.pieces:
            if probing:
                await self.condition.well()  # nothing is owed that could tell
            await self._tell_now_and_then()
            return None if self._lanes.is_behind(ours.heads) else IDLE_SECONDS
        weather = Weather(self.condition.failures, self._patience.failures)
        outcomes = await self._send(turn, weather, 1 if probing else self._limit)
        await self._settle(turn, outcomes)
        self._count(outcomes)
        pause = await self._weigh(weather)
        await self._tell_now_and_then()
        return pause

    async def _look(self) -> None:
        """See now and then in which lanes something has rows."""
        now = self._clock.monotonic()
        busy = not self.condition.fine or any(lane.rows for lane in self._lanes.lanes.values())
        if self._looked and now - self._looked < (_LOOK_SECONDS if busy else _IDLE_LOOK_SECONDS):
            return
        self._looked = now
        items = self._deliveries.items
        flagged = await items.lanes_with_rows(self.instance.workspace, self.instance.name)
        for lane, held in self._lanes.lanes.items():
            held.rows = lane in flagged
        await self.condition.look()

    def _most(self) -> int:
        """How much one turn takes: what may be under way at a time, and no more than may be sent in two seconds."""
        most = self._limit * max(1, self.instance.capabilities.concurrency)
        return min(most, _MOST_PIECES, self._bucket.in_seconds(2.0))

    async def _gather(self, ours: Ours, most: int, probing: bool) -> _Turn:
        # A probe is what has not failed yet, if there is anything.
        stored = [] if probing else await self._due(most, replays=False)
        fresh: dict[int, list[Piece]] = {}
        from_log: list[Piece] = []
        left = most - len(stored)
        if left:
            await self._lanes.read(ours.heads)
            if self._lanes.lost:
                from_log = await self._lanes.read_log(left)
                if not from_log:
                    await self._move(self._lanes.log_positions(over=True, left=0))
            fresh = self._lanes.take(left - len(from_log))
            left -= len(from_log) + sum(map(len, fresh.values()))
        if probing and left:
            stored = await self._due(left, replays=False)
            left -= len(stored)
        if left and (replays := await self._due(max(1, min(left, most // 4)), replays=True)):
            stored += replays
        queues = {one.queue for one in from_log} | {one.queue for pieces in fresh.values() for one in pieces}
        held: set[str] = set()
        if queues and any(lane.rows for lane in self._lanes.lanes.values()) and self._lanes.ordered:
            held = await self._deliveries.items.held_back(self.instance.workspace, self.instance.name, queues)
        return _Turn(stored, fresh, from_log, held)

    async def _due(self, most: int, *, replays: bool) -> list[Piece]:
        lanes = [lane for lane, held in self._lanes.lanes.items() if held.rows]
        if not lanes or most < 1:
            return []
        now = self._clock.now()
        found = await self._deliveries.items.due(
            self.instance.workspace, self.instance.name, lanes, now, limit=most, replays=replays
        )
        return [Piece(item, stored=True) for item in found]

    async def _send(self, turn: _Turn, weather: Weather, limit: int) -> Outcomes:
        pieces = turn.pieces
        found: Outcomes = {}
        await self._loader.load(self.instance.workspace, pieces)
        for one in pieces:
            if not one.stored and one.queue in turn.held:
                found[one.id] = Untouched()
            elif one.message is None and one.alert is None and one.item.kind != "erase":
                found[one.id] = Done("gone")
            elif one.item.kind == "event" and not self.instance.wanted.names(one.item.about["name"]):
                found[one.id] = Done("skipped")  # of a replay, or owed since the settings were others
            elif one.alert is not None and one.alert.channels and self.instance.name not in one.alert.channels:
                found[one.id] = Done("skipped")
        asked = [one for one in pieces if one.id not in found]
        purpose = self.instance.capabilities.purpose
        for withheld in await self._loader.withheld(self.instance.workspace, asked, purpose):
            found[withheld] = Done("withheld")
        if asked:
            await self._sender.open(weather)
        if not weather.stop:
            await self._sender.map(asked, found, weather)
        if not weather.stop:
            await self._sender.send(asked, found, weather, limit=limit)
        for one in asked:
            found.setdefault(one.id, Untouched())
        return found

    # -- what is written ----------------------------------------------------------------------------------------

    async def _settle(self, turn: _Turn, outcomes: Outcomes) -> None:
        now = self._clock.now()
        settlement = Settlement(outcomes, turn.held, self._patience, now)
        settlement.stored(turn.stored)
        moves: dict[int, Position] = {}
        done_of_log = settlement.scattered(turn.log)
        if turn.log:
            moves |= self._lanes.log_positions(over=False, left=self._lanes.log_left - len(done_of_log))
        counts = {lane: settlement.fresh(pieces) for lane, pieces in turn.fresh.items()}
        for lane, count in counts.items():
            if count:
                moves[lane] = self._lanes.lanes[lane].moved(count)
        changes = settlement.changes
        for lane in settlement.lanes():
            if lane in self._lanes.lanes:
                self._lanes.lanes[lane].rows = True
                moves.setdefault(lane, self._lanes.lanes[lane].position)  # the fence
        if moves and not (turn.only_feed and _untried(outcomes)):
            await self._move(moves, changes)
        self._lanes.settled_log(done_of_log)
        for lane, position in moves.items():
            held = self._lanes.lanes[lane]
            held.position = position
            for _ in range(counts.get(lane, 0)):
                held.ahead.popleft()

    async def _move(self, moves: Mapping[int, Position], changes: Changes | None = None) -> None:
        await self._deliveries.settle(self.instance.workspace, self.instance.name, moves, changes)
        for lane, position in moves.items():
            held = self._lanes.lanes[lane]
            held.position, held.told = position, position.seq

    async def _tell_now_and_then(self) -> None:
        if self._clock.monotonic() - self._told > _TELL_SECONDS:
            await self._tell()

    async def _tell(self) -> None:
        """Write the cursors of lanes in which nothing was sent since: they may be behind, as it is only read again."""
        self._told = self._clock.monotonic()
        done = {lane: (held.done_to, held.told) for lane, held in self._lanes.lanes.items()}
        moves = {lane: position for lane, (position, told) in done.items() if position.seq > told}
        if moves:
            await self._move(moves)

    # -- what follows from it -----------------------------------------------------------------------------------

    def _count(self, outcomes: Outcomes) -> None:
        for outcome in outcomes.values():
            if isinstance(outcome, Done):
                self.counts[outcome.how] += 1
            elif isinstance(outcome, Failed):
                self.counts["retried"] += 1
            elif not isinstance(outcome, Untouched):
                self.counts["dead"] += 1

    async def _weigh(self, weather: Weather) -> float | None:
        """What the turn says of the destination: go on, slow down, or leave it alone."""
        most = self.instance.capabilities.max_items
        if weather.succeeded:
            self._limit = min(most, self._limit * 2)
        elif weather.stop == "failing":
            self._limit = max(1, self._limit // 2)
        pause = await self.condition.weigh(weather)
        if pause is not None:
            self._rest_until = self._clock.monotonic() + pause
        return pause
