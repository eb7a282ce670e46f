"""Funnels over the API: the numbers, who is behind them, what is refused, and what changes the next answer."""

from __future__ import annotations

from typing import Any

from gateway.insights.columnar.scan import Limits
from tests.api.gateway_api import Gateway, identify, track

HOUR = 60
DAY = 24 * HOUR
FUNNEL = """query($input: FunnelInput!) { funnel(input: $input) {
  definition hash asOf start end complete differentValues
  funnel { ...Numbers } slices { value { value label isOther } funnel { ...Numbers } } } }
fragment Numbers on Funnel { entered converted dropped open excluded conversion { hits n value low high }
  toConvert { n mean } steps { number label optional reached dropped open excluded ofFirst { value } } }"""
SHOP: dict[str, Any] = {
    "steps": [{"event": "Product List Viewed"}, {"event": "Product Added"}, {"event": "Order Completed"}],
    "range": {"last": "28d"},
}


async def shoppers(gateway: Gateway) -> None:
    """Four see a list; ann and bob put something into the cart, bob buys; dan saw the list an hour ago."""
    await gateway.send(
        *(track("Product List Viewed", 2 * DAY, userId=name, properties={"shop": "north"}) for name in ("ann", "bob")),
        track("Product List Viewed", 2 * DAY, userId="cyd", properties={"shop": "south"}),
        track("Product List Viewed", HOUR, userId="dan"),
        track("Product Added", 2 * DAY - 10, userId="ann"),
        track("Product Added", 2 * DAY - 10, userId="bob"),
        track("Product Removed", 2 * DAY - 11, userId="bob"),
        track("Order Completed", 2 * DAY - 20, userId="bob", properties={"total": 120}),
    )


async def asked(gateway: Gateway, **more: object) -> Any:
    found = await gateway.ask(FUNNEL, await gateway.api_key("kpis:read"), input={**SHOP, **more})
    return found["funnel"]


def reached(answer: Any) -> list[int]:
    return [step["reached"] for step in answer["funnel"]["steps"]]


async def test_a_funnel_says_how_far_everybody_got(gateway: Gateway) -> None:
    await shoppers(gateway)
    found = await asked(gateway, window="12h")
    assert reached(found) == [4, 2, 1]
    numbers = found["funnel"]
    assert [numbers[name] for name in ("entered", "converted", "dropped", "open", "excluded")] == [4, 1, 2, 1, 0]
    assert (numbers["conversion"]["hits"], numbers["conversion"]["n"]) == (1, 3)
    assert numbers["conversion"]["low"] < 1 / 3 < numbers["conversion"]["high"]
    assert numbers["toConvert"] == {"n": 1, "mean": 1200}
    assert [step["dropped"] for step in numbers["steps"]] == [1, 1, 0]
    assert [step["open"] for step in numbers["steps"]] == [1, 0, 0]
    assert (found["asOf"], found["complete"], found["slices"]) == ("2026-11-21T10:00:00.000Z", False, [])
    assert found["definition"] == (
        "Steps: 1 Product List Viewed; 2 Product Added; 3 Order Completed; one after the other with anything in "
        "between, within 12h of the first step. Counted: one attempt of each user, the deepest, that begins in the "
        "last 28d. Who still has time is in no share. Users who deny analytics are left out."
    )


OPTIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({"order": "STRICT"}, [4, 2, 0]),
    ({"order": "ANY_ORDER"}, [4, 2, 1]),
    ({"counting": "SESSIONS"}, [4, 2, 1]),
    ({"counting": "TOTALS", "reEntry": "FIRST_TOUCH"}, [4, 2, 1]),
    ({"exclusions": [{"event": "Product Removed", "after": 2}]}, [4, 2, 0]),
    (
        {"steps": [*SHOP["steps"][:2], {"event": "Order Completed", "where": [{"property": "total", "gt": 120}]}]},
        [4, 2, 0],
    ),
    ({"steps": [SHOP["steps"][0], {"event": "Product Added", "optional": True}, SHOP["steps"][2]]}, [4, 2, 1]),
]


async def test_options_of_a_funnel(gateway: Gateway) -> None:
    await shoppers(gateway)
    for options, wanted in OPTIONS:
        assert reached(await asked(gateway, window="12h", **options)) == wanted, options


async def test_a_funnel_by_value_has_everybody_once(gateway: Gateway) -> None:
    await shoppers(gateway)
    found = await asked(gateway, breakdown={"by": {"property": "shop"}, "top": 1})
    assert found["differentValues"] == 2
    assert [(one["value"]["label"], one["value"]["isOther"], one["funnel"]["entered"]) for one in found["slices"]] == [
        ("north", False, 2),
        ("other", True, 2),
    ]
    assert "By property shop, of the first step that has one; the 1 most frequent" in found["definition"]


PEOPLE = """query($input: FunnelInput!, $first: Int, $after: Cursor) { funnel(input: $input) { funnel { steps {
  droppedUsers(first: 5) { totalCount nodes { id } }
  users(first: $first, after: $after) { totalCount nodes { id } pageInfo { hasNextPage endCursor } } } } } }"""


async def test_the_people_behind_a_step_come_in_pages(gateway: Gateway) -> None:
    await shoppers(gateway)
    key = await gateway.api_key("kpis:read", "journeys:read")
    ids, after = [], None
    while True:
        found = await gateway.ask(PEOPLE, key, input=SHOP, first=3, after=after)
        page = found["funnel"]["funnel"]["steps"][0]["users"]
        ids += [one["id"] for one in page["nodes"]]
        assert page["totalCount"] == 4
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    everybody = await gateway.ask("{ users { nodes { id } } }", key)
    assert sorted(ids) == ids == sorted(one["id"] for one in everybody["users"]["nodes"])
    dropped = found["funnel"]["funnel"]["steps"][1]["droppedUsers"]
    ann = (await gateway.ask('{ user(by: {userId: "ann"}) { id } }', key))["user"]["id"]
    assert dropped == {"totalCount": 1, "nodes": [{"id": ann}]}


async def test_who_may_see_no_users_sees_none_behind_a_number(gateway: Gateway) -> None:
    found = await gateway.answer(PEOPLE, await gateway.api_key("kpis:read"), input=SHOP)
    assert {error["extensions"]["code"] for error in found["errors"]} == {"FORBIDDEN"}
    assert found.get("data") is None


async def test_what_comes_changes_the_next_answer(gateway: Gateway) -> None:
    await shoppers(gateway)
    first = await asked(gateway)
    gateway.clock.advance(1000)
    again = await asked(gateway)
    assert again == first, "nothing has come: the same answer, as of then"
    await gateway.send(track("Product Added", 2 * DAY - 5, userId="cyd"))
    late = await asked(gateway)
    assert reached(late) == [4, 3, 1]
    assert late["asOf"] > first["asOf"]
    await gateway.send(identify(1, userId="dan", anonymousId="phone"), track("Product Added", 30, anonymousId="phone"))
    assert reached(await asked(gateway)) == [4, 4, 1]
    deny = """mutation { setConsent(input: {user: {userId: "bob"}, purposes: {analytics: DENIED}, source: "banner"}) {
      errors { code } } }"""
    assert (await gateway.ask(deny, await gateway.api_key()))["setConsent"]["errors"] == []
    gateway.clock.advance(10)
    await gateway.derive()
    assert reached(await asked(gateway)) == [3, 3, 0]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"window": "0d"}, "window", "no duration"),
    ({"steps": []}, "steps", "0 steps; 1 to 30"),
    ({"steps": SHOP["steps"] * 134}, "steps", "402 steps; 1 to 30"),
    ({"steps": [{"event": "Product Aded"}]}, "steps.0", "Did you mean 'Product Added'?"),
    (
        {"steps": [{"event": "Order Completed", "where": [{"property": "totel", "gt": 1}]}]},
        "steps.0.where",
        "Did you mean 'total'?",
    ),
    ({"steps": [{"event": "Product Added", "where": [{"property": "a"}]}]}, "steps.0.where", "exactly one of"),
    (
        {"steps": [{"event": "Product Added", "where": [{"property": "a", "gt": True}]}]},
        "steps.0.where.gt",
        "a number or a text",
    ),
    ({"breakdown": {"by": {"property": "shoop"}}}, "by.property", "Did you mean 'shop'?"),
    ({"breakdown": {"by": {"property": "shop"}, "top": 101}}, "top", "1 to 100"),
    (
        {"range": {"between": {"from": "2027-01-01T00:00:00Z", "to": "2027-02-01T00:00:00Z"}}},
        "range.between",
        "lies in the future",
    ),
    (
        {"range": {"between": {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}},
        "range.between",
        "`from` is not before `to`",
    ),
    ({"toleranceMs": -1}, "toleranceMs", "0 to 60,000"),
    ({"order": "STRICT", "exclusions": [{"event": "Product Removed"}]}, "exclusions", "strict order"),
]


async def test_what_is_wrong_is_named(gateway: Gateway) -> None:
    await shoppers(gateway)
    for wrong, argument, said in WRONG:
        error = await gateway.refusal(FUNNEL, await gateway.api_key(), input={**SHOP, **wrong})
        assert error["extensions"]["code"] == "INVALID_INPUT", wrong
        assert error["extensions"]["argument"] == argument, wrong
        assert said in error["message"] + error["extensions"].get("hint", ""), wrong


async def test_a_question_about_too_much_says_what_to_narrow(gateway: Gateway) -> None:
    await shoppers(gateway)
    gateway.scans.limits = Limits(stored_rows=3)
    error = await gateway.refusal(FUNNEL, await gateway.api_key(), input=SHOP)
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "ask for less" in error["extensions"]["hint"]


async def test_a_trait_is_asked_about_by_those_who_may_see_traits(gateway: Gateway) -> None:
    await shoppers(gateway)
    await gateway.send(identify(1, userId="ann", traits={"plan": "gold"}))
    by = {"breakdown": {"by": {"trait": "plan"}}}
    refused = await gateway.refusal(FUNNEL, await gateway.api_key("kpis:read"), input={**SHOP, **by})
    assert refused["extensions"]["code"] == "FORBIDDEN"
    found = await gateway.ask(FUNNEL, await gateway.api_key(), input={**SHOP, **by})
    slices = [(one["value"]["label"], one["funnel"]["entered"]) for one in found["funnel"]["slices"]]
    assert slices == [("none", 3), ("gold", 1)]
