"""Flags of Unleash by its own SDK, in this process; from a server, or from a file alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, FilePath, model_validator
from UnleashClient.cache import BaseCache
from UnleashClient.clients.unleash_client import UnleashClient
from UnleashClient.constants import FEATURES_URL
from UnleashClient.events import BaseEvent, UnleashFetchedEvent
from UnleashClient.utils import InstanceAllowType

from gateway.plugin import (
    Config,
    FlagChanges,
    FlagContext,
    FlagProvider,
    FlagReason,
    FlagResult,
    Health,
    Manifest,
    PluginError,
    PluginFailure,
    Secret,
)

_NAME, _VERSION = "unleash", "1.0.0"
#: How often and how long `check` waits for the first features.
_FIRST_LOOKS, _LOOK_SECONDS = 40, 0.05
_TURN = 4
#: Fields of Unleash's context; every other attribute is one of its properties.
_FIELDS = ("appName", "currentTime", "environment", "remoteAddress", "sessionId")
#: In a feature as JSON: it, or a strategy of it, has variants.
_VARIANTS = '"variants": [{'
#: Below every level: what is asked for and not there is no warning.
_SILENT = 1


class UnleashConfig(Config):
    """`url` with `token`, or `file`, or both: then the file serves until the server has answered."""

    url: str | None = Field(
        default=None, pattern=r"^https?://", description="The server's API, such as https://unleash.example/api."
    )
    token: Secret | None = Field(default=None, description="A token for backends (`client`).")
    file: FilePath | None = Field(
        default=None,
        description="Features as `/api/client/features` gives them. Without `url` they are all, and it is watched.",
    )
    app_name: str = Field(default="journey-gateway", description="What the server knows this application by.")
    refresh_seconds: int = Field(
        default=15, ge=1, le=3600, description="How often the server is asked, or the file looked at."
    )
    request_seconds: int = Field(default=5, ge=1, le=60, description="How long one request may take.")
    metrics: bool = Field(
        default=True, description="Tell the server how often flags were evaluated; it holds nothing of users."
    )
    user_key: Literal["userId", "targetingKey"] = Field(
        default="userId", description="Unleash's `userId`: the userId where it is known, or always the gateway's id."
    )

    @model_validator(mode="after")
    def _some_source(self) -> UnleashConfig:
        if self.url is None and self.file is None:
            raise ValueError("give `url` with `token`, or `file`")
        if self.url is not None and self.token is None:
            raise ValueError("`url` needs `token`")
        return self


class Unleash(FlagProvider[UnleashConfig]):
    """One application of Unleash."""

    manifest: ClassVar[Manifest] = Manifest(
        name=_NAME,
        version=_VERSION,
        brief="Feature flags of Unleash, evaluated in process by its SDK.",
        test_level="A",
        docs="plugins/unleash/README.md",
    )
    Config = UnleashConfig

    _client: UnleashClient | None = None

    async def open(self) -> None:
        """Start the SDK. A server that does not answer is asked again. Raises PluginError for wrong settings."""
        self._changes = FlagChanges()
        self._known: dict[str, str] = {}
        self._segments = ""
        self._handing, self._given_up = threading.Lock(), False
        try:
            await asyncio.to_thread(self._start)
        except asyncio.CancelledError:
            with self._handing:
                self._given_up = True
            await self.close()
            raise
        except Exception as error:
            raise self._failed(error) from None

    async def check(self) -> Health:
        """Whether there are features."""
        if self._client is None:
            return Health(False, "The SDK is not open.")
        for _ in range(_FIRST_LOOKS):  # the SDK asks in a thread of its own, from when it was opened
            if self._known:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if self._known:
            return Health(True, f"{len(self._known)} features are known.")
        return Health(False, "No features have come yet.", "Check `url` and `token`: it must be a token for backends.")

    async def close(self) -> None:
        """End the SDK's threads."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.destroy)

    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        """See FlagProvider."""
        if self._client is None:
            raise RuntimeError("not open")
        given = self.subject(context)
        found = []
        for number, key in enumerate(sorted(self._known) if keys is None else keys, 1):
            found.append(self._evaluated(self._client, key, given))
            if number % _TURN == 0:
                await asyncio.sleep(0)
        return found

    def changes(self) -> AsyncIterator[frozenset[str]]:
        """See FlagProvider."""
        return self._changes.listen()

    def subject(self, context: FlagContext) -> dict[str, Any]:
        """Unleash's context. Properties are texts: true is `true`, objects and lists are JSON."""
        attributes = context.attributes
        known = attributes.get("userId") if self.config.user_key == "userId" else None
        found: dict[str, Any] = {"userId": known if isinstance(known, str) and known else context.targeting_key}
        if not found["userId"]:
            del found["userId"]
        found |= {name: _text(attributes[name]) for name in _FIELDS if attributes.get(name) is not None}
        left = {name: value for name, value in attributes.items() if name not in (*_FIELDS, "userId")}
        found["properties"] = {name: _text(value) for name, value in left.items() if value is not None}
        return found

    def _evaluated(self, client: UnleashClient, key: str, context: Mapping[str, Any]) -> FlagResult:
        if key not in self._known:
            return FlagResult(
                key, reason=FlagReason.ERROR, error="FLAG_NOT_FOUND", message="Unleash has no such feature."
            )
        enabled = client.is_enabled(key, dict(context))
        # The engine reads the whole context again for it: not where there is nothing to choose from.
        variant = client.get_variant(key, dict(context)) if enabled and _VARIANTS in self._known[key] else {}
        metadata: dict[str, Any] = {"enabled": enabled}
        if not variant.get("enabled"):
            reason = FlagReason.TARGETING_MATCH if enabled else FlagReason.DEFAULT
            words = "The feature is on for this user." if enabled else "The feature is off for this user, or for all."
            return FlagResult(key, enabled, None, reason, message=words, metadata=metadata)
        words = "The feature is on for this user, who gets this variant."
        name, payload = str(variant["name"]), variant.get("payload")
        value, error = (enabled, None) if not payload else _value(payload)
        if error is not None:
            return FlagResult(key, reason=FlagReason.ERROR, error="PARSE_ERROR", message=error)
        return FlagResult(key, value, name, FlagReason.TARGETING_MATCH, message=words, metadata=metadata)

    # -- the SDK, in threads ------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Goes on when the start is given up: then nobody else would end the SDK."""
        client = self._started()
        with self._handing:
            if not self._given_up:
                self._client = client
                return
        client.destroy()

    def _started(self) -> UnleashClient:
        given = self.config
        offline = given.url is None
        cache = MemoryCache(given.file, watched=offline, changed=self._taken)
        client = UnleashClient(
            url=given.url or "http://localhost",
            app_name=given.app_name,
            refresh_interval=given.refresh_seconds,
            request_timeout=given.request_seconds,
            request_retries=1,
            disable_metrics=offline or not given.metrics,
            disable_registration=offline,
            custom_headers={} if given.token is None else {"Authorization": given.token.reveal()},
            cache=cache,
            event_callback=self._heard,
            multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
            verbose_log_level=_SILENT,
        )
        try:
            client.initialize_client(fetch_toggles=not offline)
        except Exception:
            client.destroy()
            raise
        return client

    def _heard(self, event: BaseEvent) -> None:
        if isinstance(event, UnleashFetchedEvent):
            self._taken(event.raw_features)

    def _taken(self, raw: str) -> None:
        """New features are in use: tell which differ."""
        new, segments = _features(json.loads(raw))
        before, self._known = self._known, new
        same_segments, self._segments = segments == self._segments, segments
        changed = {key for key in before.keys() | new.keys() if before.get(key) != new.get(key)}
        if not same_segments and before:
            self._changes.tell()
        elif changed:
            self._changes.tell(changed)

    def _failed(self, error: Exception) -> PluginError:
        return PluginError(
            PluginFailure(
                plugin=_NAME,
                version=_VERSION,
                operation="open",
                category="config",
                message=f"the SDK does not start ({type(error).__name__})",
                fix="Check `url`, `token` and `file`.",
            )
        )


class MemoryCache(BaseCache):
    """The SDK's cache, in memory instead of a folder; filled from a file, and from it again when that has changed."""

    def __init__(self, file: Path | None, *, watched: bool, changed: Callable[[str], None]) -> None:
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._file, self._watched, self._changed = file, watched, changed
        self._seen: tuple[int, int] | None = None
        if file is not None:
            self._read(file)
        self.bootstrapped = file is not None

    def set(self, key: str, value: Any) -> None:
        with self._lock:
            self._values[key] = value

    def mset(self, data: dict[str, Any]) -> None:
        with self._lock:
            self._values |= data

    def get(self, key: str, default: Any = None) -> Any:
        if key == FEATURES_URL and self._watched and self._file is not None:
            self._read(self._file)
        with self._lock:
            return self._values.get(key, default)

    def exists(self, key: str) -> bool:
        with self._lock:
            return key in self._values

    def destroy(self) -> None:
        with self._lock:
            self._values.clear()

    def _read(self, file: Path) -> None:
        """Take the file over if it has changed; one that is half written, or gone, is looked at again."""
        try:
            found = file.stat()
            seen = (found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return
            raw = file.read_text(encoding="utf-8")
            _features(json.loads(raw))
        except (OSError, ValueError, KeyError, TypeError):
            if self._seen is None:
                raise
            return
        self._seen = seen
        self.set(FEATURES_URL, raw)
        self._changed(raw)


def _features(document: Any) -> tuple[dict[str, str], str]:
    """Features by name, and segments, each as text to compare. Raises KeyError, TypeError for what holds none.

    Beside whole states a server may give what has changed since, as events.
    """
    if "events" not in document:
        found = {one["name"]: one for one in document["features"]}
    else:
        found = {}
        for event in document["events"]:
            if event["type"] == "hydration":
                found = {one["name"]: one for one in event["features"]}
            elif event["type"] == "feature-updated":
                found[event["feature"]["name"]] = event["feature"]
            elif event["type"] == "feature-removed":
                found.pop(event["featureName"], None)
    texts = {name: json.dumps(one, sort_keys=True) for name, one in found.items()}
    kept = [document.get("segments"), *(one for one in document.get("events", ()) if "segment" in one["type"])]
    return texts, json.dumps(kept, sort_keys=True)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _value(payload: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The value of a variant's payload, or what is wrong with it."""
    kind, text = payload.get("type"), str(payload.get("value"))
    if kind in ("string", "csv"):
        return text, None
    try:
        return json.loads(text), None
    except ValueError:
        return None, f"The variant's payload is no {kind}."
