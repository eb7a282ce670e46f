"""The record of what went wrong in a plugin, with the id by which it is found again."""

from __future__ import annotations

from dataclasses import replace

from gateway.clock import REQUEST_ID, random_id
from gateway.errors import PluginError, PluginFailure


def traced(failure: PluginFailure) -> PluginFailure:
    """The record with a `trace_id`: its own, that of the request it happened in, or a new one."""
    return failure if failure.trace_id is not None else replace(failure, trace_id=REQUEST_ID.get() or random_id())


def refused(failure: PluginFailure) -> PluginError:
    """The exception that carries the record, with a `trace_id`."""
    return PluginError(traced(failure))
