"""Moments and cursors as they are read and written."""

from __future__ import annotations

import pytest
from graphql import GraphQLError
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.connections import Keyset
from gateway.api.nodes import split_id
from gateway.api.scalars import SCALARS, Cursor, DateTime, iso
from gateway.errors import InvalidInput


def read_time(value: object) -> object:
    parse = SCALARS[DateTime].parse_value
    assert parse is not None
    return parse(value)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_795_255_385_007, "2026-11-21T10:03:05.007Z"),
        (-(2**63), "0001-01-01T00:00:00.000Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (-62_000_000_000_000, "0005-04-19T09:46:40.000Z"),
    ],
)
def test_a_moment_is_written_with_milliseconds(milliseconds: int, text: str) -> None:
    assert iso(milliseconds) == text


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_moment_comes_back_as_it_went(milliseconds: int) -> None:
    assert read_time(iso(milliseconds)) == milliseconds


def test_a_moment_may_have_another_zone_and_more_digits() -> None:
    assert read_time("2026-11-21T11:03:05.0079+01:00") == 1_795_255_385_007


@pytest.mark.parametrize(
    "given", ["", "soon", "2026-11-21", "2026-11-21T10:03:05", 5, None, [], "2026-13-01T00:00:00Z"]
)
def test_what_is_no_moment_is_refused(given: object) -> None:
    with pytest.raises(GraphQLError, match="2026-11-21T10:03:05"):
        read_time(given)


KEYSET = Keyset("event", (int, int, bytes))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(min_size=16, max_size=16))
def test_a_position_comes_back_as_it_went(at: int, seq: int, key: bytes) -> None:
    cursor = KEYSET.write((at, seq, key))
    assert KEYSET.read(cursor) == (at, seq, key)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    with pytest.raises(InvalidInput):
        Keyset("journey", (int, int, bytes)).read(cursor)


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        position = KEYSET.read(Cursor(text))
    except InvalidInput:
        return
    assert KEYSET.read(KEYSET.write(position)) == position


@given(st.text())
def test_ids_are_recognised_or_refused(text: str) -> None:
    for one in (text, f"user_{text}", f"journey_{'0' * 32}.{text}"):
        try:
            kind, key = split_id(one)
        except InvalidInput:
            continue
        assert one == f"{kind}_{key}"
