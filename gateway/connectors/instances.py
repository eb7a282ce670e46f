"""An instance: a configured connector, with the thread that it runs in and what must not be told of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from gateway.connectors.http import GuardedHttp
from gateway.connectors.news import Wanted
from gateway.connectors.threads import Blocked, ConnectorThread, Late
from gateway.errors import SetupError
from gateway.model.identity import digest
from gateway.plugin import AlertChannel, Capabilities, Connector, Destination, Health, Secret
from gateway.plugin.configuration import secrets_in

_OPEN_SECONDS = 30.0
_CHECK_SECONDS = 15.0
_CLOSE_SECONDS = 5.0

#: What an alert channel takes: one alert at a time, in the order of each alert.
_ALERTS = Capabilities(max_items=1, purpose=None, kinds=frozenset(), idempotency="by the alert's id")


@dataclass(eq=False, slots=True)
class Instance:
    """One connector as `[connectors.<name>]` configures it. Its methods are called in its thread alone.

    `events`: names of the events it gets, if it is a destination; empty: all.
    """

    name: str
    workspace: str
    connector: Connector[Any]
    events: frozenset[str] = frozenset()
    thread: ConnectorThread = field(init=False)
    _opened: bool = field(default=False, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self.thread = ConnectorThread(self.name)

    @property
    def delivers(self) -> bool:
        """Whether anything is delivered to it."""
        return isinstance(self.connector, Destination | AlertChannel)

    @property
    def capabilities(self) -> Capabilities:
        """What it takes."""
        return self.connector.capabilities if isinstance(self.connector, Destination) else _ALERTS

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of feed rows that it gets."""
        destination: frozenset[str] = self.capabilities.kinds
        return destination | ({"alert"} if isinstance(self.connector, AlertChannel) else frozenset())

    @property
    def wanted(self) -> Wanted:
        """What of the feed it gets."""
        return Wanted(self.kinds, self.events)

    @property
    def fingerprint(self) -> str:
        """Differs when the configuration does; secrets are in it by reference."""
        dumped = self.connector.config.model_dump(mode="json") if isinstance(self.connector.config, BaseModel) else {}
        manifest = self.connector.manifest
        parts = json.dumps(dumped, sort_keys=True, default=str)
        return digest(manifest.name, manifest.version, parts, *_fingerprints(self.connector.config)).hex()

    async def open(self) -> None:
        """Open it, once. Raises whatever it raises, Late and Blocked."""
        async with self._opening:  # delivery, requests and queries may all be the first
            if not self._opened:
                await self.thread.call(self.connector.open, _OPEN_SECONDS)
                self._opened = True

    async def check(self) -> Health:
        """Whether it is well. Raises whatever it raises, Late and Blocked."""
        return await self.thread.call(self.connector.check, _CHECK_SECONDS)

    async def close(self) -> int:
        """Close it and its thread; how many tasks it had left behind."""
        if self._opened and not self.thread.blocked:
            self._opened = False
            with suppress(Exception):  # it is gone either way
                await self.thread.call(self.connector.close, _CLOSE_SECONDS)
        http = self.connector.context.http
        if isinstance(http, GuardedHttp) and not self.thread.blocked:
            with suppress(Late, Blocked):
                await self.thread.call(http.close, _CLOSE_SECONDS)
        return await self.thread.close()

    def secrets(self) -> list[str]:
        """The values of its secrets, for what must not show them."""
        return [value for _, secret in secrets_in(self.connector.config) if (value := _revealed(secret))]


def _fingerprints(config: Any) -> list[bytes]:
    """Of the secrets' values: a new secret behind the same reference is another configuration."""
    return [hashlib.sha256(_revealed(one).encode()).digest() for _, one in secrets_in(config)]


def _revealed(secret: Secret) -> str:
    try:
        return secret.reveal()
    except SetupError:
        return ""
