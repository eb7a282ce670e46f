"""Lineage: what lives on a property, what a KPI lives on, and which KPIs are broken."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import Kpi, find_schema_root, load_contract
from gateway.contract.lineage import Direction, Lineage, Node, at_path
from tests.unit.contract.orders import ORDERS, orders

SHOP = load_contract(find_schema_root() / "shop")


def names(lineage: Lineage, kind: str, key: str, direction: Direction) -> set[str]:
    return {str(one) for one in lineage.of(Node(kind, key), direction)}  # type: ignore[arg-type]


def test_from_property_to_kpi_and_back() -> None:
    lineage = Lineage(orders())
    assert names(lineage, "property", "payment", "downstream") == {"event order_completed.1", "KPI cards"}
    assert names(lineage, "property", "pieces", "downstream") == {
        "event order_completed.1", "stage buying.bought", "map buying", "survey ease",
    }  # fmt: skip
    assert names(lineage, "kpi", "cards", "upstream") == {
        "event viewed.1", "event order_completed.1", "property payment",
    }  # fmt: skip
    assert names(lineage, "event", "order_completed.1", "upstream") == {
        "property total", "property payment", "property pieces", "property coupon",
    }  # fmt: skip
    assert names(lineage, "kpi", "cards", "downstream") == set()
    assert names(lineage, "property", "spare", "downstream") == set()


def test_what_is_not_planned_is_missing() -> None:
    lineage = Lineage(orders(**{"events/answered.1.yaml": None}))
    missing = Node("event", "Answered")
    assert lineage.missing(missing)
    assert missing in lineage.of(Node("kpi", "easy"), "upstream")
    assert not lineage.missing(Node("event", "viewed.1"))
    assert lineage.has(missing)
    assert not lineage.has(Node("event", "nothing.1"))


def test_edges_that_no_file_tells_of() -> None:
    crm = Node("connector", "crm")
    lineage = Lineage(orders(), ((Node("event", "viewed.1"), crm),))
    assert crm in lineage.of(Node("event", "viewed.1"), "downstream")
    assert Node("event", "viewed.1") in lineage.of(crm, "upstream")


def broken(kpi: str, *edits: tuple[str, str, str], **files: str | None) -> str | None:
    contract = orders(*edits, **files)
    found: Kpi = contract.kpis[kpi]
    return Lineage(contract).broken(found)


def test_a_kpi_is_broken_when_what_it_reads_is_not_planned() -> None:
    assert broken("easy") is None
    assert "event 'Answered'" in str(broken("easy", **{"events/answered.1.yaml": None}))
    lost = ("events/answered.1.yaml", "properties:\n  - {property: score, required: true}\n", "")
    assert "property 'score' of 'Answered'" in str(broken("easy", lost))
    assert broken("cards", lost) is None


def test_without_a_plan_no_kpi_is_broken() -> None:
    assert broken("easy", **{path: None for path in ORDERS if path.startswith("events/")}) is None


def test_no_kpi_of_the_shop_is_broken() -> None:
    lineage = Lineage(SHOP)
    assert {key: lineage.broken(kpi) for key, kpi in SHOP.kpis.items()} == dict.fromkeys(SHOP.kpis)
    assert not any(lineage.missing(one) for key in SHOP.kpis for one in lineage.of(Node("kpi", key), "upstream"))


NODES = [
    *(Node("property", key) for key in SHOP.properties),
    *(Node("event", key) for key in SHOP.events),
    *(Node("kpi", key) for key in SHOP.kpis),
    *(Node("survey", key) for key in SHOP.surveys),
    *(Node("stage", f"{one.key}.{stage.key}") for one in SHOP.journeys.values() for stage in one.stages),
    *(Node("map", key) for key in SHOP.journeys),
]


@given(one=st.sampled_from(NODES), other=st.sampled_from(NODES))
def test_both_directions_agree(one: Node, other: Node) -> None:
    lineage = Lineage(SHOP)
    assert (other in lineage.of(one, "downstream")) == (one in lineage.of(other, "upstream"))
    for direction in get_args(Direction):
        found = lineage.of(one, direction)
        assert len(found) == len(set(found))
        assert one not in found


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("total", ["total"]),
        ("nothing", []),
        ("total.cents", []),
        ("products.price", []),
        ("products[].price", ["products", "product", "price"]),
        ("products[].nothing", []),
        ("total[]", []),
        ("[]", []),
    ],
)
def test_paths_into_what_is_planned(path: str, keys: list[str]) -> None:
    properties = SHOP.events["order_completed.1"].properties
    assert [one.key for one in at_path(properties, path)] == keys
