"""`plugin try`: one event through a destination, or one alert through a channel, with all that is said on the way, and
without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from gateway.app.plugins import load_plugins
from gateway.cli.exchanges import HIDDEN, Telling
from gateway.clock import ServerClock, monotonic, random_id
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.connectors.redaction import masked
from gateway.errors import GatewayError, InvalidInput, PluginError
from gateway.model.event import Event, JsonObject
from gateway.model.identity import user_id_of
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.plugin import (
    Alert,
    AlertChannel,
    AuthFailed,
    Context,
    Delivered,
    Destination,
    Duplicate,
    HttpFailed,
    Item,
    Message,
    Rejected,
    Retry,
    Severity,
    Skip,
    Throttled,
    TooLarge,
)
from gateway.plugin.configuring import Configured
from gateway.settings import read_settings
from gateway.store.events import from_document

#: For all that is called, and for its end.
_SECONDS, _ENDING_SECONDS = 60.0, 10.0
_SAMPLE: JsonObject = {
    "type": "track",
    "messageId": "a-sample",
    "event": "Order Completed",
    "userId": "ada",
    "properties": {"total": 9.5, "currency": "EUR"},
}


@click.command("try")
@click.argument("instance")
@click.option(
    "--event", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with one message."
)
@click.option("--resolved", is_flag=True, help="Of an alert channel: the alert is over, after it was raised.")
@click.option("--dry-run", is_flag=True, help="Map the event, send nothing.")
def attempt(instance: str, file: Path | None, resolved: bool, dry_run: bool) -> None:
    """Send one event to the destination INSTANCE, or a made-up alert to the alert channel: what it maps to, what is
    asked and answered, the result, the time.

    The event is a message in the form of /v1/track (a made-up one without --event); it is not stored. Secrets are
    masked. Exit code 1 when it did not get through.

    \b
    Examples:
      journey-gateway plugin try crm --event sample.json --dry-run
      journey-gateway plugin try crm --event sample.json
      journey-gateway plugin try slack --resolved
    """
    configured = _configured(instance)
    clock = ServerClock()
    assert configured.kind is not None
    if issubclass(configured.kind, Destination):
        if resolved:
            raise click.UsageError(f"{instance} is a destination: --resolved is of alert channels.")
        event = _event(_SAMPLE if file is None else _json(file), configured.workspace, clock.now())
        good = _within_time(_Try(configured, clock, dry_run).event(event))
    else:
        if file is not None:
            raise click.UsageError(f"{instance} is an alert channel: it gets a made-up alert, no --event.")
        good = _within_time(_Try(configured, clock, dry_run).alert(resolved))
    if not good:
        raise SystemExit(1)


def _within_time(trying: Coroutine[Any, Any, bool]) -> bool:
    """Whether it got through; it runs in a thread that ends with the process, as what blocks cannot be ended."""
    ended: Future[bool] = Future()

    def run() -> None:
        try:
            ended.set_result(asyncio.run(trying))
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=run, name="plugin try", daemon=True).start()
    try:
        return ended.result(_SECONDS + _ENDING_SECONDS)
    except TimeoutError:
        click.echo(f"\nNo result within {_SECONDS:g} s: it waits without `await`, and blocks its thread.")
        return False


def _configured(name: str) -> Configured:
    plugged = load_plugins(read_settings())
    found = {one.name: one for one in plugged.instances}
    if name not in found:
        raise click.UsageError(f"No connector {name!r} is configured. There are: {', '.join(found) or 'none'}.")
    if (failure := found[name].failure) is not None:
        raise PluginError(failure)
    kind = found[name].kind
    if kind is None or not issubclass(kind, Destination | AlertChannel):
        raise click.UsageError(f"{name} is no destination and no alert channel: nothing is sent to it.")
    return found[name]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{file} is no JSON: {error}") from None


def _event(message: Any, workspace: str, now: int) -> Event:
    origin = Origin(workspace, "plugin try", now, None, read_settings().max_event_bytes, correct_skew=False)
    try:
        return from_document(read_message(message, origin, seq=0, fallback_id=lambda: "a-sample"))
    except Unacceptable as error:
        raise InvalidInput(f"The event cannot be taken: {error}") from None


def _alert(configured: Configured, now: int) -> Alert:
    return Alert(
        id=random_id(),
        workspace=configured.workspace,
        key=f"connector/{configured.name}",
        severity=Severity.WARNING,
        title="A sample of an alert",
        text=f"`plugin try {configured.name}` sent it: nothing is wrong.",
        hint="Nothing has to be done.",
        about=("connector", configured.name),
        first_at=now,
        last_at=now,
    )


class _Try:
    """One connector, alone with its network."""

    def __init__(self, configured: Configured, clock: ServerClock, dry_run: bool) -> None:
        assert configured.kind is not None
        self._configured, self._clock, self._dry_run = configured, clock, dry_run
        self._http = Telling(GuardedHttp(configured.allow_hosts))
        log = logging.getLogger(f"gateway.connectors.{configured.name}")
        context = Context(configured.name, configured.workspace, self._http, _OwnState(), clock, log)
        self._connector: Any = configured.kind(configured.config, context)
        self._secrets: Collection[str] = Instance(configured.name, configured.workspace, self._connector).secrets()
        self._http.secrets = self._secrets

    async def event(self, event: Event) -> bool:
        """Whether it got through (or would be sent)."""
        key = event.id.hex()
        user = user_id_of(event.workspace, event.identity)
        message = Message(key, "event", event.workspace, user, event.at, event=event)
        try:
            payload = self._connector.map(message)
        except (Exception, SystemExit) as error:
            self._say(f"Result: map raised {type(error).__name__}: {error}")
            return False
        if isinstance(payload, Skip):
            self._say(f"Skipped: {payload.reason}")
            return True
        try:
            shown = json.dumps(payload, indent=2, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            self._say(f"Result: the payload holds what is no JSON value: {error}")
            return False
        if not isinstance(payload, dict):
            self._say(f"Result: map gave a {type(payload).__name__}, which is neither a dict nor Skip.")
            return False
        self._say(f"Payload (key {key}):\n{shown}")
        return await self._sent(self._connector.send, [Item(message, payload)])

    async def alert(self, resolved: bool) -> bool:
        """Whether it got through (or would be told), and that it is over if it is to be."""
        alert = _alert(self._configured, self._clock.now())
        self._say(f"Alert ({alert.id}):\n{json.dumps(asdict(alert), indent=2, ensure_ascii=False)}")
        over = replace(alert, resolved_at=self._clock.now())
        return await self._sent(self._connector.notify, alert, *((over,) if resolved else ()))

    async def _sent(self, call: Callable[[Any], Awaitable[Any]], *given: Any) -> bool:
        if self._dry_run:
            self._say("Nothing was sent (--dry-run).")
            return True
        try:
            async with asyncio.timeout(_SECONDS):
                if not await self._one(self._connector.open(), "open"):
                    return False
                for one in given:
                    if not await self._one(call(one), call.__name__):
                        return False
                return True
        except TimeoutError:
            self._say(f"\nNo result within {_SECONDS:g} s.")
            return False
        finally:
            await self._connector.close()
            await self._http.close()

    async def _one(self, called: Awaitable[Any], operation: str) -> bool:
        began = monotonic()
        try:
            found = await self._within(called)
            if operation == "open":
                return True
            said, good = _result(found)
        except HttpFailed as failed:
            said, good = f"no answer: {failed.reason}", False
        except (GatewayError, TimeoutError):
            raise
        except (Exception, SystemExit) as error:
            said, good = f"{operation} raised {type(error).__name__}: {error}", False
        self._say(f"\nResult: {said}")
        self._say(f"Time: {(monotonic() - began) * 1000:.0f} ms")
        return good

    async def _within(self, called: Awaitable[Any]) -> Any:
        """Its own errors go on without secrets."""
        try:
            return await called
        except PluginError as error:
            message = masked(error.failure.message, self._secrets, HIDDEN)
            raise PluginError(replace(error.failure, message=message)) from None

    def _say(self, text: str) -> None:
        click.echo(masked(text, self._secrets, HIDDEN))


def _result(found: Any) -> tuple[str, bool]:
    """What the one result says, and whether it got through."""
    result = found[0] if isinstance(found, list | tuple) and len(found) == 1 else found
    if not isinstance(result, Delivered | Duplicate | Retry | Throttled | Rejected | AuthFailed | TooLarge):
        return f"{type(found).__name__}, which is no result", False
    fields = ", ".join(f"{name}={value!r}" for name, value in asdict(result).items() if value is not None)
    return f"{type(result).__name__}({fields})", isinstance(result, Delivered | Duplicate)


class _OwnState:
    """State for one try."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self._values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self._values[key] = value
