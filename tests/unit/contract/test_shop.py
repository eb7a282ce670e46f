"""The sample contract in schema/shop and the schemas in schema/meta."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from gateway.contract import Funnel, Satisfied, SessionLength, find_schema_root, load_contract, shape

ROOT = find_schema_root()
SHOP = load_contract(ROOT / "shop")
SCHEMAS = sorted((ROOT / "meta").glob("*.schema.json"))


def test_the_shop_has_the_purchase_map_with_its_stages_and_rules() -> None:
    purchase = SHOP.journeys["purchase"]
    assert SHOP.name == "shop"
    assert purchase.abandoned_after == timedelta(days=7)
    assert [(stage.key, [rule.event for rule in stage.enter]) for stage in purchase.stages] == [
        ("browse", ["Product List Viewed", "Product Viewed"]),
        ("cart", ["Product Added"]),
        ("checkout", ["Checkout Started"]),
        ("purchased", ["Order Completed"]),
    ]
    assert [stage.key for stage in purchase.stages if stage.completes] == ["purchased"]
    assert [stage.key for stage in purchase.stages if stage.repeats] == ["cart"]
    assert purchase.stage("checkout").next == ("purchased", "cart")
    assert purchase.stage("checkout").leave[0].id == "purchase.checkout.leave[0]"
    assert purchase.stage("cart").enter[0].id == "purchase.cart.enter[0]"
    assert purchase.stage("cart").touchpoints[1].channel == "email"
    assert purchase.pain_points
    assert purchase.stage("browse").emotion == "curious"


def test_the_shop_has_a_funnel_a_score_and_a_session_kpi() -> None:
    conversion, csat, length = (SHOP.kpis[key] for key in ("purchase_conversion", "csat", "session_length"))
    assert isinstance(conversion.function, Funnel)
    assert [step.rule.event for step in conversion.function.steps] == [
        "Product List Viewed",
        "Product Added",
        "Order Completed",
    ]
    assert conversion.function.window is None
    assert isinstance(csat.function, Satisfied)
    assert csat.function.rule.matches("Survey Response Submitted", {"survey": "csat", "score": 5})
    assert not csat.function.rule.matches("Survey Response Submitted", {"survey": "nps", "score": 5})
    assert (csat.function.property, csat.function.at_least) == ("score", 4)
    assert (csat.function.lowest, csat.function.highest) == (1, 5)
    assert length.function == SessionLength("mean")
    assert {kpi.unit for kpi in (conversion, csat)} == {"percent"}
    assert length.unit == "seconds"


@pytest.mark.parametrize("path", sorted((ROOT / "shop").rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_first_line_of_a_file_leads_editors_to_its_schema(path: Path) -> None:
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    marker, _, target = first.partition("$schema=")
    assert marker == "# yaml-language-server: "
    assert (path.parent / target).resolve() in SCHEMAS
    named_after = path.stem if path.parent.name == "shop" else path.parent.name
    assert named_after.startswith(Path(target).name.removesuffix(".schema.json"))


@pytest.mark.parametrize("path", sorted((ROOT / "shop").rglob("*.json")), ids=lambda path: path.stem)
def test_an_example_leads_editors_to_its_schema(path: Path) -> None:
    target = orjson.loads(path.read_bytes())["$schema"]
    assert (path.parent / target).resolve() == ROOT / "meta" / "example.schema.json"


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_a_meta_schema_is_a_json_schema(path: Path) -> None:
    Draft202012Validator.check_schema(orjson.loads(path.read_bytes()))


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_rule_of_a_meta_schema_can_be_explained_in_words(path: Path) -> None:
    silent = {"$ref", "properties", "items"}
    notes = {"$schema", "$defs", "title", "description", "examples", "patternErrorMessage"}
    for schema in _schemas(orjson.loads(path.read_bytes())):
        assert set(schema) <= silent | notes | set(shape._REPORTS)
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
        assert ("pattern" in schema) == ("patternErrorMessage" in schema)


def _schemas(schema: dict[str, Any]) -> list[dict[str, Any]]:
    children = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    if "items" in schema:
        children.append(schema["items"])
    return [schema, *(inner for child in children for inner in _schemas(child))]
