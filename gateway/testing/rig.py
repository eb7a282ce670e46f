"""One connector under test: between a server that answers as told, a clock that stands still, and secrets that are
watched."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from gateway.clock import FrozenClock
from gateway.connectors.http import GuardedHttp
from gateway.plugin import Answer, Connector, Context, HttpFailed
from gateway.testing.faults import ASKED_URL, FaultServer

#: 2026-11-21 10:00:00 UTC, when everything in the suites happens.
NOW = 1_795_255_200_000
#: Far more than any call of a connector takes, and how long one waits for what never answers.
PATIENCE_SECONDS = 60.0
HANG_SECONDS = 0.3
#: How long something may take to end once it is cancelled.
GIVE_UP_SECONDS = 5.0

T = TypeVar("T")


class WiredHttp:
    """The gateway's own client, with every request led to the fault server whatever its address.

    `most_seconds` bounds each answer, whatever a connector asks for.
    """

    def __init__(self, server: FaultServer) -> None:
        self.most_seconds = PATIENCE_SECONDS
        self._server = server
        # Without certificates, which nothing here asks for and which take long to load.
        self._http = GuardedHttp(["127.0.0.1"], tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """As `gateway.plugin.Http`."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise HttpFailed("that is no address to ask", final=True)
        asked = url if not params else f"{url}{'&' if parts.query else '?'}{urlencode(params)}"
        wired = urlunsplit(("http", f"127.0.0.1:{self._server.port}", parts.path or "/", parts.query, ""))
        return await self._http.request(
            method,
            wired,
            headers={**(headers or {}), ASKED_URL: quote(asked)},
            params=params,
            json=json,
            form=form,
            content=content,
            seconds=self.most_seconds if seconds is None else min(seconds, self.most_seconds),
        )

    async def close(self) -> None:
        """Close this loop's connections."""
        await self._http.close()


class MemoryState:
    """State that lasts as long as the object, as JSON like the real one."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return json.loads(self._values[key]) if key in self._values else None

    async def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._values.pop(key, None)
        if value is not None:
            self._values[key] = json.dumps(value)


class Rig:
    """Makes connectors of one class, configured by `settings`; use it as a context manager.

    Each `env:NAME` in the settings is a variable for that time: `secrets[NAME]`, or a made-up value. `secrets_told`
    says which of them turn up in a text.
    """

    def __init__(
        self, connector: type[Connector[Any]], settings: Mapping[str, Any], secrets: Mapping[str, str] | None = None
    ) -> None:
        self.kind = connector
        self.settings = dict(settings)
        self.server = FaultServer()
        self.http = WiredHttp(self.server)
        self.clock = FrozenClock(NOW)
        self.state = MemoryState()
        names = set(_references(self.settings))
        self.secrets = {name: (secrets or {}).get(name, f"planted-{name.lower()}-8c1f5e7a") for name in sorted(names)}
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> Rig:
        self._before = {name: os.environ.get(name) for name in self.secrets}
        os.environ.update(self.secrets)
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(None, None, None)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def make(self, **changes: Any) -> Connector[Any]:
        """A new connector; `changes` are settings that differ."""
        config = self.kind.Config.model_validate({**self.settings, **changes})
        log = logging.getLogger("gateway.connectors.tested")
        return self.kind(config, Context("tested", "main", self.http, self.state, self.clock, log))

    def run(self, work: Callable[[Any], Awaitable[T]], **changes: Any) -> T:
        """What `work` makes of a new connector that is opened before and closed after it."""

        async def life() -> T:
            connector = self.make(**changes)
            await connector.open()
            try:
                return await work(connector)
            finally:
                await connector.close()
                await self.http.close()

        return self.alone(life)

    def alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something in an event loop of its own, within the patience of the suites."""

        async def bounded() -> T:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await work()
            except TimeoutError:
                raise AssertionError(f"a call did not return within {PATIENCE_SECONDS:g} s") from None

        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(bounded())

    def secrets_told(self, text: str) -> list[str]:
        """The references of those secrets whose values, also in base64 or in an address, are in the text."""
        return [name for name, value in self.secrets.items() if any(form in text for form in _forms(value))]


@contextmanager
def overheard() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, at every level, but by the gateway's own HTTP client."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    handler.addFilter(lambda record: not record.name.startswith(("httpx2", "httpcore2")))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("env:"):
        yield value.removeprefix("env:")
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _references(one)


def _forms(value: str) -> set[str]:
    encoded = [base64.b64encode(text.encode()).decode().rstrip("=")[:-1] for text in (value, f"{value}:")]
    return {value, quote(value, safe=""), *encoded}
