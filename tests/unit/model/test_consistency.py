"""Consistency tokens: what is written is read, and nothing else is taken for one."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.model.consistency import ConsistencyToken

TOKENS = st.builds(
    ConsistencyToken,
    time=st.integers(0, 2**32 - 1),
    increment=st.integers(0, 2**32 - 1),
    lanes=st.frozensets(st.integers(0, 15), min_size=1),
)


@given(TOKENS)
def test_a_token_is_read_as_it_was_written(token: ConsistencyToken) -> None:
    text = token.encode()
    assert ConsistencyToken.decode(text) == token
    assert re.fullmatch(r"[A-Za-z0-9_-]{15}", text)


@given(TOKENS, st.integers(0, 14), st.sampled_from("A/+=é \n"))
def test_a_token_with_another_character_is_another_token_or_none(token: ConsistencyToken, at: int, other: str) -> None:
    text = token.encode()
    changed = text[:at] + other + text[at + 1 :]
    if changed == text:
        return
    with suppress(InvalidInput):
        assert ConsistencyToken.decode(changed) != token


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        token = ConsistencyToken.decode(text)
    except InvalidInput:
        return
    assert token.encode() == text


@pytest.mark.parametrize("text", ["", "A" * 15, "AQAAAAAAAAAAAAA", "x" * 10_000, "AQAAAAEAAAABAAE="])
def test_what_names_no_lane_or_has_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ConsistencyToken.decode(text)
    assert refused.value.path == "atLeast"
