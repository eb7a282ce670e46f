"""What hostile and careless senders put into items, for the properties that every vendor's translation has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from gateway.pipeline.messages import Origin, Unacceptable, read_message

#: How a property of a translation is looked for.
looked_for = settings(deadline=None, max_examples=60)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
#: Values whose way through a translation can be followed.
MARKED = st.integers(0, 10**9).map(lambda number: f"m{number}x")
MARKED_JSON = st.recursive(
    MARKED,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(MARKED, inner, min_size=1, max_size=3),
)


def objects_of(keys: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, and values of any kind."""
    return st.dictionaries(st.sampled_from(keys), values, max_size=10)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in it, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value


def marks_in(value: Any) -> list[str]:
    """The marked texts in it, sorted."""
    return sorted(text for text in texts_in(value) if text.startswith("m") and text.endswith("x"))


def verdict(message: Any) -> str:
    """`accepted`, or the code of the reason why intake would quarantine it."""
    origin = Origin("w", "s", received_at=1_710_325_274_000, sent_at=None, max_event_bytes=32_768)
    try:
        read_message(message, origin, seq=0, fallback_id=lambda: "id")
    except Unacceptable as reason:
        return reason.code
    return "accepted"
