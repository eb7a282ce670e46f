"""Asking for a replay: of dead letters by filter, or of the log by time, user and destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.clock import Clock, random_id
from gateway.errors import InvalidInput, NotFound
from gateway.model.scope import Scope
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.lane_items import DeadFilter
from gateway.store.replays import Replay, Replays

#: Dead letters that one call takes, and events that are counted beforehand.
MOST_LETTERS = 10_000
COUNTED = 1_000_000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What a replay takes in: how many match (of events counted up to a million), and how many were taken now.

    `more`: there are more behind those. `replay` names one from the log.
    """

    matched: int
    taken: int
    more: bool = False
    replay: str | None = None


class Asking:
    """What operators and tools ask of delivery."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.deliveries = Deliveries(database)
        self._alerts = Alerts(database)
        self._replays = Replays(database)
        self._events = Events(database)
        self._identities = Identities(database)
        self._clock = clock

    async def forget(self, scope: Scope, instance: str) -> Mapping[str, int]:
        """Drop an instance that is gone from the settings, with all it was owed; rows deleted, by collection.

        Raises NotFound for one that is not known.
        """
        if await self.deliveries.standing(scope.workspace, instance) is None:
            raise NotFound(f"No destination {instance!r} is known.", hint="`deliveries list` shows them.")
        gone = await self.deliveries.forget(scope.workspace, instance)
        await self._alerts.resolve(scope.workspace, f"connector/{instance}", self._clock)
        return gone

    async def dead_letters(self, scope: Scope, wanted: DeadFilter, *, limit: int, dry_run: bool) -> Asked:
        """Try dead letters again, the newest first, as if for the first time. Raises InvalidInput."""
        if not 1 <= limit <= MOST_LETTERS:
            raise InvalidInput(f"`first` is from 1 to {MOST_LETTERS:,}.", path="input.first")
        items = self.deliveries.items
        matched = await items.count_dead(scope.workspace, wanted, at_most=MOST_LETTERS + 1)
        if dry_run:
            return Asked(min(matched, MOST_LETTERS), 0, more=matched > limit)
        taken = 0
        while taken < limit:
            letters = await items.dead(scope.workspace, wanted, limit=min(_CHUNK, limit - taken))
            if not letters:
                break
            taken += await items.revive(scope.workspace, letters, self._clock.now())
        return Asked(min(matched, MOST_LETTERS), taken, more=matched > taken)

    async def log(self, scope: Scope, instance: str, from_: int, to: int, *, user: str | None, dry_run: bool) -> Asked:
        """Send an instance the events of [from_, to) (ms) once more, of one user or of all, below live traffic.

        Raises InvalidInput, and NotFound for an instance that gets no events.
        """
        if from_ >= to:
            raise InvalidInput("`from` must be before `to`.", path="input.log")
        standing = await self.deliveries.standing(scope.workspace, instance)
        if standing is None or "event" not in standing.kinds:
            raise NotFound(f"No destination {instance!r} gets events.", hint="`deliveries` lists them.")
        sks = None
        if user is not None:
            sks = [one.sk for one in (await self._identities.of_users(scope, [user]))[user]]
        matched = await self._events.count_between(scope, from_, to, sks=sks, at_most=COUNTED)
        if dry_run or not matched:
            return Asked(matched, 0)
        replay = Replay(random_id(), scope.workspace, instance, from_, to, user, self._clock.now())
        await self._replays.add(replay)
        return Asked(matched, matched, replay=replay.id)
