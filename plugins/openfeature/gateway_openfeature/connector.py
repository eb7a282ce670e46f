"""Any OpenFeature provider as a FlagProvider; by itself a file of flagd's flag definitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import FeatureProvider
from pydantic import Field, FilePath, model_validator

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
)
from gateway_openfeature.making import NotMade, make

_NAME, _VERSION = "openfeature", "1.0.0"
#: So many flags are evaluated before others get their turn.
_TURN = 16
_CLOSE_SECONDS = 5.0

FlagType = Literal["boolean", "string", "integer", "float", "object"]
_TYPES: tuple[FlagType, ...] = ("boolean", "string", "integer", "float", "object")
_DEFAULTS: Mapping[FlagType, Any] = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}


class OpenFeatureConfig(Config):
    """Either `file`, or `provider` with its `arguments`."""

    file: FilePath | None = Field(
        default=None, description="A file of flagd's flag definitions, JSON or YAML; it is watched."
    )
    poll_seconds: float = Field(default=1.0, ge=0.1, le=60, description="How often the file is looked at.")
    provider: str | None = Field(
        default=None, pattern=r"^[\w.]+:\w+$", description="Another provider, as `package.module:Class`, or a function."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="What its class is called with.")
    flags: dict[str, FlagType] = Field(
        default_factory=dict,
        description="Keys and types of the provider's flags, which OpenFeature itself cannot list: for questions after "
        "all flags. A file tells its own.",
    )
    blocking: bool = Field(
        default=False, description="Evaluate in a thread: for a provider that asks the network each time, or is slow."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> OpenFeatureConfig:
        if (self.file is None) == (self.provider is None):
            raise ValueError("give either `file` or `provider`")
        return self


class OpenFeature(FlagProvider[OpenFeatureConfig]):
    """One OpenFeature provider. It belongs to this instance: OpenFeature's global one stays as it is."""

    manifest: ClassVar[Manifest] = Manifest(
        name=_NAME,
        version=_VERSION,
        brief="Feature flags of any OpenFeature provider, or of a file of flagd's flag definitions.",
        test_level="B",
        docs="plugins/openfeature/README.md",
    )
    Config = OpenFeatureConfig

    _provider: FeatureProvider | None = None

    async def open(self) -> None:
        """Build the provider and wait until it is ready. Raises PluginError."""
        self._changes = FlagChanges()
        self._types: dict[str, FlagType] = {}
        self._keys: set[str] = set(self.config.flags)
        self._error: str | None = None
        try:
            provider = self._made()
            provider.attach(self._heard)
            self._provider = provider
            await asyncio.to_thread(provider.initialize, EvaluationContext())
        except Exception as error:
            await self.close()
            raise self._failed(error) from None

    async def check(self) -> Health:
        """Whether the provider is there and said nothing bad last."""
        if self._provider is None:
            return Health(False, "The provider is not open.")
        if self._error is not None:
            return Health(False, self._error, "Correct the flag definitions; the last good ones are in use.")
        return Health(True, f"{self._provider.get_metadata().name}: {len(self._keys)} flags are known.")

    async def close(self) -> None:
        """Shut the provider down, and wait for the thread that watches its file."""
        provider, self._provider = self._provider, None
        if provider is None:
            return
        await asyncio.to_thread(provider.shutdown)
        provider.detach()
        thread = getattr(getattr(getattr(provider, "resolver", None), "connector", None), "thread", None)
        if thread is not None:
            await asyncio.to_thread(thread.join, _CLOSE_SECONDS + self.config.poll_seconds)

    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        """See FlagProvider."""
        wanted = sorted(self._keys) if keys is None else keys
        given = EvaluationContext(context.targeting_key, nested(context.attributes))
        if self.config.blocking:
            found = await asyncio.to_thread(lambda: [self._evaluated(key, given) for key in wanted])
        else:
            found = []
            for number, key in enumerate(wanted, 1):
                found.append(self._evaluated(key, given))
                if number % _TURN == 0:
                    await asyncio.sleep(0)
        return found if keys is not None else [one for one in found if one.error != ErrorCode.FLAG_NOT_FOUND.value]

    def changes(self) -> AsyncIterator[frozenset[str]]:
        """See FlagProvider."""
        return self._changes.listen()

    def _made(self) -> FeatureProvider:
        if self.config.file is not None:
            from openfeature.contrib.provider.flagd import FlagdProvider
            from openfeature.contrib.provider.flagd.config import ResolverType

            _choose_json_logic()
            return FlagdProvider(
                resolver_type=ResolverType.FILE,
                offline_flag_source_path=str(self.config.file),
                deadline_ms=int(self.config.poll_seconds * 1000),
            )
        return make(str(self.config.provider), self.config.arguments)

    def _heard(self, _: FeatureProvider, event: ProviderEvent, details: ProviderEventDetails) -> None:
        """From the provider's own threads."""
        if event is ProviderEvent.PROVIDER_ERROR:
            self._error = details.message or "The provider reports an error."
        elif event in (ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_CONFIGURATION_CHANGED):
            self._error = None
        if event is not ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            return
        changed = details.flags_changed
        if changed is None:
            self._types = {}
            self._changes.tell()
        elif changed:
            self._keys = self._keys | set(changed)
            self._types = {key: one for key, one in self._types.items() if key not in changed}
            self._changes.tell(changed)

    def _evaluated(self, key: str, context: EvaluationContext) -> FlagResult:
        known = self._types.get(key) or self.config.flags.get(key)
        if known is not None:
            found = self._resolved(key, known, context)
            if found.error != ErrorCode.TYPE_MISMATCH.value:
                return found
        for kind in _TYPES:
            found = self._resolved(key, kind, context)
            if found.error == ErrorCode.TYPE_MISMATCH.value:
                continue
            # Of a flag that is off every type is right.
            if found.error is None and found.value is not None:
                self._types = {**self._types, key: kind}
            break
        return found

    def _resolved(self, key: str, kind: FlagType, context: EvaluationContext) -> FlagResult:
        assert self._provider is not None
        resolve: Callable[..., FlagResolutionDetails[Any]] = getattr(self._provider, f"resolve_{kind}_details")
        try:
            details = resolve(key, _DEFAULTS[kind], context)
        except OpenFeatureError as error:
            return self._wrong(key, error.error_code, error.error_message)
        if details.error_code is not None:
            return self._wrong(key, details.error_code, details.error_message)
        reason = _reason(details.reason)
        # What the provider gives for these is our own default, which is not the frontend's.
        mute = reason is FlagReason.DISABLED or (reason is FlagReason.DEFAULT and details.variant is None)
        value = None if mute else details.value
        metadata = dict(details.flag_metadata or {})
        return FlagResult(key, value, details.variant, reason, metadata=metadata)

    def _wrong(self, key: str, code: ErrorCode, message: str | None) -> FlagResult:
        if code is ErrorCode.FLAG_NOT_FOUND and key not in self.config.flags:
            self._keys = self._keys - {key}
        return FlagResult(key, reason=FlagReason.ERROR, error=code.value, message=message or "")

    def _failed(self, error: Exception) -> PluginError:
        what = f"the file {self.config.file}" if self.config.file else f"the provider {self.config.provider}"
        fix = "Check that the file holds flagd's flag definitions, or the provider's class and `arguments`."
        why = type(error.__cause__ or error).__name__
        if isinstance(error, NotMade):
            why, fix = str(error), error.fix
        return PluginError(
            PluginFailure(
                plugin=_NAME,
                version=_VERSION,
                operation="open",
                category="config",
                message=f"{what} cannot be used ({why})",
                fix=fix,
            )
        )


def _choose_json_logic() -> None:
    """Give flagd the rules' engine it is written for.

    Two distributions bring a package `json_logic`: `panzi-json-logic`, which flagd needs, and `json-logic`, which
    Mixpanel's SDK needs. Where both are installed, the one that came last has written `__init__`, and with the other's
    every targeting rule fails. The module of flagd's own is there in any case.
    """
    apply = import_module("json_logic.apply")
    targeting = import_module("openfeature.contrib.tools.flagd.core.targeting.targeting")
    targeting.jsonLogic = apply.apply  # type: ignore[attr-defined]


def nested(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with dots in their names as objects in each other: rules ask for `{"var": "journey.purchase.stage"}`.

    Where a name and the beginning of another are the same, the longer one stays.
    """
    found: dict[str, Any] = {}
    for name in sorted(attributes, key=lambda name: -name.count(".")):
        value = attributes[name]
        *path, last = name.split(".")
        place = found
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            if value is not None:
                place.setdefault(last, value)
    return found


def _reason(reason: object) -> FlagReason:
    try:
        return FlagReason(str(reason))
    except ValueError:
        return FlagReason.UNKNOWN  # CACHED and STALE say how it was found, not why it is so
