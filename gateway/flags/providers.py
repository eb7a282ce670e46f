"""One provider at arm's length: whatever it does, its caller gets an answer in time.

A provider that is late again and again rests, so that it does not slow down every query; the rest is the longer, the
longer it kept the gateway. One that raises does not: that costs nobody time, and may be the doing of one user's
attributes, who must not take flags away from all others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.plugin import FlagContext, FlagProvider, FlagReason, FlagResult

log = logging.getLogger("gateway.flags")

#: Times in a row that it is late before it rests; how long at least and at most, and how many times as long as it took.
STRIKES = 3
REST_SECONDS, MOST_REST_SECONDS, REST_TIMES = 5.0, 60.0, 20.0
#: Keys it is remembered to know, so that what it fails at is not decided by a provider behind it.
MOST_KNOWN = 10_000
#: Evaluations that were given up and have not ended; with so many it is not asked.
MOST_GIVEN_UP = 8

NOT_FOUND = "FLAG_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider said; `failure` says in words why it said nothing."""

    results: Sequence[FlagResult] = ()
    failure: str | None = None


class Provider:
    """One configured provider, of one workspace."""

    def __init__(self, provider: FlagProvider[Any], monotonic: Callable[[], float]) -> None:
        self.name = provider.context.instance
        self.workspace = provider.context.workspace
        self.provider = provider
        #: Keys it has decided.
        self.known: set[str] = set()
        self._monotonic = monotonic
        self._strikes = 0
        self._rests_until = 0.0
        self._given_up: set[asyncio.Task[Any]] = set()

    async def ask(self, keys: Sequence[str] | None, context: FlagContext, seconds: float) -> Answered:
        """The flags with these keys (None: all), within so many seconds. Raises nothing."""
        began = self._monotonic()
        if began < self._rests_until or len(self._given_up) >= MOST_GIVEN_UP:
            return Answered(failure=f"{self.name} rests after it was late")
        task = asyncio.create_task(self._evaluated(keys, context))
        try:
            await asyncio.wait((task,), timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if not task.done():
            self._give_up(task)
            self._late(self._monotonic() - began)
            return Answered(failure=f"{self.name} did not answer within {seconds:g} s")
        said, took = task.result()
        if took > seconds:  # it came, but held everything up meanwhile
            self._late(took)
        else:
            self._strikes = 0
        if isinstance(said, BaseException):
            error = type(said).__name__
            log.info("a flag provider failed", extra={"provider": self.name, "error": error})
            return Answered(failure=f"{self.name} failed ({error})")
        results = said
        if len(self.known) < MOST_KNOWN:
            self.known.update(result.key for result in results if result.error != NOT_FOUND)
        return Answered(results)

    async def close(self) -> None:
        """End what was given up, as far as it lets itself be ended."""
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=1)

    async def _evaluated(
        self, keys: Sequence[str] | None, context: FlagContext
    ) -> tuple[list[FlagResult] | BaseException, float]:
        """What it says, or raises, and how long itself took: not how long it had to wait for its turn."""
        began = self._monotonic()
        said: list[FlagResult] | BaseException
        try:
            said = _checked(keys, await self.provider.evaluate(keys, context))
        except (Exception, asyncio.CancelledError) as error:  # the latter when it was given up, or of its own making
            said = error
        return said, self._monotonic() - began

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._given_up.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # nobody asks for it any more

    def _late(self, took: float) -> None:
        self._strikes += 1
        if self._strikes >= STRIKES:
            rest = min(MOST_REST_SECONDS, max(REST_SECONDS, REST_TIMES * took))
            self._rests_until = self._monotonic() + rest
            self._strikes = STRIKES - 1  # once more after the rest is enough
            log.warning("a flag provider is late, and rests", extra={"provider": self.name, "rest": rest})


def _checked(keys: Sequence[str] | None, results: Any) -> list[FlagResult]:
    """The results, as a provider has to give them. Raises TypeError, ValueError."""
    found = [_plain(result) for result in results]
    if keys is not None and [result.key for result in found] != list(keys):
        raise ValueError("not one result per key in their order")
    return found


def _plain(result: FlagResult) -> FlagResult:
    """The result; an error in its place when its value is none of JSON."""
    if not isinstance(result, FlagResult):
        raise TypeError("not a FlagResult")
    if result.value is None or isinstance(result.value, bool | str):
        return result
    try:
        value = orjson.loads(orjson.dumps(result.value))
    except (TypeError, ValueError):
        said = "the value of this flag is none of JSON"
        return FlagResult(result.key, reason=FlagReason.ERROR, error="TYPE_MISMATCH", message=said)
    return FlagResult(
        result.key, value, result.variant, result.reason, result.error, result.message, dict(result.metadata)
    )
