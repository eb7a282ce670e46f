"""HubSpot's API: what its own client sends, what its documentation answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from gateway_hubspot.destination import DestinationConfig, HubspotDestination
from gateway_hubspot.enricher import EnricherConfig, Hubspot
from hubspot.crm import contacts
from hubspot.events import send as sending

from gateway.connectors.http import GuardedHttp
from gateway.model.event import EventType
from gateway.plugin import (
    AuthFailed,
    Delivered,
    Found,
    Item,
    ItemResult,
    Message,
    PluginError,
    Rejected,
    Retry,
    Skip,
    Throttled,
)
from tests.connectors.delivering import context, event
from tests.connectors.sink import Asked, Sink, Told

NAMED = {"Order Completed": {"name": "pe7_order", "properties": {"total": "amount", "paid": "paid"}}}


@pytest.fixture
def enricher(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> Hubspot:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-canary")
    return reading(sink, http)


def reading(sink: Sink, http: GuardedHttp, **settings: Any) -> Hubspot:
    given = {"token": "env:HUBSPOT_TOKEN", "base_url": sink.url, "properties": ["lifecyclestage", "company"]}
    return Hubspot(EnricherConfig.model_validate({**given, **settings}), context("hubspot", http=http))


@pytest.fixture
def destination(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> HubspotDestination:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-canary")
    return writing(sink, http)


def writing(sink: Sink, http: GuardedHttp, **settings: Any) -> HubspotDestination:
    given = {"token": "env:HUBSPOT_TOKEN", "base_url": sink.url, "custom_events": NAMED}
    return HubspotDestination(DestinationConfig.model_validate({**given, **settings}), context("crm", http=http))


def message(number: int = 1, **changes: Any) -> Message:
    one = event(number, **changes)
    return Message(one.id.hex(), "event", "w", f"user {number}", one.at, event=one)


def identify(number: int = 1, mail: str = "", **traits: Any) -> Message:
    given = {"email": mail or f"u{number}@a.example", **traits}
    return message(number, type=EventType.IDENTIFY, name="identify", traits=given)


def items(destination: HubspotDestination, *messages: Message) -> list[Item]:
    found = []
    for one in messages:
        payload = destination.map(one)
        assert isinstance(payload, dict), payload
        found.append(Item(one, payload))
    return found


def keys(found: Sequence[Item]) -> list[str]:
    return [item.key for item in found]


def stored(asked: Asked, *but: str) -> list[dict[str, Any]]:
    """Results as HubSpot tells them, in an order of its own."""
    traces = [(number, one["objectWriteTraceId"]) for number, one in enumerate(asked.json["inputs"])]
    return [{"id": str(number), "objectWriteTraceId": trace} for number, trace in reversed(traces) if trace not in but]


def contact(mail: str, **more: Any) -> dict[str, Any]:
    properties = {"email": mail, "lifecyclestage": "lead", "company": None, "hs_object_id": "7"}
    return {"id": "7", "properties": properties, "updatedAt": "2026-11-21T10:00:00.000Z", **more}


def theirs_at(api: Any, sink: Sink) -> Any:
    """The vendor's client's settings, so that it speaks to the sink."""
    made = api.Configuration(host=sink.url)
    made.access_token = "pat-canary"
    return made


# -- enricher ---------------------------------------------------------------------------------------------------------


async def test_contacts_are_read_as_the_client_reads_them(sink: Sink, enricher: Hubspot) -> None:
    sink.answer = lambda asked: Told({"status": "COMPLETE", "results": [contact("Ada@A.example")]})
    found = await enricher.lookup(["ada@a.example", "bob@a.example"])
    assert found == {
        "ada@a.example": Found(
            {
                "lifecyclestage": {
                    "value": "lead",
                    "object": "contact/7",
                    "updatedAt": "2026-11-21T10:00:00.000Z",
                }
            }
        )
    }
    ours = sink.last
    with contacts.ApiClient(theirs_at(contacts, sink)) as client:
        wanted = contacts.BatchReadInputSimplePublicObjectId(
            id_property="email",
            properties=["lifecyclestage", "company", "email"],
            properties_with_history=[],
            inputs=[
                contacts.SimplePublicObjectId(id="ada@a.example"),
                contacts.SimplePublicObjectId(id="bob@a.example"),
            ],
        )
        contacts.BatchApi(client).read(batch_read_input_simple_public_object_id=wanted, _preload_content=False)
    theirs = sink.last
    assert theirs is not ours
    assert (ours.method, ours.path, ours.json) == (theirs.method, theirs.path, theirs.json)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == "Bearer pat-canary"


async def test_with_history_each_value_says_how_it_came_and_requests_are_smaller(
    sink: Sink, http: GuardedHttp, enricher: Hubspot
) -> None:
    history = [{"value": "lead", "timestamp": "2026-11-02T08:00:00Z", "sourceType": "FORM"}]
    one = contact("u1@a.example", propertiesWithHistory={"lifecyclestage": history})
    sink.answer = lambda asked: Told({"results": [one]})
    found = await reading(sink, http, history=True).lookup([f"u{number}@a.example" for number in range(80)])
    known = found["u1@a.example"].fields["lifecyclestage"]
    assert (known["source"], known["updatedAt"]) == ("FORM", "2026-11-02T08:00:00Z")
    assert [len(asked.json["inputs"]) for asked in sink.asked] == [50, 30]
    assert sink.last.json["propertiesWithHistory"] == ["lifecyclestage", "company"]


async def test_a_contact_that_is_not_there_is_no_error(sink: Sink, enricher: Hubspot) -> None:
    missing = {"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ["bob@a.example"]}}
    sink.answers = [Told({"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [missing]}, 207)]
    assert await enricher.lookup(["bob@a.example"]) == {}


@pytest.mark.parametrize(
    ("told", "category"),
    [
        (Told({"message": "expired"}, 401), "auth"),
        (Told({"policyName": "SECONDLY"}, 429), "rate_limit"),
        (Told({"message": "unknown property"}, 400), "config"),
        (Told(b"", 502), "remote"),
        (Told(b"<html>", 200), "remote"),
        (Told({"results": [], "errors": [{"category": "INTERNAL_ERROR"}]}, 207), "remote"),
    ],
)
async def test_failures_say_whose_turn_it_is(sink: Sink, enricher: Hubspot, told: Told, category: str) -> None:
    sink.answers = [told]
    with pytest.raises(PluginError) as raised:
        await enricher.lookup(["ada@a.example"])
    assert raised.value.failure.category == category
    assert "canary" not in str(raised.value)


def test_a_contact_is_found_by_mail_or_by_user_id(sink: Sink, http: GuardedHttp, enricher: Hubspot) -> None:
    identities = [("anonymousId", "a-1"), ("userId", "ada")]
    assert enricher.key_of(identities, {"email": " Ada@A.example "}) == "ada@a.example"
    assert enricher.key_of(identities, {"email": "none"}) is None
    assert enricher.key_of(identities, {}) is None
    by_id = reading(sink, http, id_property="external_id")
    assert by_id.key_of(identities, {}) == "ada"
    assert by_id.key_of(identities[:1], {"email": "ada@a.example"}) is None


# -- destination ------------------------------------------------------------------------------------------------------


async def test_contacts_are_written_as_the_client_writes_them(sink: Sink, destination: HubspotDestination) -> None:
    sink.answer = lambda asked: Told({"status": "COMPLETE", "results": stored(asked)})
    traits = {"firstName": "Ada", "age": 36, "title": True}
    (item,) = items(destination, identify(1, "Ada@A.example", **traits))
    assert await destination.send([item]) == [Delivered("0")]
    ours = sink.last
    with contacts.ApiClient(theirs_at(contacts, sink)) as client:
        one = contacts.SimplePublicObjectBatchInputUpsert(
            id_property="email",
            id="ada@a.example",
            object_write_trace_id=item.key,
            properties={"email": "ada@a.example", "firstname": "Ada", "jobtitle": "true"},
        )
        wanted = contacts.BatchInputSimplePublicObjectBatchInputUpsert(inputs=[one])
        contacts.BatchApi(client).upsert(
            batch_input_simple_public_object_batch_input_upsert=wanted, _preload_content=False
        )
    theirs = sink.last
    assert theirs is not ours
    assert (ours.method, ours.path, ours.json) == (theirs.method, theirs.path, theirs.json)


async def test_events_are_sent_as_the_client_sends_them(sink: Sink, destination: HubspotDestination) -> None:
    sink.answer = lambda asked: Told(status=204)
    properties = {"total": 12.5, "paid": True, "secretive": "x", "email": "ada@a.example"}
    (item,) = items(destination, message(name="Order Completed", properties=properties, at=1_795_255_200_000))
    assert await destination.send([item]) == [Delivered()]
    ours = sink.last
    (sent,) = ours.json["inputs"]
    assert sent["properties"] == {"amount": "12.5", "paid": "true"}
    assert sent["occurredAt"] == "2026-11-21T10:00:00.000Z"
    with sending.ApiClient(theirs_at(sending, sink)) as client:
        one = sending.BehavioralEventHttpCompletionRequest(
            event_name="pe7_order",
            email="ada@a.example",
            occurred_at=sent["occurredAt"],
            uuid=sent["uuid"],
            properties=sent["properties"],
        )
        wanted = sending.BatchedBehavioralEventHttpCompletionRequest(inputs=[one])
        sending.BatchApi(client).send(wanted, _preload_content=False)
    theirs = sink.last
    assert theirs is not ours
    assert (ours.method, ours.path, ours.json) == (theirs.method, theirs.path, theirs.json)
    again = destination.map(item.message)
    assert again == item.payload  # the same uuid on every try


async def test_each_contact_has_its_own_result(sink: Sink, destination: HubspotDestination) -> None:
    given = items(destination, *(identify(number) for number in range(5)))
    bad, late, conflict = keys(given)[1:4]

    def error(category: str, trace: str) -> dict[str, Any]:
        return {"status": "error", "category": category, "message": "no", "context": {"objectWriteTraceId": [trace]}}

    sink.answer = lambda asked: Told(
        {
            "results": stored(asked, bad, late, conflict),
            "errors": [error("VALIDATION_ERROR", bad), error("RATE_LIMITS", late), error("CONFLICT", conflict)],
        },
        207,
    )
    assert await destination.send(given) == [
        Delivered("0"),
        Rejected("VALIDATION_ERROR: no", code="validation_error"),
        Throttled("RATE_LIMITS"),
        Retry("CONFLICT: no"),
        Delivered("4"),
    ]


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (Told({"status": "COMPLETE", "results": []}), Retry("HubSpot does not say what became of it")),
        (Told({}, 207), Retry("HubSpot does not say what became of it")),
        (Told(b"<html>", 200), Retry("HubSpot does not say what became of it")),
        (
            Told({"results": [], "errors": [{"category": "VALIDATION_ERROR", "message": "all bad"}]}, 207),
            Rejected("VALIDATION_ERROR: all bad", code="validation_error"),
        ),
        (Told({"message": "expired", "category": "EXPIRED_AUTHENTICATION"}, 401), AuthFailed("HTTP 401")),
        (Told({"policyName": "SECONDLY"}, 429), Throttled("HTTP 429", 10.0)),
        (Told({"policyName": "DAILY"}, 429), Throttled("HTTP 429", 3600.0)),
        (Told({"policyName": "DAILY"}, 429, {"Retry-After": "7"}), Throttled("HTTP 429", 7.0)),
        (Told(b"", 502), Retry("HTTP 502")),
    ],
)
async def test_a_success_without_a_result_is_none(
    sink: Sink, destination: HubspotDestination, told: Told, result: ItemResult
) -> None:
    sink.answers = [told]
    assert await destination.send(items(destination, identify(1), identify(2))) == [result, result]


async def test_what_spoils_a_request_is_found(sink: Sink, destination: HubspotDestination) -> None:
    def answer(asked: Asked) -> Told:
        if any(one["id"] == "u3@a.example" for one in asked.json["inputs"]):
            return Told({"status": "error", "message": "bad phone", "category": "VALIDATION_ERROR"}, 400)
        return Told({"results": stored(asked)})

    sink.answer = answer
    results = await destination.send(items(destination, *(identify(number) for number in range(5))))
    assert [type(one) for one in results] == [Delivered, Delivered, Delivered, Rejected, Delivered]
    assert results[3] == Rejected("bad phone", code="validation_error")


async def test_one_contact_stands_in_a_request_once_and_the_last_word_counts(
    sink: Sink, destination: HubspotDestination
) -> None:
    sink.answer = lambda asked: Told({"results": stored(asked)})
    given = [identify(1, "a@a.example", phone="1"), identify(2), identify(3, "A@a.example", phone="2")]
    assert [type(one) for one in await destination.send(items(destination, *given))] == [Delivered] * 3
    sent = [[one["properties"].get("phone") for one in asked.json["inputs"]] for asked in sink.asked]
    assert sent == [["1", None], ["2"]]


async def test_events_and_contacts_of_one_batch_keep_their_results(sink: Sink, destination: HubspotDestination) -> None:
    def answer(asked: Asked) -> Told:
        if asked.path.startswith("/events"):
            return Told({"status": "error", "category": "VALIDATION_ERROR", "message": "no such event"}, 400)
        return Told({"results": stored(asked)})

    sink.answer = answer
    mail = {"traits": {"email": "ada@a.example"}}
    given = [
        message(1, name="Order Completed", context=mail),
        identify(2),
        message(3, name="Order Completed", context=mail),
    ]
    results = await destination.send(items(destination, *given))
    assert [type(one) for one in results] == [Rejected, Delivered, Rejected]


def test_what_hubspot_has_no_use_for_is_left_out(
    sink: Sink, http: GuardedHttp, destination: HubspotDestination
) -> None:
    for one in (
        message(name="Another"),
        message(name="Order Completed"),  # of somebody without a mail address
        message(type=EventType.IDENTIFY),
        message(type=EventType.PAGE),
        Message("k", "journey", "w", "u", 1),
    ):
        assert isinstance(destination.map(one), Skip)
    by_id = writing(sink, http, id_property="external_id").map(message(type=EventType.IDENTIFY))
    assert isinstance(by_id, dict)
    assert by_id["contact"]["id"] == "ada"
    assert by_id["contact"]["properties"] == {"external_id": "ada"}
    anonymous = message(type=EventType.IDENTIFY, user_id=None, anonymous_id="a-1")
    assert isinstance(writing(sink, http, id_property="external_id").map(anonymous), Skip)


async def test_the_check_asks_for_the_account(sink: Sink, enricher: Hubspot, destination: HubspotDestination) -> None:
    sink.answers = [Told({"portalId": 1}), Told({}, 401), Told(b"", 500)]
    assert (await enricher.check()).ok
    assert (sink.last.method, sink.last.path) == ("GET", "/account-info/v3/details")
    assert (await destination.check()).said == "The token is refused."
    assert not (await destination.check()).ok


def test_the_same_message_gives_the_same_payload(destination: HubspotDestination) -> None:
    one = identify(1, firstName="Ada")
    assert destination.map(one) == destination.map(replace(one))
