"""Every connector of ours with secrets that are watched, beside others that say all they hear: the secrets turn up
nowhere, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pymongo
import pytest
from click.testing import CliRunner

from gateway.cli.main import commands
from gateway.configuration import Tables
from gateway.connectors.http import GuardedHttp
from gateway.plugin import Answer
from gateway.plugin.configuration import secrets_in
from gateway.plugin.host import Host
from gateway.testing import FaultServer, Received, Reply
from tests.connectors import test_openfeature
from tests.connectors.delivering import until
from tests.connectors.surroundings import OURS
from tests.flow.served import Served, serve

#: Settings of every connector; each `env:` in them is planted. Addresses matter only to those with a client of theirs.
TABLES: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://audit.example/hook", "secret": "env:C_HOOK", "previous_secret": "env:C_HOOK_OLD"},
    "webhook-in": {"use": "webhook.source", "secret": "env:C_HOOK_IN", "previous_secret": "env:C_HOOK_IN_OLD"},
    "segment": {"write_key": "env:C_SEGMENT"},
    "segment-in": {
        "use": "segment.webhook",
        "shared_secret": "env:C_SEGMENT_IN",
        "previous_secret": "env:C_SEGMENT_IN_OLD",
        "token": "env:C_SEGMENT_TOKEN",
    },
    "mixpanel": {"project_id": "7", "username": "gateway", "secret": "env:C_MIXPANEL"},
    "crm": {"use": "hubspot", "token": "env:C_HUBSPOT"},
    "crm-out": {"use": "hubspot.destination", "token": "env:C_HUBSPOT_OUT"},
    "crm-in": {
        "use": "hubspot.webhook",
        "client_secret": "env:C_HUBSPOT_IN",
        "old_client_secret": "env:C_HUBSPOT_IN_OLD",
    },
    "slack": {"token": "env:C_SLACK", "channel": "C1"},
    "slack-hook": {"use": "slack", "webhook_url": "env:C_SLACK_URL"},
    "jira": {"url": "https://acme.atlassian.net", "email": "ops@acme.example", "token": "env:C_JIRA", "project": "OPS"},
    "typeform": {
        "forms": ["form1"],
        "token": "env:C_TYPEFORM",
        "webhook_secret": "env:C_TYPEFORM_IN",
        "old_webhook_secret": "env:C_TYPEFORM_IN_OLD",
    },
    "zigpoll": {"account_id": "acc1", "api_key": "env:C_ZIGPOLL", "webhook_key": "env:C_ZIGPOLL_IN"},
    "openfeature": {},
    "launchdarkly": {
        "sdk_key": "env:C_LD",
        "webhook_secret": "env:C_LD_IN",
        "webhook_secret_before": "env:C_LD_IN_OLD",
        "stream": False,
        "start_seconds": 1,
    },
    "unleash": {"token": "env:C_UNLEASH", "request_seconds": 1},
}
HOOKS = ("webhook-in", "segment-in", "crm-in", "typeform", "zigpoll", "launchdarkly")
SINKS = ("webhook", "segment", "mixpanel", "crm-out", "slack", "slack-hook", "jira")


def canary(name: str) -> str:
    """A secret of the form that its connector asks for."""
    marked = f"canary-{name.lower().replace('_', '-')}-9d4b"
    if name.startswith("C_HOOK"):
        return "whsec_" + base64.b64encode(marked.ljust(32, ".").encode()).decode()
    return f"https://hooks.slack.example/services/{marked}" if name.endswith("_URL") else marked


NAMES = sorted({value[4:] for table in TABLES.values() for value in table.values() if str(value).startswith("env:")})
CANARIES = {name: canary(name) for name in NAMES}


def forms(secret: str) -> set[str]:
    """A secret as it is, in an address, and within base64 at each of the three places it may have there."""
    found = {secret, quote(secret, safe="")}
    for before in range(3):
        encoded = base64.b64encode(b"-" * before + secret.encode()).decode()
        found.add(encoded[(before * 8 + 5) // 6 : -4])
    return found


def planted_in(text: str) -> list[str]:
    """Which of the secrets a text tells."""
    return [name for name, value in CANARIES.items() if any(form in text for form in forms(value))]


@dataclass
class Parrot:
    """All other systems: refuse with `status`, and say all that they were told, as badly written ones do."""

    server: FaultServer
    status: int = 400

    def answer(self, request: Received) -> Reply:
        heard = " ".join((*request.headers.values(), request.url, request.body.decode("utf-8", "replace")))
        said = {"message": heard, "error": heard, "category": heard, "errorMessages": [heard], "errors": {heard: heard}}
        return Reply(self.status, said, {"x-heard": quote(heard)[:2_000]})


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parrot]:
    """Where every request of `context.http` goes, whatever its address."""
    with FaultServer() as server:
        parrot = Parrot(server)
        server.answer = parrot.answer

        class Led(GuardedHttp):
            def __init__(self, allow: Any) -> None:
                super().__init__(["127.0.0.1"])

            async def request(self, method: str, url: str, **rest: Any) -> Answer:
                parts = urlsplit(url)
                led = urlunsplit(("http", f"127.0.0.1:{server.port}", parts.path or "/", parts.query, ""))
                return await super().request(method, led, **rest)

        monkeypatch.setattr("gateway.app.instances.GuardedHttp", Led)
        monkeypatch.setattr("gateway.cli.trying.GuardedHttp", Led)
        yield parrot


@pytest.fixture
def tables(parrot: Parrot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    flags = tmp_path / "flags.json"
    flags.write_text(json.dumps({"flags": test_openfeature.FLAGS}))
    url = parrot.server.url
    own: Mapping[str, dict[str, Any]] = {
        "openfeature": {"file": str(flags)},
        "launchdarkly": {"base_uri": url, "stream_uri": url, "events_uri": url},
        "unleash": {"url": f"{url}/api"},
    }
    return {name: {**table, **own.get(name, {})} for name, table in TABLES.items()}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything at the level that an operator may choose; what vendors' libraries tell at theirs."""
    with caplog.at_level(logging.DEBUG, "gateway"):
        yield caplog


@pytest.fixture
async def gateway(
    log: pytest.LogCaptureFixture, mongo_uri: str, tmp_path: Path, tables: dict[str, dict[str, Any]]
) -> AsyncIterator[Served]:
    async with serve(mongo_uri, connectors=Tables(tables), data_dir=tmp_path, trace_plugins=True) as served:

        async def begun() -> bool:
            found = await served.gateway.database.count("delivery_cursors", {"instance": {"$in": list(SINKS)}})
            return found == 16 * len(SINKS)

        await until(begun)
        yield served


def logged(log: pytest.LogCaptureFixture) -> str:
    """All records, with everything that hangs on them."""
    return log.text + " ".join(
        f"{record.__dict__} {record.exc_info}" for when in ("setup", "call") for record in log.get_records(when)
    )


def stored(mongo_uri: str, name: str) -> str:
    """Every document of the database."""
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        database = client[name]
        documents = {each: list(database[each].find()) for each in database.list_collection_names()}
    assert all(documents[each] for each in ("events", "destinations", "delivery_cursors"))
    return str(documents)


async def told(served: Served) -> str:
    """What the API and the probes say."""
    asked = (
        "{ plugins { name failure { message fix traceId } instances { name failure { message fix traceId } } } }",
        "{ alerts { nodes { key title text hint } } }",
        *(
            f"{{ deliveries(status: {status}, first: 100) {{ nodes {{ code reason excerpt destination }} }} }}"
            for status in ("DEAD", "PENDING", "WAITING")
        ),
        "{ deliveries { destinations { name state reason hint } } }",
        '{ user(by: {userId: "ada"}) { hubspotContact { status } flags { key value errorCode because } } }',
    )
    answers = [(await served.graphql(one)).text for one in asked]
    assert not any('"errors"' in one for one in answers), answers
    pages = [await served.client.get(path) for path in ("/readyz", "/metrics")]
    return " ".join([*answers, *(page.text for page in pages)])


async def owed(served: Served, *instances: str) -> bool:
    """Whether something went wrong for each of these."""
    database = served.gateway.database
    dead = {one["instance"] for one in await database.find("dead_letters", {})}
    bad = {one["instance"] for one in await database.find("destinations", {}) if one["state"] != "delivering"}
    late = {one["instance"] for one in await database.find("lane_items", {})}
    return set(instances) <= dead | bad | late


def test_every_secret_of_every_connector_is_planted(tables: dict[str, dict[str, Any]]) -> None:
    host = Host.load(OURS, strict=True)
    used = {table.get("use", name) for name, table in tables.items()}
    assert used == set(host.connectors)
    fields = {
        (use, name)
        for use, kind in host.connectors.items()
        for name, one in kind.Config.model_json_schema()["properties"].items()
        if "secret-reference" in json.dumps(one)
    }
    planted = set()
    for name, table in tables.items():
        use = table.get("use", name)
        config = host.connectors[use].Config.model_validate({k: v for k, v in table.items() if k != "use"})
        planted |= {(use, path[0]) for path, _ in secrets_in(config)}
    assert planted == fields


def test_a_secret_is_found_in_each_of_its_forms() -> None:
    for name, value in CANARIES.items():
        for before in ("", "a", "user:", "longer user:"):
            encoded = base64.b64encode(f"{before}{value}:".encode()).decode()
            assert name in planted_in(f"Basic {encoded}"), (name, before)
    assert planted_in("nothing of that sort") == []


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_planted_secret_turns_up_nowhere(
    gateway: Served, parrot: Parrot, log: pytest.LogCaptureFixture, mongo_uri: str, status: int
) -> None:
    parrot.status = status
    traits = {"email": "ada@shop.example", "firstName": "Ada"}
    body = {"userId": "ada", "traits": traits, "messageId": "1"}
    await gateway.client.post("/v1/identify", json=body, headers=gateway.write)
    await gateway.track("2")
    sinks = ("webhook", "segment", "mixpanel", "crm-out")
    await until(lambda: owed(gateway, *(sinks if status != 500 else ())))
    if status == 401:  # which raises alerts, so that the channels fail too
        await until(lambda: owed(gateway, "slack", "slack-hook", "jira"))
    refused = [
        (await gateway.client.post(f"/v1/hooks/{name}?key=x", content=b"{}", headers={"authorization": "Bearer x"}))
        for name in HOOKS
    ]
    assert {one.status_code for one in refused} <= {401, 400}
    await until(lambda: any("/responses" in one.url for one in parrot.server.requests))
    everywhere = {
        "the API": await told(gateway),
        "the database": await asyncio.to_thread(stored, mongo_uri, gateway.gateway.database.name),
        "the log": logged(log),
        "answers to webhooks": " ".join(one.text for one in refused),
    }
    assert {place: planted_in(text) for place, text in everywhere.items() if planted_in(text)} == {}
    asked = " ".join(f"{one.headers} {one.url} {one.body!r}" for one in parrot.server.requests)
    assert {"C_SEGMENT", "C_MIXPANEL", "C_HUBSPOT_OUT", "C_ZIGPOLL", "C_TYPEFORM"} <= set(planted_in(asked)), (
        "the others never heard the secrets: nothing is tried here"
    )


@pytest.fixture
def folder(tables: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same connectors, as commands find them."""
    lines = []
    for name, table in tables.items():
        lines += [f"[connectors.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (tmp_path / "gateway.toml").write_text("\n".join(lines))
    person = {"type": "identify", "userId": "ada", "traits": {"email": "ada@shop.example"}}
    (tmp_path / "identify.json").write_text(json.dumps(person))
    monkeypatch.setenv("GATEWAY_CONFIG", "")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments",
    [
        ("plugins",),
        ("plugins", "--json"),
        ("plugin", "check"),
        ("config", "show", "--json"),
        *(("plugin", "check", name) for name in TABLES),
        *(("plugin", "try", name) for name in SINKS if name != "crm-out"),
        ("plugin", "try", "crm-out", "--event", "identify.json"),
        ("plugin", "try", "slack", "--resolved"),
    ],
    ids=" ".join,
)
def test_commands_tell_no_secret(
    arguments: tuple[str, ...], parrot: Parrot, log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    done = CliRunner().invoke(commands, arguments)
    assert done.output
    raised = "" if done.exception is None else f"{done.exception!r} {done.exception} {done.exc_info}"
    assert planted_in(f"{done.output} {raised} {logged(log)} {capfd.readouterr()}") == []
    if "try" in arguments:
        assert parrot.server.requests, "nothing was sent"
