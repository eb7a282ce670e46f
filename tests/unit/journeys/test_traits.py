"""What the fold knows about a user: traits of every event but a group's, in order, and those that count once."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.journeys.fold import fold
from gateway.model.event import Event, EventType


def event(number: int, kind: str = "identify", traits: Any = None, once: Any = None) -> Event:
    return Event(
        id=number.to_bytes(16, "big"),
        workspace="w",
        source="s",
        message_id=str(number),
        type=EventType(kind),
        name=kind,
        user_id="ada",
        anonymous_id=None,
        at=number,
        seq=0,
        received_at=number,
        content_hash=b"",
        traits=traits or {},
        extra={} if once is None else {"traitsOnce": once},
    )


def traits_after(*events: Event) -> dict[str, Any]:
    return dict(fold("u", events, {}, as_of=1_000).state.traits)


def test_the_last_value_of_a_trait_counts() -> None:
    assert traits_after(event(1, traits={"plan": "free", "name": "Ada"}), event(2, traits={"plan": "pro"})) == {
        "plan": "pro",
        "name": "Ada",
    }


def test_the_first_value_of_a_trait_that_counts_once_counts() -> None:
    first, second = event(1, once={"source": "ad", "plan": "free"}), event(2, once={"source": "mail"})
    assert traits_after(first, second) == {"source": "ad", "plan": "free"}
    assert traits_after(first, event(2, traits={"source": "known"})) == {"source": "known", "plan": "free"}
    assert traits_after(event(1, traits={"source": "known"}), event(2, once={"source": "ad"})) == {"source": "known"}
    assert traits_after(event(1, traits={"source": "set"}, once={"source": "once"})) == {"source": "set"}


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind is not EventType.GROUP])
def test_traits_count_whatever_event_they_come_with(kind: EventType) -> None:
    assert traits_after(event(1, kind, traits={"plan": "pro"})) == {"plan": "pro"}


def test_traits_of_a_group_are_not_the_users() -> None:
    assert traits_after(event(1, "group", traits={"size": 4}, once={"founded": 1815})) == {}


@pytest.mark.parametrize("once", [1, "x", [], None, True])
def test_what_is_no_object_counts_never(once: Any) -> None:
    assert traits_after(event(1, once=once)) == {}
