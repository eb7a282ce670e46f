"""The options every client is made with: what the gateway promises, and what the operator may tune in the URI."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pymongo.monitoring import CommandListener

log = logging.getLogger("gateway.store")

_UNKNOWN_OPTION = re.compile(r"Unknown option: '?(\w{1,60})")
_PROMISES: dict[str, Any] = {
    "w": "majority",
    "journal": True,
    "wTimeoutMS": 5000,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "tz_aware": False,
    "uuidRepresentation": "standard",
}
"""What the gateway promises its callers; a URI cannot weaken it."""
_TUNING: dict[str, Any] = {
    "appName": "journey-gateway",
    "serverSelectionTimeoutMS": 2000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 30_000,
    "heartbeatFrequencyMS": 500,
    "maxPoolSize": 64,
}
"""Defaults, each of which the URI may set otherwise.

A server that stands still is noticed when a heartbeat stays out for its own time and connectTimeoutMS together, 2.5 s:
what waits for it is then broken off and made again, at the member that has been elected meanwhile.
"""

#: Of a client beside another one: it has little to say, and looking twice a second after every member would cost the
#: process more than what it says.
_BESIDE = {"heartbeatFrequencyMS": 10_000, "maxPoolSize": 2}


def client_options(uri: str, listeners: Sequence[CommandListener], *, beside: bool = False) -> dict[str, Any]:
    """Keyword arguments for either driver's client; they win over the URI, so what it tunes is left out."""
    given = {key.lower() for key, _ in parse_qsl(urlsplit(uri).query)}
    tuning = {key: value for key, value in _TUNING.items() if key.lower() not in given}
    return {**tuning, **(_BESIDE if beside else {}), **_PROMISES, "event_listeners": list(listeners)}


@contextmanager
def options_told() -> Iterator[None]:
    """While a client is made: what the driver warns of is told in our log, where its words name a line of its code."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        yield
    for each in warned:
        if (found := _UNKNOWN_OPTION.match(str(each.message))) is not None:
            log.warning("GATEWAY_MONGO_URI has an option that the driver does not know", extra={"option": found[1]})
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
