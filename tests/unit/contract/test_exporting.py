"""A contract written for other tools and for reading."""

from __future__ import annotations

import jsonschema_rs
import orjson

from gateway.contract import find_schema_root, load_contract, load_texts
from gateway.contract.exporting import as_json_schema, as_markdown, as_mermaid
from tests.unit.contract.acme import JOURNEY

SHOP = load_contract(find_schema_root() / "shop")


def test_the_json_schema_takes_and_refuses_what_the_plan_does() -> None:
    schema = orjson.loads(as_json_schema(SHOP))
    assert set(schema["$defs"]) == set(SHOP.events)
    order = jsonschema_rs.validator_for({**schema, "$ref": "#/$defs/order_completed.1"})
    passing = dict(SHOP.examples["order.pass"].message["properties"])
    assert order.is_valid(passing)
    assert not order.is_valid({**passing, "currency": "euro"})


def test_mermaid_draws_every_stage_and_the_ways_between_them() -> None:
    drawn = as_mermaid(SHOP, ["purchase"]).splitlines()
    assert drawn[:2] == ["flowchart LR", '  subgraph purchase["Buying in the shop (Online shopper)"]']
    assert [line.strip() for line in drawn if "->" in line] == [
        "purchase__browse --> purchase__cart",
        "purchase__cart --> purchase__checkout",
        "purchase__checkout --> purchase__purchased",
        "purchase__checkout -.-> purchase__cart",
    ]
    assert drawn[-1] == "  end"
    assert as_mermaid(SHOP).count("subgraph") == len(SHOP.journeys) == as_markdown(SHOP).count("```mermaid")


def test_what_markup_would_be_stays_text() -> None:
    nasty = 'A "b" <i>|`c`* [x](y)'
    text = JOURNEY.replace("label: Signing up", f"label: '{nasty}'").replace("goal: See it work", f"goal: '{nasty}'")
    contract = load_texts("acme", {"journeys/trial.yaml": text})
    assert 'trial__signup["A #quot;b#quot; &lt;i&gt;|#96;c#96;* [x](y)"]' in as_mermaid(contract)
    (row,) = [line for line in as_markdown(contract).splitlines() if line.startswith("| A ")]
    assert row.startswith('| A "b" \\<i>\\|\\`c\\`\\* \\[x](y) | ')


def test_the_catalogue_tells_of_everything() -> None:
    catalogue = as_markdown(SHOP)
    for kpi in SHOP.kpis.values():
        assert f"`{kpi.key}`" in catalogue
    for event in SHOP.events.values():
        assert f"### {event.name}\n" in catalogue
    for term in SHOP.glossary.values():
        assert f"- **{term.name}**" in catalogue
    for title in ("Surveys", "Personas", "Consent", "Data requests"):
        assert f"\n## {title}\n" in catalogue
    assert "| `email` | string |  | personal |" in catalogue
    assert "| `products` | array of product | yes | none |" in catalogue
