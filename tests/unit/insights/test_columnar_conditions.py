"""Conditions as SQL mean what they mean in Python, whatever JSON properties are and whatever a contract asks."""

from __future__ import annotations

from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.rules import OPERATORS, Condition, Operator
from gateway.insights.columnar.conditions import Asked, holds

COMPARING: list[Operator] = ["equals", "gt", "gte", "lt", "lte"]
BORDERS = [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 9007199254740993]
numbers = (
    st.sampled_from([0, 1, -1, 5, 10, *BORDERS])
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0.0, -0.0, 1.0, 1.5, 5.0, 1e300, -1e300, 5e-324, float(2**53), float(2**63), 1e22])
    | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.sampled_from(
    ["", "a", "1", "true", "null", "ä", "😀", "\ud7ff", "z", '"', "\\", "a\x00b", "a/b", "\u2028", "\x7f", "\n"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
scalars = st.none() | st.booleans() | numbers | texts
KEYS = ["a", "b", "0", "1", "-", "a/b", "a~b", "~1", "", "ä", '"', "'", "$", "a b", "*", "[0]"]
keys = st.sampled_from(KEYS)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
properties = st.dictionaries(keys, values, max_size=4)
paths = st.lists(keys, min_size=1, max_size=3).map(".".join)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    op, path = draw(st.sampled_from(OPERATORS)), draw(paths)
    if op == "exists":
        return Condition(path, op, draw(st.booleans()))
    if op == "in":
        return Condition(path, op, tuple(draw(st.lists(scalars, max_size=3))))
    return Condition(path, op, draw(scalars))


@pytest.fixture(scope="module")
def cursor() -> Any:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def test_sql_means_what_python_means(cursor: Any) -> None:
    @settings(max_examples=300)
    @given(st.lists(properties, min_size=1, max_size=6), st.lists(conditions(), min_size=1, max_size=8), st.data())
    def same(some: list[dict[str, Any]], asked_for: list[Condition], data: st.DataObject) -> None:
        # Half of the conditions ask for what is there.
        for one in some:
            for key, value in one.items():
                if value is None or isinstance(value, str | int | float):
                    op = data.draw(st.sampled_from(COMPARING))
                    asked_for.append(Condition(key, op, value))
        asked = Asked({"docs": [orjson.dumps(one).decode() for one in some]})
        columns = ", ".join(holds(condition, asked) for condition in asked_for)
        found = cursor.execute(f"SELECT {columns} FROM (SELECT unnest($docs) AS properties)", asked.values).fetchall()
        for one, row in zip(some, found, strict=True):
            for condition, held in zip(asked_for, row, strict=True):
                assert held is condition.holds(one), (condition, one)

    same()
