"""What a destination is given to map and to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.model.event import Event
from gateway.model.journey import JourneyStep
from gateway.model.response import Response
from gateway.plugin.capabilities import Kind


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to deliver: exactly one of `event`, `journey` and `response`, as `kind` says.

    `key` is its idempotency key: the same on every try, in every process, for ever (an event's is the hash that makes
    it one in the gateway). `user` is the gateway's id of whose it is; `at` is milliseconds since 1970 UTC.
    """

    key: str
    kind: Kind
    workspace: str
    user: str
    at: int
    event: Event | None = None
    journey: JourneyStep | None = None
    response: Response | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A message with the payload that the destination's `map` made of it (JSON values). `attempt` counts from 1."""

    message: Message
    payload: dict[str, Any]
    attempt: int = 1

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.message.key
