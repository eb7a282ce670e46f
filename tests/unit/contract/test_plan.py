"""The tracking plan: properties and events become one; mistakes in them are told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

import pytest

from gateway.contract import Contract, find_schema_root, load_contract, load_texts
from gateway.contract.plan import RESERVED_FIELDS, RESERVED_TYPES
from gateway.errors import ContractError

PROPERTIES = """\
properties:
  - {key: order_id, type: string, brief: Which order.}
  - {key: total, type: number, brief: What is paid., minimum: 0, unit: EUR}
  - {key: products, type: array, brief: What was bought., items: product}
  - {key: tags, type: array, brief: Words., items: {type: string, maxLength: 20}}
  - key: product
    type: object
    brief: One product.
    properties:
      - {property: sku, required: true}
      - {property: size}
  - {key: sku, type: string, brief: Its number., pattern: "^p-"}
  - {key: size, type: string, brief: Its size., enum: [s, m]}
"""
EVENT = """\
name: Order Completed
major: 1
brief: An order was placed.
owners: [shop]
properties:
  - {property: order_id, required: true}
  - {property: total}
  - {property: products}
  - {property: tags}
"""
FILES = {"properties.yaml": PROPERTIES, "events/order_completed.1.yaml": EVENT}


def loaded(files: dict[str, str]) -> Contract:
    return load_texts("acme", files)


def problems(files: dict[str, str]) -> list[str]:
    with pytest.raises(ContractError) as refused:
        load_texts("acme", files)
    return refused.value.problems


def test_an_event_holds_its_properties_down_to_the_last() -> None:
    contract = loaded(FILES)
    event = contract.events["order_completed.1"]
    assert (event.type_name, event.field_name, event.type, event.owners) == (
        "OrderCompletedEvent",
        "orderCompleted",
        "track",
        ("shop",),
    )
    assert [(one.key, one.required) for one in event.properties] == [
        ("order_id", True),
        ("total", False),
        ("products", False),
        ("tags", False),
    ]
    assert event.json_schema()["properties"] == {
        "order_id": {"type": "string", "description": "Which order."},
        "total": {"type": ["number", "null"], "description": "What is paid.", "minimum": 0},
        "products": {
            "type": ["array", "null"],
            "description": "What was bought.",
            "items": {
                "type": "object",
                "description": "One product.",
                "properties": {
                    "sku": {"type": "string", "description": "Its number.", "pattern": "^p-"},
                    "size": {"type": ["string", "null"], "description": "Its size.", "enum": ["s", "m", None]},
                },
                "required": ["sku"],
            },
        },
        "tags": {
            "type": ["array", "null"],
            "description": "Words.",
            "items": {"type": "string", "description": "Words.", "maxLength": 20},
        },
    }
    assert event.json_schema()["required"] == ["order_id"]


def test_two_majors_of_one_event_stand_side_by_side() -> None:
    second = EVENT.replace("major: 1", "major: 2")
    contract = loaded({**FILES, "events/order_completed.2.yaml": second})
    assert [one.type_name for one in contract.events.values()] == ["OrderCompletedEvent", "OrderCompletedV2Event"]


def test_a_plan_changes_no_hash_of_maps(tmp_path: Path) -> None:
    maps = {"journeys/purchase.yaml": load_contract(find_schema_root() / "shop").files["journeys/purchase.yaml"]}
    surveys = {
        "journeys/purchase.yaml": maps["journeys/purchase.yaml"]
        .replace("    feedback: [ces]\n", "")
        .replace("    feedback: [csat, nps]\n", "")
    }
    assert loaded({**surveys, **FILES}).journeys_hash == loaded(surveys).journeys_hash
    assert loaded({**surveys, **FILES}).hash != loaded(surveys).hash


@pytest.mark.parametrize(
    ("path", "old", "new", "problem"),
    [
        (
            "events/order_completed.1.yaml",
            "property: total",
            "property: totl",
            "acme/events/order_completed.1.yaml:7 properties[1].property: no property has the key 'totl' - "
            "did you mean 'total'?",
        ),
        (
            "events/order_completed.1.yaml",
            "property: total",
            "property: order_id",
            "acme/events/order_completed.1.yaml:7 properties[1].property: the property 'order_id' stands twice - "
            "remove one of them",
        ),
        (
            "events/order_completed.1.yaml",
            "name: Order Completed",
            "name: Order Complete",
            "acme/events/order_completed.1.yaml:1 name: the file of 'Order Complete' in major version 1 has another "
            "name - rename the file to order_complete.1.yaml",
        ),
        (
            "events/order_completed.1.yaml",
            "name: Order Completed",
            "name: 注文完了",
            "acme/events/order_completed.1.yaml:1 name: no name of GraphQL can be made of '注文完了' - "
            "begin with a letter from a to z, and use no other letters than these and digits",
        ),
        (
            "events/order_completed.1.yaml",
            "name: Order Completed",
            "name: 2nd Order",
            "acme/events/order_completed.1.yaml:1 name: no name of GraphQL can be made of '2nd Order' - "
            "begin with a letter from a to z, and use no other letters than these and digits",
        ),
        (
            "properties.yaml",
            "type: number",
            "type: nubmer",
            "acme/properties.yaml:3 properties[1].type: 'nubmer' is not known - did you mean 'number'?",
        ),
        (
            "properties.yaml",
            "type: number",
            "type: [number, string]",
            "acme/properties.yaml:3 properties[1].type: is a list - "
            "write one of string, integer, number, boolean, datetime, array, object",
        ),
        (
            "properties.yaml",
            "{key: total, type: number,",
            "{key: order_id, type: number,",
            "acme/properties.yaml:3 properties[1].key: the property 'order_id' has two types: 'string' in line 2, "
            "here 'number' - keep one of them, or give each its own key",
        ),
        (
            "properties.yaml",
            "minimum: 0",
            "pattern: x",
            "acme/properties.yaml:3 properties[1].pattern: pattern says nothing about the type number - "
            "remove it, or write type: string",
        ),
        (
            "properties.yaml",
            "minimum: 0",
            "minimum: 9, maximum: 1",
            "acme/properties.yaml:3 properties[1].maximum: nothing is from 9 to 1 - make maximum the larger number",
        ),
        (
            "properties.yaml",
            'pattern: "^p-"',
            'pattern: "^(p-"',
            "acme/properties.yaml:12 properties[5].pattern: '^(p-' is no regular expression - look for a missing )",
        ),
        (
            "properties.yaml",
            "enum: [s, m]",
            "enum: [s, 4]",
            "acme/properties.yaml:13 properties[6].enum[1]: 4 is no value of the type string - write text in quotes",
        ),
        (
            "properties.yaml",
            "items: product}",
            "items: prodct}",
            "acme/properties.yaml:4 properties[2].items: no property has the key 'prodct' - did you mean 'product'?",
        ),
        (
            "properties.yaml",
            ", items: product}",
            "}",
            "acme/properties.yaml:4 properties[2]: does not say what the list holds - "
            "add items: the key of a property, or its type",
        ),
        (
            "properties.yaml",
            "{property: size}",
            "{property: products}",
            "acme/properties.yaml:4 properties[2]: the properties products > product > products go in a circle - "
            "leave one of them out: a property cannot hold itself",
        ),
        (
            "properties.yaml",
            "{key: sku,",
            "{key: s k u,",
            "acme/properties.yaml:10 properties[4].properties[0].property: no property has the key 'sku' - "
            "did you mean 's k u'?",
        ),
    ],
)
def test_a_mistake_in_the_plan_is_told_with_its_line_and_the_fix(path: str, old: str, new: str, problem: str) -> None:
    assert FILES[path].count(old) == 1
    assert problem in problems({**FILES, path: FILES[path].replace(old, new)})


def test_a_reused_major_version_is_told_with_the_other_file() -> None:
    found = problems({**FILES, "events/order_completed.2.yaml": EVENT})
    assert found == [
        "acme/events/order_completed.2.yaml:1 name: the file of 'Order Completed' in major version 1 has another "
        "name - rename the file to order_completed.1.yaml",
        "acme/events/order_completed.2.yaml:1 name: major version 1 of 'Order Completed' is already that of "
        "acme/events/order_completed.1.yaml - raise major by one",
    ]
    twice = problems({**FILES, "events/ordercompleted.1.yaml": EVENT.replace("Order Completed", "order completed")})
    assert any("are both OrderCompletedEvent in the API" in problem for problem in twice)


@pytest.mark.parametrize(
    ("path", "name"),
    [("order_completed.1", "order_completed"), ("order_completed.1", "orderCompleted"), ("x.1", "ORDER COMPLETED")],
)
def test_names_that_are_one_in_the_api_are_told(path: str, name: str) -> None:
    files = {**FILES, "events/another.1.yaml": EVENT.replace("Order Completed", name)}
    assert any("rename the file" in problem or "both" in problem for problem in problems(files))


def test_a_second_event_of_one_type_name_is_told_with_the_first() -> None:
    other = EVENT.replace("name: Order Completed", "name: Order Completed V2")
    second = EVENT.replace("major: 1", "major: 2")
    found = problems({**FILES, "events/order_completed.2.yaml": second, "events/order_completed_v_2.1.yaml": other})
    assert found == [
        "acme/events/order_completed_v_2.1.yaml:1 name: 'Order Completed V2' and 'Order Completed' of "
        "acme/events/order_completed.2.yaml are both OrderCompletedV2Event in the API - give one of them another name"
    ]


def test_two_properties_that_are_one_in_the_api_are_told() -> None:
    properties = PROPERTIES + "  - {key: orderId, type: string, brief: Which order.}\n"
    event = EVENT + "  - {property: orderId}\n"
    assert problems({"properties.yaml": properties, "events/order_completed.1.yaml": event}) == [
        "acme/events/order_completed.1.yaml:10 properties[4].property: 'order_id' and 'orderId' are both orderId in "
        "the API - keep one of them, or give it another name"
    ]
    # Apart, they may be planned: other events may carry the one or the other.
    assert "orderId" in loaded({**FILES, "properties.yaml": properties}).properties


@pytest.mark.parametrize("name", ["Name", "user", "Untyped", "received at", "Quarantined"])
def test_names_that_the_api_needs_are_refused(name: str) -> None:
    stem = f"{name.lower().replace(' ', '_')}.1"
    found = problems({"properties.yaml": PROPERTIES, f"events/{stem}.yaml": EVENT.replace("Order Completed", name)})
    assert any(f"'{name}' is a name that the API needs for itself" in problem for problem in found)


def test_the_names_that_are_refused_are_those_of_the_api() -> None:
    sdl = (find_schema_root() / "api.graphql").read_text(encoding="utf-8")
    body = sdl.split("type UntypedEvent implements Event & Node {")[1].split("\n}")[0]
    fields = {line.strip().split(":")[0].split("(")[0] for line in body.splitlines() if line[2:3].isalpha()}
    fields = {field for field in fields if field.isidentifier()}
    assert fields == RESERVED_FIELDS
    types = {
        line.split()[1] for line in sdl.splitlines() if line.startswith(("type ", "interface ", "enum ", "input "))
    }
    planned = {event.type_name for event in load_contract(find_schema_root() / "shop").events.values()}
    assert {name for name in types - planned if name.endswith("Event") and name != "Event"} == RESERVED_TYPES


def test_every_mistake_of_every_file_is_listed_at_once() -> None:
    files = {
        "properties.yaml": PROPERTIES.replace("type: number", "type: nubmer").replace("items: product}", "items: x}"),
        "events/order_completed.1.yaml": EVENT.replace("order_id", "oder_id").replace("owners: [shop]", "owners: shop"),
        "glossary.yaml": "terms:\n  - {key: a, name: A, definition: A.}\n  - {key: a, name: a, definition: B.}\n",
    }
    assert [problem.partition(" - ")[0] for problem in problems(files)] == [
        "acme/glossary.yaml:3 terms[1].key: the term key 'a' is already used in line 2",
        "acme/glossary.yaml:3 terms[1]: 'a' is already a name of the term in line 2",
        "acme/properties.yaml:3 properties[1].type: 'nubmer' is not known",
        "acme/properties.yaml:4 properties[2].items: no property has the key 'x'",
        "acme/events/order_completed.1.yaml:4 owners: 'shop' is text",
        "acme/events/order_completed.1.yaml:6 properties[0].property: no property has the key 'oder_id'",
    ]


def many(count: int) -> str:
    return "properties:\n" + "".join(f"- {{key: p{i}, type: string, brief: b}}\n" for i in range(count))


def chain(count: int) -> str:
    """Each property holds the next; the last holds the first."""
    return "properties:\n" + "".join(
        f"- {{key: p{i}, type: array, brief: b, items: p{(i + 1) % count}}}\n" for i in range(count)
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: many(10_000), "larger than 256 KB"),
        (lambda: many(2_500), "has 2500 entries - write at most 2000"),
        (lambda: chain(1_500), "go in a circle"),
        (lambda: chain(1_500).replace("items: p0}", "items: {type: string}}"), "levels deep"),
        (lambda: "properties: &a [*a, *a]\n", "the anchor '&a' is not allowed"),
        (lambda: "a: &a [x, x]\nb: &b [*a, *a]\nproperties: [*b, *b]\n", "the alias '*b' is not allowed"),
        (lambda: "properties: " + "[" * 5_000, "nested deeper than 16 levels"),
    ],
    ids=["10,000 properties", "2,500 properties", "long circle", "long chain", "self", "bomb", "deep"],
)
def test_what_would_eat_the_machine_is_refused_soon(made: Callable[[], str], said: str) -> None:
    began = monotonic()
    found = problems({"properties.yaml": made()})
    assert any(said in problem for problem in found)
    assert monotonic() - began < 20  # minutes, when a check compares each with each


def grid(levels: int, wide: int) -> str:
    """Each property of a level holds all those of the next: few lines, `wide` to the power of `levels` places."""
    lines = ["properties:"]
    for level in range(levels):
        inner = "".join(f"{{property: p{level + 1}x{one}}}," for one in range(wide))
        lines += [f"- {{key: p{level}x{i}, type: object, brief: b, properties: [{inner}]}}" for i in range(wide)]
    return "\n".join([*lines, *(f"- {{key: p{levels}x{i}, type: string, brief: b}}" for i in range(wide))])


def carrying(keys: Iterable[str]) -> str:
    return EVENT.partition("properties:")[0] + "properties:\n" + "".join(f"- {{property: {key}}}\n" for key in keys)


def test_properties_that_multiply_are_refused_before_they_are_written_out() -> None:
    event = {"events/order_completed.1.yaml": carrying(["p0x0"])}
    found = problems({"properties.yaml": grid(5, 20), **event})
    assert all("holds more than 2,000 properties" in problem for problem in found)
    assert found[0].startswith("acme/properties.yaml:2 properties[0]: 'p0x0' holds")
    # 1 + 13 + 169 each: an event may carry ten of them, and not eleven.
    wide = grid(2, 13)
    of = {count: {"events/order_completed.1.yaml": carrying(f"p0x{i}" for i in range(count))} for count in (10, 11)}
    assert loaded({"properties.yaml": wide, **of[10]}).events
    assert problems({"properties.yaml": wide, **of[11]}) == [
        "acme/events/order_completed.1.yaml:5 properties: it carries 2,013 properties with all that they hold - "
        "carry at most 2,000: split the event, or flatten what it carries"
    ]


def test_many_wrong_references_are_told_soon() -> None:
    began = monotonic()
    found = problems(
        {
            "properties.yaml": many(2_000),
            "events/order_completed.1.yaml": carrying(f"q{i}" for i in range(500)),
            "events/order_cancelled.1.yaml": carrying(f"p{i % 2_000}" for i in range(9_000)).replace(
                "Completed", "Cancelled"
            ),
        }
    )
    assert sum("no property has the key" in problem for problem in found) == 500
    assert any("has 9000 entries - write at most 500" in problem for problem in found)
    assert monotonic() - began < 20


def test_files_of_a_plan_that_are_almost_called_so_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    (folder / "events").mkdir(parents=True)
    (folder / "event").mkdir()
    (folder / "segments").mkdir()
    (folder / "notes.yaml").write_text("anything: goes\n")
    (folder / "property.yaml").write_text(PROPERTIES)
    with pytest.raises(ContractError) as refused:
        load_contract(folder)
    assert refused.value.problems == ["acme/event: nobody reads it - did you mean 'events'?"] + [
        "acme/property.yaml: nobody reads it - did you mean 'properties.yaml'?"
    ] * (len(refused.value.problems) - 1)
