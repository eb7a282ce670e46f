"""Segments over the API: who is in them, who enters and leaves by deeds and by time, and questions of them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.contract import Segment
from gateway.contract.reading.segments import build_segment
from gateway.store.database import Database
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, Json, identify, load_shop, track
from tests.api.test_questions import WEEK
from tests.api.test_watching import silent, started

HOUR = 60
DAY = 24 * HOUR
FOLLOW = """subscription($key: ID, $after: Cursor) { segmentChanged(key: $key, after: $after) {
  cursor gap { missed } segment { key } entered at user { id } } }"""
WHO: dict[str, Any] = {
    "buyers": {"did": {"event": "Buy", "within": "3d"}},
    "big": {
        "all": [
            {"did": {"event": "Buy", "where": [{"property": "total", "gte": 20}]}},
            {"trait": {"property": "plan", "equals": "plus"}},
        ]
    },
    "waiting": {"stage": {"map": "purchase", "stage": "checkout", "status": "active"}},
    "on_phones": {"client": {"property": "device", "equals": "mobile"}},
}
PHONE = {
    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
}


def segment(key: str, who: Any) -> Segment:
    return build_segment({"key": key, "name": key, "description": "d", "owners": ["ux"], "who": who}, {})


@pytest.fixture
async def grouping(database: Database) -> Any:
    contract = replace(load_shop(), segments={key: segment(key, who) for key, who in WHO.items()})
    gateway = Gateway(database, contract)
    await gateway.prepare()
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()
    await gateway.close()


async def people(gateway: Gateway) -> None:
    """Ann has bought much and pays for plus, bob little, cyd stands in the checkout with a phone."""
    await gateway.send(
        identify(2 * DAY, userId="ann", traits={"plan": "plus"}),
        track("Buy", 2 * DAY, userId="ann", properties={"total": 30}),
        track("Buy", 1 * DAY, userId="bob", properties={"total": 5}),
        track("Checkout Started", 10, userId="cyd", context=PHONE),
    )


async def sweep(gateway: Gateway) -> None:
    """What time has changed, as the deriving process looks every second."""
    assert gateway._lease is not None
    await gateway.deriver._sweep(gateway._lease)


async def user_ids(gateway: Gateway) -> dict[str, str]:
    key = await gateway.api_key()
    found: dict[str, str] = {}
    for name in ("ann", "bob", "cyd"):
        answer = await gateway.ask("query($n: String!) { user(by: {userId: $n}) { id } }", key, n=name)
        if answer["user"]:
            found[name] = answer["user"]["id"]
    return found


async def of(gateway: Gateway, key: str) -> tuple[int, set[str]]:
    """How many, and who."""
    query = "query($key: ID!) { segment(key: $key) { count users { totalCount nodes { identities { value } } } } }"
    found = (await gateway.ask(query, await gateway.api_key(), key=key))["segment"]
    assert found["count"] == found["users"]["totalCount"] == len(found["users"]["nodes"])
    return found["count"], {one["value"] for node in found["users"]["nodes"] for one in node["identities"]}


async def test_users_are_in_segments_by_what_they_did_said_and_use_and_where_they_stand(grouping: Gateway) -> None:
    await people(grouping)
    assert await of(grouping, "buyers") == (2, {"ann", "bob"})
    assert await of(grouping, "big") == (1, {"ann"})
    assert await of(grouping, "waiting") == (1, {"cyd"})
    assert await of(grouping, "on_phones") == (1, {"cyd"})
    found = await grouping.ask(
        '{ segments { key name definition hash owners } user(by: {userId: "ann"}) { segments { key } } }',
        await grouping.api_key(),
    )
    assert [one["key"] for one in found["segments"]] == [*WHO]
    assert found["segments"][0]["definition"] == 'Users who did "Buy" within the last 3 days.'
    assert found["user"]["segments"] == [{"key": "big"}, {"key": "buyers"}]
    then = await grouping.ask(
        'query($at: DateTime) { user(by: {userId: "ann"}, asOf: $at) { segments { key } } }',
        await grouping.api_key(),
        at="2026-11-30T10:00:00Z",
    )
    assert then["user"]["segments"] == [{"key": "big"}, {"key": "buyers"}], "a moment to come is now"
    node = await grouping.ask('{ node(id: "segment_big") { ... on Segment { key } } }', await grouping.api_key())
    assert node["node"] == {"key": "big"}


async def test_pages_go_through_a_segment(grouping: Gateway) -> None:
    await grouping.send(*(track("Buy", 9, userId=f"u{number}") for number in range(7)))
    query = """query($after: Cursor) { segment(key: "buyers") { users(first: 3, after: $after) {
      nodes { id } pageInfo { hasNextPage endCursor } } } }"""
    seen: list[str] = []
    after, more = None, True
    while more:
        page = (await grouping.ask(query, await grouping.api_key(), after=after))["segment"]["users"]
        seen += [one["id"] for one in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == sorted(set(seen))
    assert len(seen) == 7


async def test_a_segment_is_left_by_time_and_followed_without_gaps(grouping: Gateway) -> None:
    key = await grouping.api_key()
    async with grouping.socket(key) as socket:
        cursor = await started(socket, FOLLOW, key="buyers")
        await people(grouping)
        entered = [(await socket.news())["segmentChanged"] for _ in range(2)]
        ids = await user_ids(grouping)
        assert {one["user"]["id"] for one in entered} == {ids["ann"], ids["bob"]}
        assert all(one["entered"] and one["segment"] == {"key": "buyers"} for one in entered)
        grouping.clock.advance(DAY * 60_000)
        await sweep(grouping)
        assert await silent(socket), "exactly three days old still counts"
        grouping.clock.advance(1)
        await sweep(grouping)
        left = (await socket.news())["segmentChanged"]
        assert (left["entered"], left["user"]["id"]) == (False, ids["ann"])
        await sweep(grouping)
        assert await silent(socket)
    assert await of(grouping, "buyers") == (1, {"bob"})
    async with grouping.socket(key) as socket:
        await socket.subscribe(FOLLOW, after=cursor, key="buyers")
        told = [(await socket.news())["segmentChanged"] for _ in range(3)]
        heard = {name: [one["entered"] for one in told if one["user"]["id"] == ids[name]] for name in ("ann", "bob")}
        assert heard == {"ann": [True, False], "bob": [True]}


async def test_a_late_event_a_merge_and_an_erasure_are_felt(grouping: Gateway) -> None:
    await grouping.send(track("Buy", 10, anonymousId="phone"), track("View", 15, userId="ann"))
    assert await of(grouping, "buyers") == (1, {"phone"})
    key = await grouping.api_key()
    async with grouping.socket(key) as socket:
        await started(socket, FOLLOW, key="buyers")
        await grouping.send(identify(1, userId="ann", anonymousId="phone"))
        assert await of(grouping, "buyers") == (1, {"ann", "phone"})
        changes = [(await socket.news())["segmentChanged"] for _ in range(2)]
        assert sorted(one["entered"] for one in changes) == [False, True]
    erase = """mutation { eraseUser(input: {user: {userId: "ann"}, reason: "asked"}) { errors { message } } }"""
    assert (await grouping.ask(erase, key))["eraseUser"]["errors"] == []
    await grouping.derive()
    assert await of(grouping, "buyers") == (0, set())


async def test_who_denies_analytics_is_in_no_segment(grouping: Gateway) -> None:
    await people(grouping)
    key = await grouping.api_key()
    deny = """mutation { setConsent(input: {user: {userId: "ann"}, purposes: {analytics: DENIED}, source: "s"}) {
      errors { message } } }"""
    await grouping.ask(deny, key)
    await grouping.derive()
    assert await of(grouping, "buyers") == (1, {"bob"})
    found = await grouping.ask('{ user(by: {userId: "ann"}) { segments { key } } }', key)
    assert found["user"]["segments"] == []
    async with grouping.socket(key) as socket:
        await started(socket, FOLLOW)
        grouping.clock.advance(3 * DAY * 60_000)
        await sweep(grouping)
        told = (await socket.news())["segmentChanged"]
        while told["segment"] is None:  # a message about ann only moves the cursor on
            told = (await socket.news())["segmentChanged"]
        assert (told["segment"], told["entered"]) == ({"key": "buyers"}, False)
        assert told["user"]["id"] == (await user_ids(grouping))["bob"]


async def test_another_rule_folds_everybody_anew(grouping: Gateway, database: Database) -> None:
    await people(grouping)
    assert grouping._lease is not None
    changed = replace(
        grouping.contract, segments={"buyers": segment("buyers", {"did": {"event": "Buy", "atLeast": 2}})}
    )
    again = Gateway(database, changed)
    again._lease = grouping._lease
    assert changed.journeys_hash != grouping.contract.journeys_hash
    while await again.deriver._sweep(grouping._lease):
        pass
    assert await of(again, "buyers") == (0, set())
    await again.send(track("Buy", 1, userId="bob"))
    assert await of(again, "buyers") == (1, {"bob"})
    await again.close()


async def test_every_question_takes_a_segment(grouping: Gateway) -> None:
    await people(grouping)
    await grouping.send(
        track("View", 2 * DAY + 5, userId="ann", properties={"shop": "north"}),
        track("View", 2 * DAY, userId="bob", properties={"shop": "south"}),
        track("View", 2 * DAY, userId="cyd", properties={"shop": "west"}),
    )
    view, buy = {"event": "View"}, {"event": "Buy"}
    whole: dict[str, Any] = {"range": {"last": "7d"}}
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "funnel": ("FunnelInput", "funnel { steps { reached } }", {"steps": [view, buy]}),
        "paths": ("PathsInput", "total", {"unit": "USER"}),
        "variants": ("VariantsInput", "total", {"unit": "USER"}),
        "directlyFollows": ("DirectlyFollowsInput", "begins { sequences }", {"unit": "USER"}),
        "retention": ("RetentionInput", "cohorts { size }", {"start": [view], "back": [buy]}),
        "stickiness": ("StickinessInput", "activeUsers", {}),
        "lifecycle": ("LifecycleInput", "points { new { count } }", {}),
        "churn": ("ChurnInput", "churn { n } open", {"by": {"usage": {"events": [view], "inactive": "1d"}}}),
        "sessionStats": ("SessionStatsInput", "people", {}),
        "friction": ("FrictionInput", "stages { key people }", {"map": "purchase"}),
        "trend": (
            "TrendInput",
            "differentValues series { points { n } }",
            {"by": {"property": "shop"}, "events": [view]},
        ),
    }
    key = await grouping.api_key()
    for name, (kind, fields, given) in asked.items():
        query = f"query($input: {kind}!) {{ {name}(input: $input) {{ definition hash {fields} }} }}"
        every = (await grouping.ask(query, key, input={**whole, **given}))[name]
        some = (await grouping.ask(query, key, input={**whole, **given, "segment": "buyers"}))[name]
        assert some["hash"] != every["hash"], name
        assert "who are in the segment 'buyers' now: Users who did" in some["definition"]
        assert "segment" not in every["definition"]
        counts = (numbers(every), numbers(some))
        if name == "friction":
            assert counts == (1, 0)
        else:
            assert (counts[0], counts[1]) == (3, 2), name


def numbers(answer: Any) -> int:
    """How many users an answer is about."""
    for name in ("total", "people", "activeUsers", "differentValues"):
        if name in answer:
            return int(answer[name])
    if "funnel" in answer:
        return int(answer["funnel"]["steps"][0]["reached"])
    if "begins" in answer:
        return sum(one["sequences"] for one in answer["begins"])
    if "cohorts" in answer:
        return sum(one["size"] for one in answer["cohorts"])
    if "points" in answer:
        return sum(one["new"]["count"] for one in answer["points"])
    if "churn" in answer:
        return int(answer["churn"]["n"] + answer["open"])
    return sum(one["people"] for one in answer["stages"])


async def test_an_answer_is_not_remembered_when_others_are_in_the_segment(grouping: Gateway) -> None:
    await people(grouping)
    query = "query($input: SessionStatsInput!) { sessionStats(input: $input) { people } }"
    given = {"range": {"last": "7d"}, "segment": "buyers"}
    key = await grouping.api_key()
    assert (await grouping.ask(query, key, input=given))["sessionStats"]["people"] == 2
    state = await grouping.users.get(grouping_scope(), [(await user_ids(grouping))["ann"].removeprefix("user_")])
    (ann,) = state.values()
    await database_leaves(grouping, ann.user)
    assert (await grouping.ask(query, key, input=given))["sessionStats"]["people"] == 1


def grouping_scope() -> Any:
    from gateway.model.scope import Scope

    return Scope.system(WORKSPACE)


async def database_leaves(gateway: Gateway, user: str) -> None:
    """Somebody leaves the segment though nothing came: as when time runs out."""
    await gateway.database.update_one("users", {"_id": user, "workspace": WORKSPACE}, {"$set": {"segments": []}})


@pytest.mark.parametrize("query", ['subscription { segmentChanged(key: "buyer") { cursor } }'])
async def test_a_segment_that_is_not_there_is_told(grouping: Gateway, query: str) -> None:
    key = await grouping.api_key()
    asked = "query($input: TrendInput!) { trend(input: $input) { hash } }"
    error = await grouping.refusal(asked, key, input={**WEEK, "segment": "buyer"})
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["hint"] == "did you mean 'buyers'?"
    async with grouping.socket(key) as socket:
        await socket.subscribe(query)
        message: Json = await socket.receive()
        assert "buyer" in str(message)
    assert (await grouping.ask('{ segment(key: "buyer") { key } }', key))["segment"] is None


async def test_a_subject_sees_its_own_segments_and_nobody_elses(grouping: Gateway) -> None:
    await people(grouping)
    token = grouping.token(userId="ann")
    found = await grouping.ask("{ me { segments { key name } } }", token)
    assert [one["key"] for one in found["me"]["segments"]] == ["big", "buyers"]
    for field in ("count", "users { nodes { id } }", "definition"):
        refused = await grouping.refusal(f"{{ me {{ segments {{ {field} }} }} }}", token)
        assert refused["extensions"]["code"] == "FORBIDDEN"
    assert NOW
