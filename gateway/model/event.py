"""Events: what happened, as it was sent, with the stamps made at the first durable write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypedDict

from gateway.model.identity import Decision, Identity
from gateway.model.misfit import Misfit

JsonObject = dict[str, Any]

#: (`at` ms, `seq`, id): the one order of events, everywhere.
OrderKey = tuple[int, int, bytes]


class EventType(StrEnum):
    """The six calls of the Segment specification, and what the gateway itself stores on an operator's behalf."""

    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    IDENTIFY = "identify"
    GROUP = "group"
    ALIAS = "alias"
    MERGE = "merge"
    SPLIT = "split"
    CONSENT = "consent"
    ERASE = "erase"


#: Events of the gateway itself: nobody can send them, and they are no events of the user they are about.
SYSTEM_TYPES = frozenset({EventType.MERGE, EventType.SPLIT, EventType.CONSENT, EventType.ERASE})
#: Those that say who is who.
DECISIONS = frozenset({EventType.MERGE, EventType.SPLIT})
#: What can be sent.
CALLS = tuple(kind for kind in EventType if kind not in SYSTEM_TYPES)
#: What the `sk` of system events begins with, so that they are found beside every user's events, never among them.
SYSTEM_SK = "s:"


class Client(TypedDict, total=False):
    """What software sent an event, found out at intake; a key is missing when it is not known.

    `platform`: web, ios, android, mobile (an app, which of the two is not said) or server. `device`: desktop, mobile,
    tablet, tv, console or bot. `country`: ISO 3166-1, two letters. `ip`: without its last bits.
    """

    platform: str
    library: str
    libraryVersion: str
    app: str
    appVersion: str
    os: str
    osVersion: str
    browser: str
    browserVersion: str
    device: str
    country: str
    ip: str


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event. Times are milliseconds since 1970 UTC.

    `at` is the corrected time, `seq` orders what shares a millisecond; both are stamped once, at intake.
    `timestamp` and `original_timestamp` are the sender's, `sent_at` its stamp on the request or message.
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
    timestamp: int | None = None
    client: Client = field(default_factory=Client)
    flags: tuple[str, ...] = ()
    #: Where it is not what the plan said when it came in: the rule and the property, such as `required order_id`.
    misfits: tuple[str, ...] = ()
    #: What its sender had consented to when it came in, by purpose; None: nobody had said anything.
    consent: Mapping[str, bool] | None = None

    @property
    def order(self) -> OrderKey:
        return (self.at, self.seq, self.id)

    @property
    def identity(self) -> Identity:
        """Who sent it, exactly as sent: the userId, else the anonymousId."""
        if self.user_id is not None:
            return Identity("userId", self.user_id)
        return Identity("anonymousId", self.anonymous_id or "")

    @property
    def sk(self) -> str:
        """What it is stored under: the identity as one string; of a system event behind a prefix of its own."""
        return f"{SYSTEM_SK}{self.identity.sk}" if self.type in SYSTEM_TYPES else self.identity.sk

    def decision(self) -> Decision | None:
        """What a system event of an operator decides about who is who; None for every other event."""
        if self.type not in DECISIONS:
            return None
        one, other = (frozenset(Identity.from_sk(str(sk)) for sk in self.properties[side]) for side in ("one", "other"))
        return Decision("merge" if self.type is EventType.MERGE else "split", one, other - one, self.order)

    def link(self) -> tuple[Identity, Identity] | None:
        """The two identities this event says belong to one person, if it says so.

        `identify` links its anonymousId to its userId; every other type, `alias` above all, links its previousId, which
        stands for an anonymous one. (With Amplitude and Mixpanel an event of any kind can say that.)
        """
        if self.user_id is None or self.type in SYSTEM_TYPES:
            return None
        other = self.anonymous_id if self.type is EventType.IDENTIFY else self.previous_id
        if other is None:
            return None
        if self.type is not EventType.IDENTIFY and other == self.user_id:
            return None  # analytics.js sends such a self-alias; it says nothing
        return Identity("anonymousId", other), Identity("userId", self.user_id)


def without(event: Event, gone: Collection[Identity]) -> Event | None:
    """A merge or split that no longer names these identities; None when nothing is decided then."""
    decision = event.decision()
    assert decision is not None
    one, other = sorted(decision.one.difference(gone)), sorted(decision.other.difference(gone))
    if event.type is EventType.MERGE:  # its sides are one
        one, other = (one + other)[:1], (one + other)[1:]
    if not one or not other:
        return None
    sides = {"one": [identity.sk for identity in one], "other": [identity.sk for identity in other]}
    known = one[0].type == "userId"
    return replace(
        event,
        user_id=one[0].value if known else None,
        anonymous_id=None if known else one[0].value,
        properties={**event.properties, **sides},
    )


class Verdict(StrEnum):
    """What became of one event that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    """Nothing of it is stored, on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an event was not accepted, and what the sender can do; or, with the verdict `accepted`, what is wrong with
    one that was. `misfits`: where it is not what the plan says."""

    index: int
    verdict: Verdict
    code: str
    message: str
    message_id: str | None = None
    misfits: tuple[Misfit, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one request: the counts sum to the number of events sent.

    `ids` are those of the messages that could be read, in their order. `consistency_token` makes a later query wait
    until what is derived holds the accepted and duplicate ones; None when there are none. `warnings` are of messages
    that were taken although they are not what the plan says.
    """

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    refused: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    ids: tuple[bytes, ...] = ()
    consistency_token: str | None = None

    def counts(self) -> Mapping[str, int]:
        """How many had which verdict, all five in the order of Verdict."""
        return {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "conflict": self.conflict,
            "quarantined": self.quarantined,
            "refused": self.refused,
        }
