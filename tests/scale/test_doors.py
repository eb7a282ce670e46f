"""What a request costs at each door, by SDK family: requests and events a second, and the gateway's CPU per event."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.flow.conftest import RunningGateway
from tests.scale.measuring import basic, cpu_seconds, drive, needs_proc, raw, say

SECONDS = 4.0
CONNECTIONS = 16
BATCH = 100
_numbers = count()


@dataclass(frozen=True, slots=True)
class Family:
    """How one family of SDKs sends: the request for so many events."""

    name: str
    build: Callable[[str, int], tuple[str, dict[str, str], bytes]]


def properties() -> dict[str, Any]:
    return {"name": "Desk lamp", "price": 39.5, "currency": "EUR", "category": "lamps", "position": 3}


def segment(key: str, events: int) -> tuple[str, dict[str, str], bytes]:
    """segment-analytics-python: JSON, Basic."""
    batch = [
        {
            "type": "track",
            "event": "Product Viewed",
            "userId": f"u{number % 997}",
            "anonymousId": None,
            "messageId": f"s-{number}",
            "timestamp": "2026-01-05T10:00:00.000+00:00",
            "properties": properties(),
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
            "integrations": {},
        }
        for number in (next(_numbers) for _ in range(events))
    ]
    return (
        "/v1/batch",
        basic(key),
        json.dumps({"batch": batch, "sentAt": "2026-01-05T10:00:01Z", "writeKey": key}).encode(),
    )


def rudder(key: str, events: int) -> tuple[str, dict[str, str], bytes]:
    """rudder-sdk-python: the same, gzipped."""
    path, headers, body = segment(key, events)
    return path, headers | {"content-encoding": "gzip"}, gzip.compress(body)


def mixpanel(key: str, events: int) -> tuple[str, dict[str, str], bytes]:
    """mixpanel: a form with a list in `data`."""
    batch = [
        {
            "event": "Product Viewed",
            "properties": {
                "token": key,
                "distinct_id": f"u{number % 997}",
                "time": 1_767_607_200_000,
                "$insert_id": f"m-{number}",
                "mp_lib": "python",
                "$lib_version": "5.4.1",
                **properties(),
            },
        }
        for number in (next(_numbers) for _ in range(events))
    ]
    form = urlencode({"data": json.dumps(batch), "verbose": 1, "ip": 0})
    return "/track", {"content-type": "application/x-www-form-urlencoded"}, form.encode()


def posthog(key: str, events: int) -> tuple[str, dict[str, str], bytes]:
    """posthog: JSON with the key in the body."""
    batch = [
        {
            "event": "Product Viewed",
            "distinct_id": f"u{number % 997}",
            "uuid": f"00000000-0000-4000-8000-{number:012}",
            "timestamp": "2026-01-05T10:00:00+00:00",
            "properties": {**properties(), "$lib": "posthog-python", "$lib_version": "7.91.1"},
        }
        for number in (next(_numbers) for _ in range(events))
    ]
    body = {"api_key": key, "batch": batch, "sentAt": "2026-01-05T10:00:01+00:00", "historical_migration": False}
    return "/batch/", {"content-type": "application/json"}, json.dumps(body).encode()


def amplitude(key: str, events: int) -> tuple[str, dict[str, str], bytes]:
    """amplitude-analytics: JSON with the key in the body."""
    batch = [
        {
            "event_type": "Product Viewed",
            "user_id": f"user-{number % 997}",
            "time": 1_767_607_200_000,
            "insert_id": f"a-{number}",
            "event_properties": properties(),
            "library": "amplitude-python/1.3.0",
        }
        for number in (next(_numbers) for _ in range(events))
    ]
    return "/2/httpapi", {"content-type": "application/json"}, json.dumps({"api_key": key, "events": batch}).encode()


FAMILIES = [
    Family("Segment", segment),
    Family("RudderStack", rudder),
    Family("Mixpanel", mixpanel),
    Family("PostHog", posthog),
    Family("Amplitude", amplitude),
]


@needs_proc
async def test_every_door(gateway_of: Callable[[str], RunningGateway], capsys: pytest.CaptureFixture[str]) -> None:
    gateway = gateway_of("collect")
    await asyncio.to_thread(gateway.set_up)
    assert gateway.process is not None
    rows = []
    for size, prepared in ((1, 6_000), (BATCH, 400)):
        for family in FAMILIES:
            requests = [raw(*family.build(gateway.write_key, size)) for _ in range(prepared)]
            before, began = cpu_seconds(gateway.process.pid), time.monotonic()
            until = began + SECONDS
            answered = await drive(gateway.port, iter(requests), CONNECTIONS, until=until)
            took, spent = time.monotonic() - began, cpu_seconds(gateway.process.pid) - before
            assert answered
            rows.append(
                (
                    f"{family.name}, {size} a request: requests/s, events/s, CPU µs/event",
                    f"{answered / took:,.0f} {answered * size / took:,.0f} {spent / (answered * size) * 1e6:,.0f}",
                )
            )
    say(capsys, f"The doors for events, {CONNECTIONS} connections, role collect, w: majority, j: true", rows)
