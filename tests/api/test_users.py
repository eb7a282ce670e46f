"""Users, sessions, journeys and events as frontends and tools read them."""

from __future__ import annotations

from tests.api.gateway_api import Gateway, identify, track

ME = """{ me { id eventCount sessionCount traits firstSeen lastSeen identities { type value }
  journey(map: "purchase") { id run status stage { key label } nextStages { key }
    stageVisits { stage { key } enteredAt leftAt eventCount because { text rule events { name properties } } }
    because { text rule } startedAt lastActivityAt endedAt }
  events { nodes { name properties user { id } ... on Event { type messageId userId anonymousId } } totalCount }
  sessions { nodes { id start end durationSeconds eventCount entry exit user { id } } } } }"""


async def test_a_user_reads_their_own_journey_in_one_request(gateway: Gateway) -> None:
    await gateway.send(
        track("Product List Viewed", 20, anonymousId="a1", properties={"list": "shoes"}),
        track("Product Added", 10, anonymousId="a1", properties={"price": 12.5}),
        identify(5, anonymousId="a1", userId="ann", traits={"name": "Ann"}),
    )
    me = (await gateway.ask(ME, gateway.token(userId="ann")))["me"]
    assert me["eventCount"] == 3
    assert me["traits"] == {"name": "Ann"}
    assert me["identities"] == [
        {"type": "ANONYMOUS_ID", "value": "a1"},
        {"type": "USER_ID", "value": "ann"},
    ]
    journey = me["journey"]
    assert journey["status"] == "ACTIVE"
    assert journey["stage"] == {"key": "cart", "label": "Something in the cart"}
    assert [stage["key"] for stage in journey["nextStages"]] == ["checkout"]
    assert [visit["stage"]["key"] for visit in journey["stageVisits"]] == ["browse", "cart"]
    cart = journey["stageVisits"][1]
    assert cart["because"] == {
        "text": 'In "Something in the cart" because of "Product Added"',
        "rule": "purchase.cart.enter[0]",
        "events": [{"name": "Product Added", "properties": {"price": 12.5}}],
    }
    assert cart["enteredAt"] == "2026-11-21T09:50:00.000Z"
    assert cart["leftAt"] is None
    assert journey["stageVisits"][0]["leftAt"] == cart["enteredAt"]
    assert journey["because"]["text"] == cart["because"]["text"]
    assert [event["name"] for event in me["events"]["nodes"]] == ["identify", "Product Added", "Product List Viewed"]
    assert {event["user"]["id"] for event in me["events"]["nodes"]} == {me["id"]}
    assert me["events"]["totalCount"] is None
    (session,) = me["sessions"]["nodes"]
    assert session["durationSeconds"] == 15 * 60
    assert (session["entry"], session["exit"]) == ("Product List Viewed", "identify")
    assert session["user"] == {"id": me["id"]}


async def test_me_is_null_until_the_first_event_is_derived(gateway: Gateway) -> None:
    token = gateway.token(anonymousId="new")
    assert await gateway.ask("{ me { id } }", token) == {"me": None}
    await gateway.send(track("Home", anonymousId="new"), derive=False)
    assert await gateway.ask("{ me { id } }", token) == {"me": None}
    await gateway.derive()
    assert (await gateway.ask("{ me { id } }", token))["me"] is not None


async def test_a_server_finds_a_user_by_any_of_their_ids(gateway: Gateway) -> None:
    await gateway.send(identify(1, anonymousId="a1", userId="ann"))
    key = await gateway.api_key()
    query = "query($by: UserBy!) { user(by: $by) { id } }"
    by_user_id = await gateway.ask(query, key, by={"userId": "ann"})
    assert by_user_id["user"]["id"].startswith("user_")
    assert await gateway.ask(query, key, by={"anonymousId": "a1"}) == by_user_id
    assert await gateway.ask(query, key, by={"id": by_user_id["user"]["id"]}) == by_user_id
    assert await gateway.ask(query, key, by={"userId": "a1"}) == {"user": None}
    both = await gateway.refusal(query, key, by={"userId": "ann", "anonymousId": "a1"})
    assert both["extensions"]["code"] == "INVALID_INPUT"


async def test_ids_of_before_a_merge_are_followed(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("Product Viewed", 9, anonymousId="a1"), track("Product Viewed", 30, userId="ann"))
    query = 'query($by: UserBy!) { user(by: $by) { id journey(map: "purchase") { id } sessions { nodes { id } } } }'
    before = (await gateway.ask(query, key, by={"anonymousId": "a1"}))["user"]
    await gateway.send(identify(1, anonymousId="a1", userId="ann"))
    after = (await gateway.ask(query, key, by={"userId": "ann"}))["user"]
    assert before["id"] != after["id"]
    assert (await gateway.ask(query, key, by={"id": before["id"]}))["user"] == after
    node = "query($id: ID!) { node(id: $id) { id ... on Journey { run } } }"
    assert (await gateway.ask(node, key, id=before["id"]))["node"] == {"id": after["id"]}
    moved = (await gateway.ask(node, key, id=before["journey"]["id"]))["node"]
    assert moved == {"id": after["journey"]["id"], "run": 1}
    events = """query($by: UserBy!) { events(filter: {user: $by}) { nodes { name } } }"""
    assert len((await gateway.ask(events, key, by={"id": before["id"]}))["events"]["nodes"]) == 3


async def test_every_kind_of_node_is_found_by_its_id(gateway: Gateway) -> None:
    (event,) = await gateway.send(track("Product Viewed", userId="ann"))
    key = await gateway.api_key()
    user = (
        await gateway.ask(
            '{ user(by: {userId: "ann"}) { id journey(map: "purchase") { id } sessions { nodes { id } } } }', key
        )
    )["user"]
    ids = [event, user["id"], user["journey"], user["sessions"]["nodes"][0]]
    found = []
    for one in ids:
        id = one if isinstance(one, str) else one["id"]
        answer = await gateway.ask("query($id: ID!) { node(id: $id) { __typename id } }", key, id=id)
        assert answer["node"]["id"] == id
        found.append(answer["node"]["__typename"])
    assert found == ["ProductViewedEvent", "User", "Journey", "Session"]
    journey = await gateway.ask("query($id: ID!) { journey(id: $id) { user { id } } }", key, id=user["journey"]["id"])
    assert journey == {"journey": {"user": {"id": user["id"]}}}


async def test_what_is_not_there_is_null_and_what_is_no_id_is_refused(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key()
    node = "query($id: ID!) { node(id: $id) { id } }"
    for id in (
        "user_" + "0" * 32,
        "event_" + "0" * 32,
        f"journey_{'0' * 32}.purchase.1",
        f"session_{'0' * 32}.{'1' * 32}",
    ):
        assert await idle_gateway.ask(node, key, id=id) == {"node": None}
    for id in (
        "",
        "user_",
        "nobody_1",
        "user_" + "0" * 31,
        "user_" + "g" * 32,
        "journey_" + "0" * 32,
        "event_" + "Ａ" * 32,
    ):
        error = await idle_gateway.refusal(node, key, id=id)
        assert error["extensions"]["code"] == "INVALID_INPUT", id
    wrong_kind = await idle_gateway.refusal("query($id: ID!) { journey(id: $id) { id } }", key, id="user_" + "0" * 32)
    assert "journey_" in wrong_kind["extensions"]["hint"]
    assert await idle_gateway.ask('{ journeyMap(key: "none") { key } kpi(key: "none") { key } }', key) == {
        "journeyMap": None,
        "kpi": None,
    }


async def test_a_completed_and_an_abandoned_run_say_why(gateway: Gateway) -> None:
    day = 24 * 60
    await gateway.send(
        track("Product Viewed", 30 * day, userId="ann"),
        track("Product Viewed", 2, userId="ann"),
        track("Order Completed", 1, userId="ann"),
    )
    query = """{ journeys(map: "purchase") { nodes { run status stage { key } nextStages { key } endedAt
        because { text events { name } } } } }"""
    bought, given_up = (await gateway.ask(query, await gateway.api_key()))["journeys"]["nodes"]
    assert (bought["run"], bought["status"], bought["stage"]["key"]) == (2, "COMPLETED", "purchased")
    assert bought["because"] == {
        "text": 'Completed with "Bought" because of "Order Completed"',
        "events": [{"name": "Order Completed"}],
    }
    assert bought["nextStages"] == given_up["nextStages"] == []
    assert given_up["status"] == "ABANDONED"
    assert given_up["endedAt"] == "2026-10-29T10:00:00.000Z"
    assert given_up["because"]["text"] == ('Abandoned in "Browsing": nothing more happened for 7 days')


async def test_journeys_are_found_by_map_stage_and_status(gateway: Gateway) -> None:
    await gateway.send(
        track("Product Viewed", 3, userId="ann"),
        track("Product Viewed", 3, userId="bob"),
        track("Product Added", 2, userId="bob"),
        track("Product Viewed", 2, userId="cyd"),
        track("Order Completed", 1, userId="cyd"),
    )
    key = await gateway.api_key()
    query = """query($stage: ID, $status: JourneyStatus, $map: ID) {
        journeys(map: $map, stage: $stage, status: $status) { nodes { stage { key } } } }"""

    async def stages(**wanted: str) -> list[str]:
        nodes = (await gateway.ask(query, key, **wanted))["journeys"]["nodes"]
        return [node["stage"]["key"] for node in nodes]

    assert await stages() == ["purchased", "cart", "browse"]
    assert await stages(stage="cart") == ["cart"]
    assert await stages(status="COMPLETED") == ["purchased"]
    assert await stages(status="ACTIVE", map="purchase") == ["cart", "browse"]
    refused = await gateway.answer(query, key, map="other")
    assert refused["errors"][0]["extensions"]["hint"] == "There is: purchase."


async def test_a_map_shows_how_many_users_are_where(gateway: Gateway) -> None:
    await gateway.send(
        track("Product Viewed", 3, userId="ann"),
        track("Product Added", 2, userId="ann"),
        track("Product Viewed", 2, userId="bob"),
    )
    query = """{ journeyMaps { key name version persona goal painPoints owners
        stages { key label emotion optional completes touchpoints { key label channel } users reached } } }"""
    (shop,) = (await gateway.ask(query, await gateway.api_key()))["journeyMaps"]
    assert shop["persona"] == "Online shopper"
    assert {stage["key"]: (stage["users"], stage["reached"]) for stage in shop["stages"]} == {
        "browse": (1, 2),
        "cart": (1, 1),
        "checkout": (0, 0),
        "purchased": (0, 0),
    }
    assert shop["stages"][0]["touchpoints"][0] == {"key": "product_list", "label": "Product list", "channel": "web"}


async def test_events_are_found_by_name_user_and_time(gateway: Gateway) -> None:
    await gateway.send(
        track("A", 30, userId="ann"),
        track("B", 20, userId="ann"),
        track("A", 10, userId="bob"),
        track("A", 5, userId="ann"),
    )
    key = await gateway.api_key()
    query = "query($filter: EventFilter) { events(filter: $filter) { nodes { name at } totalCount } }"

    async def times(**wanted: object) -> list[str]:
        nodes = (await gateway.ask(query, key, filter=wanted))["events"]["nodes"]
        return [node["at"][11:16] for node in nodes]

    assert await times() == ["09:55", "09:50", "09:40", "09:30"]
    assert await times(names=["A"]) == ["09:55", "09:50", "09:30"]
    assert await times(names=["A"], user={"userId": "ann"}) == ["09:55", "09:30"]
    assert await times(user={"userId": "nobody"}) == []
    assert await times(to="2026-11-21T09:50:00Z", **{"from": "2026-11-21T10:40:00+01:00"}) == ["09:40"]
    assert (await gateway.ask(query, key))["events"]["totalCount"] == 4
    assert (await gateway.ask(query, key, filter={"names": ["A"]}))["events"]["totalCount"] is None


RUN = """{ journey(id: "%s") { status stage { key } nextStages { key } because { text rule events { name } }
    stageVisits { stage { key } enteredAt leftAt because { text } leftBecause { text rule events { name } } } } }"""


async def test_a_stage_is_left_and_entered_again_and_each_visit_says_why(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("Product Added", 9, userId="ann"), track("Checkout Started", 8, userId="ann"))
    user = (await gateway.ask('{ user(by: {userId: "ann"}) { journey(map: "purchase") { id } } }', key))["user"]
    ask = RUN % user["journey"]["id"]
    paying = (await gateway.ask(ask, key))["journey"]
    assert [stage["key"] for stage in paying["nextStages"]] == ["purchased", "cart"]
    async with gateway.socket(key) as socket:
        await socket.subscribe("subscription { journeyChanged { from { key } to { key } status } }")
        await socket.news()
        await gateway.send(track("Checkout Abandoned", 7, userId="ann"))
        left = (await socket.news())["journeyChanged"]
        assert left == {"from": {"key": "checkout"}, "to": None, "status": "ACTIVE"}
        between = (await gateway.ask(ask, key))["journey"]
        await gateway.send(track("Product Added", 6, userId="ann"))
        again = (await socket.news())["journeyChanged"]
        assert again == {"from": None, "to": {"key": "cart"}, "status": "ACTIVE"}
    why = {
        "text": 'Left "Checking out" because of "Checkout Abandoned"',
        "rule": "purchase.checkout.leave[0]",
        "events": [{"name": "Checkout Abandoned"}],
    }
    assert (between["status"], between["stage"], between["because"]) == ("ACTIVE", None, why)
    assert [stage["key"] for stage in between["nextStages"]] == ["purchased", "cart"]
    back = (await gateway.ask(ask, key))["journey"]
    assert back["stage"] == {"key": "cart"}
    visits = [(visit["stage"]["key"], visit["leftAt"], visit["leftBecause"]) for visit in back["stageVisits"]]
    assert visits == [
        ("cart", "2026-11-21T09:52:00.000Z", None),
        ("checkout", "2026-11-21T09:53:00.000Z", why),
        ("cart", None, None),
    ]
    stages = '{ journeyMap(key: "purchase") { stages { key repeats limitSeconds users reached } } }'
    cart = (await gateway.ask(stages, key))["journeyMap"]["stages"][1]
    assert cart == {"key": "cart", "repeats": True, "limitSeconds": None, "users": 1, "reached": 1}
