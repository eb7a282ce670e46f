"""Paths to what stands inside of properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.paths import ITEMS, holder_of, inside, parts_of, planned_paths, without_places
from gateway.contract.plan import PlannedProperty, PropertyDefinition

#: Names with all that a path is written with.
NAMES = st.text(st.sampled_from("ab.\\[]\n"), min_size=1, max_size=6)


@given(st.lists(st.one_of(NAMES, st.just(None)), min_size=1, max_size=5))
def test_a_path_leads_back_to_its_names(steps: list[str | None]) -> None:
    path: str | None = None
    names: list[str] = []
    holders: list[str | None] = []
    for step in steps:
        if step is None and path is None:
            continue
        holders.append(path)
        path = (path or "") + ITEMS if step is None else inside(path, step)
        names.append(ITEMS if step is None else step)
    if path is None:
        return
    assert parts_of(path) == names
    for holder in reversed(holders):
        assert holder_of(path) == holder
        path = holder or ""


def test_what_is_planned_and_how_personal_it_is() -> None:
    city = PropertyDefinition("city", "string", "b")
    street = PropertyDefinition("street", "string", "b", privacy="sensitive")
    address = PropertyDefinition(
        "address", "object", "b", privacy="personal", properties=(PlannedProperty(city), PlannedProperty(street))
    )
    color = PropertyDefinition("color", "string", "b")
    product = PropertyDefinition("product", "object", "b", properties=(PlannedProperty(color),))
    products = PropertyDefinition("products", "array", "b", items=product)
    found = dict(planned_paths(map(PlannedProperty, (address, products, city))))
    assert {path: one.privacy for path, one in found.items()} == {
        "address": "personal",
        "address.city": "personal",
        "address.street": "sensitive",
        "products": "none",
        "products[]": "none",
        "products[].color": "none",
        "city": "none",
    }
    assert [without_places(path) for path in found] == [
        "address",
        "address.city",
        "address.street",
        "products",
        "products",
        "products.color",
        "city",
    ]
