"""Flag providers that do what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar

from gateway.connectors.instances import Instance
from gateway.flags import Flags
from gateway.flags.deciding import DEADLINE_SECONDS
from gateway.plugin import Config, FlagChanges, FlagContext, FlagProvider, FlagReason, FlagResult, Health, Manifest
from tests.connectors.surroundings import surroundings

Rule = Callable[[FlagContext], Any]
_instances: list[Instance] = []


class Made(FlagProvider[Config]):
    """Flags by key, each a function of the context. `before` is awaited first."""

    manifest: ClassVar[Manifest] = Manifest(name="made", version="1", brief="For tests.", test_level="D")
    Config = Config

    def __init__(self, name: str = "made", workspace: str = "main", **rules: Rule) -> None:
        super().__init__(Config(), surroundings(name, workspace))
        self.rules = rules
        self.asked: list[tuple[tuple[str, ...] | None, FlagContext]] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.told = FlagChanges()

    async def check(self) -> Health:
        return Health(True)

    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        self.asked.append((None if keys is None else tuple(keys), context))
        if self.before is not None:
            await self.before()
        return [self._one(key, context) for key in (self.rules if keys is None else keys)]

    def changes(self) -> AsyncIterator[frozenset[str]]:
        return self.told.listen()

    def change(self, key: str, rule: Rule) -> None:
        self.rules[key] = rule
        self.told.tell([key])

    def _one(self, key: str, context: FlagContext) -> FlagResult:
        if key not in self.rules:
            return FlagResult(key, reason=FlagReason.ERROR, error="FLAG_NOT_FOUND")
        value = self.rules[key](context)
        return value if isinstance(value, FlagResult) else FlagResult(key, value, "v", FlagReason.TARGETING_MATCH)


def made_flags(*providers: Made, deadline_seconds: float = DEADLINE_SECONDS) -> Flags:
    """Flags of these, each in a thread of its own as in a gateway; `end_threads` ends them."""
    return Flags([instance_of(one) for one in providers], deadline_seconds=deadline_seconds)


def instance_of(provider: FlagProvider[Any]) -> Instance:
    instance = Instance(provider.context.instance, provider.context.workspace, provider)
    _instances.append(instance)
    return instance


async def end_threads() -> None:
    """End the threads of all that was made."""
    while _instances:
        await _instances.pop().close()


def always(value: Any) -> Rule:
    return lambda context: value


def attribute(name: str) -> Rule:
    return lambda context: context.attributes.get(name)
