from __future__ import annotations

import pickle
from collections import UserDict
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.contract import Condition, EventRule
from gateway.contract.rules import OPERATORS, Operator

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def holds(op: Operator, value: object, properties: dict[str, Any], at: str = "p") -> bool:
    return Condition(at, op, value).holds(properties)


@pytest.mark.parametrize(
    ("op", "value", "found", "expected"),
    [
        ("equals", "csat", "csat", True),
        ("equals", "csat", "CSAT", False),
        ("equals", 4, 4.0, True),
        ("equals", 1, True, False),
        ("equals", True, 1, False),
        ("equals", "1", 1, False),
        ("equals", None, None, True),
        ("equals", None, 0, False),
        ("in", ("a", "b"), "b", True),
        ("in", ("a", "b"), "c", False),
        ("in", (1, 2), True, False),
        ("in", (1, 2), 2.0, True),
        ("in", (1, 2), [1], False),
        ("in", (None,), None, True),
        ("gt", 5, 6, True),
        ("gt", 5, 5, False),
        ("gte", 5, 5, True),
        ("gte", 5, 4.9, False),
        ("lt", 5, 4, True),
        ("lt", 5, 5, False),
        ("lte", 5, 5, True),
        ("lte", 5, 5.1, False),
        ("gt", 5, "6", False),
        ("lt", "b", 1, False),
        ("gt", 0, True, False),
        ("gte", "2024-01-01", "2024-06-30", True),
        ("gt", 5, float("nan"), False),
        ("gt", 5, None, False),
        ("gt", None, None, False),
        ("gt", False, True, False),
        ("gt", 5, [6], False),
        ("exists", True, None, True),
        ("exists", True, {}, True),
        ("exists", False, None, False),
    ],
)
def test_a_condition_compares_values_of_one_kind_only(
    op: Operator, value: object, found: object, expected: bool
) -> None:
    assert holds(op, value, {"p": found}) is expected


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("properties", [{}, {"q": 1}])
def test_what_is_missing_matches_only_exists_false(op: Operator, properties: dict[str, Any]) -> None:
    value: object = {"in": (None, 1), "exists": True}.get(op)
    assert not holds(op, value, properties)
    assert holds("exists", False, properties)


def test_a_dot_leads_into_an_object() -> None:
    assert holds("equals", 7, {"cart": {"value": 7}}, at="cart.value")
    assert holds("equals", 7, {"cart": UserDict(value=7)}, at="cart.value")
    assert not holds("equals", 7, {"cart.value": 7}, at="cart.value")
    assert not holds("exists", True, {"cart": [7]}, at="cart.0")
    assert holds("exists", False, {"cart": "text"}, at="cart.value")


def test_a_number_that_the_database_gives_back_as_its_own_type_is_a_number() -> None:
    class Int64(int):
        pass

    assert holds("gte", 4, {"p": Int64(4)})
    assert holds("in", (4, 5), {"p": Int64(4)})


def test_a_rule_wants_its_event_and_all_its_conditions() -> None:
    rule = EventRule("r", "Product Added", (Condition("price", "gt", 10), Condition("currency", "equals", "EUR")))
    assert rule.matches("Product Added", {"price": 11, "currency": "EUR"})
    assert not rule.matches("Product Added", {"price": 11, "currency": "USD"})
    assert not rule.matches("Product Added", {"price": 10, "currency": "EUR"})
    assert not rule.matches("Product Removed", {"price": 11, "currency": "EUR"})
    assert EventRule("r", "Product Added").matches("Product Added", {})


def test_a_rule_can_be_sent_to_another_process() -> None:
    rule = EventRule("r", "E", (Condition("p", "in", ("a", 1)), Condition("q", "lt", 2)))
    copy = pickle.loads(pickle.dumps(rule))  # noqa: S301
    assert copy == rule
    assert copy.matches("E", {"p": 1, "q": 1})
    assert not copy.matches("E", {"p": True, "q": 1})


@given(
    properties=st.dictionaries(st.sampled_from(["p", "q", ""]), JSON),
    op=st.sampled_from(OPERATORS),
    value=SCALARS,
    path=st.sampled_from(["p", "p.q", "p.q.p", "q", "p."]),
)
@example(properties={"p": 10**400}, op="gt", value=1.5, path="p")
@example(properties={"p": "\ud800"}, op="gte", value="a", path="p")
def test_matching_never_raises_whatever_the_event_holds(
    properties: dict[str, Any], op: Operator, value: object, path: str
) -> None:
    wanted = {"in": (value, "p", 1), "exists": value is None}.get(op, value)
    rule = EventRule("r", "E", (Condition(path, op, wanted),))
    assert rule.matches("E", properties) in (True, False)
