"""What connectors know of users: asked for in batches, kept for a while, told with the time it was fetched.

A query never waits longer than the connector's deadline: then, or when it fails, what was known is told as stale.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.connectors.failing import failure_of
from gateway.connectors.instances import Instance
from gateway.plugin import Enriched, Enricher, Found

log = logging.getLogger("gateway.connectors")

MOST_CACHED = 50_000
#: What is stale is kept for so long, then forgotten: of an erased user too.
_STALE_SECONDS = 900.0
#: Requests gather for so long before they are asked as one.
_GATHER_SECONDS = 0.005
#: After a failure nothing is asked for so long: what is known is told.
_REST_SECONDS = 5.0


@dataclass(slots=True)
class _Entry:
    fields: Mapping[str, Any] | None
    at: int
    until: float


class Enrichments:
    """The enricher of one instance, with its cache."""

    def __init__(self, instance: Instance, clock: Clock) -> None:
        self._instance = instance
        self._enricher: Enricher[Any] = instance.connector  # type: ignore[assignment]
        self._clock = clock
        self._cache: OrderedDict[str, _Entry] = OrderedDict()
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._waiting: list[str] = []
        self._gathering: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> Enriched:
        """What is known of the user with these identities (type, value) and traits; raises nothing."""
        try:
            await self._instance.open()
            key = await self._instance.thread.run(
                lambda: self._enricher.key_of(identities, traits), self._enricher.deadline_seconds
            )
        except Exception as error:
            self._say("key_of", error)
            return Enriched("unavailable")
        if not isinstance(key, str):
            return Enriched("missing")
        entry = self._cache.get(key)
        if entry is None or entry.until <= self._clock.monotonic():
            await self._wait_for(key)
            entry = self._cache.get(key)
        return self._told(entry)

    def forget(self, key: str) -> None:
        """What is known of a key may have changed, or must not be known any more."""
        self._cache.pop(key, None)

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _told(self, entry: _Entry | None) -> Enriched:
        if entry is None:
            return Enriched("unavailable")
        if entry.fields is None:
            return Enriched("missing", fetched_at=entry.at)
        fresh = entry.until > self._clock.monotonic()
        return Enriched("fresh" if fresh else "stale", entry.fields, entry.at)

    async def _wait_for(self, key: str) -> None:
        if self._clock.monotonic() < self._rests_until:
            return
        answered = self._asked.get(key)
        if answered is None:
            answered = self._asked[key] = asyncio.get_running_loop().create_future()
            self._waiting.append(key)
            if self._gathering is None or len(self._waiting) >= self._enricher.batch:
                self._start()
        await asyncio.wait([answered], timeout=self._enricher.deadline_seconds)

    def _start(self) -> None:
        task = asyncio.create_task(self._gather())
        self._gathering = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        keys, self._waiting, self._gathering = self._waiting, [], None
        for start in range(0, len(keys), self._enricher.batch):
            await self._look_up(keys[start : start + self._enricher.batch])

    async def _look_up(self, keys: list[str]) -> None:
        try:
            found = await self._instance.thread.call(
                lambda: self._enricher.lookup(keys), 5 * self._enricher.deadline_seconds
            )
            self._keep(keys, found)
        except Exception as error:
            self._rests_until = self._clock.monotonic() + _REST_SECONDS
            self._say("lookup", error)
        finally:
            for key in keys:
                answered = self._asked.pop(key, None)
                if answered is not None and not answered.done():
                    answered.set_result(None)

    def _keep(self, keys: list[str], found: Mapping[str, Found]) -> None:
        now, at = self._clock.monotonic(), self._clock.now()
        for key in keys:
            one = found.get(key)
            serves = self._enricher.missing_seconds if one is None else self._enricher.fresh_seconds
            self._cache[key] = _Entry(None if one is None else dict(one.fields), at, now + serves)
            self._cache.move_to_end(key)
        while self._cache:
            oldest = next(iter(self._cache.values()))
            if len(self._cache) <= MOST_CACHED and oldest.until + _STALE_SECONDS > now:
                return
            self._cache.popitem(last=False)

    def _say(self, operation: str, error: Exception) -> None:
        log.warning(
            "enricher failed",
            extra={"instance": self._instance.name, **failure_of(self._instance, operation, error).log_fields()},
        )
