"""Scores through the API: the same numbers as the KPI of the same answers, broken down, compared, and correlated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.contract import load_contract
from gateway.store.database import Database
from tests.api.gateway_api import SHOP, Gateway, Json, track
from tests.api.survey_files import CES, CSAT, NPS, asking
from tests.api.test_anonymous_surveys import ANONYMOUS, answered
from tests.api.test_surveys import gateway_of, next_of, ordered, submit

DAY = 24 * 60
CX = """query($metric: CxMetric!, $range: RangeInput!, $by: String, $segment: ID, $survey: ID, $method: CesMethod) {
  cx(metric: $metric, range: $range, by: $by, segment: $segment, survey: $survey, method: $method) {
  metric surveys value n low high enough definition distribution { answer count }
  responseRate { shown answered dismissed partly rate low high }
  change { difference significant words }
  slices { for { label } value n suppressed } users { nodes { id } } anonymousComments } }"""
CORRELATE = """query($outcome: OutcomeInput!) { correlate(metric: CSAT, range: {last: "30d"}, outcome: $outcome,
  within: "7d") { value n low high open withOutcome meanWith meanWithout method definition } }"""


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    """A gateway that asks, with every KPI of the shop about scores, and the segment of the unhappy who left."""
    shop = load_contract(SHOP)
    contract = asking(CSAT, NPS, CES, ANONYMOUS)
    kpis = {key: shop.kpis[key] for key in ("csat", "nps", "ces")}
    async for gateway in gateway_of(database, replace(contract, kpis=kpis)):
        yield gateway


def response(user: str, score: int, minutes: float, survey: str = "csat", **more: Any) -> Json:
    return track(
        "Survey Response Submitted", minutes, userId=user, properties={"survey": survey, "score": score, **more}
    )


async def cx(gateway: Gateway, metric: str = "CSAT", last: str = "7d", **more: Any) -> Json:
    found = await gateway.ask(CX, await gateway.api_key(), metric=metric, range={"last": last}, **more)
    result: Json = found["cx"]
    return result


async def test_the_score_is_that_of_the_kpi_of_the_same_answers(shop: Gateway) -> None:
    await shop.send(
        *(response(f"u{number}", score, 60 + number) for number, score in enumerate([5, 4, 4, 5, 4, 4, 5, 5, 3, 1])),
        *(response(f"u{number}", 9, 30, "nps") for number in range(3)),
        response("odd", 9, 10),
        *(track("Survey Shown", 200, userId=f"u{number}", properties={"survey": "csat"}) for number in range(20)),
        track("Survey Dismissed", 100, userId="u15", properties={"survey": "csat"}),
        track("Survey Question Answered", 100, userId="u16", properties={"survey": "csat", "question": "satisfaction"}),
    )
    found = await cx(shop)
    assert (found["value"], found["n"], round(found["low"], 1), round(found["high"], 1)) == (80, 10, 49.0, 94.3)
    assert (found["surveys"], found["enough"]) == (["csat"], False)
    assert [one["count"] for one in found["distribution"]] == [1, 0, 1, 4, 4]
    rate = found["responseRate"]
    assert (rate["shown"], rate["answered"], rate["dismissed"], rate["partly"], rate["rate"]) == (20, 10, 1, 1, 50)
    assert len(found["users"]["nodes"]) == 10
    kpi = """{ kpi(key: "csat") { result(range: {last: "7d"}) { value n low high } } }"""
    same = (await shop.ask(kpi, await shop.api_key()))["kpi"]["result"]
    assert same == {key: found[key] for key in ("value", "n", "low", "high")}
    assert (await cx(shop, "NPS", survey="nps"))["value"] == 100


async def test_a_change_is_told_apart_from_chance(shop: Gateway) -> None:
    then = [response(f"a{number}", 5 if number < 18 else 2, 10 * DAY) for number in range(40)]
    now = [response(f"b{number}", 5 if number < 36 else 2, DAY) for number in range(40)]
    await shop.send(*then, *now)
    found = (await cx(shop))["change"]
    assert (found["difference"], found["significant"]) == (45, True)
    assert found["words"].startswith("Up 45.0 percentage points on the period before: more than chance")
    none = (await cx(shop, last="1h"))["change"]
    assert none["words"] == "There are no answers in this period."


async def test_by_the_stage_in_which_people_answered_and_none_of_too_few(shop: Gateway) -> None:
    for stage, count in (("purchased", 9), ("checkout", 6), ("cart", 3)):
        await shop.send(
            *(response(f"{stage}{one}", 5, 60, journey={"purchase": stage}) for one in range(count)), derive=False
        )
    await shop.derive()
    slices = (await cx(shop, by="journey.purchase"))["slices"]
    shown = {one["for"]["label"]: (one["value"], one["n"], one["suppressed"]) for one in slices}
    # The smallest of the others goes too: the whole less the rest would tell the three.
    assert shown == {
        "purchased": (100, 9, False),
        "checkout": (None, None, True),
        "cart": (None, None, True),
    }
    asked = """{ journeyMap(key: "purchase") { stages { key cx(metric: CSAT, range: {last: "7d"}) {
      value n responseRate { shown } } } } }"""
    stages = (await shop.ask(asked, await shop.api_key()))["journeyMap"]["stages"]
    told = {one["key"]: (one["cx"]["value"], one["cx"]["n"]) for one in stages}
    assert told == {"browse": (None, 0), "cart": (100, 3), "checkout": (100, 6), "purchased": (100, 9)}


async def test_effort_by_its_methods(shop: Gateway) -> None:
    await shop.send(*(response(f"u{score}", score, 60, "ces") for score in range(1, 8)))
    found = {method: (await cx(shop, "CES", method=method))["value"] for method in ("MEAN", "PERCENT_EASY", "INDEX")}
    assert found["MEAN"] == 4
    assert round(found["PERCENT_EASY"], 1) == 42.9
    assert round(found["INDEX"], 1) == -14.3


async def test_a_score_and_what_people_do_afterwards(shop: Gateway) -> None:
    """Those with high scores buy again; those who answered a moment ago still have time."""
    for number in range(24):
        score, user = 1 + number % 5, f"u{number}"
        again = [track("Order Completed", 19 * DAY, userId=user)] if score >= 4 else []
        await shop.send(response(user, score, 20 * DAY), *again, derive=False)
    await shop.send(response("late", 1, 60))
    key = await shop.api_key()
    found = (await shop.ask(CORRELATE, key, outcome={"event": "Order Completed"}))["correlate"]
    assert (found["n"], found["open"], found["withOutcome"]) == (24, 1, 9)
    assert found["value"] > 0.8
    assert found["low"] > 0.5
    assert (found["meanWith"], found["meanWithout"]) == (pytest.approx(40 / 9), 2)
    assert found["method"].startswith("Spearman")
    unknown = await shop.refusal(CORRELATE, key, outcome={"event": "Order Competed"})
    assert unknown["extensions"]["hint"] == "Did you mean 'Order Completed'?"
    segment = next(iter(shop.contract.segments))
    among = (await shop.ask(CORRELATE, key, outcome={"segment": segment}))["correlate"]
    assert among["n"] == 25


async def test_where_in_the_journey_people_were_unhappy(shop: Gateway) -> None:
    for user, score in (("ada", 2), ("lee", 3), ("zoe", 1)):
        await shop.send(*ordered(50, user), response(user, score, 40))
    asked = """query($input: FrictionInput!) { friction(input: $input) {
      definition stages { key withLowScore { hits n } lowScores } } }"""
    given = {"map": "purchase", "range": {"last": "1d"}, "metric": "CSAT"}
    found = (await shop.ask(asked, await shop.api_key(), input=given))["friction"]
    low = {one["key"]: (one["lowScores"], one["withLowScore"]["hits"]) for one in found["stages"]}
    assert low == {"browse": (0, 0), "cart": (0, 0), "checkout": (0, 0), "purchased": (2, 2)}
    assert "with score of 2 or less" in found["definition"]
    both = given | {"scores": {"events": [{"event": "Survey Response Submitted"}], "property": "score", "low": 1}}
    error = await shop.refusal(asked, await shop.api_key(), input=both)
    assert error["extensions"]["argument"] == "metric"


async def test_anonymous_answers_count_once_they_are_known(shop: Gateway) -> None:
    await answered(shop, {f"p{number}": (9 if number < 4 else 0, "") for number in range(4)})
    assert (await cx(shop, "NPS", survey="mood"))["n"] == 0
    await answered(shop, {"p4": (0, "too slow")})
    found = await cx(shop, "NPS", survey="mood")
    assert (found["value"], found["n"]) == (60, 5)
    assert found["anonymousComments"] == ["too slow"]
    assert found["users"]["nodes"] == []
    assert found["responseRate"]["answered"] == 5
    assert "Anonymous answers count too, 5 of them." in found["definition"]
    # Together with those of the survey that is not anonymous; and in no breakdown.
    await shop.send(response("ada", 10, 1, "nps"))
    both = await cx(shop, "NPS")
    assert (both["n"], both["surveys"]) == (6, ["mood", "nps"])
    assert (await cx(shop, "NPS", by="survey"))["n"] == 1


async def test_what_is_asked_about_what_nobody_measures_is_refused(shop: Gateway) -> None:
    key = await shop.api_key()
    for given, argument in (
        ({"survey": "csta"}, "survey"),
        ({"survey": "nps"}, "survey"),
        ({"segment": "x"}, "segment"),
    ):
        told = await shop.refusal(CX, key, metric="CSAT", range={"last": "7d"}, **given)
        assert (told["extensions"]["code"], told["extensions"]["argument"]) == ("INVALID_INPUT", argument)


async def test_what_was_answered_through_the_gateway_is_in_the_score(database: Database) -> None:
    async for shop in gateway_of(database, asking(CSAT)):
        await shop.send(*ordered())
        offer = (await next_of(shop))["offer"]
        assert (await submit(shop, offer, ("satisfaction", 4)))["stored"] is True
        await shop.derive()
        shop.clock.advance(60_000)
        found = await cx(shop, by="journey.purchase")
        assert (found["value"], found["n"]) == (100, 1)
        assert [one["suppressed"] for one in found["slices"]] == [True]
