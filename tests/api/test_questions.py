"""Paths, variants, retention, trends and the other questions over the API, of a few people whose answers are known."""

from __future__ import annotations

from typing import Any

from tests.api.gateway_api import Gateway, track

HOUR = 60
DAY = 24 * HOUR
WEEK: dict[str, Any] = {"range": {"between": {"from": "2026-11-14T00:00:00Z", "to": "2026-11-21T00:00:00Z"}}}


async def visitors(gateway: Gateway) -> None:
    """Ann comes on three days and buys on the first, bob on one, cyd once, with a pause; NOW is Saturday at 10."""
    await gateway.send(
        track("View", 3 * DAY, userId="ann", properties={"shop": "north"}),
        track("Add", 3 * DAY - 5, userId="ann", properties={"shop": "north", "total": 10}),
        track("Buy", 3 * DAY - 10, userId="ann", properties={"shop": "north", "total": 30}),
        track("View", 2 * DAY, userId="ann", properties={"shop": "south"}),
        track("View", 1 * DAY, userId="ann"),
        track("View", 3 * DAY, userId="bob", properties={"shop": "north"}),
        track("Add", 3 * DAY - 5, userId="bob", properties={"total": 20}),
        track("View", 2 * DAY, userId="cyd"),
        track("View", 2 * DAY - 40, userId="cyd"),
    )


async def asked(gateway: Gateway, name: str, kind: str, fields: str, **given: object) -> Any:
    query = f"query($input: {kind}!) {{ {name}(input: $input) {{ definition hash asOf start end {fields} }} }}"
    return (await gateway.ask(query, await gateway.api_key(), input={**WEEK, **given}))[name]


USERS = "users { totalCount nodes { id } }"


async def test_sequences(gateway: Gateway) -> None:
    await visitors(gateway)
    fields = f"""total columns {{ number exited nodes {{ label isOther paths {USERS} }} }}
      links {{ column source target paths {USERS} }}"""
    found = await asked(gateway, "paths", "PathsInput", fields, anchor=[{"event": "View"}], depth=2)
    assert found["total"] == 6
    columns = [[(node["label"], node["paths"]) for node in column["nodes"]] for column in found["columns"]]
    assert columns == [[("View", 6)], [("Add", 2)], [("Buy", 1)]]
    assert [column["exited"] for column in found["columns"]] == [0, 4, 5]
    links = {(one["column"], one["source"], one["target"]): one for one in found["links"]}
    assert {key: one["paths"] for key, one in links.items()} == {
        (0, "View", "end"): 4,
        (0, "View", "Add"): 2,
        (1, "Add", "Buy"): 1,
        (1, "Add", "end"): 1,
    }
    assert links[0, "View", "end"]["users"]["totalCount"] == 2
    back = await asked(
        gateway, "paths", "PathsInput", fields, anchor=[{"event": "Buy"}], direction="TO", depth=3, unit="USER"
    )
    assert [[node["label"] for node in column["nodes"]] for column in back["columns"]] == [
        ["Buy"],
        ["Add"],
        ["View"],
        [],
    ]
    found = await asked(
        gateway, "variants", "VariantsInput", f"total different variants {{ events count coverage {USERS} }}"
    )
    assert (found["total"], found["different"]) == (6, 3)
    shown = [(one["events"], one["count"], one["users"]["totalCount"]) for one in found["variants"]]
    assert sorted(shown) == [(["View"], 4, 2), (["View", "Add"], 1, 1), (["View", "Add", "Buy"], 1, 1)]
    found = await asked(
        gateway,
        "directlyFollows",
        "DirectlyFollowsInput",
        f"different other begins {{ event sequences }} edges {{ source target count sequences meanSeconds {USERS} }}",
        top=1,
    )
    assert (found["different"], found["other"]) == (2, 1)
    (edge,) = found["edges"]
    assert (edge["source"], edge["target"], edge["count"], edge["meanSeconds"]) == ("View", "Add", 2, 300)
    assert edge["users"]["totalCount"] == 2
    assert found["begins"] == [{"event": "View", "sequences": 6}]
    found = await asked(
        gateway,
        "sessionStats",
        "SessionStatsInput",
        f"sessions people events {{ mean }} duration {{ mean }} engaged {{ hits n }} singleEvent {{ hits }} {USERS}",
        views=[{"event": "View"}],
    )
    assert (found["sessions"], found["people"], found["users"]["totalCount"]) == (6, 3, 3)
    assert (found["events"]["mean"], found["duration"]["mean"]) == (9 / 6, 900 / 6)
    assert (found["engaged"], found["singleEvent"]) == ({"hits": 2, "n": 6}, {"hits": 4})


async def test_activity(gateway: Gateway) -> None:
    await visitors(gateway)
    trend = f"differentValues series {{ value {{ label }} points {{ start value n complete {USERS} }} }}"

    def values(answer: Any) -> list[Any]:
        return [[point["value"] for point in one["points"]] for one in answer["series"]]

    view = [{"event": "View"}]
    found = await asked(gateway, "trend", "TrendInput", trend, events=view)
    assert values(found) == [[0, 0, 0, 0, 2, 3, 1]]
    assert found["series"][0]["points"][5]["users"]["totalCount"] == 2
    assert all(point["complete"] for point in found["series"][0]["points"])
    assert found["definition"].startswith("How many events: View from 2026-11-14")
    found = await asked(gateway, "trend", "TrendInput", trend, events=view, statistic="UNIQUES", interval="WEEK")
    assert values(found) == [[0, 3]]
    assert [point["complete"] for point in found["series"][0]["points"]] == [True, False]
    found = await asked(gateway, "trend", "TrendInput", trend, statistic="MEAN", value="total", timeZone="Asia/Tokyo")
    assert values(found)[0][:6] == [None, None, None, None, 20.0, None]
    found = await asked(gateway, "trend", "TrendInput", trend, events=view, by={"property": "shop"}, top=1)
    assert [one["value"]["label"] for one in found["series"]] == ["none", "other"]
    assert found["differentValues"] == 2
    assert values(found) == [[0, 0, 0, 0, 0, 2, 1], [0, 0, 0, 0, 2, 1, 0]]
    found = await asked(
        gateway,
        "retention",
        "RetentionInput",
        f"cohorts {{ start size cells {{ first share {{ hits n }} complete {USERS} }} }} average {{ hits n }}",
        start=view,
        back=view,
        buckets=2,
    )
    cohorts = {one["start"][:10]: one for one in found["cohorts"] if one["size"]}
    assert {day: one["size"] for day, one in cohorts.items()} == {"2026-11-18": 2, "2026-11-19": 1}
    assert [cell["share"]["hits"] for cell in cohorts["2026-11-18"]["cells"]] == [0, 1, 1]
    assert [cell["complete"] for cell in cohorts["2026-11-18"]["cells"]] == [True, True, False]
    assert cohorts["2026-11-18"]["cells"][1]["users"]["totalCount"] == 1
    found = await asked(
        gateway,
        "stickiness",
        "StickinessInput",
        f"ratio activeUsers complete bars {{ intervals exactly atLeast {USERS} }}",
        events=view,
    )
    assert (found["activeUsers"], found["ratio"]) == (3, 5 / 7 / 3)
    assert [(bar["exactly"], bar["atLeast"]) for bar in found["bars"][:4]] == [(2, 3), (0, 1), (1, 1), (0, 0)]
    groups = " ".join(f"{name} {{ count {USERS} }}" for name in ("new", "returning", "resurrecting", "dormant"))
    found = await asked(gateway, "lifecycle", "LifecycleInput", f"points {{ start complete {groups} }}", events=view)
    counts = [[point[name]["count"] for name in ("new", "returning", "dormant")] for point in found["points"]]
    assert counts == [[0, 0, 0]] * 4 + [[2, 0, 0], [1, 1, 1], [0, 1, 1]]
    fields = "churn { hits n } open users { totalCount } stayedUsers { totalCount } openUsers { totalCount }"
    found = await asked(gateway, "churn", "ChurnInput", fields, by={"usage": {"events": view, "inactive": "1d"}})
    assert (found["churn"], found["open"]) == ({"hits": 2, "n": 2}, 1)
    assert (found["users"]["totalCount"], found["openUsers"]["totalCount"]) == (2, 1)


async def test_what_is_wrong_is_named(gateway: Gateway) -> None:
    await visitors(gateway)
    view, key = [{"event": "View"}], await gateway.api_key()
    for name, kind, given, argument, said in (
        ("trend", "TrendInput", {"timeZone": "Europe/Berln"}, "timeZone", "Did you mean 'Europe/Berlin'?"),
        ("trend", "TrendInput", {"timeZone": "../etc"}, "timeZone", "no time zone"),
        ("trend", "TrendInput", {"statistic": "SUM"}, "value", "goes with"),
        ("trend", "TrendInput", {"statistic": "SUM", "value": "totals"}, "value", "Did you mean 'total'?"),
        ("paths", "PathsInput", {"depth": 11}, "depth", "1 to 10"),
        ("paths", "PathsInput", {"totals": True}, "anchor", "from an anchor only"),
        ("variants", "VariantsInput", {"events": [{"event": "Vieww"}]}, "events.0", "Did you mean 'View'?"),
        ("retention", "RetentionInput", {"start": [], "back": view}, "start", "1 to 30"),
        ("retention", "RetentionInput", {"start": view, "back": view, "interval": "HOUR"}, "interval", "by day"),
        ("churn", "ChurnInput", {"by": {"usage": {"events": view, "inactive": "1h"}}}, "by.usage", "a day or more"),
    ):
        query = f"query($input: {kind}!) {{ {name}(input: $input) {{ hash }} }}"
        error = await gateway.refusal(query, key, input={**WEEK, **given})
        assert error["extensions"]["code"] == "INVALID_INPUT", error
        assert error["extensions"]["argument"] == argument, error
        assert said in error["message"] + error["extensions"].get("hint", ""), error
    query = "query($input: TrendInput!) { trend(input: $input) { hash } }"
    error = await gateway.refusal(query, key, input={"range": {"last": "52w"}, "interval": "HOUR"})
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "Ask for longer intervals" in error["extensions"]["hint"]


async def test_friction(gateway: Gateway) -> None:
    await gateway.send(
        track("Product List Viewed", 3 * DAY, userId="ann"),
        track("Product Added", 3 * DAY - 5, userId="ann"),
        track("Payment Failed", 3 * DAY - 6, userId="ann"),
        track("Payment Failed", 3 * DAY - 7, userId="ann"),
        track("Order Completed", 3 * DAY - 8, userId="ann"),
        track("Product List Viewed", 3 * DAY, userId="bob"),
    )
    fields = f"""stages {{ key visits people open dropped {{ hits n }} withError {{ hits n }} withRepeat {{ hits }}
      errors repeats lasted {{ n mean }} {USERS} errorUsers {{ totalCount }} }}"""
    found = await asked(
        gateway, "friction", "FrictionInput", fields, map="purchase", errors=[{"event": "Payment Failed"}]
    )
    journeys = "{ journeys { nodes { stageVisits { stage { key } } } } }"
    visited = (await gateway.ask(journeys, await gateway.api_key()))["journeys"]["nodes"]
    counts = {one["key"]: one["visits"] for one in found["stages"]}
    for key, count in counts.items():
        assert count == sum(visit["stage"]["key"] == key for one in visited for visit in one["stageVisits"])
    with_errors = [one for one in found["stages"] if one["errors"]]
    assert [(one["errors"], one["repeats"], one["errorUsers"]["totalCount"]) for one in with_errors] == [(2, 1, 1)]
    assert sum(one["open"] for one in found["stages"]) == 1
    error = await gateway.refusal(
        "query($input: FrictionInput!) { friction(input: $input) { hash } }",
        await gateway.api_key(),
        input={**WEEK, "map": "nowhere"},
    )
    assert error["extensions"]["argument"] == "map"
