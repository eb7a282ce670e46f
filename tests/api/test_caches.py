"""What clients with a normalised cache rely on: ids for all that is shared, Relay's PageInfo, messages that say all."""

from __future__ import annotations

import pytest

from tests.api.gateway_api import Gateway, Json, track

LIVE = """subscription($user: UserBy, $after: Cursor) { journeyChanged(user: $user, after: $after) {
  cursor to { id } user { id journey(map: "purchase") { stage { id key } } } } }"""
NODE = "query($id: ID!) { node(id: $id) { __typename id ... on Stage { key } } }"


async def test_what_the_contract_says_has_ids_too(gateway: Gateway) -> None:
    key = await gateway.api_key()
    shown = await gateway.ask('{ journeyMap(key: "purchase") { id stages { id key } } kpis { id key } }', key)
    stages = shown["journeyMap"]["stages"]
    assert stages[1] == {"id": "stage_purchase.cart", "key": "cart"}
    ids = [shown["journeyMap"]["id"], *(one["id"] for one in [*stages, *shown["kpis"]])]
    assert len(set(ids)) == len(ids)
    for id in ids:
        assert (await gateway.ask(NODE, key, id=id))["node"]["id"] == id
    for nobody in ("map_none", "stage_none.cart", "stage_purchase.none", "kpi_none"):
        assert await gateway.ask(NODE, key, id=nobody) == {"node": None}


@pytest.mark.parametrize(("id", "answer"), [("stage_purchase.cart", "data"), ("kpi_purchase_conversion", "errors")])
async def test_an_end_user_may_ask_for_stages_but_not_for_kpis(idle_gateway: Gateway, id: str, answer: str) -> None:
    found = await idle_gateway.answer(NODE, idle_gateway.token(userId="ann"), id=id)
    assert answer in found
    assert (found.get("data") or {}).get("node") in (None, {"__typename": "Stage", "id": id, "key": "cart"})


async def test_page_info_has_both_ends(gateway: Gateway) -> None:
    await gateway.send(*(track("Product Viewed", 1, userId=f"u{number}") for number in range(3)))
    key = await gateway.api_key()
    query = """query($after: Cursor) { users(first: 2, after: $after) {
      edges { cursor } pageInfo { hasPreviousPage startCursor endCursor hasNextPage } } }"""
    first = (await gateway.ask(query, key))["users"]
    cursors = [edge["cursor"] for edge in first["edges"]]
    expected: Json = {"hasPreviousPage": False, "startCursor": cursors[0], "endCursor": cursors[1], "hasNextPage": True}
    assert first["pageInfo"] == expected
    last = (await gateway.ask(query, key, after=cursors[1]))["users"]
    only = last["edges"][0]["cursor"]
    expected = {"hasPreviousPage": True, "startCursor": only, "endCursor": only, "hasNextPage": False}
    assert last["pageInfo"] == expected


async def test_a_subscription_to_one_user_begins_with_how_things_stand(gateway: Gateway) -> None:
    await gateway.send(track("Product Viewed", 2, userId="ann"))
    ann: Json = {"user": {"userId": "ann"}}
    for credential, variables in ((gateway.token(userId="ann"), {}), (await gateway.api_key(), ann)):
        async with gateway.socket(credential) as socket:
            await socket.subscribe(LIVE, **variables)
            start = (await socket.news())["journeyChanged"]
            assert start["to"] is None
            assert start["user"]["journey"]["stage"] is not None
    cursor = start["cursor"]
    await gateway.send(track("Product Added", 1, userId="ann"))
    async with gateway.socket(gateway.token(userId="ann")) as socket:
        await socket.subscribe(LIVE, after=cursor)
        moved, then = [(await socket.news())["journeyChanged"] for _ in range(2)]
        assert moved["to"] == {"id": "stage_purchase.cart"}
        assert then["to"] is None
        assert then["user"] == moved["user"]
        assert then["user"]["journey"]["stage"]["key"] == "cart"


async def test_a_subscription_to_all_begins_with_nobody(gateway: Gateway) -> None:
    await gateway.send(track("Product Viewed", 2, userId="ann"))
    async with gateway.socket(await gateway.api_key()) as socket:
        await socket.subscribe(LIVE)
        assert (await socket.news())["journeyChanged"]["user"] is None
