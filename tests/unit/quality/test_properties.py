"""What an audit says of properties, from the catalogue alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.quality.audit import audit
from gateway.quality.facts import Looked
from gateway.quality.nested import OTHER
from gateway.store.catalog import PropertySightings, Sightings


def prop(key: str, kind: Any = "string", **more: Any) -> PropertyDefinition:
    return PropertyDefinition(key, kind, "What it is.", **more)


Seen = dict[str, dict[str, int]]


def found(seen: Seen, *planned: PropertyDefinition, kind: Any = "track", **misfits: int) -> dict[tuple[str, str], str]:
    """By kind and subject what is told of one event that came 50 times; `seen` are types by path, `misfits` of rule
    `type`."""
    name = "" if kind == "identify" else "Seen"
    event = EventDefinition("Seen", 1, "b", ("shop",), tuple(map(PlannedProperty, planned)), type=kind)
    reasons = Counter({f"type {path}": count for path, count in misfits.items()})
    one = Sightings(kind, name, 0, 1, count=50, misfits=reasons)
    for path, types in seen.items():
        one.properties[path] = PropertySightings(Counter(types))
    done = audit(Looked((0, 2), [event], [one], {0: [one]}))
    return {(finding.kind, finding.subject): finding.message for finding in done}


ADDRESS = prop("address", "object", properties=(PlannedProperty(prop("city")),))


def test_calls_without_a_name_are_named_by_their_call() -> None:
    assert found({"plan": {"string": 3}}, kind="identify") == {
        ("unplanned", "identify.plan"): "'plan' of 'identify' came 3 times and nobody has planned it."
    }


def test_nothing_is_dead_that_was_not_looked_at() -> None:
    dead = {("dead_property", "Seen.address.city")}
    assert found({"address": {"object": 20}}, ADDRESS).keys() == dead
    assert not found({"address": {"object": 19}}, ADDRESS)
    assert not found({"address": {"object": 25}, f"address.{OTHER}": {"object": 6}}, ADDRESS)
    products = prop("products", "array", items=prop("product", "object", properties=(PlannedProperty(prop("color")),)))
    seen: Seen = {"products": {"array": 30}, "products[]": {"object": 30}}
    assert found(seen, products).keys() == {("dead_property", "Seen.products[].color")}
    assert not found({**seen, f"products.{OTHER}": {"array": 11}}, products)


def test_drift_is_told_where_it_is() -> None:
    tags = prop("tags", "array", items=prop("tag"))
    (of_item,) = found({"tags": {"array": 9}, "tags[]": {"string": 9, "integer": 1}}, tags, tags=1)
    assert of_item == ("type_drift", "Seen.tags[]")
    (of_list,) = found({"tags": {"array": 8, "string": 1}}, tags, tags=1)
    assert of_list == ("type_drift", "Seen.tags")
    (kept_apart,) = found({"tags": {"array": 8}}, tags, tags=1)
    assert kept_apart == ("type_drift", "Seen.tags"), "of what is in quarantine there is the reason alone"


def test_what_the_plan_leaves_open_is_open() -> None:
    inside: Seen = {"anything.a": {"string": 1, "integer": 1}, "anything.A": {"string": 1}}
    assert not found({"anything": {"object": 9}, **inside}, prop("anything", "object"))


def test_many_that_nobody_planned_are_told_together() -> None:
    told = found({f"p{number}": {"string": number + 1} for number in range(30)})
    assert len(told) == 21
    assert told["unplanned", "Seen.*"].startswith("10 more properties")
    assert ("unplanned", "Seen.p29") in told
    assert ("unplanned", "Seen.p9") not in told
