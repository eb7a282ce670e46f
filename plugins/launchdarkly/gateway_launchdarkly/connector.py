"""Flags of LaunchDarkly by its own SDK, in this process; and its signed webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import ldclient
from ldclient.client import LDClient
from ldclient.config import Config as SdkConfig
from ldclient.config import HTTPConfig
from ldclient.evaluation import EvaluationDetail
from ldclient.integrations import Files
from ldclient.interfaces import FlagChange
from pydantic import Field, FilePath, model_validator

from gateway.plugin import (
    Config,
    Denied,
    FlagChanges,
    FlagContext,
    FlagProvider,
    FlagReason,
    FlagResult,
    Health,
    JsonObject,
    Manifest,
    PluginError,
    PluginFailure,
    RawRequest,
    Response,
    Secret,
    Verified,
    WebhookSource,
)

_NAME, _VERSION = "launchdarkly", "1.0.0"
_TURN = 16
#: Names of LaunchDarkly's own in a context; attributes of these names are left out.
_RESERVED = frozenset({"", "key", "kind", "anonymous", "_meta"})
_SIGNATURE = "x-ld-signature"
#: Whose events the changes of flags are, in the workspace that hears of them.
_ANONYMOUS_ID = "launchdarkly"
_CHANGED = "Flag Changed"

_REASONS: Mapping[str, tuple[FlagReason, str]] = {
    "OFF": (FlagReason.DISABLED, "Targeting is off."),
    "FALLTHROUGH": (FlagReason.DEFAULT, "No target and no rule is meant for this user."),
    "TARGET_MATCH": (FlagReason.TARGETING_MATCH, "The user is a target by itself."),
    "RULE_MATCH": (FlagReason.TARGETING_MATCH, "A rule is meant for this user"),
    "PREREQUISITE_FAILED": (FlagReason.DISABLED, "A flag it depends on is not as it must be"),
}
_ERRORS = {
    "CLIENT_NOT_READY": "PROVIDER_NOT_READY",
    "FLAG_NOT_FOUND": "FLAG_NOT_FOUND",
    "MALFORMED_FLAG": "PARSE_ERROR",
    "USER_NOT_SPECIFIED": "INVALID_CONTEXT",
    "WRONG_TYPE": "TYPE_MISMATCH",
}


class LaunchDarklyConfig(Config):
    """Either `sdk_key`, or `files`."""

    sdk_key: Secret | None = Field(default=None, description="The environment's SDK key.")
    files: list[FilePath] = Field(
        default_factory=list, description="Files of flag definitions as the SDK's `Files` reads them, instead."
    )
    poll_seconds: float = Field(default=1.0, ge=0.1, le=60, description="How often the files are looked at.")
    base_uri: str = Field(default="https://sdk.launchdarkly.com", description="Where polls go, as to a relay proxy.")
    stream_uri: str = Field(default="https://stream.launchdarkly.com", description="Where flags are streamed from.")
    events_uri: str = Field(default="https://events.launchdarkly.com", description="Where evaluation events go.")
    stream: bool = Field(default=True, description="Stream flags; false polls every 30 seconds.")
    send_events: bool = Field(
        default=False,
        description="Send LaunchDarkly events of evaluations, for experiments: with the user's key, no attributes.",
    )
    start_seconds: float = Field(default=10.0, ge=0, le=60, description="How long the start waits for the first flags.")
    request_seconds: float = Field(
        default=10.0, ge=1, le=60, description="How long one request may take; a stream may be silent for longer."
    )
    user_key: Literal["userId", "targetingKey"] = Field(
        default="userId",
        description="What contexts are keyed by: the userId where it is known, or always the gateway's id.",
    )
    webhook_secret: Secret | None = Field(default=None, description="The secret of LaunchDarkly's signed webhook.")
    webhook_secret_before: Secret | None = Field(default=None, description="The one before, while it is being changed.")

    @model_validator(mode="after")
    def _one_of_both(self) -> LaunchDarklyConfig:
        if (self.sdk_key is None) == (not self.files):
            raise ValueError("give either `sdk_key` or `files`")
        return self


class LaunchDarkly(FlagProvider[LaunchDarklyConfig], WebhookSource[LaunchDarklyConfig]):
    """One environment of LaunchDarkly."""

    manifest: ClassVar[Manifest] = Manifest(
        name=_NAME,
        version=_VERSION,
        brief="Feature flags of LaunchDarkly, evaluated in process by its SDK; its webhook of changed flags.",
        test_level="B",
        docs="plugins/launchdarkly/README.md",
    )
    Config = LaunchDarklyConfig

    _client: LDClient | None = None

    async def open(self) -> None:
        """Start the SDK. Flags that do not come in time come later. Raises PluginError for wrong settings."""
        self._changes = FlagChanges()
        self._handing, self._given_up = threading.Lock(), False
        settings = self._settings()
        try:
            await asyncio.to_thread(self._start, settings)
        except asyncio.CancelledError:
            with self._handing:
                self._given_up = True
            await self.close()
            raise
        except Exception as error:
            raise self._failed(error) from None

    def _start(self, settings: SdkConfig) -> None:
        """In a thread, which goes on when the start is given up: then nobody else would end the SDK."""
        client = LDClient(settings, self.config.start_seconds)
        with self._handing:
            if not self._given_up:
                client.flag_tracker.add_listener(self._heard)
                self._client = client
                return
        client.close()  # type: ignore[no-untyped-call]

    async def check(self) -> Health:
        """Whether the SDK has flags."""
        if self._client is None:
            return Health(False, "The SDK is not open.")
        status = await asyncio.to_thread(lambda: self._client and self._client.data_source_status_provider.status)
        state = getattr(getattr(status, "state", None), "value", "unknown")
        if self._client.is_initialized():
            return Health(True, f"The SDK has flags; its source is {state}.")
        return Health(
            False, f"The SDK has no flags yet; its source is {state}.", "Check the SDK key and the addresses."
        )

    async def close(self) -> None:
        """Send what events wait, and end the SDK's threads."""
        client, self._client = self._client, None
        if client is not None:
            client.flag_tracker.remove_listener(self._heard)
            await asyncio.to_thread(client.close)

    # -- flags --------------------------------------------------------------------------------------------------

    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        """See FlagProvider. All flags at once count as no evaluation for LaunchDarkly."""
        if self._client is None:
            raise RuntimeError("not open")
        subject = self.subject(context)
        if keys is None:
            return self._all(self._client, subject)
        found = []
        for number, key in enumerate(keys, 1):
            found.append(_result(key, self._client.variation_detail(key, subject, None)))
            if number % _TURN == 0:
                await asyncio.sleep(0)
        return found

    def changes(self) -> AsyncIterator[frozenset[str]]:
        """See FlagProvider."""
        return self._changes.listen()

    def subject(self, context: FlagContext) -> ldclient.Context:
        """LaunchDarkly's context, of kind `user`: every attribute under its own name, dots included."""
        attributes = context.attributes
        known = attributes.get("userId") if self.config.user_key == "userId" else None
        builder = ldclient.Context.builder(known if isinstance(known, str) and known else context.targeting_key)
        if attributes.get("anonymous") is True:
            builder.anonymous(True)
        for name, value in attributes.items():
            if name not in _RESERVED and value is not None:
                builder.try_set(name, value)
        return builder.build()

    def _all(self, client: LDClient, subject: ldclient.Context) -> list[FlagResult]:
        state = client.all_flags_state(subject, with_reasons=True)
        if not state.valid:
            raise RuntimeError("no flags yet")
        document = state.to_json_dict()
        details = document.pop("$flagsState")
        return [
            _result(key, EvaluationDetail(document.get(key), one.get("variation"), one.get("reason")))
            for key, one in details.items()
        ]

    def _heard(self, change: FlagChange) -> None:
        """From the SDK's own threads."""
        self._changes.tell([change.key])

    def _settings(self) -> SdkConfig:
        given = self.config
        return SdkConfig(
            "files" if given.sdk_key is None else given.sdk_key.reveal(),
            base_uri=given.base_uri,
            stream_uri=given.stream_uri,
            events_uri=given.events_uri,
            stream=given.stream,
            http=HTTPConfig(connect_timeout=given.request_seconds, read_timeout=given.request_seconds),
            send_events=given.send_events and not given.files,
            all_attributes_private=True,
            diagnostic_opt_out=not given.send_events,
            update_processor_class=self._source(),
            wrapper_name="journey-gateway",
            wrapper_version=_VERSION,
        )

    def _source(self) -> Callable[..., Any] | None:
        """Where flags come from, if not from LaunchDarkly."""
        if not self.config.files:
            return None
        paths = [str(path) for path in self.config.files]
        return Files.new_data_source(
            paths, auto_update=True, poll_interval=self.config.poll_seconds, force_polling=True
        )

    def _failed(self, error: Exception) -> PluginError:
        return PluginError(
            PluginFailure(
                plugin=_NAME,
                version=_VERSION,
                operation="open",
                category="config",
                message=f"the SDK does not start ({type(error).__name__})",
                fix="Check `sdk_key`, the addresses and the files.",
            )
        )

    # -- webhook ------------------------------------------------------------------------------------------------

    def verify(self, request: RawRequest) -> Verified | Denied:
        """See WebhookSource: `X-LD-Signature` is the hexadecimal HMAC-SHA256 of the body. It holds no time, so that an
        old request verifies too; what it brings has LaunchDarkly's own id, and is stored once."""
        secrets = [one for one in (self.config.webhook_secret, self.config.webhook_secret_before) if one is not None]
        if not secrets:
            return Denied("no webhook_secret is set")
        given = request.headers.get(_SIGNATURE, "").strip().encode()
        expected = [
            hmac.new(one.reveal().encode(), request.body, hashlib.sha256).hexdigest().encode() for one in secrets
        ]
        good = [hmac.compare_digest(given, one) for one in expected]
        return Verified() if any(good) else Denied("the signature is another one" if given else "there is no signature")

    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        """See WebhookSource: an event `Flag Changed` for a change of a flag, nothing for others. Who made the change is
        left out: that is a person who is no user."""
        entry = json.loads(request.body)
        if not isinstance(entry, dict) or not isinstance(entry.get("_id"), str):
            raise ValueError("no entry of an audit log")
        if entry.get("kind") != "flag":
            return ()
        named = [_of_specifier(one.get("resource")) for one in entry.get("accesses") or () if isinstance(one, dict)]
        found = {key: value for one in named for key, value in one.items()}
        version = (entry.get("currentVersion") or {}).get("_version")
        properties = {**found, "action": _action(entry), "version": version}
        return (
            {
                "type": "track",
                "event": _CHANGED,
                "messageId": f"launchdarkly-{entry['_id']}",
                "anonymousId": _ANONYMOUS_ID,
                # Requests may come out of order: what happened when is told by LaunchDarkly.
                "timestamp": entry.get("date"),
                "properties": {name: value for name, value in properties.items() if value is not None},
            },
        )


def _result(key: str, detail: EvaluationDetail) -> FlagResult:
    reason = dict(detail.reason or {})
    kind = str(reason.get("kind"))
    if kind == "ERROR":
        code = _ERRORS.get(str(reason.get("errorKind")), "GENERAL")
        return FlagResult(
            key, reason=FlagReason.ERROR, error=code, message=f"LaunchDarkly says {reason.get('errorKind')}."
        )
    why, words = _REASONS.get(kind, (FlagReason.UNKNOWN, ""))
    if reason.get("inExperiment"):
        why, words = FlagReason.SPLIT, "The user's key falls into a share of an experiment."
    elif kind == "RULE_MATCH":
        words += f": number {int(reason.get('ruleIndex', 0)) + 1}."
    elif kind == "PREREQUISITE_FAILED":
        words += f": {reason.get('prerequisiteKey')}."
    variant = None if detail.variation_index is None else str(detail.variation_index)
    metadata = {"ruleId": reason["ruleId"]} if reason.get("ruleId") else {}
    return FlagResult(key, _whole(detail.value), variant, why, message=words, metadata=metadata)


def _whole(value: Any) -> Any:
    """A number that JSON writes without a fraction, without it."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _of_specifier(resource: object) -> dict[str, str]:
    """Project, environment and key of `proj/a:env/b:flag/c`."""
    names = {"proj": "project", "env": "environment", "flag": "key"}
    parts = [part.partition("/") for part in str(resource or "").split(":")]
    # A specifier may carry tags behind a semicolon.
    return {names[kind]: name.partition(";")[0] for kind, _, name in parts if kind in names and name}


def _action(entry: Mapping[str, Any]) -> str | None:
    for one in entry.get("accesses") or ():
        if isinstance(one, dict) and isinstance(one.get("action"), str):
            return str(one["action"])
    return None
