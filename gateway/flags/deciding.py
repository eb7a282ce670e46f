"""Flags of one user: every key by the first provider that knows it, in the configured order, with the reason in words.

Nothing here asks the network, and nothing a provider does fails the query: it becomes an error of the flag.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import PluginFailure
from gateway.flags.changes import Changes
from gateway.flags.providers import NOT_FOUND, Evaluating, Provider
from gateway.flags.subjects import Subject
from gateway.plugin import FlagReason, FlagResult

log = logging.getLogger("gateway.flags")

#: So long a provider may take for the flags of one user. In process it takes a thousandth of that.
DEADLINE_SECONDS = 0.25
_AGAIN_SECONDS, _AGAIN_AT_MOST = 1.0, 60.0

_WITHHELD = "They denied personalization, so that neither traits nor journey count."
_NONE_KNOWS = "No flag provider knows this key."
_WORDS = {
    FlagReason.STATIC: "It has the same value for everybody.",
    FlagReason.DEFAULT: "No rule is meant for this user, so that it has its default.",
    FlagReason.TARGETING_MATCH: "A rule is meant for this user.",
    FlagReason.SPLIT: "The user's key falls into the share that gets it.",
    FlagReason.DISABLED: "The flag is switched off.",
    FlagReason.UNKNOWN: "The provider does not say why.",
    FlagReason.ERROR: "It could not be decided.",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One flag for one user. `error` is OpenFeature's code; then `value` is None, and the caller's default counts."""

    key: str
    value: Any
    variant: str | None
    reason: FlagReason
    because: str
    error: str | None = None
    provider: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Flags:
    """Every provider of the process. Empty when none is configured: then no flag is known."""

    def __init__(self, instances: Iterable[Evaluating] = (), *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        """`instances`: of providers, opened, in the order in which they are asked; whoever opened them closes them."""
        self._providers: dict[str, list[Provider]] = {}
        for one in instances:
            provider = Provider(one)
            self._providers.setdefault(provider.workspace, []).append(provider)
        self._deadline = deadline_seconds
        self.changes = Changes()

    async def evaluate(self, workspace: str, keys: Sequence[str] | None, subject: Subject) -> list[Decision]:
        """The flags with these keys, in their order; None: all that any provider knows, by key. Raises nothing."""
        wanted = None if keys is None else list(dict.fromkeys(keys))
        found: dict[str, Decision] = {}
        failures: list[str] = []
        for provider in self._providers.get(workspace, ()):
            open_keys = None if wanted is None else [key for key in wanted if key not in found]
            if open_keys == []:
                break
            answered = await provider.ask(open_keys, subject.context, self._deadline)
            if answered.failure is not None:
                failures.append(answered.failure)
                its_own = provider.known if open_keys is None else provider.known.intersection(open_keys)
                for key in its_own - found.keys():
                    found[key] = _undecided(key, answered.failure, provider.name)
            for result in answered.results:
                if result.error != NOT_FOUND and result.key not in found:
                    found[result.key] = _decision(result, provider.name, subject)
        if wanted is None:
            return [found[key] for key in sorted(found)]
        return [found.get(key) or self._missing(workspace, key, failures) for key in wanted]

    def trouble(self, workspace: str) -> dict[str, PluginFailure]:
        """Providers of a workspace that are not asked just now, by instance, and why."""
        found = {one.name: one.trouble for one in self._providers.get(workspace, ())}
        return {name: record for name, record in found.items() if record is not None}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """As long as this is open: hear from the providers that rules have changed."""
        everybody = [one for several in self._providers.values() for one in several]
        tasks = [asyncio.create_task(self._follow(one)) for one in everybody]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=1)
            for one in everybody:
                await one.close()

    def _missing(self, workspace: str, key: str, failures: list[str]) -> Decision:
        if failures:
            return _undecided(key, "; ".join(failures), None)
        because = _NONE_KNOWS if workspace in self._providers else "No flag provider is configured."
        return Decision(key, None, None, FlagReason.ERROR, because, NOT_FOUND)

    async def _follow(self, provider: Provider) -> None:
        again = _AGAIN_SECONDS

        def heard(keys: frozenset[str]) -> None:
            nonlocal again
            again = _AGAIN_SECONDS
            self.changes.tell(provider.workspace, keys or None)

        while True:
            try:
                await _hear(provider, heard)
                return
            except Exception as error:
                extra = {"provider": provider.name, "error": type(error).__name__}
                log.warning("changes of flags are listened for anew", extra=extra)
            await asyncio.sleep(again)
            again = min(_AGAIN_AT_MOST, again * 2)
            self.changes.tell(provider.workspace, None)  # what changed meanwhile, nobody heard


async def _hear(provider: Provider, heard: Callable[[frozenset[str]], None]) -> None:
    """Tell of what a provider's `changes` gives, until it ends; the next is asked for once the last was heard."""
    loop = asyncio.get_running_loop()

    async def tell(keys: frozenset[str]) -> None:
        heard(keys)

    async def listen() -> None:
        async for keys in provider.provider.changes():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tell(frozenset(keys)), loop))

    await asyncio.wrap_future(provider.thread.begin(listen))


def _decision(result: FlagResult, provider: str, subject: Subject) -> Decision:
    if result.error is not None:
        said = result.message or _WORDS[FlagReason.ERROR]
        because = f"{_sentence(said)} Says {provider}."
        return Decision(result.key, None, None, FlagReason.ERROR, because, result.error, provider, result.metadata)
    words = result.message or _WORDS[result.reason]
    because = f"{_sentence(words)} Says {provider}."
    if subject.withheld:
        because += f" {_WITHHELD}"
    value, variant, reason = result.value, result.variant, result.reason
    return Decision(result.key, value, variant, reason, because, None, provider, result.metadata)


def _undecided(key: str, failure: str, provider: str | None) -> Decision:
    return Decision(key, None, None, FlagReason.ERROR, f"Not decided: {failure}.", "GENERAL", provider)


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."
