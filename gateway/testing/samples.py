"""Messages for suites: one of each kind, awkward ones, and strategies that make more of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import strategies as st

from gateway.model.event import Event, EventType
from gateway.model.identity import Identity
from gateway.model.journey import JourneyStatus, JourneyStep
from gateway.model.response import Answer, Response
from gateway.plugin import Message
from gateway.testing.rig import NOW

_AWKWARD = 'Grüße 🎉 "quoted" \\ \u2028 </script>'
_PROPERTIES: Mapping[str, Any] = {"total": 9.5, "note": _AWKWARD, "deep": [[[[{"a": None}]]]]}


def event_message(
    number: int, *, user: str = "ada", properties: Mapping[str, Any] | None = None, kind: EventType = EventType.TRACK
) -> Message:
    """A stored event of a person who is known by userId, anonymousId and an address."""
    key = hashlib.sha256(f"event {number}".encode()).hexdigest()
    event = Event(
        id=bytes.fromhex(key),
        workspace="main",
        source="shop",
        message_id=f"sample-{number}",
        type=kind,
        name="Order Completed" if kind is EventType.TRACK else kind.value,
        user_id=user,
        anonymous_id=f"anonymous-{user}",
        at=NOW - 60_000 + number,
        seq=number,
        received_at=NOW - 59_000 + number,
        content_hash=b"",
        properties=dict(_PROPERTIES if properties is None else properties),
        traits={"email": f"{user}@shop.example", "firstName": "Ada"},
        context={"ip": "203.0.113.7", "library": {"name": "sample", "version": "1"}},
        previous_id=f"before-{user}" if kind is EventType.ALIAS else None,
        group_id="guild" if kind is EventType.GROUP else None,
        timestamp=NOW - 60_000 + number,
    )
    return Message(key, "event", "main", f"user-{user}", event.at, event=event)


def journey_message(number: int, *, user: str = "ada") -> Message:
    """A step of a journey."""
    step = JourneyStep(
        journey="purchase-1",
        user=f"user-{user}",
        map="purchase",
        run=1,
        from_stage="consider",
        to_stage="buy",
        status=JourneyStatus.ACTIVE,
        at=NOW - 60_000 + number,
        event=b"\1" * 32,
    )
    key = hashlib.sha256(f"journey {number}".encode()).hexdigest()
    return Message(key, "journey", "main", f"user-{user}", step.at, journey=step)


def response_message(number: int, *, user: str = "ada") -> Message:
    """A response to a survey."""
    answers = (Answer("q1", 9, text="How likely …?", kind="nps"), Answer("q2", _AWKWARD, kind="text"))
    identity = Identity("userId", user)
    response = Response("main", "forms", f"response-{number}", "nps", NOW - 60_000 + number, answers, identity)
    key = hashlib.sha256(f"response {number}".encode()).hexdigest()
    return Message(key, "response", "main", f"user-{user}", response.at, response=response)


def samples(kinds: Collection[str]) -> list[Message]:
    """A few messages of each of these kinds, of several people; of events all six calls."""
    found: list[Message] = []
    if "event" in kinds:
        calls = [kind for kind in EventType if kind in ("track", "page", "screen", "identify", "group", "alias")]
        found += [event_message(number, user=f"user{number % 3}") for number in range(3)]
        found += [event_message(10 + number, kind=kind) for number, kind in enumerate(calls)]
    if "journey" in kinds:
        found += [journey_message(number, user=f"user{number}") for number in range(3)]
    if "response" in kinds:
        found += [response_message(number, user=f"user{number}") for number in range(3)]
    return found


def crowds(most_bytes: int) -> st.SearchStrategy[list[Message]]:
    """Lists of events whose properties have up to about `most_bytes` bytes of awkward JSON."""
    text = st.text(max_size=40)
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=12,
    )
    padding = st.tuples(st.integers(0, max(1, most_bytes)), st.sampled_from('xé🎉\n"')).map(
        lambda drawn: drawn[1] * (drawn[0] // max(2, len(drawn[1].encode())))
    )
    properties = st.fixed_dictionaries({"value": values, "padding": padding})
    return st.lists(properties, min_size=1, max_size=40).map(
        lambda found: [event_message(at, user=f"user{at}", properties=one) for at, one in enumerate(found)]
    )
