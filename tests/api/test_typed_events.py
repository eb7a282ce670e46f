"""Typed events: read, found by their properties, sent and watched; and another plan while all of that is under way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.api.served import ServedSchema
from gateway.api.view import graphql_app
from gateway.contract import Contract, EventDefinition, PlannedProperty, PropertyDefinition
from gateway.errors import ContractError
from gateway.pipeline.contracts import Contracts, InForce
from gateway.settings import Settings
from gateway.store import events as stored
from gateway.store.contracts import Version, Versions
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, load_shop, track
from tests.pace import PATIENCE

ORDER = {"order_id": "o1", "total": 12.5, "currency": "EUR", "products": [{"product_id": "p1", "price": "free"}]}
TYPED = """... on OrderCompletedEvent { orderCompleted { orderId total currency coupon
    products { productId price quantity } } }"""


def order(user: str, minutes: float = 0, **properties: object) -> dict[str, object]:
    return track("Order Completed", minutes, userId=user, properties={**ORDER, **properties})


async def test_a_planned_event_is_typed_and_what_does_not_fit_is_null(gateway: Gateway) -> None:
    key = await gateway.api_key()
    (event,) = await gateway.send(order("ann", total="much", products=[*ORDER["products"], 5]))  # type: ignore[misc]
    query = f"query($id: ID!) {{ node(id: $id) {{ __typename ... on Event {{ name properties }} {TYPED} }} }}"
    found = (await gateway.ask(query, key, id=event))["node"]
    assert found["__typename"] == "OrderCompletedEvent"
    assert found["orderCompleted"] == {
        "orderId": "o1",
        "total": None,
        "currency": "EUR",
        "coupon": None,
        "products": [{"productId": "p1", "price": None, "quantity": None}, None],
    }
    assert found["properties"]["total"] == "much"


async def test_what_is_not_planned_is_untyped(gateway: Gateway) -> None:
    other = {**track("Order Completed", userId="ann"), "context": {"protocols": {"event_version": 7}}}
    for message in (track("Nobody Planned This", userId="ann"), other):
        (event,) = await gateway.send(message)
        query = "query($id: ID!) { node(id: $id) { __typename } }"
        assert (await gateway.ask(query, await gateway.api_key(), id=event))["node"] == {"__typename": "UntypedEvent"}


async def test_personal_properties_need_their_permission_but_not_from_their_owner(gateway: Gateway) -> None:
    tool = await gateway.api_key("events:read", "journeys:read")
    await gateway.send(track("Products Searched", userId="ann", properties={"query": "a lamp", "results_count": 3}))
    query = "{ %s { events { nodes { ... on ProductsSearchedEvent { productsSearched { %s } } } } } }"
    asked = query % ('user(by: {userId: "ann"})', "resultsCount")
    (node,) = (await gateway.ask(asked, tool))["user"]["events"]["nodes"]
    assert node == {"productsSearched": {"resultsCount": 3}}
    refused = await gateway.refusal(query % ('user(by: {userId: "ann"})', "query"), tool)
    assert "ProductsSearchedProperties.query needs the permission pii:read" in refused["message"]
    (own,) = (await gateway.ask(query % ("me", "query"), gateway.token(userId="ann")))["me"]["events"]["nodes"]
    assert own == {"productsSearched": {"query": "a lamp"}}
    asked = '{ events(where: {productsSearched: {query: {equals: "a lamp"}}}) { nodes { id } } }'
    assert "pii:read" in (await gateway.refusal(asked, tool))["message"]
    assert len((await gateway.ask(asked, await gateway.api_key()))["events"]["nodes"]) == 1


FOUND = "query($where: EventWhere) { events(where: $where) { nodes { name properties } pageInfo { hasNextPage } } }"


async def test_events_are_found_by_what_they_carry(gateway: Gateway) -> None:
    key = await gateway.api_key()
    totals = (5, 10.0, "10", None, [10], 30)
    await gateway.send(
        *(order("ann", number, order_id=f"o{number}", total=total) for number, total in enumerate(totals)),
        track("Product Added", userId="ann", properties={"total": 10}),
        {**order("bob", total=10), "context": {"protocols": {"event_version": 2}}},
    )

    async def found(conditions: dict[str, object]) -> list[object]:
        answer = await gateway.ask(FOUND, key, where={"orderCompleted": conditions})
        assert answer["events"]["pageInfo"] == {"hasNextPage": False}
        return [one["properties"]["order_id"] for one in answer["events"]["nodes"]]

    assert await found({"total": {"equals": 10}}) == ["o1"]
    assert await found({"total": {"gte": 10}}) == ["o1", "o5"]
    assert await found({"total": {"in": [5, 30]}, "orderId": {"gt": "o1"}}) == ["o5"]
    assert await found({"coupon": {"exists": True}}) == []
    assert len(await found({})) == 6
    own = "{ me { events(where: {orderCompleted: {total: {lt: 6}}}) { nodes { id } } } }"
    assert len((await gateway.ask(own, gateway.token(userId="ann")))["me"]["events"]["nodes"]) == 1
    assert (await gateway.ask(own, gateway.token(userId="bob")))["me"]["events"]["nodes"] == []


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"orderCompleted": {}, "cartViewed": {}},
        {"orderCompleted": {"total": {"equals": "5"}}},
        {"orderCompleted": {"nothing": {}}},
        {"nobodyPlannedThis": {}},
    ],
)
async def test_a_where_that_is_none_is_refused(idle_gateway: Gateway, where: dict[str, object]) -> None:
    answer = await idle_gateway.answer(FOUND, await idle_gateway.api_key(), where=where)
    assert answer["errors"]
    assert "data" not in answer


async def test_a_search_looks_at_so_many_and_goes_on(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST_LOOKED_AT", 4)
    key = await gateway.api_key()
    await gateway.send(*(order("ann", number, order_id=f"o{number}", total=number) for number in range(10)))
    query = """query($after: Cursor) { events(where: {orderCompleted: {total: {in: [6, 9]}}}, after: $after) {
        nodes { properties } pageInfo { hasNextPage endCursor } } }"""
    pages, after = [], None
    while True:
        page = (await gateway.ask(query, key, after=after))["events"]
        pages.append([one["properties"]["total"] for one in page["nodes"]])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert pages == [[], [6], [9]]


async def test_an_index_serves_a_search(gateway: Gateway, database: Database) -> None:
    await gateway.send(*(order("ann", number) for number in range(3)))
    wanted = {"workspace": "main", **stored.OF_USERS, "name": {"$in": ["Order Completed"]}}
    asked = {"aggregate": "events", "pipeline": stored._first(wanted), "cursor": {}}
    plan = await database.admin({"explain": asked, "verbosity": "queryPlanner"}, on=database.name)
    assert "workspace_1_name_1_at_1_seq_1__id_1" in str(plan)
    assert "COLLSCAN" not in str(plan)


# -- sending --------------------------------------------------------------------------------------------------------

TRACK = """mutation($input: TrackInput!) { track(input: $input) {
    eventId verdict errors { code path } events { eventId verdict } } }"""
SENT = {"orderId": "o1", "total": 3, "currency": "EUR", "products": [{"productId": "p1", "price": 3}]}


async def test_typed_events_are_sent(gateway: Gateway) -> None:
    key = await gateway.api_key()
    events = [
        {"event": {"orderCompleted": SENT}, "messageId": "m1", "timestamp": "2026-11-21T09:00:00Z"},
        {"event": {"cartViewed": {}}, "userId": "bob"},
        {"event": {"orderCompleted": SENT}, "messageId": "m1", "timestamp": "2026-11-21T09:00:00Z"},
    ]
    answer = (await gateway.ask(TRACK, key, input={"userId": "ann", "events": events}))["track"]
    assert sorted(one["verdict"] for one in answer["events"]) == ["ACCEPTED", "ACCEPTED", "DUPLICATE"]
    assert (answer["errors"], answer["eventId"]) == ([], answer["events"][0]["eventId"])
    query = "query($id: ID!) { node(id: $id) { ... on Event { at userId properties } } }"
    found = (await gateway.ask(query, key, id=answer["eventId"]))["node"]
    assert found["at"] == "2026-11-21T09:00:00.000Z"
    assert found["userId"] == "ann"
    assert found["properties"] == {
        "order_id": "o1",
        "total": 3.0,
        "currency": "EUR",
        "products": [{"product_id": "p1", "price": 3.0}],
    }
    assert (await gateway.ask(query, key, id=answer["events"][1]["eventId"]))["node"]["userId"] == "bob"


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"userId": "ann"}, "NO_EVENT", ["input", "event"]),
        ({"userId": "ann", "events": []}, "NO_EVENT", ["input", "events"]),
        ({"event": "A", "events": [{"event": {"cartViewed": {}}}]}, "ONE_OR_SEVERAL", ["input", "events"]),
        ({"events": [{"event": {"cartViewed": {}}}]}, "NO_IDENTITY", ["input", "events", "0"]),
        ({"userId": "a", "events": [{"event": {"cartViewed": {}}}] * 101}, "TOO_MANY_EVENTS", ["input", "events"]),
    ],
)
async def test_what_cannot_be_sent_says_what_to_correct(
    idle_gateway: Gateway, given: dict[str, object], code: str, path: list[str]
) -> None:
    answer = (await idle_gateway.ask(TRACK, await idle_gateway.api_key(), input=given))["track"]
    assert answer["errors"] == [{"code": code, "path": path}]
    assert answer["verdict"] is None


async def test_two_events_in_one_are_refused(idle_gateway: Gateway) -> None:
    both = {"event": {"cartViewed": {}, "orderCompleted": SENT}}
    await idle_gateway.refusal(TRACK, await idle_gateway.api_key(), input={"userId": "ann", "events": [both]})


# -- another plan ---------------------------------------------------------------------------------------------------

NEW = EventDefinition(
    "Wish Granted",
    1,
    "A wish came true.",
    ("shop",),
    (PlannedProperty(PropertyDefinition("wish_count", "integer", "How many.", minimum=0, maximum=9)),),
)
BAD = EventDefinition("Untyped", 1, "Its type is there already.", ("shop",))


def planned(*events: EventDefinition) -> Contract:
    shop = load_shop()
    return replace(shop, events={**shop.events, **{one.key: one for one in events}})


class Files(Versions):
    """Versions that are contracts already."""

    def __init__(self) -> None:
        self.applied: list[Contract] = []

    async def newest_number(self) -> int:
        return len(self.applied)

    async def newest(self) -> Version | None:
        return Version(len(self.applied), "shop", "", "", 0, "test")


@pytest.fixture
async def changing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> tuple[Gateway, Contracts, list[Contract]]:
    files = Files()
    contracts = Contracts(files, InForce(0, load_shop()))
    monkeypatch.setattr("gateway.pipeline.contracts.load_version", lambda version: files.applied[version.number - 1])
    gateway.services = replace(gateway.services, contracts=contracts)
    gateway.app = graphql_app(ServedSchema(contracts), gateway.services, Settings(env="production"))
    return gateway, contracts, files.applied


async def test_another_plan_is_served_at_once_while_subscriptions_go_on(
    changing: tuple[Gateway, Contracts, list[Contract]],
) -> None:
    gateway, contracts, applied = changing
    key = await gateway.api_key()
    watch = "subscription { eventStored { cursor event { __typename name } } }"
    typed = (
        "subscription { eventStored { event { __typename ... on WishGrantedEvent { wishGranted { wishCount } } } } }"
    )
    async with gateway.socket(key) as socket:
        await socket.subscribe(watch, "old")
        assert (await socket.news())["eventStored"]["event"] is None
        await socket.subscribe(typed, "early")
        assert (await socket.receive())["type"] == "error"
        applied.append(planned(NEW))
        looking = asyncio.create_task(contracts.look())
        (before,) = await gateway.send(track("Wish Granted", userId="ann", properties={"wish_count": 3}))
        assert before
        assert await looking
        await socket.subscribe(typed, "new")
        told: dict[str, list[object]] = {"old": [], "new": []}
        async with asyncio.timeout(PATIENCE):
            while not told["new"]:
                message = await socket.receive()
                told[message["id"]].append(message["payload"]["data"]["eventStored"]["event"])
        await gateway.send(track("Wish Granted", userId="ann", properties={"wish_count": 4}))
        async with asyncio.timeout(PATIENCE):
            while len(told["new"]) < 2 or len(told["old"]) < 2:
                message = await socket.receive()
                told[message["id"]].append(message["payload"]["data"]["eventStored"]["event"])
    # The old operation runs on the schema it began on; the new one on the new.
    assert told["old"] == [{"__typename": "UntypedEvent", "name": "Wish Granted"}] * 2
    assert told["new"] == [None, {"__typename": "WishGrantedEvent", "wishGranted": {"wishCount": 4}}]
    asked = """{ events(where: {wishGranted: {wishCount: {equals: 3}}}) { nodes {
        ... on WishGrantedEvent { wishGranted { wishCount } } } } }"""
    assert (await gateway.ask(asked, key))["events"]["nodes"] == [{"wishGranted": {"wishCount": 3}}]


async def test_a_plan_that_the_api_cannot_be_built_with_changes_nothing(
    changing: tuple[Gateway, Contracts, list[Contract]],
) -> None:
    gateway, contracts, applied = changing
    before = contracts.version
    applied.append(planned(NEW, BAD))
    assert not await contracts.look()
    assert contracts.version is before
    assert contracts.unreadable == 1
    asked = '{ __type(name: "WishGrantedEvent") { name } }'
    assert (await gateway.ask(asked, await gateway.api_key()))["__type"] is None
    applied.append(planned(NEW))
    assert await contracts.look()
    assert contracts.version.number == 2
    assert (await gateway.ask(asked, await gateway.api_key()))["__type"] == {"name": "WishGrantedEvent"}


async def test_where_only_other_files_change_the_schema_stays() -> None:
    files = Files()
    contracts = Contracts(files, InForce(0, load_shop()))
    served = ServedSchema(contracts)
    same = served.current
    take_over = await served._prepare(InForce(1, replace(load_shop(), kpis={})))
    take_over()
    assert served.current is same
    with pytest.raises(ContractError):
        await served._prepare(InForce(2, planned(BAD)))
