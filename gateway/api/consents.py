"""Consent as it is read: what holds for a user, and what an event came in under."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import strawberry

from gateway.api.clients import EVENTS
from gateway.api.scalars import DateTime
from gateway.model import consent
from gateway.plugin import Policy, Source, attribute, field
from gateway.store.consents import Word

CONSENTS = Policy("journeys:read", subject=True)
_WORD = Source.document("consents", "purposes")


@strawberry.enum(description="What somebody can be asked to consent to.")
class Purpose(Enum):
    """Purposes."""

    ANALYTICS = strawberry.enum_value("analytics", description=consent.PURPOSES["analytics"])
    PERSONALIZATION = strawberry.enum_value("personalization", description=consent.PURPOSES["personalization"])
    MARKETING = strawberry.enum_value("marketing", description=consent.PURPOSES["marketing"])
    SHARING = strawberry.enum_value("sharing", description=consent.PURPOSES["sharing"])
    SURVEYS = strawberry.enum_value("surveys", description=consent.PURPOSES["surveys"])


@strawberry.enum(description="What somebody said about a purpose.")
class ConsentState(Enum):
    """What was said."""

    GRANTED = strawberry.enum_value("granted", description="Their data may be used for it.")
    DENIED = strawberry.enum_value("denied", description="Their data may not be used for it.")

    @classmethod
    def of(cls, granted: bool) -> ConsentState:
        return cls("granted" if granted else "denied")


@strawberry.type(description="What somebody said last about a purpose.")
class Consent:
    """A word."""

    name: strawberry.Private[str]
    word: strawberry.Private[Word]

    @field(source=_WORD, policy=CONSENTS, description="The purpose.")
    def purpose(self) -> Purpose:
        return Purpose(self.name)

    @field(source=_WORD, policy=CONSENTS, description="What they said.")
    def state(self) -> ConsentState:
        return ConsentState.of(self.word.granted)

    @field(source=_WORD, policy=CONSENTS, description="When.")
    def at(self) -> DateTime:
        return DateTime(self.word.order[0])

    @field(source=_WORD, policy=CONSENTS, description="Where they were asked.")
    def source(self) -> str:
        return self.word.source


@strawberry.type(description="What the sender of an event had said about a purpose when it came in.")
class EventConsent:
    """A part of an event's stamp."""

    purpose: Purpose = attribute(source=Source.document("events", "consent"), policy=EVENTS, description="The purpose.")
    state: ConsentState = attribute(
        source=Source.document("events", "consent"), policy=EVENTS, description="What they had said."
    )


def as_consents(words: Mapping[str, Word]) -> list[Consent]:
    """The API's objects, by purpose."""
    return [Consent(name=name, word=words[name]) for name in consent.PURPOSES if name in words]


def as_stamp(stamp: consent.Consent | None) -> list[EventConsent] | None:
    """The API's objects for an event's stamp."""
    if stamp is None:
        return None
    states = [(name, stamp[name]) for name in consent.PURPOSES if name in stamp]
    return [EventConsent(purpose=Purpose(name), state=ConsentState.of(granted)) for name, granted in states]
