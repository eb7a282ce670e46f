"""One provider at arm's length: whatever it does, its caller gets an answer in time, and nobody else is held up.

It is asked in the thread of its instance, once for all keys of a request. A provider that is late again and again
rests, so that it does not slow down every query; the rest is the longer, the longer it took. One that raises does not:
that costs nobody time, and may be the doing of one user's attributes, who must not take flags away from all others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from gateway.clock import monotonic
from gateway.errors import PluginFailure
from gateway.plugin import Connector, FlagContext, FlagProvider, FlagReason, FlagResult
from gateway.plugin.failures import traced

log = logging.getLogger("gateway.flags")

#: Times in a row that it is late before it rests; how long at least and at most, and how many times as long as it took.
STRIKES = 3
REST_SECONDS, MOST_REST_SECONDS, REST_TIMES = 5.0, 60.0, 20.0
#: Keys it is remembered to know, so that what it fails at is not decided by a provider behind it.
MOST_KNOWN = 10_000
#: Evaluations that were given up and have not ended; with so many it is not asked.
MOST_GIVEN_UP = 8
#: Whoever waits in line while others are answered waits at most so many times as long.
_IN_LINE = 4

_BLOCKS = "It waits without letting go of its thread: restart the process if it lasts, and report the plugin."
_LATE = "Nothing has to be done, it is asked again; if it stays so, look what its evaluations wait for."

NOT_FOUND = "FLAG_NOT_FOUND"


class Thread(Protocol):
    """Where a provider runs: a thread with an event loop of its own."""

    @property
    def blocked(self) -> bool:
        """Whether an earlier call holds it: then nothing can be begun."""

    def begin(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        """Begin what `work` makes, there."""

    async def probe(self) -> None:
        """See whether it still answers; if not, it is `blocked`."""


class Evaluating(Protocol):
    """An instance of a connector that decides flags, open."""

    @property
    def connector(self) -> Connector[Any]:
        """The provider."""

    @property
    def thread(self) -> Thread:
        """Where alone it is called."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider said; `failure` says in words why it said nothing."""

    results: Sequence[FlagResult] = ()
    failure: str | None = None


@dataclass(slots=True)
class _Call:
    """One evaluation. The thread writes when it began and that it ended, the loop that nobody waits any more."""

    said: asyncio.Future[list[FlagResult] | BaseException]
    began: float | None = None
    ended: bool = False
    given_up: bool = False


class Provider:
    """One configured provider, of one workspace."""

    def __init__(self, instance: Evaluating, now: Callable[[], float] = monotonic) -> None:
        """`now` measures rests. Raises TypeError when the instance decides no flags."""
        if not isinstance(instance.connector, FlagProvider):
            raise TypeError(f"{type(instance.connector).__name__} is no FlagProvider")
        self.provider: FlagProvider[Any] = instance.connector
        self.thread = instance.thread
        self.name = self.provider.context.instance
        self.workspace = self.provider.context.workspace
        #: Keys it has decided.
        self.known: set[str] = set()
        self._now = now
        self._strikes = 0
        self._rests_until = 0.0
        self._given_up: list[_Call] = []
        self._moved = 0.0
        self._probing: asyncio.Task[None] | None = None
        self._told: PluginFailure | None = None

    @property
    def trouble(self) -> PluginFailure | None:
        """Why it is not asked just now; None when it is."""
        if self.thread.blocked:
            return self._record("blocks its thread", _BLOCKS)
        self._given_up = [one for one in self._given_up if not one.ended]
        if self._now() < self._rests_until or len(self._given_up) >= MOST_GIVEN_UP:
            return self._record("rests after it was late", _LATE)
        self._told = None
        return None

    async def ask(self, keys: Sequence[str] | None, context: FlagContext, seconds: float) -> Answered:
        """The flags with these keys (None: all), within so many seconds of its time. Raises nothing."""
        if (trouble := self.trouble) is not None:
            return Answered(failure=trouble.message)
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future())
        # It answers for itself: the end of its task would be told only when all that wait in line had their turn.
        future = self.thread.begin(lambda: self._evaluated(call, keys, context, loop))
        try:
            in_time = await self._wait(call, seconds)
        except asyncio.CancelledError:
            self._give_up(call, future)
            raise
        if not in_time:
            self._give_up(call, future)
            if call.began is None:
                return Answered(failure=f"{self.name} did not come to it in time")
            self._late(monotonic() - call.began)
            self._look()
            return Answered(failure=f"{self.name} did not answer within {seconds:g} s")
        said = call.said.result()
        self._strikes = 0
        if isinstance(said, BaseException):
            error = type(said).__name__
            log.info("a flag provider failed", extra={"provider": self.name, "error": error})
            return Answered(failure=f"{self.name} failed ({error})")
        if len(self.known) < MOST_KNOWN:
            self.known.update(result.key for result in said if result.error != NOT_FOUND)
        return Answered(said)

    async def close(self) -> None:
        """Look after it no more. Its instance ends what was given up."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait((self._probing,))

    async def _wait(self, call: _Call, seconds: float) -> bool:
        """Whether it answers in time: its own, and of what is before it only as long as that goes on."""
        asked = monotonic()
        until = asked + seconds
        while (left := until - monotonic()) > 0:
            await asyncio.wait((call.said,), timeout=left)
            if call.said.done():
                return True
            line = min(self._moved, asked + (_IN_LINE - 1) * seconds)
            until = (line if call.began is None else call.began) + seconds
        return False

    async def _evaluated(
        self, call: _Call, keys: Sequence[str] | None, context: FlagContext, loop: asyncio.AbstractEventLoop
    ) -> None:
        """In its thread: tell what it says, or raises."""
        if call.given_up:
            return
        call.began = self._moved = monotonic()
        said: list[FlagResult] | BaseException
        try:
            said = _checked(keys, await self.provider.evaluate(keys, context))
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # the last when given up, or of its own making
            said = error
        call.ended = True
        self._moved = monotonic()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_answer, call, said)

    def _give_up(self, call: _Call, future: Future[Any]) -> None:
        call.given_up = True
        future.cancel()
        if call.began is not None:
            self._given_up.append(call)

    def _look(self) -> None:
        """See whether its thread is free: one that is held is asked no more."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self.thread.probe())

    def _late(self, took: float) -> None:
        self._strikes += 1
        if self._strikes >= STRIKES:
            rest = min(MOST_REST_SECONDS, max(REST_SECONDS, REST_TIMES * took))
            self._rests_until = self._now() + rest
            self._strikes = STRIKES - 1  # once more after the rest is enough
            record = self._record("rests after it was late", _LATE)
            log.warning("a flag provider is late, and rests", extra={"rest": rest, **record.log_fields()})

    def _record(self, what: str, fix: str) -> PluginFailure:
        """The trouble it is in, the same as long as it lasts."""
        said = f"{self.name} {what}"
        if self._told is None or self._told.message != said:
            manifest = self.provider.manifest
            self._told = traced(
                PluginFailure(
                    plugin=manifest.name,
                    version=manifest.version,
                    operation=f"evaluate {self.name}",
                    category="bug",
                    message=said,
                    fix=fix,
                    retryable=True,
                )
            )
        return self._told


def _answer(call: _Call, said: list[FlagResult] | BaseException) -> None:
    if not call.said.done():
        call.said.set_result(said)


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
