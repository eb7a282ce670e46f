"""Samples: the form of a value, and nothing that could be somebody."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import PropertyDefinition
from gateway.quality.masking import LONGEST, looks_personal, name_of, sample_of, shape_of

NONE = PropertyDefinition("p", "string", "b")
PERSONAL = PropertyDefinition("p", "string", "b", privacy="personal")


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_nothing_of_an_unplanned_value_can_be_read(value: object) -> None:
    sample = sample_of(value, None)
    assert set(re.sub(r"[^\w]", "", sample, flags=re.ASCII)) <= {"a", "A", "9", "_"}
    assert len(sample) <= LONGEST + 1
    assert sample_of(value, PERSONAL) == sample


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("ada@example.com", "aaa@aaaaaaa.aaa"),
        ("+49 170 1234567", "+99 999 9999999"),
        ("Grüße 5€", "Aaaaa 9?"),
        ("x" * 50, "a" * LONGEST + "…"),
    ],
)
def test_shapes(text: str, shape: str) -> None:
    assert shape_of(text) == shape
    assert sample_of(text, None) == shape


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com",
        "0170 123 45 67",
        "(555) 123-4567",
        "4111111111111111",
        "9e983d4a-e07c-4858-8e97-bdb7feb31241",
        "5d27ff97148de9e5f1c23e8f",
        "user-8f3ab2c91d7e4455",
        "1985-02-11",
    ],
)
def test_what_looks_like_somebody_is_masked_though_it_is_planned(text: str) -> None:
    assert looks_personal(text)
    assert sample_of(text, NONE) == shape_of(text)
    assert name_of(text) == shape_of(text)


@pytest.mark.parametrize("text", ["card", "EUR", "/products/shoes", "checkout_started", "12.50", "Spring sale", "A4"])
def test_what_is_planned_to_tell_of_nobody_is_shown(text: str) -> None:
    assert sample_of(text, NONE) == text
    assert name_of(text) == text


def test_other_values() -> None:
    assert [sample_of(one, None) for one in (None, True, [1, 2], {"a": 1}, 42, 1.5)] == [
        *("null", "true", "[2]", "{1}", "99", "9.9")
    ]
    assert sample_of(42, NONE) == "42"
