"""A suite per kind of connector. Derive a test class from one, say which connector and with what settings, and run it
with pytest: every test of the suite is then a test of the connector."""

from __future__ import annotations

from gateway.testing.suites.alerts import AlertChannelContract
from gateway.testing.suites.destination import DestinationContract
from gateway.testing.suites.enricher import EnricherContract
from gateway.testing.suites.flags import FlagProviderContract
from gateway.testing.suites.pull import PullSourceContract
from gateway.testing.suites.webhook import WebhookSourceContract

__all__ = [
    "AlertChannelContract",
    "DestinationContract",
    "EnricherContract",
    "FlagProviderContract",
    "PullSourceContract",
    "WebhookSourceContract",
]
