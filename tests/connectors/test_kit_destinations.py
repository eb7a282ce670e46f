"""The suite for destinations on those whose own tests speak to the vendors' clients."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from gateway_hubspot.destination import HubspotDestination
from gateway_mixpanel.connector import Mixpanel

from gateway.plugin import EventType, Item, Message
from gateway.testing import DestinationContract, Received, Reply, event_message


class TestMixpanel(DestinationContract):
    """Unpacked, as the suite looks into requests; `TestPackedMixpanel` packs."""

    connector = Mixpanel
    settings: ClassVar[Mapping[str, Any]] = {
        "project_id": "1234567",
        "username": "gateway.1a2b.mp-service-account",
        "secret": "env:MIXPANEL_SECRET",
        "gzip": False,
    }
    most_bytes = 2_000_000
    heeds_retry_after = False

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"code": 200, "status": "OK", "num_records_imported": 1})

    def refuse(self, request: Received, at: int) -> Reply:
        """As documented for strict=1: those that are not named are stored."""
        failed = [{"index": at, "insert_id": "?", "field": "event", "message": "told"}]
        return Reply(400, {"code": 400, "error": "some data points failed", "failed_records": failed})

    def lies(self, request: Received) -> Reply:
        return Reply(200, {"code": 500, "status": "error"})

    def key_of(self, item: Item) -> str:
        return str(item.payload["properties"]["$insert_id"])


class TestPackedMixpanel(TestMixpanel):
    settings: ClassVar[Mapping[str, Any]] = {**TestMixpanel.settings, "gzip": True}

    def items_in(self, request: Received) -> Sequence[Any]:
        return json.loads(gzip.decompress(request.body)) if request.body else []

    def test_the_key_is_the_same_on_every_try(self) -> None:
        """Unpacked, where the suite looks for its bytes."""
        with self.rig() as rig:
            items = self._first(rig, 2)
            for _ in range(2):
                self._send(rig, items)
            sent = [[one["properties"]["$insert_id"] for one in self.items_in(each)] for each in rig.server.requests]
        assert sent == [[self.key_of(item) for item in items]] * 2


class TestHubspot(DestinationContract):
    """Contacts and custom events beside each other."""

    connector = HubspotDestination
    settings: ClassVar[Mapping[str, Any]] = {
        "token": "env:HUBSPOT_TOKEN",
        "custom_events": {"Order Completed": {"name": "pe7_order", "properties": {"note": "note", "padding": "pad"}}},
    }

    def messages(self) -> list[Message]:
        kinds = (EventType.IDENTIFY, EventType.IDENTIFY, EventType.TRACK, EventType.IDENTIFY, EventType.PAGE)
        return [event_message(at, user=f"user{at}", kind=kind) for at, kind in enumerate(kinds)]

    def crowd(self, message: Message) -> Message:
        assert message.event is not None
        if int(message.user.removeprefix("user-u").removeprefix("ser")) % 2:
            return message
        traits = {**message.event.traits, "title": str(message.event.properties.get("padding", ""))}
        return replace(message, event=replace(message.event, type=EventType.IDENTIFY, traits=traits))

    def answer(self, request: Received) -> Reply:
        if not request.url.endswith("/upsert"):
            return Reply(204 if request.method == "POST" else 200, b"" if request.method == "POST" else {})
        inputs = request.json()["inputs"]
        stored = [{"id": str(at), "objectWriteTraceId": one["objectWriteTraceId"]} for at, one in enumerate(inputs)]
        return Reply(200, {"status": "COMPLETE", "results": list(reversed(stored))})

    def refuse(self, request: Received, at: int) -> Reply:
        """One contact that cannot be read spoils the request for all."""
        return Reply(400, {"status": "error", "category": "VALIDATION_ERROR", "message": "told"})

    def lies(self, request: Received) -> Reply:
        error = {"status": "error", "category": "VALIDATION_ERROR", "message": "told"}
        return Reply(207, {**error, "results": [], "errors": [error]})

    def key_of(self, item: Item) -> str:
        payload = item.payload
        return str(payload["event"]["uuid"] if "event" in payload else payload["contact"]["objectWriteTraceId"])
