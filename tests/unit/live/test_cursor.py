"""Cursors come back as they went out, and nobody makes one up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidInput
from gateway.live.cursor import Cursors

POSITIONS = st.dictionaries(st.integers(0, 15), st.integers(0, 2**48 - 1))


@given(POSITIONS)
def test_positions_come_back(positions: dict[int, int]) -> None:
    cursors = Cursors("secret")
    read = cursors.read("w", cursors.write("w", positions))
    assert {lane: position for lane, position in read.items() if position} == {
        lane: position for lane, position in positions.items() if position
    }


def test_a_cursor_opens_nothing_in_another_workspace_or_installation() -> None:
    cursor = Cursors("secret").write("w", {3: 7})
    with pytest.raises(InvalidInput):
        Cursors("secret").read("other", cursor)
    with pytest.raises(InvalidInput):
        Cursors("another secret").read("w", cursor)


@given(st.text(max_size=200))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor"):
        Cursors("secret").read("w", text)


@given(POSITIONS, st.data())
def test_one_changed_character_is_noticed(positions: dict[int, int], data: st.DataObject) -> None:
    cursor = Cursors("secret").write("w", positions)
    place = data.draw(st.integers(0, len(cursor) - 2))  # the last one may carry unused bits
    other = data.draw(st.sampled_from("ABab01").filter(lambda character: character != cursor[place]))
    with pytest.raises(InvalidInput):
        Cursors("secret").read("w", cursor[:place] + other + cursor[place + 1 :])
