"""The plugin `segment`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.plugin import Connector, hookimpl
from gateway_segment.destination import Segment
from gateway_segment.webhook import SegmentWebhook


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The destination, and the source for what Segment's Webhooks destination sends."""
    return (Segment, SegmentWebhook)
