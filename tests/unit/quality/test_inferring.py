"""A plan inferred from a log accepts the log whole, whatever is in it; and what is spoiled later is caught there."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.contract import Contract, load_texts
from gateway.contract.validation import Plan
from gateway.quality.drafting import files_of
from gateway.quality.inferring import LEAST, Inference

KEYS = st.sampled_from(
    ["sku", "SKU", "total", "orderId", "order_id", "items", "items_item", "a.b", "ünter", "$x", "", "name", "n", "é"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["12", "12\n", "1.5", "yes", "2026-11-21T10:00:00Z", "2026-11-21", "ada@example.com", "x: [y]", "'\"\\\u2028"]
    )
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "Order Completed",
        "order_completed",
        "Order  Completed",
        "page",
        "User",
        "7up",
        "ünter",
        " x",
        "a\tb",
        "Yes",
        "null",
    ]
)
KINDS = st.sampled_from(["track", "page", "identify", "group", "alias"])
LOGS = st.lists(st.tuples(KINDS, NAMES, st.dictionaries(KEYS, VALUES, max_size=5)), max_size=25)

Log = list[tuple[str, str, dict[str, Any]]]


def inferred(log: Log) -> Contract:
    inference = Inference()
    for event in log:
        inference.add(*event)
    files = files_of(inference.draft("somebody"))
    return load_texts("mine", files) if files else Contract("mine", {}, {})


@example([("identify", "Order Completed", {}), ("identify", "Order  Completed", {"sku": False})], LEAST)
@given(LOGS, st.integers(1, 2 * LEAST))
def test_it_loads_and_accepts_the_log_whole(log: Log, times: int) -> None:
    plan = Plan(inferred(log * times).events.values())
    for kind, name, values in log:
        planned = plan.find(kind, name, {})
        assert planned is None or planned.misfits(values) == ()


def order(number: int, **more: Any) -> tuple[str, str, dict[str, Any]]:
    values = {
        "order_id": f"o-{number}",
        "total": 10 if number % 2 else 10.5,
        "pieces": number,
        "method": ("card", "invoice")[number % 2],
        "port": str(440 + number),
        "at": "2026-11-21T10:00:00Z",
        "gift": bool(number % 2),
        "contact": f"user{number}@example.com",
        "products": [{"sku": "a", "price": 1.5}, {"sku": "b"}],
        "tags": ["x"],
        **({"coupon": "c"} if number else {}),
    }
    return "track", "Order Completed", {**values, **more}


def test_what_it_finds() -> None:
    contract = inferred([order(number) for number in range(30)])
    (event,) = contract.events.values()
    found = {one.key: (one.definition.type, one.required) for one in event.properties}
    assert found == {
        "order_id": ("string", True),
        "total": ("number", True),
        "pieces": ("integer", True),
        "method": ("string", True),
        "port": ("string", True),
        "at": ("datetime", True),
        "gift": ("boolean", True),
        "contact": ("string", True),
        "products": ("array", True),
        "tags": ("array", True),
        "coupon": ("string", False),
    }
    properties = contract.properties
    assert properties["method"].enum == ("card", "invoice")
    assert properties["port"].pattern == "^-?[0-9]+$"
    assert (properties["contact"].privacy, properties["contact"].enum) == ("personal", ())
    assert properties["order_id"].enum == ()
    item = properties["products"].items
    assert item is not None
    assert {(one.key, one.required) for one in item.properties} == {("sku", True), ("price", False)}


def test_what_is_spoiled_is_caught_where_it_is() -> None:
    (event,) = inferred([order(number) for number in range(30)]).events.values()
    planned = Plan([event]).find("track", "Order Completed", {})
    assert planned is not None
    spoiled: dict[str, dict[str, Any]] = {
        "total: type": {"total": "10"},
        "pieces: type": {"pieces": 1.5},
        "method: enum": {"method": "cash"},
        "port: pattern": {"port": "http"},
        "at: format": {"at": "today"},
        "gift: type": {"gift": "true"},
        "products.1.sku: required": {"products": [{"sku": "a"}, {}]},
        "products.0.price: type": {"products": [{"sku": "a", "price": "1"}]},
        "order_id: type": {"order_id": None},
    }
    for misfit, more in spoiled.items():
        _, _, values = order(1, **more)
        assert [*map(str, planned.misfits(values))] == [misfit]


def test_what_is_left_out_and_doubtful_is_said() -> None:
    inference = Inference()
    for number in range(9):
        inference.add("track", "Order Completed", {"value": 1, "orderId": "a", "order_id": "b"})
        inference.add("track", "order completed", {"value": "one"})
        inference.add("track", "Orders Completed", {} if number else {"empty": []})
    draft = inference.draft("somebody")
    assert [one.name for one in draft.events] == ["Order Completed", "Orders Completed"]
    notes = {subject: " / ".join(several) for subject, several in draft.notes.items()}
    assert "9 integer" in notes["property value"]
    assert "9 string" in notes["property value"]
    assert "same name in the API" in notes["Order Completed"]
    assert "'order_id' is probably 'orderId'" in notes["Order Completed"]
    assert notes["Orders Completed"] == "probably 'Order Completed'"
    assert "left out" in notes["property empty"]
    files = files_of(draft)
    assert "TODO" in files["events/order_completed.1.yaml"]
    assert "value" in files["properties.yaml"]
