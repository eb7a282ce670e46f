"""Requests of other systems through the HTTP door: verified first, stored once, answered after it is durable."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

import httpx2
import pytest
from starlette.applications import Starlette

from gateway.clock import ServerClock
from gateway.collect.hooks import hook_routes
from gateway.connectors.instances import Instance
from gateway.connectors.webhooks import Webhooks
from gateway.model.event import JsonObject
from gateway.model.identity import Identity
from gateway.pipeline.intake import Intake
from gateway.plugin import (
    Challenge,
    Config,
    Denied,
    Health,
    Manifest,
    RawRequest,
    Response,
    SurveyAnswer,
    Verified,
    WebhookSource,
)
from gateway.settings import Settings
from gateway.store import collections
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from tests.connectors.delivering import Empty, context

GOOD = {"x-signature": "good"}


class Hook(WebhookSource[Empty]):
    """Takes what is signed `good`; its body says what it does."""

    manifest = Manifest(name="hook", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty

    async def check(self) -> Health:
        return Health(True)

    def challenge(self, request: RawRequest) -> Challenge | None:
        return Challenge(b"it is us") if request.method == "GET" else None

    def verify(self, request: RawRequest) -> Verified | Denied:
        if request.headers.get("x-signature") != "good":
            return Denied("wrong signature")
        return Verified(request.headers.get("x-id"))

    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        what = request.body.decode()
        if what == "unreadable":
            raise ValueError("no JSON: a@person.example")
        if what == "bug":
            raise KeyError("a@person.example")
        if what == "block":
            time.sleep(30)
        if what == "response":
            answers = (SurveyAnswer("q1", 9, kind="nps"), SurveyAnswer("q2", "fine", text="Why?"))
            yield Response("w", "forms", "r1", "nps-2026", 1_795_255_200_000, answers, Identity("userId", "ada"))
            return
        for number in range(2):
            yield {"type": "track", "event": f"Call {number}", "userId": "ada", "properties": {"what": what}}


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx2.AsyncClient]:
    await collections.prepare(database)
    clock = ServerClock()
    intake = Intake(Events(database), Quarantine(database), clock)
    instance = Instance("crm", "w", Hook(Empty(), context("crm")))
    webhooks = Webhooks({"crm": instance}, intake)
    app = Starlette(routes=hook_routes(webhooks, intake, Settings(), clock))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as made:
        yield made
    await instance.close()


async def stored(database: Database) -> list[dict[str, Any]]:
    return await database.find("events", {}, sort=[("seq", 1)])


async def test_what_a_verified_request_brings_is_stored_once(client: httpx2.AsyncClient, database: Database) -> None:
    for _ in range(2):
        answer = await client.post("/v1/hooks/crm", content=b"a call", headers=GOOD | {"x-id": "call-7"})
        assert answer.status_code == 200
    assert answer.json()["duplicate"] == 2
    rows = await stored(database)
    assert [(row["name"], row["messageId"], row["source"]) for row in rows] == [
        ("Call 0", "call-7:0", "connector:crm"),
        ("Call 1", "call-7:1", "connector:crm"),
    ]


async def test_a_request_without_an_id_is_known_by_its_bytes(client: httpx2.AsyncClient) -> None:
    first = await client.post("/v1/hooks/crm", content=b"a call", headers=GOOD)
    again = await client.post("/v1/hooks/crm", content=b"a call", headers=GOOD)
    other = await client.post("/v1/hooks/crm", content=b"another call", headers=GOOD)
    assert [one.json()["accepted"] for one in (first, again, other)] == [2, 0, 2]


async def test_who_cannot_be_verified_stores_nothing_and_learns_nothing(
    client: httpx2.AsyncClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post("/v1/hooks/crm", content=b"a call", headers={"x-signature": "bad"})
    assert answer.status_code == 401
    assert "wrong signature" not in answer.text
    assert [record.__dict__["reason"] for record in caplog.records] == ["wrong signature"]
    assert await stored(database) == []


async def test_a_survey_response_becomes_an_event_of_who_answered(
    client: httpx2.AsyncClient, database: Database
) -> None:
    assert (await client.post("/v1/hooks/crm", content=b"response", headers=GOOD)).json()["accepted"] == 1
    (row,) = await stored(database)
    assert (row["name"], row["userId"], row["messageId"]) == ("Survey Response Submitted", "ada", "response:forms:r1")
    assert row["properties"]["answers"] == [
        {"question": "q1", "value": 9, "kind": "nps"},
        {"question": "q2", "value": "fine", "text": "Why?"},
    ]
    assert row["properties"]["score"] == 9, "what KPIs read"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/hooks/nothing", b"a call", 404),
        ("/v1/hooks/crm", b"unreadable", 400),
        ("/v1/hooks/crm", b"bug", 503),
    ],
)
async def test_bad_requests_are_said_without_what_was_sent(
    client: httpx2.AsyncClient, path: str, body: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.post(path, content=body, headers=GOOD)
    assert answer.status_code == status
    assert answer.json()["message"].endswith(("Nothing was stored.", "sending the same again is safe."))
    assert "person.example" not in answer.text + caplog.text


async def test_a_connector_that_blocks_is_given_up_and_the_next_request_is_refused_at_once(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connectors.webhooks.SECONDS", 0.2)
    first = await client.post("/v1/hooks/crm", content=b"block", headers=GOOD)
    again = await client.post("/v1/hooks/crm", content=b"a call", headers=GOOD)
    assert (first.status_code, again.status_code) == (503, 503)
    assert first.headers["retry-after"] == "30"


async def test_a_challenge_is_answered_before_anything_is_verified(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/hooks/crm?challenge=7")
    assert (answer.status_code, answer.text) == (200, "it is us")
    assert (await client.delete("/v1/hooks/crm")).status_code == 405
