"""Requests that other systems send to a connector, and what its checks say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came: `body` are its very bytes, `url` as the sender called it, names of headers in lower case.

    `received_at` is the gateway's time, milliseconds since 1970 UTC.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """The sender is who it should be. `id` makes the request one, if it carries one: it is taken once."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """The sender could not be verified; the reason goes to the log, not to the sender."""

    reason: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """An answer that proves to the sender that this address is ours (Slack, SurveyMonkey, Adobe …)."""

    body: bytes = b""
    content_type: str = "text/plain"
    status: int = 200
