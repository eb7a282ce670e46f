"""What stands inside of objects and lists: bounded, masked, and the same for all events of one form."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.paths import planned_paths
from gateway.contract.plan import PlannedProperty, PropertyDefinition
from gateway.quality.nested import (
    LONGEST_NAME,
    LONGEST_PATH,
    MOST_KEYS,
    MOST_NESTED,
    MOST_OF_EVENT,
    OTHER,
    form_within,
    look_within,
)
from gateway.store.catalog import Known

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.floats(0, 9), st.sampled_from(["a", "b"]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c.d"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def seen(value: Any, known: Known | None = None, definitions: Any = None) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, kind, _ in look_within("p", value, known or Known(), definitions or {}, flat=False):
        found.setdefault(path, set()).add(kind)
    return found


@given(VALUES, VALUES)
def test_values_of_one_form_say_the_same(one: Any, other: Any) -> None:
    if form_within([one]) == form_within([other]) and isinstance(one, dict | list):
        assert seen(one) == seen(other) or (not one) != (not other)
    if isinstance(one, dict | list) and isinstance(other, type(one)) and seen(one) != seen(other):
        assert form_within([one]) != form_within([other])


def test_paths_types_and_samples() -> None:
    value = {"city": "Ulm", "to": [{"mail": "ada@example.com", "n": 1}, {"n": "x"}, 3], "a.b": None, "deep": [[1]]}
    found = look_within("p", value, Known(), {}, flat=False)
    assert {(path, kind): sample for path, kind, sample in found} == {
        ("p.city", "string"): "Aaa",
        ("p.to", "array"): "[3]",
        ("p.to[]", "object"): "{1}",
        ("p.to[]", "integer"): "9",
        ("p.to[].mail", "string"): "aaa@aaaaaaa.aaa",
        ("p.to[].n", "integer"): "9",
        ("p.to[].n", "string"): "a",
        ("p.a\\.b", "null"): None,
        ("p.deep", "array"): "[1]",
        ("p.deep[]", "array"): "[1]",
        ("p.deep[][]", "integer"): "9",
    }


def test_what_is_planned_is_shown_unless_something_around_it_is_personal() -> None:
    city = PlannedProperty(PropertyDefinition("city", "string", "b"))

    def sample(privacy: Any) -> str | None:
        address = PropertyDefinition("p", "object", "b", privacy=privacy, properties=(city,))
        definitions = dict(planned_paths([PlannedProperty(address)]))
        ((_, _, shown),) = look_within("p", {"city": "Ulm"}, Known(), definitions, flat=False)
        return shown

    assert (sample("none"), sample("personal"), sample("sensitive")) == ("Ulm", "Aaa", "Aaa")


def test_a_name_that_is_somebodys_data_is_kept_by_its_form() -> None:
    assert seen({"ada@example.com": {"n": 1}}) == {
        "p.aaa@aaaaaaa\\.aaa": {"object"},
        "p.aaa@aaaaaaa\\.aaa.n": {"integer"},
    }


def test_nothing_grows_without_bounds() -> None:
    wide = seen({f"k{'x' * number}": 1 for number in range(500)})
    assert len(wide) == MOST_KEYS + 1
    assert wide[f"p.{OTHER}"] == {"object"}
    bushy = seen([{f"a{one}": {f"b{two}": 1 for two in range(40)} for one in range(40)}])
    assert len(bushy) < 2 * MOST_OF_EVENT
    assert f"p.{OTHER}" in bushy, "what was not looked at any more is said"
    assert form_within([[{"a": {"b": [number]}} for number in range(20)] for _ in range(5)]) is None
    assert form_within([[{"a": number} for number in range(20)] for _ in range(5)]) is not None
    deep: Any = 1
    for _ in range(30):
        deep = {"n": deep}
    assert set(seen(deep)) == {"p.n", "p.n.n", "p.n.n.n", "p.n.n.n.n", f"p.n.n.n.n.{OTHER}"}
    (long,) = seen({"é" * 30_000: 1})
    assert len(long) <= LONGEST_NAME + 2
    for path in seen({"a" * 199: {"b" * 199: {"c" * 199: 1}}}):
        assert len(path) <= LONGEST_PATH + len(OTHER) + 1

    known = Known()
    for number in range(2_000):
        look_within(
            "p", {f"k{number}" if number % 2 else f"{'z' * (number % 150)}": {"v": number}}, known, {}, flat=False
        )
    assert len(known.nested) == MOST_NESTED
    assert seen({"unheard": {"v": 1}}, known) == {f"p.{OTHER}": {"object"}}
    planned = dict(planned_paths([PlannedProperty(PropertyDefinition("p", "object", "b", properties=(
        PlannedProperty(PropertyDefinition("unheard", "string", "b")),)))]))  # fmt: skip
    assert seen({"unheard": "x"}, known, planned) == {"p.unheard": {"string"}}


def test_what_is_not_looked_into_is_said() -> None:
    assert [*look_within("p", {"a": 1}, Known(), {}, flat=True)] == [(f"p.{OTHER}", "object", None)]
    assert [*look_within("p", {}, Known(), {}, flat=True)] == []
