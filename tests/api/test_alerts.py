"""Alerts by GraphQL: one for as long as the trouble lasts, listed, and followed without gaps."""

from __future__ import annotations

from typing import Any

from gateway.model.alert import Severity
from tests.api.gateway_api import WORKSPACE, Gateway
from tests.api.test_watching import silent

LIST = """query($open: Boolean, $first: Int, $after: Cursor) { alerts(open: $open, first: $first, after: $after) {
  nodes { id key severity title text hint aboutKind aboutKey firstAt lastAt count resolvedAt }
  pageInfo { hasNextPage endCursor } } }"""
FOLLOW = """subscription($after: Cursor) { alertRaised(after: $after) {
  cursor gap { missed } raised at alert { key count resolvedAt } } }"""


async def trouble(gateway: Gateway, key: str = "connector/crm", **changes: Any) -> None:
    given: dict[str, Any] = {"severity": Severity.WARNING, "title": "crm takes nothing", "text": "HTTP 503"}
    given |= {"hint": "Look at it.", "about": ("connector", "crm"), **changes}
    await gateway.services.alerts.raise_alert(WORKSPACE, key, gateway.clock, **given)
    await gateway.derive()


async def over(gateway: Gateway, key: str = "connector/crm") -> None:
    await gateway.services.alerts.resolve(WORKSPACE, key, gateway.clock)
    await gateway.derive()


async def alerts(gateway: Gateway, **given: Any) -> list[dict[str, Any]]:
    return list((await gateway.ask(LIST, await gateway.api_key(), **given))["alerts"]["nodes"])


async def test_the_same_trouble_is_one_alert_as_long_as_it_is_open(gateway: Gateway) -> None:
    await trouble(gateway)
    gateway.clock.advance(1_000)
    await trouble(gateway, text="HTTP 500")
    (one,) = await alerts(gateway, open=True)
    assert (one["count"], one["text"], one["severity"], one["aboutKey"]) == (2, "HTTP 500", "WARNING", "crm")
    assert (one["firstAt"], one["lastAt"]) == ("2026-11-21T10:00:00.000Z", "2026-11-21T10:00:01.000Z")
    gateway.clock.advance(1_000)
    await over(gateway)
    await over(gateway)
    assert await alerts(gateway, open=True) == []
    gateway.clock.advance(1_000)
    await trouble(gateway)
    found = await alerts(gateway)
    assert [alert["resolvedAt"] for alert in found] == [None, "2026-11-21T10:00:02.000Z"]
    assert len({alert["id"] for alert in found}) == 2
    node = await gateway.ask("query($id: ID!) { node(id: $id) { id } }", await gateway.api_key(), id=one["id"])
    assert node["node"] == {"id": one["id"]}


async def test_pages_go_through_all_alerts(gateway: Gateway) -> None:
    for number in range(5):
        gateway.clock.advance(10)
        await trouble(gateway, f"k{number}")
    key, seen, after = await gateway.api_key(), [], None
    for _ in range(3):
        page = (await gateway.ask(LIST, key, first=2, after=after))["alerts"]
        seen += [one["key"] for one in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert seen == ["k4", "k3", "k2", "k1", "k0"]


async def test_alerts_are_followed_and_resumed(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with gateway.socket(key) as socket:
        await socket.subscribe(FOLLOW)
        cursor = (await socket.news())["alertRaised"]["cursor"]
        await trouble(gateway)
        told = (await socket.news())["alertRaised"]
        assert (told["raised"], told["alert"]["count"], told["gap"]) == (True, 1, None)
        await trouble(gateway)
        assert await silent(socket), "what grows is no news"
    await over(gateway)
    async with gateway.socket(key) as socket:
        await socket.subscribe(FOLLOW, after=told["cursor"])
        ended = (await socket.news())["alertRaised"]
        assert (ended["raised"], ended["alert"]["count"]) == (False, 2)
    async with gateway.socket(key) as socket:
        await socket.subscribe(FOLLOW, after=cursor)
        assert [(await socket.news())["alertRaised"]["raised"] for _ in range(2)] == [True, False]


async def test_alerts_need_the_permission(gateway: Gateway) -> None:
    for authorization in (await gateway.api_key("journeys:read"), gateway.token(userId="ann")):
        assert (await gateway.refusal("{ alerts { __typename } }", authorization))["extensions"]["code"] == "FORBIDDEN"
