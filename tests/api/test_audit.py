"""The audit over a real database: one of each is planted, and each is found by name; a clean log is silent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.contract import Contract, EventDefinition, PlannedProperty, PropertyDefinition
from gateway.pipeline.conforming import Modes
from gateway.pipeline.intake import Delivery
from gateway.quality.auditing import Auditor
from gateway.quality.raising import AuditAlerts
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, Json

HOUR = 3_600_000
DAY = 24 * HOUR
ASKED = """query($range: RangeInput!) { instrumentationAudit(range: $range) { from to eventTypes senders
  findings { kind severity subject message fix evidence shares { platform appVersion count } } } }"""
CATALOG = """query($planned: Boolean, $search: String, $first: Int, $after: Cursor) {
  catalog(planned: $planned, search: $search, first: $first, after: $after) { pageInfo { hasNextPage endCursor } nodes {
    type name planned majors firstSeen lastSeen count quarantined unexamined sources { name count }
    platforms { name count } appVersions { name count } misfits { property rule count }
    properties { key planned count sample types { name count } } days { day count quarantined } } } }"""


def prop(key: str, kind: Any = "string", **more: Any) -> PropertyDefinition:
    return PropertyDefinition(key, kind, "What it is.", **more)


def event(name: str, *properties: PropertyDefinition, **more: Any) -> EventDefinition:
    return EventDefinition(name, 1, "What happened.", ("shop",), tuple(map(PlannedProperty, properties)), **more)


VIEWED = event("Product Viewed", prop("sku"), prop("price", "number"), prop("colour"))
ADDED = event("Product Added", prop("sku"), prop("method", enum=("button", "voice")))
PLAN = {one.key: one for one in (VIEWED, ADDED)}


#: The plan with what is never sent, and a source whose misfits are kept apart.
WISHED = event("Wishlist Shared")
RATED = event("Product Viewed", *(one.definition for one in VIEWED.properties), prop("rating", "number"))
STRICT = Modes(named={("*", "broken"): "quarantine"})


@pytest.fixture
async def gateway(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    plan, modes = getattr(request, "param", (PLAN, Modes()))
    gateway = Gateway(database, Contract("shop", {}, {}, events=plan), modes=modes)
    await gateway.prepare()
    yield gateway
    await gateway.intake.drain()


def sent(name: str, at: int, user: int, **properties: object) -> Json:
    return {
        "type": "track",
        "event": name,
        "userId": f"user-{user}",
        "anonymousId": f"visitor-{user}",
        "timestamp": at,
        "properties": properties,
        "context": {"library": {"name": "analytics.js"}, "app": {"version": "1.0"}},
    }


def clean(until: int = NOW) -> Iterator[Json]:
    """Three weeks, every six hours, of a log that is as planned."""
    for number, at in enumerate(range(NOW - 21 * DAY, until, 6 * HOUR)):
        for user in range(7):
            yield sent("Product Viewed", at + user, number % 9 * 10 + user, sku="a", price=1.5, colour="red")
        yield sent("Product Added", at, number % 9, sku="a", method="button")


def planted() -> Iterator[Json]:
    """One of each."""
    ios = {"library": {"name": "analytics-ios"}, "os": {"name": "iOS"}, "app": {"version": "3.2"}}
    yield sent("product_viewed", NOW - DAY, 1)
    yield sent("Newsletter Read", NOW - DAY, 1, mail="ada@example.com", wordCount=5)
    yield sent("Newsletter Read", NOW - DAY, 1, wordCount=6.5)
    yield {**sent("Product Viewed", NOW - DAY, 2, sku="a", price="1.50", colour="red"), "context": ios}
    yield sent("Product Added", NOW - DAY, 2, sku="a", method="shout")
    yield from (sent("Product Added", NOW - 3 * DAY - HOUR, 3, sku="a") for _ in range(120))
    yield {**sent("Newsletter Read", NOW - DAY, 1, mail="ada@example.com", wordCount="five"), "context": ios}
    yield {**sent("Newsletter Read", NOW - DAY, 1), "userId": "same", "anonymousId": "same", "context": ios}


async def send_all(gateway: Gateway, messages: Iterator[Json]) -> None:
    waiting = [*messages]
    for start in range(0, len(waiting), 500):
        await gateway.send(*waiting[start : start + 500], derive=False)
    await gateway.derive()
    await gateway.intake.drain()


async def findings(gateway: Gateway, last: str = "7d") -> dict[tuple[str, str], Json]:
    key = await gateway.api_key("workspace:read")
    done = (await gateway.ask(ASKED, key, range={"last": last}))["instrumentationAudit"]
    assert done["senders"] > 0
    found = {(one["kind"].lower(), one["subject"]): one for one in done["findings"]}
    assert len(found) == len(done["findings"])
    return found


async def test_a_clean_log_is_silent(gateway: Gateway) -> None:
    await send_all(gateway, clean())
    assert await findings(gateway) == {}
    assert await findings(gateway, "21d") == {}


@pytest.mark.parametrize(
    "gateway", [({one.key: one for one in (RATED, ADDED, WISHED)}, STRICT)], indirect=True, ids=["one of each"]
)
async def test_one_of_each_is_found_by_name_and_sender(gateway: Gateway) -> None:
    await send_all(gateway, clean())
    await send_all(gateway, planted())
    await send_all(gateway, (sent("Search", at, 5, q="x") for at in range(NOW - 21 * DAY, NOW - 2 * DAY, 6 * HOUR)))
    bad = [{**sent("Product Added", NOW - DAY, 4, method=7), "messageId": f"bad-{number}"} for number in range(40)]
    receipt = await gateway.intake.ingest(Delivery(WORKSPACE, "broken", bad))
    await gateway.intake.drain()
    assert receipt.quarantined == 40

    found = await findings(gateway)
    assert found.keys() == {
        ("never_seen", "Wishlist Shared"),
        ("unplanned", "Newsletter Read"),
        ("unplanned", "Search"),
        ("unplanned", "product_viewed"),
        ("near_duplicate", "product_viewed"),
        ("dead_property", "Product Viewed.rating"),
        ("type_drift", "Product Viewed.price"),
        ("type_drift", "Newsletter Read.wordCount"),
        ("type_drift", "Product Added.method"),
        ("misfit", "Product Added.method"),
        ("volume", "Product Added"),
        ("silence", "Search"),
        ("inconsistent_ids", "userId = anonymousId"),
        ("loss", "broken"),
    }, "these and nothing else"
    ios = [{"platform": "ios", "appVersion": "3.2", "count": 1}]
    for one in (
        ("type_drift", "Product Viewed.price"),
        ("type_drift", "Newsletter Read.wordCount"),
        ("inconsistent_ids", "userId = anonymousId"),
    ):
        assert found[one]["shares"] == ios, one
    assert found["silence", "Search"]["severity"] == "CRITICAL"
    assert "'Search' has not come since" in found["silence", "Search"]["message"]
    assert "ada@example" not in str(found)


async def test_the_catalogue_in_the_api(gateway: Gateway) -> None:
    await send_all(gateway, clean())
    await send_all(gateway, planted())
    key = await gateway.api_key("workspace:read")
    first = (await gateway.ask(CATALOG, key, first=2))["catalog"]
    assert [one["name"] for one in first["nodes"]] == ["Newsletter Read", "Product Added"]
    assert first["pageInfo"]["hasNextPage"]
    rest = (await gateway.ask(CATALOG, key, first=20, after=first["pageInfo"]["endCursor"]))["catalog"]["nodes"]
    assert [one["name"] for one in rest] == ["Product Viewed", "product_viewed"]
    planned = (await gateway.ask(CATALOG, key, first=20, planned=True, search="viewed"))["catalog"]["nodes"]
    assert [(one["name"], one["planned"], one["majors"]) for one in planned] == [("Product Viewed", True, [1])]
    (viewed,) = planned
    assert viewed["count"] == 7 * 21 * 4 + 1
    samples = {one["key"]: one["sample"] for one in viewed["properties"]}
    assert samples == {"sku": "a", "price": samples["price"], "colour": "red"}
    assert samples["price"] in ("1.5", "1.50")
    assert sum(one["count"] for one in viewed["days"]) == viewed["count"]
    unplanned = (await gateway.ask(CATALOG, key, first=20, planned=False))["catalog"]["nodes"]
    assert [one["name"] for one in unplanned] == ["Newsletter Read", "product_viewed"]
    assert {one["key"]: one["sample"] for one in unplanned[0]["properties"]}["mail"] == "aaa@aaaaaaa.aaa"
    refused = await gateway.answer("{ catalog { nodes { name } } }", await gateway.api_key("journeys:read"))
    assert {one["extensions"]["code"] for one in refused["errors"]} == {"FORBIDDEN"}


COLOUR, PRICE, CITY, ZIP = prop("color"), prop("price", "number"), prop("city"), prop("zip")
PRODUCT = prop("product", "object", properties=tuple(map(PlannedProperty, (COLOUR, PRICE, prop("size")))))
ADDRESS = prop("address", "object", privacy="personal", properties=tuple(map(PlannedProperty, (CITY, ZIP))))
ORDERED = event(
    "Order Completed", prop("products", "array", items=PRODUCT), ADDRESS, prop("tags", "array", items=prop("tag")),
    prop("extra", "object"),
)  # fmt: skip


def order(user: int, *, color: str = "color", price: object = 1.5, city: str = "Ulm", **more: object) -> Json:
    products = [{color: "red", "price": 2, "size": "M"}, {color: "blue", "price": price, "size": "L"}]
    usual: Json = {"products": products, "address": {"city": city, "zip": "89073"}, "tags": ["a"]}
    return sent("Order Completed", NOW - DAY - user, user, **{**usual, **more})


@pytest.mark.parametrize("gateway", [({ORDERED.key: ORDERED}, Modes())], indirect=True, ids=["nested"])
async def test_one_of_each_inside_of_objects_and_lists_is_found(gateway: Gateway) -> None:
    ios = {"library": {"name": "analytics-ios"}, "os": {"name": "iOS"}, "app": {"version": "3.2"}}
    await send_all(gateway, (order(user, extra={"a": user}) for user in range(30)))
    assert await findings(gateway) == {}
    zipless: Json = {"address": {"city": "Ulm"}}
    await send_all(gateway, iter([{**order(31, price="1.5"), "context": ios}]))
    await send_all(gateway, iter([order(32, colour="red", tags=["a", 5], extra={"a": "x"}), order(33, color="colors")]))
    await send_all(gateway, iter([order(34, address={"city": "ada@example.com", "geo": {"lat": 1, "lng": 2}})]))
    await send_all(gateway, iter([order(35, gifts=[{"for": "ada@example.com", "n": n}]) for n in (1, "two")]))
    gateway.clock.advance(2 * DAY)
    now = gateway.clock.now()
    later = [{**order(user, extra={"a": 1}, **zipless), "timestamp": now - user} for user in range(36, 56)]
    await send_all(gateway, iter(later))
    assert {key for key in await findings(gateway, "1d") if key[0] != "volume"} == {
        ("dead_property", "Order Completed.address.zip")
    }
    found = await findings(gateway)
    assert {key for key in found if key[0] != "volume"} == {
        ("type_drift", "Order Completed.products[].price"),
        ("type_drift", "Order Completed.tags[]"),
        ("type_drift", "Order Completed.gifts[].n"),
        ("near_duplicate", "Order Completed.products[].colors"),
        ("unplanned", "Order Completed.address.geo"),
        ("unplanned", "Order Completed.gifts"),
        ("unplanned", "Order Completed.colour"),
    }, "these and nothing else"
    shares = [{"platform": "ios", "appVersion": "3.2", "count": 1}]
    assert found["type_drift", "Order Completed.products[].price"]["shares"] == shares
    assert [one["count"] for one in found["type_drift", "Order Completed.gifts[].n"]["shares"]] == [1]
    key = await gateway.api_key("workspace:read")
    (entry,) = (await gateway.ask(CATALOG, key, first=2))["catalog"]["nodes"]
    carried = {one["key"]: (one["planned"], one["count"], one["sample"]) for one in entry["properties"]}
    assert carried["products[].size"] == (True, 56, carried["products[].size"][2])
    assert carried["address.city"][0]
    assert carried["address.geo.lat"] == (False, 1, "9")
    assert "Ulm" not in str(entry)
    assert "ada@example" not in str(entry) + str(found)


async def test_alerts_are_raised_once_and_resolved_once(gateway: Gateway) -> None:
    await send_all(gateway, clean(NOW - 6 * HOUR + 1))
    looks = AuditAlerts(
        Auditor(gateway.database),
        Alerts(gateway.database),
        Keys(gateway.database),
        lambda: gateway.contract,
        gateway.clock,
        lambda *_: True,
    )

    async def looked() -> list[tuple[str, int, bool]]:
        await looks.look(WORKSPACE)
        await gateway.derive()
        found = await gateway.database.find("alerts", {"workspace": WORKSPACE}, sort=[("key", 1)])
        return [(row["key"], row["count"], row["open"]) for row in found]

    assert await looked() == []
    drifting = sent("Product Viewed", NOW - 5 * HOUR, 1, sku="a", price="1.50")
    await send_all(gateway, iter([drifting]))
    gateway.clock.advance(14 * HOUR)
    both = [("audit:silence:*", 1, True), ("audit:type_drift:Product Viewed.price", 1, True)]
    assert await looked() == both
    assert await looked() == both, "once"
    later = gateway.clock.now()
    await send_all(gateway, iter([sent(name, later - 1, 1, sku="a") for name in ("Product Viewed", "Product Added")]))
    assert await looked() == [("audit:silence:*", 1, False), both[1]]
    gateway.clock.advance(49 * HOUR)
    later = gateway.clock.now()
    await send_all(gateway, iter([sent(name, later - 1, 1, sku="a") for name in ("Product Viewed", "Product Added")]))
    well = [(key, count, False) for key, count, _ in both]
    assert await looked() == well
    assert await looked() == well
