"""Event streams as graphql-sse has them: one for each operation, or one for many; resumed, limited, ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.api import reservations, streaming
from gateway.api.context import Context
from tests.api.event_source import EventSource, Message, opened
from tests.api.event_source import streaming as stream_of
from tests.api.gateway_api import Gateway, identify, track
from tests.api.test_watching import away
from tests.pace import PATIENCE

JSON = {"content_type": "application/json"}
STREAM = {**JSON, "accept": "text/event-stream"}
EVENTS = "subscription Watch($after: Cursor) { eventStored(after: $after) { cursor event { name } } }"
JOURNEYS = "subscription { journeyChanged { cursor to { key } journey { id } } }"


def watching(gateway: Gateway, key: str, query: str = EVENTS, **headers: str) -> Any:
    return stream_of(gateway.app, "POST", "/", {"query": query}, authorization=key, **STREAM, **headers)


async def names(source: EventSource, count: int, field: str = "eventStored") -> list[str]:
    return [(await source.data())[field]["event"]["name"] for _ in range(count)]


# -- one stream for each operation ------------------------------------------------------------------------------------


async def test_a_subscription_is_streamed_with_its_cursor_as_id(gateway: Gateway) -> None:
    async with watching(gateway, await gateway.api_key()) as source:
        assert source.status == 200
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert source.headers["cache-control"] == "no-cache, no-transform"
        assert source.headers["x-accel-buffering"] == "no"
        first = await source.told()
        assert first.event == "next"
        assert first.id == first.data["data"]["eventStored"]["cursor"]
        await gateway.send(track("A", userId="ann"))
        second = await source.told()
        assert second.data == {"data": {"eventStored": {"cursor": second.id, "event": {"name": "A"}}}}
        assert second.id != first.id
        assert source.comments == 1


async def test_a_stream_tells_what_a_socket_tells(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with watching(gateway, key, JOURNEYS) as source, gateway.socket(key) as socket:
        await socket.subscribe(JOURNEYS)
        told = [(await source.data(), await socket.news())]
        for event in ("Product Viewed", "Product Added"):
            await gateway.send(track(event, userId="ann"))
            told.append((await source.data(), await socket.news()))
    assert len(told) == 3
    for streamed, sent in told:
        assert streamed == sent


async def test_the_last_event_id_goes_on_where_the_stream_broke(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with watching(gateway, key) as source:
        begun = await source.told()
        await gateway.send(track("A", userId="ann"))
        seen = await source.told()
    await gateway.send(track("B", userId="ann"), track("C", userId="ann"))
    written = {"variable": EVENTS, "absent": EVENTS.replace("($after: Cursor)", "").replace("(after: $after)", "")}
    written["literal"] = f'subscription {{ eventStored(after: "{begun.id}") {{ cursor event {{ name }} }} }}'
    for form, query in written.items():
        async with watching(gateway, key, query, last_event_id=seen.id) as source:
            assert await names(source, 2) == ["B", "C"], form
    body = {"query": EVENTS, "variables": {"after": begun.id}}
    headers = {"authorization": key, "last_event_id": seen.id}
    async with stream_of(gateway.app, "POST", "/", body, **STREAM, **headers) as source:
        assert await names(source, 2) == ["B", "C"]


async def test_a_last_event_id_that_is_none_of_ours_is_an_error_in_the_stream(gateway: Gateway) -> None:
    async with watching(gateway, await gateway.api_key(), last_event_id="nonsense") as source:
        message = await source.told()
        assert message.data["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
        assert await source.read() == Message("complete", None)
        assert await source.read() is None
    async with watching(gateway, await gateway.api_key(), "{ __typename }", last_event_id="nonsense") as source:
        assert await source.data() == {"__typename": "Query"}


async def test_queries_and_mutations_are_one_result_and_the_end(gateway: Gateway) -> None:
    key = await gateway.api_key()
    mutation = 'mutation { track(input: {event: "A", userId: "ann"}) { verdict } }'
    for query, data in (
        ("{ journeyMaps { key } }", {"journeyMaps": [{"key": "purchase"}]}),
        (mutation, {"track": {"verdict": "ACCEPTED"}}),
    ):
        async with watching(gateway, key, query) as source:
            assert await source.read() == Message("next", {"data": data})
            assert await source.read() == Message("complete", None)
            assert await source.read() is None


async def test_a_get_streams_queries_and_subscriptions_but_no_mutations(gateway: Gateway) -> None:
    headers = {"authorization": await gateway.api_key(), "accept": "text/event-stream"}
    async with stream_of(gateway.app, "GET", "/?query=subscription{eventStored{cursor}}", **headers) as source:
        assert (await source.told()).id is not None
    async with stream_of(
        gateway.app, "GET", '/?query=mutation{track(input:{event:"A"}){verdict}}', **headers
    ) as source:
        assert source.status == 405
        assert source.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ nonsense }", "INVALID_INPUT"),
        ("{", "INVALID_INPUT"),
        ("query($id: ID!) { node(id: $id) { id } }", "INVALID_INPUT"),
        ("{ users { nodes { traits } } }", "FORBIDDEN"),
        ("subscription { eventStored { cursor } }", "FORBIDDEN"),
    ],
)
async def test_what_is_refused_is_told_in_the_stream(idle_gateway: Gateway, query: str, code: str) -> None:
    async with watching(idle_gateway, await idle_gateway.api_key("journeys:read"), query) as source:
        assert source.status == 200
        message = await source.told()
        assert message.event == "next"
        assert "data" not in message.data
        assert message.data["errors"][0]["extensions"]["code"] == code
        assert await source.read() == Message("complete", None)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"query": EVENTS}, {}, 401),
        ({"query": EVENTS}, {"authorization": "Bearer wrong"}, 401),
        ({"nonsense": 1}, {"authorization": "KEY"}, 400),
        ({"query": EVENTS}, {"authorization": "KEY", "content_type": "text/plain"}, 415),
    ],
)
async def test_what_is_no_request_gets_a_status(
    idle_gateway: Gateway, body: object, headers: dict[str, str], status: int
) -> None:
    if headers.get("authorization") == "KEY":
        headers = {**headers, "authorization": await idle_gateway.api_key()}
    async with stream_of(idle_gateway.app, "POST", "/", body, **{**STREAM, **headers}) as source:
        assert source.status == status
        assert (await source.body())["errors"][0]["message"]


async def test_a_credential_in_the_address_opens_nothing(idle_gateway: Gateway) -> None:
    token = idle_gateway.token(userId="ann").removeprefix("Bearer ")
    for name in ("token", "access_token", "authorization"):
        path = f"/?query=subscription{{journeyChanged{{cursor}}}}&{name}={token}"
        async with stream_of(idle_gateway.app, "GET", path, accept="text/event-stream") as source:
            assert source.status in (401, 404)


async def test_a_silent_stream_is_kept_alive(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.02)
    async with watching(gateway, await gateway.api_key()) as source:
        await source.data()
        await asyncio.sleep(1)
        await gateway.send(track("A", userId="ann"))
        assert await names(source, 1) == ["A"]
        assert source.comments > 3


async def test_hanging_up_ends_the_subscription(gateway: Gateway) -> None:
    async with watching(gateway, await gateway.api_key()) as source:
        await source.data()
        assert subscribers(gateway) == 1
    assert subscribers(gateway) == 0


async def test_a_slow_reader_loses_nothing_and_fills_no_memory(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.live.hub.BUFFER", 4)
    monkeypatch.setattr(streaming, "WAITING", 2)
    slow = EventSource(gateway.app, slow=True)
    key = await gateway.api_key()
    async with opened(slow, "POST", "/", {"query": EVENTS}, authorization=key, **STREAM) as source:
        await until(lambda: subscribers(gateway) == 1)
        for number in range(20):
            await gateway.send(track(f"E{number}", userId="ann"))
        await asyncio.sleep(0.2)
        (subscriber,) = (one for every in gateway.hub._subscribers.values() for one in every)
        assert len(subscriber.rows) <= 4
        source.go_on()
        heard: list[str] = []
        while len(heard) < 20:
            event = (await source.data())["eventStored"]["event"]
            heard += [event["name"]] if event else []
        assert heard == [f"E{number}" for number in range(20)]


async def test_a_credential_that_ends_ends_the_stream(gateway: Gateway) -> None:
    async with watching(gateway, gateway.token(userId="ann"), JOURNEYS) as source:
        assert (await source.data())["journeyChanged"]["cursor"]
        gateway.clock.advance(60 * 60_000)
        await gateway.send(track("Product Viewed", userId="ann"))
        message = await source.told()
        assert message.data["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert message.data["data"] is None
        assert (await source.told()).event == "complete"
        assert await source.read() is None


async def test_a_visitor_who_has_signed_in_hears_nothing_more(gateway: Gateway) -> None:
    await gateway.send(track("Product Viewed", anonymousId="a1"))
    async with watching(gateway, gateway.token(anonymousId="a1"), JOURNEYS) as source:
        assert (await source.data())["journeyChanged"]["cursor"]
        await gateway.send(identify(anonymousId="a1", userId="ann"), track("Product Added", userId="ann"))
        told = await source.told()
        assert told.data["data"] is None
        assert told.data["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_message_that_cannot_be_read_has_no_id_and_is_the_last_one(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = gateway.token(anonymousId="a1")
    async with watching(gateway, visitor) as source:
        seen = await source.told()
        with monkeypatch.context() as broken:
            broken.setattr(Context, "check_visitor", away)
            await gateway.send(track("Home", anonymousId="a1"))
            told = await source.told()
            assert told.data["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert told.id in (None, "")
            assert (await source.told()).event == "complete"
    async with watching(gateway, visitor, last_event_id=seen.id) as source:
        assert await names(source, 1) == ["Home"]


# -- one stream for many operations -----------------------------------------------------------------------------------


class Shared:
    """A client in single connection mode."""

    def __init__(self, gateway: Gateway, key: str, ticket: str) -> None:
        self.gateway = gateway
        self.key = key
        self.ticket = ticket

    @classmethod
    async def reserve(cls, gateway: Gateway, key: str) -> Shared:
        response = await gateway.request("PUT", "/", authorization=key)
        assert (response.status_code, response.headers["content-type"]) == (201, "text/plain; charset=utf-8")
        return cls(gateway, key, response.text)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": self.key, "x-graphql-event-stream-token": self.ticket}

    def connect(self) -> Any:
        """As a browser's EventSource does: no header can be set."""
        return stream_of(self.gateway.app, "GET", f"/?token={self.ticket}", accept="text/event-stream")

    async def post(self, query: str, operation_id: object, key: str | None = None) -> Any:
        body = {"query": query, "extensions": {"operationId": operation_id}}
        return await self.gateway.post(
            body, key or self.key, **{"x-graphql-event-stream-token": self.ticket, "accept": "*/*"}
        )

    async def stop(self, operation_id: str) -> int:
        response = await self.gateway.request("DELETE", f"/?operationId={operation_id}", **self.headers)
        return response.status_code


async def test_operations_share_a_stream(gateway: Gateway) -> None:
    shared = await Shared.reserve(gateway, await gateway.api_key())
    async with shared.connect() as source:
        assert source.status == 200
        assert (await shared.post("{ journeyMaps { key } }", "q")).status_code == 202
        data = {"journeyMaps": [{"key": "purchase"}]}
        assert await source.read() == Message("next", {"id": "q", "payload": {"data": data}})
        assert await source.read() == Message("complete", {"id": "q"})
        for operation_id in ("s1", "s2"):
            assert (await shared.post(EVENTS, operation_id)).status_code == 202
            begun = await source.told()
            assert (begun.event, begun.data["id"], begun.id) == ("next", operation_id, None)
        await gateway.send(track("A", userId="ann"))
        told = [await source.told(), await source.told()]
        assert {one.data["id"] for one in told} == {"s1", "s2"}
        assert await shared.stop("s1") == 200
        await gateway.send(track("B", userId="ann"))
        assert (await source.told()).data["id"] == "s2"
        assert subscribers(gateway) == 1
        assert await shared.stop("s1") == 200
    assert subscribers(gateway) == 0
    assert (await shared.post("{ __typename }", "q")).status_code == 404


async def test_results_wait_for_a_stream_that_is_reserved(gateway: Gateway) -> None:
    shared = await Shared.reserve(gateway, await gateway.api_key())
    assert (await shared.post("{ __typename }", "q")).status_code == 202
    async with shared.connect() as source:
        assert (await source.told()).data["payload"] == {"data": {"__typename": "Query"}}


async def test_a_refused_operation_is_answered_by_its_request(gateway: Gateway) -> None:
    shared = await Shared.reserve(gateway, await gateway.api_key("journeys:read"))
    async with shared.connect() as source:
        refused = await shared.post("{ nonsense }", "q")
        assert refused.status_code == 200  # application/json
        assert "data" not in refused.json()
        assert (await shared.post(EVENTS, "q")).json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        for bad in (None, "", 5, "x" * 201):
            assert (await shared.post("{ __typename }", bad)).status_code == 400
        assert (await shared.post(JOURNEYS, "q")).status_code == 202
        assert (await source.told()).data["id"] == "q"
        again = await shared.post(JOURNEYS, "q")
        assert (again.status_code, again.json()["errors"][0]["extensions"]["code"]) == (409, "CONFLICT")


async def test_a_stream_has_one_connection_and_belongs_to_its_caller(gateway: Gateway) -> None:
    key, other = await gateway.api_key(), await gateway.api_key("journeys:read")
    shared = await Shared.reserve(gateway, key)
    async with shared.connect() as source, shared.connect() as second:
        assert (source.status, second.status) == (200, 409)
        assert (await shared.post("{ __typename }", "q", other)).status_code == 404
        assert (await shared.post("{ __typename }", "q", "Bearer wrong")).status_code == 401
        as_good = await gateway.api_key()
        assert (await shared.post("{ __typename }", "q", as_good)).status_code == 202
    reserved = await Shared.reserve(gateway, key)
    headers = {"accept": "text/event-stream", "x_graphql_event_stream_token": reserved.ticket}
    async with stream_of(gateway.app, "GET", "/", authorization=other, **headers) as stolen:
        assert stolen.status == 404
    async with stream_of(gateway.app, "GET", "/", authorization=key, **headers) as own:
        assert own.status == 200
    async with stream_of(gateway.app, "GET", "/", **{**headers, "x_graphql_event_stream_token": "made up"}) as made_up:
        assert made_up.status == 404


async def test_a_reservation_does_not_wait_for_ever(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "RESERVED_SECONDS", 5.0)
    shared = await Shared.reserve(gateway, await gateway.api_key())
    assert (await shared.post(EVENTS, "s")).status_code == 202
    await until(lambda: subscribers(gateway) == 0)
    async with shared.connect() as source:
        assert source.status == 404


async def test_reservations_and_operations_are_limited(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MAX_RESERVED", 2)
    monkeypatch.setattr(streaming, "MAX_OPERATIONS", 2)
    key = await gateway.api_key()
    shared = await Shared.reserve(gateway, key)
    await Shared.reserve(gateway, key)
    refused = await gateway.request("PUT", "/", authorization=key)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    await Shared.reserve(gateway, await gateway.api_key("journeys:read"))
    async with shared.connect():
        await Shared.reserve(gateway, key)
        statuses = [(await shared.post(EVENTS, str(number))).status_code for number in range(3)]
        assert statuses == [202, 202, 400]


async def test_all_callers_together_reserve_no_more_than_so_many(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "MAX_RESERVED_BY_ALL", 2)
    keys = [await gateway.api_key(may) for may in ("journeys:read", "events:read", "kpis:read")]
    first, _ = [await Shared.reserve(gateway, key) for key in keys[:2]]
    assert (await gateway.request("PUT", "/", authorization=keys[2])).status_code == 429
    async with first.connect():
        assert (await gateway.request("PUT", "/", authorization=keys[2])).status_code == 201


async def test_reserving_and_stopping_need_a_credential(idle_gateway: Gateway) -> None:
    assert (await idle_gateway.request("PUT", "/")).status_code == 401
    assert (await idle_gateway.request("DELETE", "/?operationId=1&token=x")).status_code == 401
    key = await idle_gateway.api_key()
    assert (await idle_gateway.request("PUT", "/", authorization=key, accept="image/png")).status_code == 406
    assert (await idle_gateway.request("DELETE", "/?operationId=1", authorization=key)).status_code == 400
    assert (await idle_gateway.request("DELETE", "/?operationId=1&token=x", authorization=key)).status_code == 404


def subscribers(gateway: Gateway) -> int:
    return sum(len(every) for every in gateway.hub._subscribers.values())


async def until(true: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
