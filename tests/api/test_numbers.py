"""KPIs over the API: the definition, the value with its interval, and how it went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.contract import Planned, load_contract
from gateway.store.database import Database
from tests.api.gateway_api import SHOP, Gateway, track

RESULT = """query($key: ID!, $range: RangeInput!, $points: Int) { kpi(key: $key) {
  key question unit better owners term target definition
  result(range: $range) { value n low high open asOf definition steps { key label users }
  series(points: $points) { start end value n } } } }"""


async def shoppers(gateway: Gateway) -> None:
    """Four see a list, two of them put something into the cart, one of those buys; one answers the survey."""
    day = 24 * 60
    for name in ("ann", "bob", "cyd", "dan"):
        await gateway.send(track("Product List Viewed", 2 * day, userId=name))
    await gateway.send(
        track("Product Added", day, userId="ann"),
        track("Product Added", day, userId="bob"),
        track("Order Completed", day - 10, userId="bob"),
        track("Survey Response Submitted", 5, userId="bob", properties={"survey": "csat", "score": 5}),
    )


async def test_a_kpi_has_a_definition_a_value_and_its_steps(gateway: Gateway) -> None:
    await shoppers(gateway)
    key = await gateway.api_key("kpis:read")
    found = (await gateway.ask(RESULT, key, key="purchase_conversion", range={"last": "28d"}))["kpi"]
    assert (found["unit"], found["better"], found["target"]) == ("percent", "HIGHER", 20)
    assert found["owners"] == ["ux-research", "shop-backend"]
    result = found["result"]
    assert (result["value"], result["n"], result["open"]) == (25.0, 4, 0)
    assert result["low"] < 25 < result["high"]
    assert result["asOf"] == "2026-11-21T10:00:00.000Z"
    words = "The range: in the last 28d. Users who deny analytics are left out."
    assert result["definition"] == f"{found['definition']} {words}"
    assert result["steps"] == [
        {"key": "listed", "label": "Saw a product list", "users": 4},
        {"key": "added", "label": "Put something into the cart", "users": 2},
        {"key": "ordered", "label": "Placed the order", "users": 1},
    ]
    series = result["series"]
    assert len(series) == 8
    assert (series[0]["start"], series[-1]["end"]) == ("2026-10-24T10:00:00.000Z", "2026-11-21T10:00:00.000Z")
    assert [point["n"] for point in series] == [0] * 7 + [4]
    assert [point["value"] for point in series] == [None] * 7 + [25.0]


async def test_every_kpi_of_the_contract_has_a_value(gateway: Gateway) -> None:
    await shoppers(gateway)
    query = '{ kpis { key result(range: {last: "8w"}) { value n steps { key } } } }'
    found = {kpi["key"]: kpi["result"] for kpi in (await gateway.ask(query, await gateway.api_key()))["kpis"]}
    assert found.keys() == {"purchase_conversion", "csat", "session_length"}
    assert (found["csat"]["value"], found["csat"]["n"], found["csat"]["steps"]) == (100.0, 1, [])
    # Four visits of a list, ann's and bob's of the day after (0 s and 600 s), and the survey.
    assert (found["session_length"]["value"], found["session_length"]["n"]) == (pytest.approx(600 / 7), 7)


async def test_a_planned_kpi_says_so_and_has_no_value(database: Database) -> None:
    shop = load_contract(SHOP)
    smiles = replace(shop.kpis["nps"], key="smiles", function=Planned("How often people smile."))
    gateway = Gateway(database, replace(shop, kpis={"smiles": smiles, "nps": shop.kpis["nps"]}))
    await gateway.prepare()
    await gateway.send(track("Survey Response Submitted", 5, userId="bob", properties={"survey": "nps", "score": 10}))
    query = """{ kpis { key status term definition breakdowns cadence thresholds { warning critical }
        result(range: {last: "8w"}) { value n low high steps { key } series(points: 2) { value n } } } }"""
    planned, live = (await gateway.ask(query, await gateway.api_key()))["kpis"]
    assert (planned["status"], live["status"]) == ("PLANNED", "LIVE")
    nothing = {"value": None, "n": 0}
    assert planned["result"] == {**nothing, "low": None, "high": None, "steps": [], "series": [nothing, nothing]}
    assert (live["result"]["value"], live["result"]["n"]) == (100.0, 1)
    assert live["term"] == "Net promoter score (NPS)"
    assert "percentage of 9 and 10 minus the percentage of 0 to 6" in live["definition"]
    assert live["thresholds"] == {"warning": 10, "critical": 0}
    assert (live["breakdowns"], live["cadence"]) == (["client.country", "traits.plan"], "MONTHLY")
    await gateway.close()


CONSENT = """mutation($user: UserBy, $state: ConsentState!) { setConsent(input: {
  user: $user, purposes: {analytics: $state}, source: "banner" }) { errors { code } } }"""
VALUES = '{ kpis { key result(range: {last: "8w"}) { value n } } }'


async def say(gateway: Gateway, name: str, state: str) -> None:
    said = await gateway.ask(CONSENT, await gateway.api_key(), user={"userId": name}, state=state)
    assert said["setConsent"]["errors"] == []
    gateway.clock.advance(10)
    await gateway.derive()


async def counted(gateway: Gateway) -> dict[str, int]:
    found = await gateway.ask(VALUES, await gateway.api_key())
    return {kpi["key"]: kpi["result"]["n"] for kpi in found["kpis"]}


async def test_who_denies_analytics_is_in_no_kpi(gateway: Gateway) -> None:
    await shoppers(gateway)
    await gateway.send({"type": "identify", "userId": "bob", "anonymousId": "phone"}, track("View", 9, userId="bob"))
    everybody = await counted(gateway)
    assert everybody["purchase_conversion"] == 4
    await say(gateway, "bob", "DENIED")
    without = await counted(gateway)
    assert (without["purchase_conversion"], without["csat"]) == (3, 0)
    assert without["session_length"] < everybody["session_length"]
    await gateway.send(track("Survey Response Submitted", userId="bob", properties={"survey": "csat", "score": 1}))
    await say(gateway, "bob", "GRANTED")
    again = await counted(gateway)
    assert again["purchase_conversion"] == 4
    assert again["csat"] == 1, "what came in under the denial stays out"


async def test_a_range_between_two_moments_is_half_open(gateway: Gateway) -> None:
    await gateway.send(track("Product List Viewed", 60, userId="ann"), track("Product List Viewed", 30, userId="bob"))
    key = await gateway.api_key()
    between = {"from": "2026-11-21T09:00:00Z", "to": "2026-11-21T09:30:00Z"}
    found = (await gateway.ask(RESULT, key, key="purchase_conversion", range={"between": between}))["kpi"]
    assert found["result"]["n"] == 1
    nothing = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}
    empty = (await gateway.ask(RESULT, key, key="csat", range={"between": nothing}))["kpi"]["result"]
    assert (empty["value"], empty["n"], empty["low"], empty["high"]) == (None, 0, None, None)


@pytest.mark.parametrize(
    "given",
    [
        {"last": "28"},
        {"last": "-1d"},
        {"last": ""},
        {"last": None},
        {"last": "99999w"},
        {},
        {"last": "1d", "between": {"from": "2026-11-21T09:00:00Z", "to": "2026-11-21T10:00:00Z"}},
        {"between": {"from": "2026-11-21T09:00:00Z", "to": "2026-11-21T09:00:00Z"}},
        {"between": {"from": "2026-11-21T09:00:00Z", "to": "2026-11-20T09:00:00Z"}},
        {"between": {"from": "2026-11-21T09:00:00Z"}},
    ],
)
async def test_a_range_that_is_none_is_refused(idle_gateway: Gateway, given: dict[str, object]) -> None:
    error = await idle_gateway.refusal(RESULT, await idle_gateway.api_key(), key="csat", range=given)
    assert error["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("points", [0, 61, -5])
async def test_a_series_has_a_limit(idle_gateway: Gateway, points: int) -> None:
    error = await idle_gateway.refusal(
        RESULT, await idle_gateway.api_key(), key="csat", range={"last": "1d"}, points=points
    )
    assert error["message"] == f"`points` is {points}; a series has 1 to 60."
