"""First-party connectors in one gateway as it serves: loaded by their entry points, configured, called."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration import Tables
from tests.connectors.delivering import until
from tests.connectors.sink import Asked, Sink, Told
from tests.flow.served import Served, serve

CANARIES = {
    "MIXPANEL_SECRET": "canary-mixpanel",
    "HUBSPOT_TOKEN": "canary-hubspot",
    "HUBSPOT_SECRET": "canary-hook",
    "SLACK_TOKEN": "canary-slack",
    "JIRA_TOKEN": "canary-jira",
    "TYPEFORM_TOKEN": "canary-typeform",
    "TYPEFORM_SECRET": "canary-form-hook",
    "ZIGPOLL_KEY": "canary-zigpoll",
}


class World:
    """All the other systems, behind one address."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.mixpanel = 200
        sink.answer = self.answer

    def answer(self, asked: Asked) -> Told:
        path = asked.path
        if path == "/import":
            return Told({"code": self.mixpanel, "num_records_imported": 1, "status": "OK"}, self.mixpanel)
        if path == "/api/app/me":
            return Told({}, self.mixpanel)
        if path.endswith("/batch/read"):
            properties = {"email": "ada@a.example", "lifecyclestage": "lead"}
            row: dict[str, Any] = {"id": "7", "properties": properties, "updatedAt": "2026-11-21T10:00:00Z"}
            return Told({"results": [row]})
        if path.endswith("/batch/upsert"):
            traces = [one["objectWriteTraceId"] for one in asked.json["inputs"]]
            return Told({"results": [{"id": "7", "objectWriteTraceId": trace} for trace in traces]})
        if path == "/responses":
            row = {"_id": "z1", "pollId": "p", "slideId": "s", "response": "Fine", "valueType": "vote"}
            row |= {"createdAt": "2026-11-21T10:00:00Z", "metadata": {"user_id": "ada"}}
            return Told({"data": [row], "hasNextPage": False, "endCursor": None})
        if path.startswith("/rest/api/3/search"):
            return Told({"issues": []})
        if path == "/rest/api/3/issue":
            return Told({"key": "OPS-1"}, 201)
        return Told({"ok": True, "ts": "1.0", "items": []})

    def asked(self, path: str) -> list[Asked]:
        return [one for one in self.sink.asked if one.path == path]


@pytest.fixture
def world(sink: Sink) -> World:
    return World(sink)


@pytest.fixture
async def gateway(
    world: World, mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    near: dict[str, Any] = {"allow_hosts": ["127.0.0.1"]}
    base = near | {"base_url": world.sink.url}
    tables = {
        "mixpanel": base | {"project_id": "7", "username": "gateway", "secret": "env:MIXPANEL_SECRET"},
        "crm": base | {"use": "hubspot", "token": "env:HUBSPOT_TOKEN"},
        "crm-out": base | {"use": "hubspot.destination", "token": "env:HUBSPOT_TOKEN"},
        "crm-in": near | {"use": "hubspot.webhook", "client_secret": "env:HUBSPOT_SECRET", "signatures": ["v1"]},
        "slack": near | {"token": "env:SLACK_TOKEN", "channel": "C1", "api_url": f"{world.sink.url}/slack"},
        "jira": near | {"url": world.sink.url, "token": "env:JIRA_TOKEN", "project": "OPS"},
        "typeform": base | {"forms": ["form1"], "token": "env:TYPEFORM_TOKEN", "webhook_secret": "env:TYPEFORM_SECRET"},
        "zigpoll": base | {"account_id": "acc1", "api_key": "env:ZIGPOLL_KEY"},
    }
    async with serve(mongo_uri, connectors=Tables(tables), data_dir=tmp_path) as served:
        instances = {"mixpanel", "crm-out", "slack", "jira"}

        async def begun() -> bool:
            found = await served.gateway.database.count("delivery_cursors", {"instance": {"$in": list(instances)}})
            return found == 16 * len(instances)

        await until(begun)
        yield served


async def stored(served: Served, name: str) -> list[dict[str, Any]]:
    return await served.gateway.database.find("events", {"name": name})


async def test_they_load_and_none_has_a_failure(gateway: Served) -> None:
    asked = "{ plugins { name failure { message } instances { name connector kinds failure { message } } } }"
    found = (await gateway.graphql(asked)).json()["data"]["plugins"]
    instances = {one["connector"]: one["kinds"] for plugin in found for one in plugin["instances"]}
    assert instances == {
        "mixpanel": ["destination"],
        "hubspot": ["enricher"],
        "hubspot.destination": ["destination"],
        "hubspot.webhook": ["webhook"],
        "slack": ["alerts"],
        "jira": ["alerts"],
        "typeform": ["webhook", "pull"],
        "zigpoll": ["webhook", "pull"],
    }
    assert [one["failure"] for plugin in found for one in (plugin, *plugin["instances"])] == [None] * (6 + 8)
    assert "canary" not in json.dumps(found)


async def test_what_happens_reaches_mixpanel_and_hubspot_and_what_hubspot_knows_a_query(
    gateway: Served, world: World
) -> None:
    identify = {"userId": "ada", "traits": {"email": "ada@a.example", "firstName": "Ada"}, "messageId": "1"}
    await gateway.client.post("/v1/identify", json=identify, headers=gateway.write)
    await gateway.track("2")
    await until(lambda: world.asked("/import") and world.asked("/crm/v3/objects/contacts/batch/upsert"))
    (event,) = world.asked("/import")[0].json
    assert (event["event"], event["properties"]["$user_id"]) == ("Product Viewed", "ada")
    (contact,) = world.asked("/crm/v3/objects/contacts/batch/upsert")[0].json["inputs"]
    assert contact["properties"] == {"email": "ada@a.example", "firstname": "Ada"}
    asked = '{ user(by: {userId: "ada"}) { hubspotContact { status fields { name value } } } }'
    answer = (await gateway.graphql(asked)).json()
    contact = answer["data"]["user"]["hubspotContact"]
    assert contact == {"status": "FRESH", "fields": [{"name": "lifecyclestage", "value": "lead"}]}


async def test_what_others_report_is_stored_once(gateway: Served, world: World) -> None:
    answer = {"field": {"id": "f", "ref": "likely", "type": "nps"}, "type": "number", "number": 9}
    response = {"form_id": "form1", "token": "t1", "submitted_at": "2026-11-21T10:00:00Z", "answers": [answer]}
    body = json.dumps({"event_type": "form_response", "form_response": response}).encode()
    signature = base64.b64encode(hmac.new(b"canary-form-hook", body, hashlib.sha256).digest()).decode()
    form = {"typeform-signature": f"sha256={signature}"}
    change = {"eventId": 1, "subscriptionId": 2, "portalId": 3, "occurredAt": 1_795_255_200_000, "objectId": 4}
    news = json.dumps([change | {"subscriptionType": "contact.creation"}]).encode()
    crm = {"x-hubspot-signature": hashlib.sha256(b"canary-hook" + news).hexdigest()}
    for _ in range(2):
        for name, content, headers in (("typeform", body, form), ("crm-in", news, crm)):
            taken = await gateway.client.post(f"/v1/hooks/{name}", content=content, headers=headers)
            assert taken.status_code == 200, taken.text
    forged = await gateway.client.post("/v1/hooks/typeform", content=body, headers={"typeform-signature": "sha256=x"})
    assert forged.status_code == 401
    assert len(await stored(gateway, "HubSpot Contact Creation")) == 1
    await until(lambda: world.asked("/responses"))

    async def both() -> bool:
        return len(await stored(gateway, "Survey Response Submitted")) == 2

    await until(both)
    sources = sorted(row["properties"]["source"] for row in await stored(gateway, "Survey Response Submitted"))
    assert sources == ["typeform", "zigpoll"]


async def test_refused_credentials_become_a_message_and_an_issue(
    gateway: Served, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.mixpanel = 401
    await gateway.track("1")
    await until(lambda: world.asked("/slack/chat.postMessage") and world.asked("/rest/api/3/issue"))
    message = world.asked("/slack/chat.postMessage")[0].json
    assert "mixpanel" in message["text"]
    assert world.asked("/rest/api/3/issue")[0].json["fields"]["project"] == {"key": "OPS"}
    told = json.dumps(message) + caplog.text + str([record.__dict__ for record in caplog.records])
    for collection in ("alerts", "destinations", "lane_items", "dead_letters"):
        told += str(await gateway.gateway.database.find(collection, {}))
    assert "canary" not in told
