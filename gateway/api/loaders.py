"""What one operation reads by key, gathered into one query per kind however many objects ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from strawberry.dataloader import DataLoader

from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import Journey, JourneyStatus, Session, UserState
from gateway.model.scope import Scope

if TYPE_CHECKING:
    from gateway.api.context import Services

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Of one map, by stage: runs that are in it now, and users who ever were."""

    active: Mapping[str, int]
    reached: Mapping[str, int]


class Loaders:
    """Loaders of one operation."""

    def __init__(self, services: Services, scope: Scope) -> None:
        self._services = services
        self._scope = scope
        self.users: DataLoader[str, UserState | None] = _by_key(self._users)
        self.events: DataLoader[bytes, Event | None] = _by_key(self._events)
        self.sessions: DataLoader[str, Session | None] = _by_key(self._sessions)
        self.journeys: DataLoader[str, Journey | None] = _by_key(self._journeys)
        self.user_ids: DataLoader[Identity, str | None] = _by_key(self._user_ids)
        self.identities: DataLoader[str, list[Identity]] = DataLoader(self._identities)
        self.consents: DataLoader[tuple[Identity, ...], Mapping[str, bool]] = DataLoader(self._consents)
        self.latest_runs: DataLoader[tuple[str, str], Journey | None] = _by_key(self._latest_runs)
        self.stage_counts: DataLoader[str, StageCounts] = DataLoader(self._stage_counts)

    async def _users(self, keys: list[str]) -> Mapping[str, UserState]:
        return await self._services.users.get(self._scope, keys)

    async def _events(self, keys: list[bytes]) -> Mapping[bytes, Event]:
        return await self._services.events.get(self._scope, keys)

    async def _sessions(self, keys: list[str]) -> Mapping[str, Session]:
        return await self._services.sessions.get(self._scope, keys)

    async def _journeys(self, keys: list[str]) -> Mapping[str, Journey]:
        return await self._services.journeys.get(self._scope, keys)

    async def _user_ids(self, keys: list[Identity]) -> Mapping[Identity, str]:
        return await self._services.identities.users_of(self._scope, keys)

    async def _identities(self, keys: list[str]) -> Sequence[list[Identity]]:
        found = await self._services.identities.of_users(self._scope, keys)
        return [found[key] for key in keys]

    async def _consents(self, keys: list[tuple[Identity, ...]]) -> Sequence[Mapping[str, bool]]:
        """What was said about each purpose under any of these identities, as `granted` by purpose."""
        said = await self._services.privacy.words_of_each(self._scope.workspace, keys)
        return [{purpose: word.granted for purpose, word in words.items()} for words in said]

    async def _latest_runs(self, keys: list[tuple[str, str]]) -> Mapping[tuple[str, str], Journey]:
        """Keys are (user, map)."""
        users: dict[str, list[str]] = {}
        for user, map_key in keys:
            users.setdefault(map_key, []).append(user)
        found: dict[tuple[str, str], Journey] = {}
        for map_key, ids in users.items():
            runs = await self._services.journeys.latest(self._scope, ids, map_key)
            found |= {(user, map_key): run for user, run in runs.items()}
        return found

    async def _stage_counts(self, keys: list[str]) -> Sequence[StageCounts]:
        return [await self._counts_of(key) for key in keys]

    async def _counts_of(self, map_key: str) -> StageCounts:
        runs = await self._services.journeys.stage_counts(self._scope, map_key)
        open_runs = [(stage, count) for stage, status, count in runs if status == JourneyStatus.ACTIVE.value]
        active = {stage: count for stage, count in open_runs if stage is not None}
        return StageCounts(active, await self._services.journeys.stage_reach(self._scope, map_key))


def _by_key(find: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> DataLoader[K, V | None]:
    async def load(keys: list[K]) -> list[V | None]:
        found = await find(keys)
        return [found.get(key) for key in keys]

    return DataLoader(load)
