"""Names that mean the same are found, and those that do not are left alone."""

from __future__ import annotations

import pytest

from gateway.quality.names import near_duplicates, plain


@pytest.mark.parametrize(
    ("name", "settled"),
    [
        ("order_completed", "Order Completed"),
        ("orderCompleted", "Order Completed"),
        ("ORDER COMPLETED", "Order Completed"),
        ("Orders Completed", "Order Completed"),
        ("Order Completd", "Order Completed"),
        ("Order Compelted", "Order Completed"),
        ("Category Viewed", "Categories Viewed"),
        ("orderId", "order_id"),
        ("emial", "email"),
    ],
)
def test_near_duplicates(name: str, settled: str) -> None:
    assert [*near_duplicates([name, settled, "Something Else"], [settled])] == [(name, settled)]


@pytest.mark.parametrize(
    ("name", "settled"),
    [
        ("Product Viewed", "Product Added"),
        ("Task Started", "Task Ended"),
        ("Step 1", "Step 2"),
        ("Coupon Applied", "Coupon Denied"),
        ("Home", "Hove"),
        ("total", "title"),
        ("Signed In", "Signed Up"),
        ("address", "dress"),
    ],
)
def test_names_that_are_meant_to_differ(name: str, settled: str) -> None:
    assert [*near_duplicates([name], [settled])] == []


def test_planned_names_are_deliberate_and_the_most_frequent_of_others_leads() -> None:
    assert [*near_duplicates(["Cart Viewed", "Carts Viewed"], ["Cart Viewed", "Carts Viewed"])] == []
    assert [*near_duplicates(["view item", "View Items"], [])] == [("View Items", "view item")]


def test_what_has_no_words_is_itself() -> None:
    assert plain("$$$") == "$$$"
    assert plain("") == ""
