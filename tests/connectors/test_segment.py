"""The connector `segment`: it sends what Segment's own library sends, and takes what is signed as Segment signs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from gateway_segment.destination import MOST_BYTES, Segment
from gateway_segment.webhook import SegmentWebhook, first_of
from segment.analytics.client import Client

from gateway.plugin import Denied, EventType, RawRequest, Rejected, TooLarge, Verified
from gateway.testing import DestinationContract, FaultServer, Received, Reply, WebhookSourceContract, event_message
from gateway.testing.rig import NOW, Rig
from tests.pace import PATIENCE

# Made with Node: the body is JSON.stringify([one, two]), the signature createHmac("sha1", "topsecret") over
# JSON.stringify(one).
VECTOR = (
    '[{"type":"track","messageId":"ajs-1","event":"Grüße 🎉","userId":"ada","properties":{"price":1,"big":1e+21,'
    '"text":"a\u2028b \\"q\\" </script>","nested":{"a":[1,{"b":null}]}},"timestamp":"2026-11-29T10:00:00.000Z"},'
    '{"type":"identify","messageId":"ajs-2","userId":"ada","traits":{}}]'
).encode()
SIGNATURE = "35e9a4e0a757808ac3a38e1863b0954c558a7108"


class TestDestination(DestinationContract):
    connector = Segment
    settings: ClassVar[Mapping[str, Any]] = {"write_key": "env:SEGMENT_WRITE_KEY"}
    most_bytes = MOST_BYTES

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"success": True})

    def lies(self, request: Received) -> Reply:
        return Reply(200, {"success": False})


class TestWebhook(WebhookSourceContract):
    connector = SegmentWebhook
    settings: ClassVar[Mapping[str, Any]] = {
        "shared_secret": "env:SEGMENT_SECRET",
        "previous_secret": "env:SEGMENT_OLD_SECRET",
        "token": "env:SEGMENT_TOKEN",
    }
    secrets: ClassVar[Mapping[str, str]] = {"SEGMENT_TOKEN": "token-of-ours"}
    signing = ("SEGMENT_SECRET", "SEGMENT_OLD_SECRET")
    timestamped = False
    bodies = (VECTOR, first_of(VECTOR))

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        try:
            signed = first_of(body)
        except ValueError:
            signed = body
        signature = hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()
        return {"x-signature": signature, "authorization": "Bearer token-of-ours"}

    def covered(self, body: bytes) -> bytes:
        return first_of(body)


def verified(body: bytes, headers: Mapping[str, str], settings: Mapping[str, str] | None = None) -> Verified | Denied:
    with Rig(SegmentWebhook, settings or {"shared_secret": "env:S"}, {"S": "topsecret", "T": "token"}) as rig:

        async def verify(source: Any) -> Any:
            return source.verify(RawRequest("POST", "https://g.example/v1/hooks/s", headers, body, NOW))

        said: Verified | Denied = rig.run(verify)
    return said


def test_of_a_batch_the_first_message_is_signed_by_its_raw_bytes() -> None:
    assert isinstance(verified(VECTOR, {"x-signature": SIGNATURE}), Verified)
    assert isinstance(verified(first_of(VECTOR), {"x-signature": SIGNATURE}), Verified)
    # As some proxy might write it anew: the same value, other bytes.
    anew = json.dumps(json.loads(VECTOR), separators=(",", ":")).encode()
    assert json.loads(anew) == json.loads(VECTOR)
    assert anew != VECTOR
    assert isinstance(verified(anew, {"x-signature": SIGNATURE}), Denied)
    # Blanks around the element are none of it.
    spaced = b" [ \n" + first_of(VECTOR) + b" , {}]"
    assert isinstance(verified(spaced, {"x-signature": SIGNATURE}), Verified)


def test_what_is_behind_the_first_message_needs_the_token() -> None:
    more = VECTOR[:-1] + b',{"type":"track","event":"Forged","userId":"eve"}]'
    assert isinstance(verified(more, {"x-signature": SIGNATURE}), Verified)  # that is how Segment signs
    both = {"shared_secret": "env:S", "token": "env:T"}
    assert isinstance(verified(more, {"x-signature": SIGNATURE}, both), Denied)
    assert isinstance(verified(VECTOR, {"x-signature": SIGNATURE, "authorization": "Bearer token"}, both), Verified)


@pytest.mark.parametrize("body", [b"[]", b"[", b"", b"\xff", b"[" * 100_000])
def test_what_has_no_first_message_is_refused(body: bytes) -> None:
    assert isinstance(verified(body, {"x-signature": SIGNATURE}), Denied)


CALLS: dict[EventType, dict[str, Any]] = {
    EventType.TRACK: {"event": "Order Completed", "properties": {"total": 9.5, "note": "Grüße 🎉"}},
    EventType.IDENTIFY: {"traits": {"email": "ada@shop.example"}},
    EventType.PAGE: {"name": "Cart", "properties": {"path": "/cart"}},
    EventType.SCREEN: {"name": "Home", "properties": {"dark": True}},
    EventType.GROUP: {"group_id": "guild", "traits": {"plan": "pro"}},
    EventType.ALIAS: {"previous_id": "before"},
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_arrives_as_from_segments_own_library(kind: EventType, fault_server: FaultServer) -> None:
    fault_server.answer = lambda request: Reply(200, {"success": True})
    key = "planted-w-8c1f5e7a"
    given = CALLS[kind]
    # What the library has sent, as intake stores it.
    message = event_message(1)
    assert message.event is not None
    stored: dict[str, Any] = {
        "type": kind,
        "name": given.get("event") or given.get("name") or kind.value,
        "properties": given.get("properties", {}),
        "traits": given.get("traits", {}),
        "previous_id": given.get("previous_id"),
        "group_id": given.get("group_id"),
        "anonymous_id": None,
        "context": {"page": {"url": "https://shop.example/"}, "library": {"name": "analytics-python", "version": "x"}},
    }
    event = replace(message.event, **stored)
    moment = datetime.fromtimestamp(event.at / 1000, UTC)
    client = Client(key, host=fault_server.url, sync_mode=True, timeout=PATIENCE)
    call = getattr(client, kind.value)
    call(
        user_id="ada",
        context={"page": {"url": "https://shop.example/"}},
        timestamp=moment,
        message_id=message.key,
        **given,
    )
    (theirs,) = fault_server.requests
    with Rig(Segment, {"write_key": "env:W"}, {"W": key}) as rig:

        async def send(connector: Any) -> Any:
            mapped = replace(message, event=event)
            return await connector.send(TestDestination._items(connector, [mapped]))

        rig.run(send)
        (ours,) = rig.server.requests
    assert theirs.url == f"{fault_server.url}/v1/batch"
    assert ours.url == "https://api.segment.io/v1/batch"
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]
    one, other = _comparable(ours.json()), _comparable(theirs.json())
    assert one == other


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its times in one notation, without the moment it was sent, the library's version and nulls
    (the library sends `anonymousId: null`; the gateway leaves out what is not there)."""
    assert datetime.fromisoformat(body.pop("sentAt")).tzinfo is not None
    (message,) = body["batch"]
    message["timestamp"] = datetime.fromisoformat(message["timestamp"]).astimezone(UTC)
    message["context"]["library"].pop("version")
    body["batch"] = [{name: value for name, value in message.items() if value is not None}]
    return body


def test_a_batch_that_is_too_large_all_the_same_is_never_sent() -> None:
    with Rig(Segment, {"write_key": "env:W"}) as rig:

        async def send(connector: Any) -> Any:
            messages = [event_message(at, properties={"x": "x" * 30_000}) for at in range(20)]
            return await connector.send(TestDestination._items(connector, messages))

        results = rig.run(send)
        assert rig.server.requests == []
    assert {type(one) for one in results} == {TooLarge}


def test_200_without_success_is_rejected() -> None:
    with Rig(Segment, {"write_key": "env:W"}) as rig:
        rig.server.answer = lambda request: Reply(200, {"success": False})

        async def send(connector: Any) -> Any:
            return await connector.send(TestDestination._items(connector, [event_message(1)]))

        (result,) = rig.run(send)
    assert isinstance(result, Rejected)
