"""`User.hubspotContact`: from a query to HubSpot and back."""

from __future__ import annotations

from typing import Any

import gateway_hubspot
import pytest

from gateway.clock import ServerClock
from gateway.connectors.enriching import Enrichments
from gateway.connectors.instances import Instance
from gateway.plugin.configuring import Configured, Plugged
from gateway.plugin.host import Host
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, identify, load_shop
from tests.connectors.delivering import context
from tests.connectors.sink import Asked, Sink, Told

ASK = """{ users(first: 10) { edges { node { identities { value } hubspotContact {
    status fetchedAt fields { name value object origin updatedAt } } } } } }"""


@pytest.fixture
async def gateway(database: Database, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-canary")
    host = Host()
    assert host.register(gateway_hubspot, "hubspot").loaded
    kind = host.connectors["hubspot"]
    config = kind.Config.model_validate({"token": "env:HUBSPOT_TOKEN", "base_url": sink.url})
    instance = Instance("crm", "main", kind(config, context("crm")))
    made = Gateway(
        database,
        load_shop(),
        plugged=Plugged(host, (Configured("crm", "main", "hubspot", kind, config),)),
        enrichments={"crm": Enrichments(instance, ServerClock())},
    )
    await made.prepare()
    people = ("ada", "bob", "eve")
    await made.send(*(identify(userId=one, traits={"email": f"{one}@a.example"}) for one in people[:2]))
    await made.send(identify(userId="eve", traits={}))
    yield made
    await made.enrichments["crm"].close()
    await instance.close()


async def test_a_list_of_users_asks_hubspot_once(gateway: Gateway, sink: Sink) -> None:
    properties = {"email": "ada@a.example", "lifecyclestage": "lead", "company": "Acme"}
    contact = {"id": "7", "properties": properties, "updatedAt": "2026-11-21T10:00:00Z"}
    sink.answer = lambda asked: Told({"results": [contact]})
    found = await gateway.ask(ASK, await gateway.api_key())
    by_user = {
        edge["node"]["identities"][0]["value"]: edge["node"]["hubspotContact"] for edge in found["users"]["edges"]
    }
    more = {"object": "contact/7", "origin": None, "updatedAt": "2026-11-21T10:00:00.000Z"}
    assert by_user["ada"]["fields"] == [
        {"name": "company", "value": "Acme", **more},
        {"name": "lifecyclestage", "value": "lead", **more},
    ]
    assert [by_user[one]["status"] for one in ("ada", "bob", "eve")] == ["FRESH", "MISSING", "MISSING"]
    assert by_user["ada"]["fetchedAt"]
    assert len(sink.asked) == 1
    assert {one["id"] for one in sink.last.json["inputs"]} == {"ada@a.example", "bob@a.example"}


async def test_a_hubspot_that_fails_leaves_the_query_alone(gateway: Gateway, sink: Sink) -> None:
    sink.answer = lambda asked: Told(b"pat-canary", 502)
    found = await gateway.ask(ASK, await gateway.api_key())
    contacts = [edge["node"]["hubspotContact"] for edge in found["users"]["edges"]]
    assert [one["status"] for one in contacts].count("UNAVAILABLE") == 2
    assert all(one["fields"] == [] for one in contacts)
    assert "canary" not in str(found)


async def test_no_users_own_token_opens_it(gateway: Gateway, sink: Sink) -> None:
    def asked(asked: Asked) -> Told:
        raise AssertionError("HubSpot was asked")

    sink.answer = asked
    answer = await gateway.answer("{ me { hubspotContact { status } } }", gateway.token(userId="ada"))
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert sink.asked == []
