"""One provider at arm's length: whatever it does, its caller gets an answer in time.

A provider that fails or is late again and again rests, so that it does not slow down every query; the rest is the
longer, the longer it kept the gateway.
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

#: Failures in a row before it rests, how long at least and at most, and how many times as long as it was late.
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
            return Answered(failure=f"{self.name} rests after it failed")
        task = asyncio.create_task(self._evaluated(keys, context))
        try:
            await asyncio.wait((task,), timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        took = self._monotonic() - began
        if not task.done():
            self._give_up(task)
            return self._failed("TimeoutError", f"{self.name} did not answer within {seconds:g} s", took)
        try:
            results = _checked(keys, task.result())
        except (Exception, asyncio.CancelledError) as error:
            return self._failed(type(error).__name__, f"{self.name} failed ({type(error).__name__})", took)
        if took > seconds:  # it came, but held everything up meanwhile
            self._strike("Late", took)
        else:
            self._strikes = 0
        if len(self.known) < MOST_KNOWN:
            self.known.update(result.key for result in results if result.error != NOT_FOUND)
        return Answered(results)

    async def close(self) -> None:
        """End what was given up, as far as it lets itself be ended."""
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=1)

    async def _evaluated(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        return await self.provider.evaluate(keys, context)

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        self._given_up.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # nobody asks for it any more

    def _failed(self, error: str, words: str, took: float) -> Answered:
        self._strike(error, took)
        return Answered(failure=words)

    def _strike(self, error: str, took: float) -> None:
        self._strikes += 1
        if self._strikes >= STRIKES:
            rest = min(MOST_REST_SECONDS, max(REST_SECONDS, REST_TIMES * took))
            self._rests_until = self._monotonic() + rest
            self._strikes = STRIKES - 1  # one more failure after the rest is enough
            log.warning("a flag provider rests", extra={"provider": self.name, "error": error, "seconds": rest})


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
