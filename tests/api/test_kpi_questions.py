"""How KPIs are asked about: breakdowns, filters, zones, ranges, and what is refused with a way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.contract import Condition, Kpi, load_contract, load_texts
from gateway.contract.functions import Count, EngagementDepth, Function, Planned, UniqueUsers
from gateway.quality.definitions import Definitions
from gateway.quality.history import History
from gateway.store.contracts import Versions
from gateway.store.database import Database
from tests.api.gateway_api import SHOP, Gateway, identify, load_shop, track
from tests.unit.insights.made_kpis import rule

DAY = 24 * 60
RESULT = """query($key: ID!, $range: RangeInput!, $by: String, $top: Int, $zone: String) { kpi(key: $key) {
  result(range: $range, by: $by, top: $top, timeZone: $zone) { value n hash definition differentValues start end
    slices { for { label } value n users { totalCount } } } } }"""
FUTURE = {"between": {"from": "2027-01-01T00:00:00Z", "to": "2027-01-02T00:00:00Z"}}


@pytest.mark.parametrize(
    ("given", "argument", "hint"),
    [
        ({"range": FUTURE}, "range.between", "passed"),
        ({"zone": "Europe/Berln"}, "timeZone", "Did you mean 'Europe/Berlin'?"),
        ({"by": "client.devise"}, "by", "Did you mean 'client.device'?"),
        ({"by": "scor"}, "by", "Did you mean 'score'?"),
        ({"by": "traits.plam"}, "by", "Did you mean 'plan'?"),
        ({"top": 0}, "top", ""),
        ({"top": 101}, "top", ""),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_a_way_out(
    idle_gateway: Gateway, given: dict[str, Any], argument: str, hint: str
) -> None:
    asked = {"key": "csat", "range": {"last": "7d"}, **given}
    error = await idle_gateway.refusal(RESULT, await idle_gateway.api_key(), **asked)
    told = error["extensions"]
    assert (told["code"], told["argument"]) == ("INVALID_INPUT", argument)
    assert hint in told.get("hint", "")


async def test_a_trait_that_nobody_has_is_no_breakdown_and_one_that_somebody_has_is(gateway: Gateway) -> None:
    await gateway.send(identify(60, userId="ann", traits={"tier": {"level": "gold"}}))
    asked = {"key": "csat", "range": {"last": "7d"}}
    key = await gateway.api_key()
    error = await gateway.refusal(RESULT, key, **asked, by="traits.tier.levle")
    assert error["extensions"]["hint"] == "Did you mean 'tier.level'?"
    await gateway.ask(RESULT, key, **asked, by="traits.tier.level")
    query = "query($input: TrendInput!) { trend(input: $input) { hash } }"
    trend = {"range": {"last": "7d"}, "events": [{"event": "Order Completed"}]}
    error = await gateway.refusal(query, key, input={**trend, "by": {"trait": "teir"}})
    assert (error["extensions"]["argument"], error["extensions"]["hint"]) == ("by.trait", "Did you mean 'tier'?")
    await gateway.ask(query, key, input={**trend, "by": {"trait": "tier"}})


@pytest.mark.parametrize("by", ["traits.plan", "comment"])
async def test_who_may_not_see_personal_data_cannot_break_down_by_it(idle_gateway: Gateway, by: str) -> None:
    asked = {"key": "csat", "range": {"last": "7d"}, "by": by}
    key = await idle_gateway.api_key("kpis:read", "journeys:read")
    error = await idle_gateway.refusal(RESULT, key, **asked)
    assert error["extensions"]["code"] == "FORBIDDEN"
    await idle_gateway.ask(RESULT, await idle_gateway.api_key("kpis:read", "journeys:read", "pii:read"), **asked)


async def test_the_same_question_has_the_same_hash(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key()

    async def hash_of(**given: object) -> str:
        asked = {"key": "csat", "range": {"last": "7d"}, **given}
        found = await idle_gateway.ask(RESULT, key, **asked)
        return str(found["kpi"]["result"]["hash"])

    assert await hash_of() == await hash_of(zone="Europe/Berlin"), "nothing in it has a calendar"
    others = [await hash_of(), await hash_of(by="touchpoint"), await hash_of(by="touchpoint", top=3)]
    others += [await hash_of(range={"last": "8d"}), await hash_of(key="session_length")]
    assert len(set(others)) == 5


async def test_a_long_range_begins_at_a_quarter_of_an_hour(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key()
    idle_gateway.clock.advance(7 * 60_000)
    try:
        for last, start in (("1d", "2026-11-20T10:00:00.000Z"), ("23h", "2026-11-20T11:07:00.000Z")):
            found = await idle_gateway.ask(RESULT, key, key="csat", range={"last": last})
            assert found["kpi"]["result"]["start"] == start
    finally:
        idle_gateway.clock.advance(-7 * 60_000)


async def test_a_million_values_are_some_and_other(gateway: Gateway) -> None:
    for name in range(12):
        properties = {"survey": "csat", "score": 5, "touchpoint": f"t{name % 6}"}
        await gateway.send(
            track("Survey Response Submitted", 60, userId=f"u{name}", properties=properties), derive=False
        )
    last = {"survey": "csat", "score": 1, "touchpoint": "t0"}
    await gateway.send(track("Survey Response Submitted", 50, userId="u0", properties=last))
    asked = {"key": "csat", "range": {"last": "7d"}, "by": "touchpoint", "top": 2}
    found = (await gateway.ask(RESULT, await gateway.api_key(), **asked))["kpi"]["result"]
    assert (found["n"], found["differentValues"]) == (13, 6)
    told = [(one["for"]["label"], one["n"], one["users"]["totalCount"]) for one in found["slices"]]
    assert told == [("t0", 3, 2), ("t1", 2, 2), ("other", 8, 8)]
    assert "By touchpoint: the 2 most frequent values, all others as other." in found["definition"]


def kpi(key: str, function: Function, *filters: Condition) -> Kpi:
    return Kpi(key, "?", "events", "higher", ("ux",), None, function, filters=filters)


async def test_what_does_not_meet_a_filter_is_as_if_it_had_never_been(database: Database) -> None:
    large, mobile = Condition("total", "gte", 100), Condition("client.device", "equals", "mobile")
    plus, all_events = Condition("traits.plan", "in", ("plus", "pro")), Count((rule("A"), rule("B")))
    kpis = [
        kpi("plain", all_events),
        kpi("large", all_events, large),
        kpi("without", all_events, Condition("total", "exists", False)),
        kpi("plus", UniqueUsers((rule("A"), rule("B"))), plus),
        kpi("no_plan", UniqueUsers((rule("A"), rule("B"))), Condition("traits.plan", "exists", False)),
        kpi("mobile", all_events, mobile),
        kpi("no_device", all_events, Condition("client.device", "exists", False)),
        kpi("depth", EngagementDepth((rule("A"), rule("B"))), large),
    ]
    gateway = Gateway(database, replace(load_shop(), kpis={one.key: one for one in kpis}))
    await gateway.prepare()
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
    await gateway.send(
        identify(DAY, userId="ann", traits={"plan": "plus"}),
        identify(DAY, userId="bob", traits={"plan": "free"}),
        track("A", DAY - 1, userId="ann", properties={"total": 150}),
        track("B", DAY - 2, userId="ann", properties={"total": 50}),
        track("A", DAY - 1, userId="bob", properties={"total": 100}),
        track("B", DAY - 2, userId="cyd", context={"userAgent": phone}),
    )
    try:
        query = '{ kpis { key result(range: {last: "7d"}) { value n } } }'
        found = {
            one["key"]: (one["result"]["value"], one["result"]["n"])
            for one in (await gateway.ask(query, await gateway.api_key()))["kpis"]
        }
        assert (found["plain"], found["mobile"], found["no_device"]) == ((4.0, 4), (1.0, 1), (3.0, 3))
        assert (found["large"], found["without"]) == ((2.0, 2), (1.0, 1))
        assert (found["plus"], found["no_plan"]) == ((1.0, 1), (1.0, 1))
        assert found["depth"] == (1.0, 2), "two sessions are left, with one name each"
    finally:
        await gateway.close()


async def test_nobody_is_behind_a_planned_kpi(database: Database) -> None:
    gateway = Gateway(database, replace(load_shop(), kpis={"later": kpi("later", Planned("how long calls last"))}))
    await gateway.prepare()
    try:
        query = '{ kpi(key: "later") { result(range: {last: "7d"}) { value users { totalCount } } } }'
        refused = await gateway.refusal(query, await gateway.api_key())
        assert refused["extensions"]["code"] == "INVALID_INPUT"
        assert "planned" in refused["message"]
    finally:
        await gateway.close()


async def test_a_series_says_where_the_definition_changed(database: Database) -> None:
    shop = load_contract(SHOP)
    path = "kpis/csat.yaml"
    texts = dict(shop.files)
    assert path in texts
    versions = Versions(database)
    for at, text in (
        (1_000, texts[path]),
        (2_000, texts[path] + "# a word\n"),
        (3_000, texts[path].replace("atLeast: 4", "atLeast: 5")),
        (4_000, texts[path]),
    ):
        await versions.apply(load_texts("shop", {**texts, path: text}), now=at, by="test")
    definitions = Definitions(History(versions))
    assert await definitions.changed("csat", [0, 10_000]) == [3_000, 4_000]
    assert await definitions.changed("csat", [3_500, 4_000]) == []
    assert await definitions.changed("nps", [0, 10_000]) == []
    assert await definitions.changed("none", [0, 10_000]) == []
