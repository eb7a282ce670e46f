"""The bytes of each element of a list in a body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.collect.bodies import read_json
from gateway.collect.elements import Elements

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
BLANKS = st.text(" \t\n\r", max_size=3)


@given(st.lists(JSON, max_size=5), JSON, JSON, BLANKS, st.booleans())
def test_each_element_has_the_bytes_it_was_sent_as(
    batch: list[Any], before: Any, behind: Any, blank: str, plain: bool
) -> None:
    parts = [json.dumps(one, ensure_ascii=plain, indent=1 if blank else None) for one in batch]
    listed = f"{blank}[{blank}{(blank + ',' + blank).join(parts)}{blank}]{blank}"
    x, y = json.dumps(before), json.dumps(behind)
    body = f'{blank}{{"x":{x},{blank}"batch"{blank}:{listed},"y":{y}}}{blank}'.encode()
    elements = Elements(body, "batch")
    assert [elements.of(index) for index in range(len(parts))] == [part.encode() for part in parts]
    assert elements.of(len(parts)) is None
    assert read_json(body)["batch"] == batch, "the body is one"


def test_of_two_lists_the_last_counts_as_it_does_for_parsers() -> None:
    body = b'{"batch": [1, 2, 3], "batch": [4.50, 5e1]}'
    assert [Elements(body, "batch").of(index) for index in range(3)] == [b"4.50", b"5e1", None]
    assert json.loads(body)["batch"] == [4.5, 50.0]


def test_a_number_keeps_all_its_digits() -> None:
    digits = b"9" * 10_000
    assert Elements(b'{"batch":[{"id":' + digits + b"}]}", "batch").of(0) == b'{"id":' + digits + b"}"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"batch": {}}', b'{"batch": [1', b"\xff", b'{"other": [1]}'])
def test_where_there_is_no_such_list_there_are_no_bytes(body: bytes) -> None:
    assert Elements(body, "batch").of(0) is None
