"""What a connector raised, as a record that log, alerts and API show alike."""

from __future__ import annotations

from dataclasses import replace

from gateway.connectors.instances import Instance
from gateway.connectors.redaction import masked, reason_of
from gateway.connectors.threads import Late
from gateway.errors import GatewayError, PluginError, PluginFailure, SetupError
from gateway.plugin import HttpFailed
from gateway.plugin.failures import traced

_ASKED_AGAIN = "Look whether the other side is up; it is tried again meanwhile."
_REPORT = "Report it to the plugin's author."


def failure_of(instance: Instance, operation: str, error: Exception) -> PluginFailure:
    """The record. A stranger's exception is told by its kind alone: its words may hold anything. Of what is meant for
    people the secrets of the instance are hidden."""
    secrets = instance.secrets()
    if isinstance(error, PluginError):
        own = error.failure
        said, fix = reason_of(own.message, secrets=secrets), masked(own.fix, secrets)
        return traced(replace(own, message=said, fix=fix))
    category, said, fix, retryable = "bug", f"{operation} ended with {type(error).__name__}", _REPORT, False
    if isinstance(error, HttpFailed):
        category, said, fix, retryable = "remote", error.reason, _ASKED_AGAIN, not error.final
    elif isinstance(error, TimeoutError | Late):
        category, said, fix, retryable = "remote", f"{operation} does not end in time", _ASKED_AGAIN, True
    elif isinstance(error, GatewayError):
        category = "config" if isinstance(error, SetupError) else "remote"
        said, fix, retryable = error.message, error.hint or _ASKED_AGAIN, category == "remote"
    manifest = instance.connector.manifest
    return traced(
        PluginFailure(
            plugin=manifest.name,
            version=manifest.version,
            operation=operation,
            category=category,  # type: ignore[arg-type]
            message=reason_of(said, secrets=secrets),
            fix=fix,
            retryable=retryable,
        )
    )
