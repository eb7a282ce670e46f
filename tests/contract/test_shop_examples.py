"""The examples are the tests: of the shop's plan, of its simulator, and of the start that `contract init` writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from gateway.contract import Contract, Example, find_schema_root, load_contract
from gateway.contract.checking import check_contract
from gateway.contract.examples import fault_of, misfits
from gateway.testing.simulate import Population

SHOP = load_contract(find_schema_root() / "shop")


@pytest.mark.parametrize("example", SHOP.examples.values(), ids=lambda example: example.name)
def test_an_example_comes_out_as_it_says(example: Example) -> None:
    assert fault_of(example, SHOP.events[example.event]) is None


def test_the_shop_has_the_size_of_a_real_contract() -> None:
    assert len(SHOP.events) >= 20
    assert len(SHOP.journeys) == len(SHOP.surveys) == len(SHOP.personas) == 3
    assert len(SHOP.glossary) >= 25
    wanted = (
        "time_to_purchase form_error_rate engagement_depth purchase_conversion retention churn csat nps ces "
        "task_success click_through time_on_page"
    )
    assert set(wanted.split()) <= set(SHOP.kpis)
    assert all(persona.sample for persona in SHOP.personas.values())
    assert SHOP.consent
    assert SHOP.requests
    assert {example.misfit is None for example in SHOP.examples.values()} == {True, False}


def test_the_shop_has_nothing_to_be_warned_of() -> None:
    assert [str(one) for one in check_contract(SHOP) if one.severity != "note"] == []


@pytest.mark.parametrize("seed", range(2))
def test_everything_the_simulator_sends_is_planned_and_fits(seed: int) -> None:
    population = Population(seed, datetime(2026, 3, 1, tzinfo=UTC), weeks=2, visitors_per_week=60)
    live = islice(population.live(), 300)
    strange = {
        fault
        for message in [*(one.message for one in population.backfill()), *(one.message for _, one in live)]
        for fault in faults(SHOP, message)
    }
    assert strange == set()


def faults(contract: Contract, message: Mapping[str, Any]) -> list[str]:
    name = message.get("event") or message.get("name") or message["type"]
    planned = [event for event in contract.events.values() if (event.name, event.type) == (name, message["type"])]
    if not planned:
        return [f"{name} is not planned"]
    # Traits are left out: people have a name, and so have products, which is no personal data.
    known = {one.key for one in planned[0].properties}
    return [
        *(f"{name} {misfit}" for misfit in misfits(planned[0], message)),
        *(f"{name} has {key}, which is not planned" for key in message.get("properties", {}) if key not in known),
    ]
