"""The suites for what comes in, on the sources whose own tests keep the vendors' vectors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import gateway_typeform.connector as typeform
import pytest
from gateway_hubspot.enricher import Hubspot
from gateway_hubspot.webhook import HubspotWebhook
from gateway_launchdarkly.connector import LaunchDarkly
from gateway_typeform.connector import Typeform
from gateway_zigpoll.connector import Zigpoll
from hubspot.utils.signature import Signature

from gateway.testing import EnricherContract, FaultServer, PullSourceContract, Received, Reply, WebhookSourceContract
from tests.connectors import test_typeform, test_zigpoll


def query_of(request: Received) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(request.url).query).items()}


class TestHubspotWebhook(WebhookSourceContract):
    """By the vendor's own code, version 3."""

    connector = HubspotWebhook
    settings: ClassVar[Mapping[str, Any]] = {
        "client_secret": "env:HUBSPOT_SECRET",
        "old_client_secret": "env:HUBSPOT_OLD_SECRET",
        "user_id_property": "shop_user",
    }
    signing = ("HUBSPOT_SECRET", "HUBSPOT_OLD_SECRET")
    bodies = tuple(
        json.dumps(
            [
                {
                    "eventId": at,
                    "subscriptionId": 12345,
                    "portalId": 62515,
                    "occurredAt": 1_795_255_200_000,
                    "subscriptionType": "contact.propertyChange",
                    "objectId": 123,
                    "propertyName": name,
                    "propertyValue": "Grüße 🎉",
                }
                for at, name in enumerate(names)
            ],
            ensure_ascii=False,
        ).encode()
        for names in (("company",), ("shop_user", "company", "company"))
    )

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            joined = b"POST" + self.url.encode() + body + str(at).encode()
            made = base64.b64encode(hmac.new(secret.encode(), joined, hashlib.sha256).digest()).decode()
        else:
            made = Signature.get_signature(secret, text, "v3", self.url, "POST", str(at))
        return {"X-HubSpot-Signature-V3": made, "X-HubSpot-Request-Timestamp": str(at)}


class TestHubspotEnricher(EnricherContract):
    connector = Hubspot
    settings: ClassVar[Mapping[str, Any]] = {"token": "env:HUBSPOT_TOKEN"}
    known = ("ada@shop.example", "bob@shop.example")

    def answer(self, request: Received) -> Reply:
        asked = [one["id"] for one in request.json()["inputs"]] if request.body else []
        found = [
            {"id": str(at), "updatedAt": "2026-11-21T10:00:00.000Z", "properties": {"email": one, "company": "Acme"}}
            for at, one in enumerate(asked)
            if one in self.known
        ]
        return Reply(200, {"status": "COMPLETE", "results": found})


TYPEFORM = {"forms": ["form1"], "token": "env:TYPEFORM_TOKEN"}


class TestTypeformWebhook(WebhookSourceContract):
    connector = Typeform
    settings: ClassVar[Mapping[str, Any]] = {
        **TYPEFORM,
        "webhook_secret": "env:TYPEFORM_SECRET",
        "old_webhook_secret": "env:TYPEFORM_OLD_SECRET",
    }
    signing = ("TYPEFORM_SECRET", "TYPEFORM_OLD_SECRET")
    timestamped = False
    bodies = tuple(
        json.dumps(
            {
                "event_id": f"e{number}",
                "event_type": "form_response",
                "form_response": {
                    "form_id": "form1",
                    "definition": {"id": "form1", "fields": test_typeform.FIELDS},
                    **test_typeform.given(number),
                },
            }
        ).encode()
        for number in (1, 2)
    )

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        made = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
        return {"Typeform-Signature": f"sha256={made}"}


class TestTypeformPull(PullSourceContract):
    connector = Typeform

    @pytest.fixture(autouse=True)
    def _unhurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(typeform, "_BETWEEN_SECONDS", 0.0)

    settings: ClassVar[Mapping[str, Any]] = {**TYPEFORM, "page_size": 2}
    rows: ClassVar[Sequence[Any]] = [test_typeform.given(number, minutes=number) for number in range(1, 6)]

    def listing(self, request: Received, rows: Sequence[Any]) -> Reply:
        if not request.url.partition("?")[0].endswith("/responses"):
            return Reply(200, {"id": "form1", "fields": test_typeform.FIELDS})
        query = query_of(request)
        found = [one for one in reversed(rows) if str(one["submitted_at"]) >= query.get("since", "")]
        if "before" in query:
            tokens = [one["token"] for one in found]
            found = found[tokens.index(query["before"]) + 1 :]
        return Reply(200, {"items": found[: int(query["page_size"])], "total_items": len(found)})


ZIGPOLL = {"api_key": "env:ZIGPOLL_KEY", "poll_id": "poll1", "webhook_key": "env:ZIGPOLL_HOOK_KEY"}


class TestZigpollPull(PullSourceContract):
    connector = Zigpoll
    settings: ClassVar[Mapping[str, Any]] = {**ZIGPOLL, "page_size": 2}
    rows: ClassVar[Sequence[Any]] = [test_zigpoll.given(number, minutes=number) for number in range(1, 6)]

    def listing(self, request: Received, rows: Sequence[Any]) -> Reply:
        query = query_of(request)
        found = [one for one in rows if test_zigpoll.millis(one["createdAt"]) > int(query.get("createdAfter", 0))]
        start, count = int(query.get("startCursor", "0")), int(query.get("limit", 2))
        more = start + count < len(found)
        return Reply(200, {"data": found[start : start + count], "hasNextPage": more, "endCursor": str(start + count)})


class TestZigpollHint(WebhookSourceContract):
    """Nothing is signed: a key in a header lets it in, and nothing in it is read."""

    connector = Zigpoll
    settings: ClassVar[Mapping[str, Any]] = ZIGPOLL
    signing = ("ZIGPOLL_HOOK_KEY",)
    timestamped = False
    bodies = (b'{"_id": "r1"}',)

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        return {"X-Webhook-Key": secret}

    def test_a_flipped_byte_is_refused(self) -> None:
        """Zigpoll signs nothing, so that a flipped byte cannot show: what makes up for it is that none is read."""
        for body in (*self.bodies, b'{"_id": "another", "response": "forged"}', b"\xff"):
            with self.rig() as rig:
                _, rows = self._taken(rig, self._good(rig, body))
                assert rows == []


class TestLaunchDarklyWebhook(WebhookSourceContract):
    connector = LaunchDarkly
    settings: ClassVar[Mapping[str, Any]] = {
        "sdk_key": "env:LD_SDK_KEY",
        "stream": False,
        "start_seconds": 1,
        "request_seconds": 1,
        "webhook_secret": "env:LD_SECRET",
        "webhook_secret_before": "env:LD_OLD_SECRET",
    }
    signing = ("LD_SECRET", "LD_OLD_SECRET")
    timestamped = False
    bodies = tuple(
        json.dumps(
            {
                "_id": f"entry{at}",
                "kind": kind,
                "date": 1_795_255_200_000,
                "accesses": [{"action": "updateOn", "resource": "proj/shop:env/production:flag/banner"}],
                "currentVersion": {"_version": 7},
            }
        ).encode()
        for at, kind in enumerate(("flag", "project"))
    )

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {**self.settings, "base_uri": server.url, "stream_uri": server.url, "events_uri": server.url}

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"flags": {}, "segments": {}})

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        return {"X-LD-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
