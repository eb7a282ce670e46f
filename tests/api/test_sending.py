"""Mutations: events in, through the same intake, and errors that say what to correct."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.context import Context
from gateway.errors import Unavailable
from gateway.pipeline.intake import Delivery
from tests.api.gateway_api import Gateway, identify, track

ANSWER = "{ eventId verdict errors { __typename code path message hint } }"
TRACK = f"mutation($input: TrackInput!) {{ track(input: $input) {ANSWER} }}"
IDENTIFY = f"mutation($input: IdentifyInput!) {{ identify(input: $input) {ANSWER} }}"


async def sent(gateway: Gateway, mutation: str, authorization: str, **given: object) -> dict[str, Any]:
    (answer,) = (await gateway.ask(mutation, authorization, input=given)).values()
    return dict(answer)


async def test_a_server_sends_an_event_and_finds_it(gateway: Gateway) -> None:
    key = await gateway.api_key()
    answer = await sent(
        gateway,
        TRACK,
        key,
        event="Order Completed",
        properties={"total": 12.5, "items": [{"id": 1}]},
        userId="ann",
        timestamp="2026-11-21T09:00:00.250+00:00",
        messageId="m1",
    )
    assert (answer["verdict"], answer["errors"]) == ("ACCEPTED", [])
    query = """query($id: ID!) { node(id: $id) { ... on Event { name at type properties userId source messageId
        receivedAt context traits } } }"""
    assert (await gateway.ask(query, key, id=answer["eventId"]))["node"] == {
        "name": "Order Completed",
        "at": "2026-11-21T09:00:00.250Z",
        "type": "TRACK",
        "properties": {"total": 12.5, "items": [{"id": 1}]},
        "userId": "ann",
        "source": "graphql",
        "messageId": "m1",
        "receivedAt": "2026-11-21T10:00:00.000Z",
        "context": {},
        "traits": {},
    }


async def test_an_event_sent_again_is_a_duplicate_and_one_with_other_content_a_conflict(gateway: Gateway) -> None:
    key = await gateway.api_key()
    first = await sent(gateway, TRACK, key, event="A", userId="ann", messageId="m1")
    again = await sent(gateway, TRACK, key, event="A", userId="ann", messageId="m1")
    assert again == {**first, "verdict": "DUPLICATE"}
    other = await sent(gateway, TRACK, key, event="B", userId="ann", messageId="m1")
    assert (other["verdict"], other["eventId"]) == ("CONFLICT", None)
    assert other["errors"][0]["code"] == "ID_REUSED"
    without = [(await sent(gateway, TRACK, key, event="A", userId="ann"))["eventId"] for _ in range(2)]
    assert len(set(without)) == 2


async def test_what_cannot_be_an_event_is_quarantined_with_the_reason(gateway: Gateway) -> None:
    answer = await sent(
        gateway, TRACK, await gateway.api_key(), event="A", userId="ann", properties={"a": "x" * 40_000}
    )
    assert (answer["verdict"], answer["eventId"]) == ("QUARANTINED", None)
    (error,) = answer["errors"]
    assert (error["__typename"], error["code"], error["path"]) == ("InputError", "EVENT_TOO_LARGE", ["input"])


async def test_a_server_says_whose_event_it_is(idle_gateway: Gateway) -> None:
    answer = await sent(idle_gateway, TRACK, await idle_gateway.api_key(), event="A")
    assert (answer["eventId"], answer["verdict"]) == (None, None)
    assert answer["errors"][0]["code"] == "NO_IDENTITY"


@pytest.mark.parametrize("identity", [{"userId": "ann"}, {"anonymousId": "a1"}])
async def test_an_end_user_sends_for_themselves(gateway: Gateway, identity: dict[str, str]) -> None:
    token = gateway.token(**identity)
    (same,) = identity.items()
    for more in ({}, identity):
        answer = await sent(gateway, TRACK, token, event="Product Viewed", **more)
        assert answer["verdict"] == "ACCEPTED"
    await gateway.derive()
    me = (await gateway.ask("{ me { eventCount identities { value } } }", token))["me"]
    assert me == {"eventCount": 2, "identities": [{"value": same[1]}]}


@pytest.mark.parametrize("mutation", [TRACK, IDENTIFY])
@pytest.mark.parametrize(
    ("own", "other", "path"),
    [
        ({"userId": "ann"}, {"userId": "bob"}, "userId"),
        ({"userId": "ann"}, {"anonymousId": "a1"}, "anonymousId"),
        ({"userId": "ann"}, {"userId": "ann", "anonymousId": "ann"}, "anonymousId"),
        ({"anonymousId": "a1"}, {"userId": "ann"}, "userId"),
        ({"anonymousId": "a1"}, {"anonymousId": "a2"}, "anonymousId"),
        ({"userId": "ann"}, {"userId": ""}, "userId"),
    ],
)
async def test_an_end_user_cannot_send_for_another(
    gateway: Gateway, mutation: str, own: dict[str, str], other: dict[str, str], path: str
) -> None:
    more = {"event": "A"} if mutation == TRACK else {}
    answer = await sent(gateway, mutation, gateway.token(**own), **more, **other)
    assert (answer["eventId"], answer["verdict"]) == (None, None)
    refused = ("OTHER_IDENTITY", ["input", path])
    if mutation == IDENTIFY and "anonymousId" in own:
        refused = ("VISITOR", ["input"])
    assert (answer["errors"][0]["code"], answer["errors"][0]["path"]) == refused
    assert await gateway.database.count("events", {"workspace": "main"}) == 0


async def test_an_end_user_tells_their_traits(gateway: Gateway) -> None:
    token = gateway.token(userId="ann")
    assert (await sent(gateway, IDENTIFY, token, traits={"plan": "pro"}))["verdict"] == "ACCEPTED"
    await gateway.derive()
    assert await gateway.ask("{ me { traits } }", token) == {"me": {"traits": {"plan": "pro"}}}


async def test_a_server_links_two_ids(gateway: Gateway) -> None:
    key = await gateway.api_key("events:write")
    assert (await sent(gateway, IDENTIFY, key, userId="ann", anonymousId="a1"))["verdict"] == "ACCEPTED"
    await gateway.derive()
    users = "{ users { nodes { identities { value } } } }"
    assert await gateway.ask(users, await gateway.api_key()) == {
        "users": {"nodes": [{"identities": [{"value": "a1"}, {"value": "ann"}]}]}
    }


async def test_a_visitor_tracks_but_does_not_identify(gateway: Gateway) -> None:
    visitor = gateway.token(anonymousId="a1")
    assert (await sent(gateway, TRACK, visitor, event="Home"))["verdict"] == "ACCEPTED"
    for more in ({}, {"userId": "ann"}, {"traits": {"name": "Ann"}}):
        answer = await sent(gateway, IDENTIFY, visitor, **more)
        assert answer["errors"][0]["code"] == "VISITOR", more
        assert answer["eventId"] is None
    assert await gateway.database.count("events", {"workspace": "main"}) == 1


async def test_a_visitor_token_opens_nothing_once_the_visitor_is_known(gateway: Gateway) -> None:
    visitor = gateway.token(anonymousId="a1")
    await gateway.send(track("Product Viewed", 1, anonymousId="a1"))
    assert (await gateway.ask("{ me { eventCount } }", visitor))["me"] == {"eventCount": 1}
    await gateway.send(identify(anonymousId="a1", userId="ann"))
    for query in (
        "{ me { eventCount } }",
        "{ journeyMaps { key } }",
        'mutation { track(input: {event: "A"}) { verdict } }',
    ):
        response = await gateway.post({"query": query}, visitor)
        assert response.status_code == 403
        assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_what_is_not_acknowledged_says_so(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(delivery: Delivery) -> None:
        raise Unavailable("MongoDB did not confirm the events in time; nothing was acknowledged.", hint="Send again.")

    monkeypatch.setattr(gateway.intake, "ingest", away)
    response = await gateway.post(
        {"query": TRACK, "variables": {"input": {"event": "A", "userId": "ann"}}}, await gateway.api_key()
    )
    assert response.status_code == 200
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "UNAVAILABLE", "hint": "Send again.", "retryAfter": 1}
    assert error["path"] == ["track"]


@pytest.mark.parametrize(
    "given",
    [
        {"event": "A", "timestamp": "yesterday"},
        {"event": "A", "timestamp": "2026-11-21T10:00:00"},
        {"event": "A", "timestamp": 5},
        {"event": "A", "unknown": 1},
    ],
)
async def test_an_input_of_the_wrong_kind_is_refused(idle_gateway: Gateway, given: dict[str, object]) -> None:
    error = await idle_gateway.refusal(TRACK, await idle_gateway.api_key(), input={"userId": "ann", **given})
    assert error["extensions"]["code"] == "INVALID_INPUT"


async def test_a_number_beyond_64_bits_is_said_and_not_rounded(gateway: Gateway) -> None:
    key = await gateway.api_key()
    answer = await sent(gateway, TRACK, key, event="A", userId="ann", properties={"id": 99999999999999999999})
    assert (answer["verdict"], answer["eventId"]) == ("QUARANTINED", None)
    assert answer["errors"][0]["code"] == "INTEGER_OUT_OF_RANGE"


async def test_what_a_mutation_has_done_is_told_whatever_happens_meanwhile(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, asked = Context.check_visitor, 0

    async def once(self: Context) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Unavailable("MongoDB does not answer.")
        await check(self)

    monkeypatch.setattr(Context, "check_visitor", once)
    assert (await sent(gateway, TRACK, gateway.token(anonymousId="a1"), event="Home"))["verdict"] == "ACCEPTED"
