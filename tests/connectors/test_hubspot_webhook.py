"""HubSpot's webhooks: signatures by its published vectors and its own verifier, and what its events become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gateway_hubspot.webhook import HubspotWebhook, WebhookConfig
from hubspot.utils.signature import Signature

from gateway.clock import ServerClock
from gateway.plugin import Denied, RawRequest, Verified
from tests.connectors.delivering import context

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://hooks.acme.example/v1/hooks/hubspot"
BODY = json.dumps([{"subscriptionType": "contact.creation", "mail": "ö@a.example"}], ensure_ascii=False).encode()
# Published on developers.hubspot.com.
V1_BODY = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
    b'"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
V1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
V2 = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_SECRET", SECRET)
    monkeypatch.setenv("HUBSPOT_OLD_SECRET", "the old one")


def webhook(**settings: Any) -> HubspotWebhook:
    given = {"client_secret": "env:HUBSPOT_SECRET", **settings}
    return HubspotWebhook(WebhookConfig.model_validate(given), context("hubspot"))


def signed(version: str, *, secret: str = SECRET, url: str = URL, late: int = 0, body: bytes = BODY) -> RawRequest:
    """A request that HubSpot's own code has signed."""
    now = ServerClock().now()
    stamp = str(now - late)
    made = Signature.get_signature(secret, body.decode(), version, url, "POST", stamp)
    headers = {"x-hubspot-signature": made, "x-hubspot-signature-version": version}
    if version == "v3":
        headers = {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": stamp}
    return RawRequest("POST", url, headers, body, now)


def changed(request: RawRequest, **changes: Any) -> RawRequest:
    given = {"method": request.method, "url": request.url, "headers": request.headers, "body": request.body}
    return RawRequest(**{**given, **changes}, received_at=request.received_at)


def test_the_published_vectors_verify() -> None:
    headers = {"x-hubspot-signature": V1, "x-hubspot-signature-version": "v1"}
    one = RawRequest("POST", URL, headers, V1_BODY)
    assert webhook(signatures=["v1"]).verify(one) == Verified()
    headers = {"x-hubspot-signature": V2, "x-hubspot-signature-version": "v2"}
    two = RawRequest("GET", "https://www.example.com/webhook_uri", headers)
    assert webhook(signatures=["v2"]).verify(two) == Verified()


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_what_the_vendors_code_signs_is_verified_and_nothing_else(version: str) -> None:
    source = webhook(signatures=[version])
    request = signed(version)
    assert source.verify(request) == Verified()
    assert isinstance(source.verify(changed(request, body=request.body.replace(b"a.", b"b."))), Denied)
    assert isinstance(source.verify(signed(version, secret="another")), Denied)
    for name in request.headers:
        if "signature" in name and not name.endswith("version"):
            wrong = {**request.headers, name: request.headers[name][:-2] + "00"}
            assert isinstance(source.verify(changed(request, headers=wrong)), Denied)
    if version != "v1":
        assert isinstance(source.verify(changed(request, method="PUT")), Denied)
        assert isinstance(source.verify(changed(request, url=f"{URL}/other")), Denied)


def test_only_versions_that_are_named_count_and_the_newest_decides() -> None:
    assert webhook().verify(signed("v1")) == Denied("a signature of a version that `signatures` does not name: v1")
    assert webhook().verify(changed(signed("v3"), headers={})) == Denied("no signature")
    both = changed(signed("v3"), headers={**signed("v1").headers, **signed("v3", secret="another").headers})
    assert webhook(signatures=["v1", "v3"]).verify(both) == Denied("wrong signature v3")


def test_an_old_request_is_refused_and_an_old_secret_taken_while_it_is_changed() -> None:
    assert webhook().verify(signed("v3", late=290_000)) == Verified()
    assert webhook().verify(signed("v3", late=301_000)) == Denied("signed more than five minutes ago")
    assert webhook().verify(signed("v3", late=-301_000)) == Denied("signed more than five minutes ago")
    timeless = changed(signed("v3"), headers={"x-hubspot-signature-v3": "x", "x-hubspot-request-timestamp": "²"})
    assert webhook().verify(timeless) == Denied("no time beside the signature")
    assert webhook(old_client_secret="env:HUBSPOT_OLD_SECRET").verify(signed("v3", secret="the old one")) == Verified()


def test_the_address_that_was_signed_may_look_otherwise_here() -> None:
    behind = changed(signed("v3", url=f"{URL}?a=1"), url="http://10.0.0.7:8000/v1/hooks/hubspot?a=1")
    assert isinstance(webhook().verify(behind), Denied)
    assert webhook(url=URL).verify(behind) == Verified()
    coded = changed(signed("v3", url=f"{URL}?to=a@b:c"), url=f"{URL}?to=a%40b%3ac")
    assert webhook().verify(coded) == Verified()


def change(**more: Any) -> dict[str, Any]:
    return {**json.loads(V1_BODY)[0], "subscriptionType": "contact.propertyChange", **more}


def parsed(*events: Any, **settings: Any) -> list[Any]:
    body = json.dumps(events[0] if len(events) == 1 and not isinstance(events[0], dict) else list(events)).encode()
    return list(webhook(**settings).parse(RawRequest("POST", URL, {}, body)))


def test_an_event_of_a_contact_becomes_one_event() -> None:
    (made,) = parsed(change(propertyName="lifecyclestage", propertyValue="customer"))
    assert made == {
        "type": "track",
        "event": "HubSpot Contact Property Change",
        "anonymousId": "hubspot:62515:123",
        "messageId": "hubspot:62515:123:12345:1:1564113600000",
        "timestamp": "2019-07-26T04:00:00+00:00",
        "properties": {
            "portalId": 62515,
            "objectId": 123,
            "propertyName": "lifecyclestage",
            "propertyValue": "customer",
            "changeSource": "CRM",
            "changeFlag": "NEW",
        },
    }


def test_an_attempt_again_is_the_same_event_and_another_event_is_not() -> None:
    first, again, other = parsed(change(), change(attemptNumber=3), change(occurredAt=1564113600001))
    assert first["messageId"] == again["messageId"] != other["messageId"]


def test_a_contacts_user_id_joins_the_two() -> None:
    given = change(propertyName="external_id", propertyValue="ada")
    tracked, joined = parsed(given, user_id_property="external_id")
    assert (joined["type"], joined["userId"], joined["anonymousId"]) == ("identify", "ada", tracked["anonymousId"])
    assert joined["messageId"] != tracked["messageId"]
    assert len(parsed(given)) == 1


def test_other_objects_are_left_out_and_nonsense_is_refused() -> None:
    assert parsed(change(subscriptionType="company.creation")) == []
    for wrong in ("text", ["text"], {"subscriptionType": "contact.creation"}):
        with pytest.raises(ValueError, match=r"expected|object|lacks"):
            parsed(*(wrong if isinstance(wrong, list) else [wrong]))
