"""The classes that connectors are made of. One connector is one class; it may be of several kinds at once.

The gateway makes one object per configured instance, calls `open`, then the methods of its kinds, then `close`. All
methods but `map`, `verify`, `parse` and `challenge` are asynchronous; those four are called often and must not wait.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from gateway.clock import Clock
from gateway.model.alert import Alert
from gateway.model.event import JsonObject
from gateway.model.response import Response
from gateway.plugin.capabilities import Capabilities
from gateway.plugin.configuration import Config
from gateway.plugin.evaluation import FlagContext, FlagResult
from gateway.plugin.http import Http
from gateway.plugin.messages import Item, Message
from gateway.plugin.results import ItemResult, Skip
from gateway.plugin.webhooks import Challenge, Denied, RawRequest, Verified

#: The version of this API. A connector that asks for a newer one is refused.
API_VERSION = 1

Configured = TypeVar("Configured", bound=Config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a connector says about itself. `name` is that of its plugin, or `plugin.something`.

    `test_level`: A a real peer runs in the tests, B the vendor's own client or verifier, C the vendor's contract or
    published vectors, D a fake made from the documentation.
    """

    name: str
    version: str
    brief: str
    test_level: Literal["A", "B", "C", "D"]
    docs: str = ""
    api: int = API_VERSION


@dataclass(frozen=True, slots=True)
class Health:
    """What `check` found: whether the credentials are good and the other side answers; else what to do."""

    ok: bool
    said: str = ""
    hint: str = ""


class State(Protocol):
    """A few JSON values that outlive the process, one set per instance."""

    async def get(self, key: str) -> Any:
        """The value, or None."""
        ...

    async def put(self, key: str, value: Any) -> None:
        """Keep a value under a key; None removes it."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What the gateway gives to an instance. `log` never holds secrets or personal data: neither may what you log."""

    instance: str
    workspace: str
    http: Http
    state: State
    clock: Clock
    log: logging.Logger


class Connector(ABC, Generic[Configured]):
    """What every connector has. Derive from one or more of the kinds below, not from this."""

    manifest: ClassVar[Manifest]
    #: The model of its configuration.
    Config: ClassVar[type[Config]]

    def __init__(self, config: Configured, context: Context) -> None:
        self.config = config
        self.context = context

    async def open(self) -> None:
        """Called once before anything else; may raise PluginError."""

    @abstractmethod
    async def check(self) -> Health:
        """Whether the credentials are good and the other side answers, without any effect on it."""

    async def close(self) -> None:
        """Called once at the end; leaves no task and no connection."""


class Destination(Connector[Configured]):
    """Gets what happened: events, steps of journeys, responses; each at least once, in order per user."""

    capabilities: ClassVar[Capabilities]

    @abstractmethod
    def map(self, message: Message) -> dict[str, Any] | Skip:
        """The payload (JSON values) for one message, or why there is none. Must not wait; the same message gives the
        same payload."""

    @abstractmethod
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """Deliver items within the capabilities, in this order: one result per item, in their order.

        HttpFailed may be let through (all are tried again); whatever else is raised counts as a bug of the connector,
        and is tried again a few times.
        """

    async def erase(self, users: Collection[str]) -> None:
        """Erase users (their ids as `Message.user`) at the destination; called if `capabilities.erases`."""
        raise NotImplementedError


class WebhookSource(Connector[Configured]):
    """Takes requests that another system sends to `/v1/hooks/<instance>`."""

    @abstractmethod
    def verify(self, request: RawRequest) -> Verified | Denied:
        """Whether it comes from whom it should, over its raw bytes, in constant time."""

    @abstractmethod
    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        """What a verified request brings: messages in the form of `/v1/batch` (with a `messageId` that is the same
        when the request comes again), or responses. ValueError: it cannot be read; it is answered 400."""

    def challenge(self, request: RawRequest) -> Challenge | None:
        """The answer to a request that only asks whether this address is ours; None for all others."""
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a pull, and the state (JSON values) to go on from once it is stored."""

    rows: Sequence[JsonObject | Response]
    state: Any
    #: Whether the next page is worth asking for at once.
    more: bool = False


class PullSource(Connector[Configured]):
    """Fetches from another system at intervals. The state is kept after its page is stored: nothing is lost."""

    #: Seconds between pulls when there is no more.
    every_seconds: ClassVar[float] = 300.0

    @abstractmethod
    async def read(self, state: Any) -> Page:
        """The page behind `state` (None: from the beginning). HttpFailed may be let through."""

    def hint(self) -> bool:
        """Whether a webhook of the same instance should bring the next pull forward."""
        return isinstance(self, WebhookSource)


@dataclass(frozen=True, slots=True)
class Found:
    """What an enricher knows of one user (JSON values), by field."""

    fields: Mapping[str, Any] = field(default_factory=dict)


class Enricher(Connector[Configured]):
    """Knows more about users. Answers are cached with the time they were fetched; a stale one serves when it fails."""

    #: Most keys of one `lookup`, how long an answer serves, how long "not there" does, and how long a query waits.
    batch: ClassVar[int] = 100
    fresh_seconds: ClassVar[float] = 300.0
    missing_seconds: ClassVar[float] = 60.0
    deadline_seconds: ClassVar[float] = 2.0

    @abstractmethod
    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        """The key a user is found by, from its identities (type, value) and traits; None: it cannot be found."""

    @abstractmethod
    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        """What is known of these keys; those that are not there are left out."""


class FlagProvider(Connector[Configured]):
    """Evaluates feature flags in process: `evaluate` never asks the network."""

    @abstractmethod
    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        """The flags with these keys (None: all it knows), one result per key in their order."""

    @abstractmethod
    def changes(self) -> AsyncIterator[frozenset[str]]:
        """Keys of flags whose rules have changed, as it happens; an empty set: any may have."""


class AlertChannel(Connector[Configured]):
    """Tells people about alerts."""

    @abstractmethod
    async def notify(self, alert: Alert) -> ItemResult:
        """Tell about an alert that was raised or resolved. Called again after Retry; `alert.id` is the same then."""
