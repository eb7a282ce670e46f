"""Which platform sends what: the client of an event, as an audit asks for it."""

from __future__ import annotations

from tests.api.gateway_api import Gateway, track

QUERY = """query($id: ID!) { node(id: $id) { ... on Event {
  at timestamp originalTimestamp sentAt receivedAt
  client { platform library libraryVersion app appVersion os osVersion browser browserVersion device country IP }
} } }"""
CONTEXT = {
    "library": {"name": "analytics-swift", "version": "1.7.3"},
    "app": {"name": "Shop", "version": "7.4"},
    "os": {"name": "iOS", "version": "18.5"},
    "device": {"type": "ios", "model": "iPhone17,1"},
    "location": {"country": "DE"},
    "ip": "203.0.113.77",
}


async def test_the_client_of_an_event_and_its_four_time_stamps(gateway: Gateway) -> None:
    told = {
        "timestamp": "2024-01-01T10:00:00Z",
        "originalTimestamp": "2024-01-01T09:00:00Z",
        "sentAt": "2024-01-01T10:00:05Z",
    }
    [known] = await gateway.send({**track("Product Viewed", userId="ann", context=CONTEXT), **told})
    [bare] = await gateway.send(track("Product Viewed", userId="bob"))
    tool = await gateway.api_key("events:read", "pii:read")

    found = (await gateway.ask(QUERY.replace("IP", "ip"), tool, id=known))["node"]
    nothing = (await gateway.ask(QUERY.replace("IP", "ip"), tool, id=bare))["node"]

    assert found["client"] == {
        "platform": "IOS",
        "library": "analytics-swift",
        "libraryVersion": "1.7.3",
        "app": "Shop",
        "appVersion": "7.4",
        "os": "iOS",
        "osVersion": "18.5",
        "browser": None,
        "browserVersion": None,
        "device": "MOBILE",
        "country": "DE",
        "ip": "203.0.113.0",
    }
    assert found["at"].startswith("2024-01-01T10:00:00")
    assert found["timestamp"].startswith("2024-01-01T10:00:00")
    assert found["originalTimestamp"].startswith("2024-01-01T09:00:00")
    assert found["sentAt"].startswith("2024-01-01T10:00:05")
    assert set(nothing["client"].values()) == {None}
    assert nothing["sentAt"] is None


async def test_an_address_is_personal_data_and_a_platform_is_not(gateway: Gateway) -> None:
    [event] = await gateway.send(track("Product Viewed", userId="ann", context=CONTEXT))
    page = await gateway.api_key("events:read")
    assert (await gateway.ask(QUERY.replace("IP", ""), page, id=event))["node"]["client"]["platform"] == "IOS"
    assert "pii:read" in (await gateway.refusal(QUERY.replace("IP", "ip"), page, id=event))["message"]
