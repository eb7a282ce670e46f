"""What is not what the plan says: found where it is, in words that hold no value, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.finding import version_named
from gateway.contract.validation import MOST_MISFITS, EventValidator, Plan


def prop(key: str, kind: Any = "string", **more: Any) -> PropertyDefinition:
    return PropertyDefinition(key, kind, "What it is.", **more)


PRODUCT = prop(
    "product",
    "object",
    properties=(PlannedProperty(prop("sku"), required=True), PlannedProperty(prop("price", "number"))),
)
ORDER = EventDefinition(
    "Order Completed",
    1,
    "An order.",
    ("shop",),
    (
        PlannedProperty(prop("order_id", max_length=8), required=True),
        PlannedProperty(prop("total", "number", minimum=0), required=True),
        PlannedProperty(prop("currency", pattern="^[A-Z]{3}$")),
        PlannedProperty(prop("method", enum=("card", "invoice"))),
        PlannedProperty(prop("pieces", "integer", maximum=100)),
        PlannedProperty(prop("gift", "boolean")),
        PlannedProperty(prop("due", "datetime")),
        PlannedProperty(prop("products", "array", items=PRODUCT)),
    ),
)
GOOD: dict[str, Any] = {
    "order_id": "o-1",
    "total": 12.5,
    "currency": "EUR",
    "method": "card",
    "pieces": 2,
    "gift": False,
    "due": "2026-11-21T10:00:00Z",
    "products": [{"sku": "a", "price": 1}, {"sku": "b"}],
    "unplanned": {"kept": True},
}

#: How to spoil a good event, and the misfit that it must be: each breaks one rule in one place.
SPOILED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "left out": (lambda one: one.pop("order_id"), "order_id: required"),
    "another type": (lambda one: one.update(total="12.50"), "total: type"),
    "null where it is required": (lambda one: one.update(total=None), "total: type"),
    "too small": (lambda one: one.update(total=-1), "total: minimum"),
    "too large": (lambda one: one.update(pieces=101), "pieces: maximum"),
    "no whole number": (lambda one: one.update(pieces=1.5), "pieces: type"),
    "true for a number": (lambda one: one.update(pieces=True), "pieces: type"),
    "another form": (lambda one: one.update(currency="euro"), "currency: pattern"),
    "too long": (lambda one: one.update(order_id="o-1234567"), "order_id: maxLength"),
    "an unknown value": (lambda one: one.update(method="cash"), "method: enum"),
    "no time": (lambda one: one.update(due="tomorrow"), "due: format"),
    "inside a list": (lambda one: one["products"][1].update(price="1"), "products.1.price: type"),
    "left out inside a list": (lambda one: one["products"][0].pop("sku"), "products.0.sku: required"),
}


def spoiled(*names: str) -> dict[str, Any]:
    values = {**GOOD, "products": [dict(one) for one in GOOD["products"]]}
    for name in names:
        SPOILED[name][0](values)
    return values


def test_what_is_planned_fits_and_what_is_not_planned_is_no_misfit() -> None:
    validator = EventValidator(ORDER)
    assert validator.fits(GOOD)
    assert validator.misfits(GOOD) == ()


@pytest.mark.parametrize("name", SPOILED)
def test_a_misfit_is_found_where_it_is_and_nowhere_else(name: str) -> None:
    validator = EventValidator(ORDER)
    values = spoiled(name)
    assert not validator.fits(values)
    assert [*map(str, validator.misfits(values))] == [SPOILED[name][1]]


def test_several_are_all_told_but_not_without_end() -> None:
    validator = EventValidator(ORDER)
    values = spoiled("left out", "another form", "inside a list")
    assert {*map(str, validator.misfits(values))} == {
        SPOILED[one][1] for one in ("left out", "another form", "inside a list")
    }
    many = {**GOOD, "products": [{}] * 50}
    assert len(validator.misfits(many)) == MOST_MISFITS


def test_null_is_as_good_as_left_out_where_that_is_allowed() -> None:
    nothing = dict.fromkeys(("currency", "method", "pieces", "gift", "due", "products"))
    assert EventValidator(ORDER).fits({**GOOD, **nothing})


@given(st.text(min_size=9, max_size=30, alphabet="qxz@0"))
def test_no_value_stands_in_the_words(text: str) -> None:
    values = {**GOOD, "order_id": text, "currency": text, "method": text, "due": text, "total": text}
    told = [f"{one.what} {one.fix}" for one in EventValidator(ORDER).misfits(values)]
    assert len(told) == 5
    assert not any(text in one for one in told)


def test_a_misspelled_property_is_named() -> None:
    (misfit,) = EventValidator(ORDER).misfits({**spoiled("left out"), "orderId": "o-1"})
    assert misfit.fix == "send it; did you mean it by 'orderId'?"


def test_a_pattern_that_takes_long_for_a_text_is_given_up() -> None:
    event = EventDefinition("E", 1, "b", ("o",), (PlannedProperty(prop("p", pattern=r"^(a|b|ab)*(?=c)\1$")),))
    (misfit,) = EventValidator(event).misfits({"p": "ab" * 4_000 + "b"})
    assert (misfit.property, misfit.rule) == ("p", "pattern")


# -- which plan ---------------------------------------------------------------------------------------------------


def version(named: object) -> dict[str, Any]:
    return {"protocols": {"event_version": named}}


def test_the_major_that_is_named_else_the_newest() -> None:
    second = EventDefinition("Order Completed", 2, "b", ("o",))
    plan = Plan([second, ORDER])

    def major(context: dict[str, Any]) -> int | None:
        found = plan.find("track", "Order Completed", context)
        return None if found is None else found.definition.major

    assert [major(one) for one in ({}, version(1), version("1"), version("v2.0.1"), version(2.0))] == [2, 1, 1, 2, 2]
    assert major(version(3)) is None, "a major that is not planned is an event that is not planned"
    assert major(version("latest")) == 2
    assert plan.find("track", "order completed", {}) is None
    assert plan.find("page", "Order Completed", {}) is None


def test_identify_and_group_have_no_name() -> None:
    plan = Plan([EventDefinition("Signed Up", 1, "b", ("o",), type="identify")])
    assert plan.find("identify", "identify", {}) is not None
    assert plan.find("group", "identify", {}) is None


@pytest.mark.parametrize("odd", [None, True, [], {}, "", "x", "1" * 50, "²", -(10**30), float("inf"), float("nan")])
def test_an_odd_version_is_none(odd: object) -> None:
    assert version_named(version(odd)) is None
    assert version_named({"protocols": odd}) is None


def test_a_change_compiles_what_has_changed_alone() -> None:
    other = EventDefinition("Other", 1, "b", ("o",))
    before = Plan([ORDER, other])
    after = Plan([ORDER, EventDefinition("Other", 1, "changed", ("o",))], before)
    assert after.find("track", "Order Completed", {}) is before.find("track", "Order Completed", {})
    assert after.find("track", "Other", {}) is not before.find("track", "Other", {})
