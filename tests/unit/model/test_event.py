"""Which events say that two identities are one person."""

from __future__ import annotations

import pytest

from gateway.model.event import CALLS, Event, EventType
from gateway.model.identity import Identity

ADA = Identity("userId", "ada")


def event(kind: str, user: str | None = "ada", anonymous: str | None = None, previous: str | None = None) -> Event:
    return Event(
        id=b"1",
        workspace="w",
        source="s",
        message_id="1",
        type=EventType(kind),
        name=kind,
        user_id=user,
        anonymous_id=anonymous,
        previous_id=previous,
        at=0,
        seq=0,
        received_at=0,
        content_hash=b"",
    )


@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind is not EventType.IDENTIFY])
def test_a_previous_id_links_whatever_the_type(kind: EventType) -> None:
    assert event(kind, previous="a1").link() == (Identity("anonymousId", "a1"), ADA)
    assert event(kind, anonymous="a2", previous="a1").link() == (Identity("anonymousId", "a1"), ADA)


@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind is not EventType.IDENTIFY])
def test_carrying_both_ids_alone_links_nothing(kind: EventType) -> None:
    assert event(kind, anonymous="a1").link() is None


def test_an_identify_links_its_anonymous_id() -> None:
    assert event("identify", anonymous="a1").link() == (Identity("anonymousId", "a1"), ADA)
    assert event("identify", previous="a1").link() is None


@pytest.mark.parametrize("kind", list(CALLS))
def test_nothing_is_linked_without_a_user(kind: EventType) -> None:
    assert event(kind, user=None, anonymous="a1", previous="a2").link() is None
