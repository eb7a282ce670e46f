"""`plugin try`: one event through one destination, with everything that is said on the way, and without its secrets."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from gateway.app.plugins import load_plugins
from gateway.clock import ServerClock, monotonic
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.errors import InvalidInput, PluginError
from gateway.model.event import Event, JsonObject
from gateway.model.identity import user_id_of
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.plugin import Answer, Context, Delivered, Destination, Duplicate, HttpFailed, Item, Message, Skip
from gateway.plugin.configuring import Configured
from gateway.settings import read_settings
from gateway.store.events import from_document

_SECONDS = 60.0
_BODY_CHARS = 2_000
_HIDDEN = "********"
_CREDENTIALS = re.compile(r"authorization|cookie|token|secret|signature|api[-_]?key|write[-_]?key", re.IGNORECASE)
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
@click.option("--dry-run", is_flag=True, help="Map the event, send nothing.")
def attempt(instance: str, file: Path | None, dry_run: bool) -> None:
    """Send one event to the destination INSTANCE: what it maps to, what is asked and answered, the result, the time.

    The event is a message in the form of /v1/track (a made-up one without --event); it is not stored. Secrets are
    masked. Exit code 1 when it did not get through.

    \b
    Examples:
      journey-gateway plugin try crm --event sample.json --dry-run
      journey-gateway plugin try crm --event sample.json
    """
    configured = _configured(instance)
    clock = ServerClock()
    event = _event(_SAMPLE if file is None else _json(file), configured.workspace, clock.now())
    if not asyncio.run(_try(configured, event, clock, dry_run)):
        raise SystemExit(1)


def _configured(name: str) -> Configured:
    plugged = load_plugins(read_settings())
    found = {one.name: one for one in plugged.instances}
    if name not in found:
        raise click.UsageError(f"No connector {name!r} is configured. There are: {', '.join(found) or 'none'}.")
    if (failure := found[name].failure) is not None:
        raise PluginError(failure)
    kind = found[name].kind
    if kind is None or not issubclass(kind, Destination):
        raise click.UsageError(f"{name} is no destination: nothing is sent to it.")
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


async def _try(configured: Configured, event: Event, clock: ServerClock, dry_run: bool) -> bool:
    """Whether it got through (or would be sent)."""
    assert configured.kind is not None
    http = _Telling(GuardedHttp(configured.allow_hosts))
    log = logging.getLogger(f"gateway.connectors.{configured.name}")
    context = Context(configured.name, configured.workspace, http, _Forgetting(), clock, log)
    connector: Destination[Any] = configured.kind(configured.config, context)  # type: ignore[assignment]
    secrets = Instance(configured.name, configured.workspace, connector).secrets()
    http.secrets = secrets
    key = event.id.hex()
    message = Message(key, "event", event.workspace, user_id_of(event.workspace, event.identity), event.at, event=event)
    payload = connector.map(message)
    if isinstance(payload, Skip):
        click.echo(f"Skipped: {payload.reason}")
        return True
    click.echo(f"Payload (key {key}):")
    click.echo(masked(json.dumps(payload, indent=2, ensure_ascii=False), secrets))
    if dry_run:
        click.echo("Nothing was sent (--dry-run).")
        return True
    try:
        async with asyncio.timeout(_SECONDS):
            return await _send(connector, Item(message, payload), secrets)
    except TimeoutError:
        click.echo(f"\nNo result within {_SECONDS:g} s.")
        return False
    finally:
        await connector.close()
        await http.close()


async def _send(connector: Destination[Any], item: Item, secrets: Collection[str]) -> bool:
    began = monotonic()
    try:
        await connector.open()
        results: Any = await connector.send([item])
    except HttpFailed as failed:
        said, good = f"no answer: {failed.reason}", False
    except PluginError:
        raise
    except Exception as error:
        said, good = f"the connector raised {type(error).__name__}: {error}", False
    else:
        (result,) = results
        fields = ", ".join(f"{name}={value!r}" for name, value in asdict(result).items() if value is not None)
        said, good = f"{type(result).__name__}({fields})", isinstance(result, Delivered | Duplicate)
    click.echo(f"\nResult: {masked(said, secrets)}")
    click.echo(f"Time: {(monotonic() - began) * 1000:.0f} ms")
    return good


class _Telling:
    """An HTTP client that prints what it sends and gets, secrets masked."""

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http
        self.secrets: Collection[str] = ()

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
        asked = "" if not params else f"  {dict(params)}"
        self._say(f"\n> {method} {url}{asked}")
        self._say_headers(">", headers or {})
        body = content if content is not None else _written(form if json is None else json)
        self._say_body(">", body)
        answer = await self._http.request(
            method, url, headers=headers, params=params, json=json, form=form, content=content, seconds=seconds
        )
        self._say(f"< HTTP {answer.status}")
        self._say_headers("<", answer.headers)
        self._say_body("<", answer.body)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _say(self, text: str) -> None:
        click.echo(masked(text, self.secrets))

    def _say_headers(self, mark: str, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self._say(f"{mark} {name}: {_HIDDEN if _CREDENTIALS.search(name) else value}")

    def _say_body(self, mark: str, body: bytes) -> None:
        text = masked(body.decode("utf-8", "replace"), self.secrets)
        if text:
            more = f" … {len(text):,} characters in all" if len(text) > _BODY_CHARS else ""
            click.echo(f"{mark} {text[:_BODY_CHARS]}{more}")


class _Forgetting:
    """State for one try."""

    async def get(self, key: str) -> Any:
        return None

    async def put(self, key: str, value: Any) -> None:
        return None


def _written(value: Any) -> bytes:
    return b"" if value is None else json.dumps(value, ensure_ascii=False).encode()


def masked(text: str, secrets: Collection[str]) -> str:
    """The text without these secrets, as they are, in an address, in JSON, or in base64 (alone, or as a user name)."""
    for secret in secrets:
        encoded = [base64.b64encode(form.encode()).decode() for form in (secret, f"{secret}:")]
        for form in {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], *encoded}:
            text = text.replace(form, _HIDDEN)
    return text
