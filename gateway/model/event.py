"""Events: what happened, as it was sent, with the stamps made at the first durable write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.model.identity import Identity

JsonObject = dict[str, Any]

#: (`at` ms, `seq`, id): the one order of events, everywhere.
OrderKey = tuple[int, int, bytes]


class EventType(StrEnum):
    """The six calls of the Segment specification."""

    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    IDENTIFY = "identify"
    GROUP = "group"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event. Times are milliseconds since 1970 UTC.

    `at` is the corrected time, `seq` orders what shares a millisecond; both are stamped once, at intake.
    `name` is the event's name for track, the page's or screen's name, else the type. `extra` is whatever else the
    message held at its top (`integrations`, `category`, …).
    """

    id: bytes
    workspace: str
    source: str
    message_id: str
    type: EventType
    name: str
    user_id: str | None
    anonymous_id: str | None
    at: int
    seq: int
    received_at: int
    content_hash: bytes
    properties: JsonObject = field(default_factory=dict)
    traits: JsonObject = field(default_factory=dict)
    context: JsonObject = field(default_factory=dict)
    extra: JsonObject = field(default_factory=dict)
    previous_id: str | None = None
    group_id: str | None = None
    sent_at: int | None = None
    original_timestamp: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def order(self) -> OrderKey:
        return (self.at, self.seq, self.id)

    @property
    def identity(self) -> Identity:
        """Who sent it, exactly as sent: the userId, else the anonymousId."""
        if self.user_id is not None:
            return Identity("userId", self.user_id)
        return Identity("anonymousId", self.anonymous_id or "")

    def link(self) -> tuple[Identity, Identity] | None:
        """The two identities this event says belong to one person, if it says so.

        `identify` links its anonymousId to its userId; `alias` links the previous (anonymous) id to the userId.
        """
        if self.user_id is None:
            return None
        other = self.anonymous_id if self.type is EventType.IDENTIFY else self.previous_id
        if other is None or self.type not in (EventType.IDENTIFY, EventType.ALIAS):
            return None
        if self.type is EventType.ALIAS and other == self.user_id:
            return None  # analytics.js sends such a self-alias; it says nothing
        return Identity("anonymousId", other), Identity("userId", self.user_id)


class Verdict(StrEnum):
    """What became of one event that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an event was not accepted, and what the sender can do."""

    index: int
    verdict: Verdict
    code: str
    message: str
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one request: the counts sum to the number of events sent."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    problems: tuple[Problem, ...] = ()
    ids: tuple[bytes, ...] = ()

    def counts(self) -> Mapping[str, int]:
        return {verdict.value: getattr(self, verdict.value) for verdict in Verdict}
