"""The public test kit: synthetic journeys, a sender for them, and a suite per kind of connector.

`simulate` makes the messages of a made-up shop (pure, seeded), `load` plays them into a running gateway over HTTP.
The suites need `pip install 'journey-gateway[testing]'`; plugins/README.md says how to use them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.testing.faults import FaultServer, Received, Reply
    from gateway.testing.samples import event_message, journey_message, response_message
    from gateway.testing.suites import (
        AlertChannelContract,
        DestinationContract,
        EnricherContract,
        FlagProviderContract,
        PullSourceContract,
        WebhookSourceContract,
    )

# The suites need pytest, which a gateway that serves has not: each is loaded when it is asked for.
_PLACES = {
    "AlertChannelContract": "suites",
    "DestinationContract": "suites",
    "EnricherContract": "suites",
    "FaultServer": "faults",
    "FlagProviderContract": "suites",
    "PullSourceContract": "suites",
    "Received": "faults",
    "Reply": "faults",
    "WebhookSourceContract": "suites",
    "event_message": "samples",
    "journey_message": "samples",
    "response_message": "samples",
}

__all__ = [
    "AlertChannelContract",
    "DestinationContract",
    "EnricherContract",
    "FaultServer",
    "FlagProviderContract",
    "PullSourceContract",
    "Received",
    "Reply",
    "WebhookSourceContract",
    "event_message",
    "journey_message",
    "response_message",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"gateway.testing has no {name}")
    return getattr(importlib.import_module(f"gateway.testing.{_PLACES[name]}"), name)
