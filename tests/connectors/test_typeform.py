"""Typeform: the documented signature, webhooks and pages in the documented form."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import gateway_typeform.connector as module
import pytest
from gateway_typeform.connector import Typeform, TypeformConfig

from gateway.connectors.http import GuardedHttp
from gateway.connectors.responses import as_message
from gateway.model.identity import Identity
from gateway.plugin import Answer, Denied, Http, Page, PluginError, RawRequest, Response, SurveyAnswer, Verified
from tests.connectors.delivering import context
from tests.connectors.sink import Asked, Sink, Told

FIRST = datetime.fromisoformat("2026-11-21T10:00:00+00:00")
FIELDS = [
    {"id": "f1", "ref": "likely", "type": "nps", "title": "How likely?"},
    {"id": "f2", "ref": "why", "type": "long_text", "title": "Why?"},
    {"id": "g1", "type": "group", "properties": {"fields": [{"id": "f3", "ref": "which", "title": "Which?"}]}},
    {"id": "f4", "ref": "mail", "type": "email", "title": "Your address?"},
    {"id": "f5", "ref": "ease", "type": "opinion_scale", "title": "How easy?"},
]
ANSWERS = [
    {"field": {"id": "f1", "ref": "likely", "type": "nps"}, "type": "number", "number": 9},
    {"field": {"id": "f2", "ref": "why", "type": "long_text"}, "type": "text", "text": "It just works – ü"},
    {
        "field": {"id": "f3", "ref": "which", "type": "multiple_choice"},
        "type": "choices",
        "choices": {"labels": ["Red", "Blue"], "other": "Green"},
    },
    {"field": {"id": "f4", "ref": "mail", "type": "email"}, "type": "email", "email": "ada@person.example"},
    {
        "field": {"id": "f6", "ref": "cv", "type": "file_upload"},
        "type": "file_url",
        "file_url": "https://files.example/ada@person.example.pdf",
    },
    {"field": {"id": "f5", "ref": "ease", "type": "opinion_scale"}, "type": "number", "number": 4},
]


def given(number: int, minutes: float = 0, **more: Any) -> dict[str, Any]:
    """A response as both ways tell it."""
    at = (FIRST + timedelta(minutes=minutes)).isoformat(timespec="seconds").replace("+00:00", "Z")
    hidden = {"user_id": f"u{number}", "touchpoint": "checkout", "plan": "pro"}
    return {
        "token": f"t{number}",
        "landed_at": at,
        "submitted_at": at,
        "hidden": hidden,
        "answers": ANSWERS,
        "calculated": {"score": 3},
        **more,
    }


class SmallTypeform:
    """Forms with responses: newest first, `since` and `before`, a bearer token."""

    def __init__(self, sink: Sink) -> None:
        self.responses: dict[str, list[dict[str, Any]]] = {"form1": [], "form2": []}
        sink.answer = self.answer

    def answer(self, asked: Asked) -> Told:
        if asked.headers["authorization"] != "Bearer tfp-canary":
            return Told({"code": "AUTHENTICATION_FAILED"}, 403)
        _, _, form, *more = asked.path.split("/")
        if form not in self.responses:
            return Told({"code": "FORM_NOT_FOUND"}, 404)
        if not more:
            return Told({"id": form, "fields": FIELDS})
        found = sorted(self.responses[form], key=lambda one: str(one["submitted_at"]), reverse=True)
        found = [one for one in found if one["submitted_at"] >= asked.query.get("since", "")]
        if before := asked.query.get("before"):
            place = next(number for number, one in enumerate(found) if one["token"] == before)
            found = found[place + 1 :]
        size = int(asked.query.get("page_size", 25))
        return Told({"total_items": len(found), "page_count": 1, "items": found[:size]})


@pytest.fixture
def typeform(sink: Sink) -> SmallTypeform:
    return SmallTypeform(sink)


@pytest.fixture
def connector(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> Typeform:
    monkeypatch.setenv("TYPEFORM_TOKEN", "tfp-canary")
    monkeypatch.setenv("TYPEFORM_SECRET", "hook-canary")
    monkeypatch.setenv("TYPEFORM_OLD_SECRET", "the old one")
    monkeypatch.setattr(module, "_BETWEEN_SECONDS", 0.0)
    return made(sink, http)


def made(sink: Sink, http: Http, **settings: Any) -> Typeform:
    given = {
        "forms": ["form1"],
        "token": "env:TYPEFORM_TOKEN",
        "webhook_secret": "env:TYPEFORM_SECRET",
        "base_url": sink.url,
        "hidden": ["plan"],
        "kinds": {"ease": "ces"},
    }
    return Typeform(TypeformConfig.model_validate({**given, **settings}), context("typeform", http=http))


def request(body: bytes, *, secret: bytes = b"hook-canary", **headers: str) -> RawRequest:
    signature = base64.b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()
    return RawRequest("POST", "https://a.example/", {"typeform-signature": f"sha256={signature}", **headers}, body)


def hook(number: int = 1, form: str = "form1", **more: Any) -> bytes:
    response = {"form_id": form, **given(number), "definition": {"id": form, "fields": FIELDS}}
    said = {"event_id": "e1", "event_type": "form_response", "form_response": response, **more}
    return json.dumps(said, ensure_ascii=False).encode()


async def pulled(connector: Typeform, state: Any = None) -> tuple[list[Response], Any]:
    """A whole round: its responses and the state behind it."""
    rows: list[Response] = []
    for _ in range(50):
        page = await connector.read(json.loads(json.dumps(state)))
        rows += [row for row in page.rows if isinstance(row, Response)]
        state = page.state
        if not page.more:
            return rows, state
    raise AssertionError("the round does not end")


# -- webhook ----------------------------------------------------------------------------------------------------------


def test_a_signature_is_the_base64_of_the_bodys_hmac(connector: Typeform) -> None:
    # Made with openssl: printf '{"a":1}' | openssl dgst -sha256 -hmac hook-canary -binary | base64
    known = "sha256=mUPBy/ByObB6uqYGNlL0fnwOryIS23ImLw/hoLuvNKw="
    one = RawRequest("POST", "https://a.example/", {"typeform-signature": known}, b'{"a":1}')
    assert connector.verify(one) == Verified()
    body = hook()
    assert connector.verify(request(body)) == Verified()
    assert connector.verify(request(body, secret=b"another")) == Denied("wrong signature")
    assert connector.verify(RawRequest("POST", "", request(body).headers, body + b" ")) == Denied("wrong signature")
    assert connector.verify(RawRequest("POST", "", {}, body)) == Denied("no signature")


def test_two_secrets_count_while_one_is_changed(sink: Sink, http: GuardedHttp, connector: Typeform) -> None:
    old = request(hook(), secret=b"the old one")
    assert isinstance(connector.verify(old), Denied)
    assert made(sink, http, old_webhook_secret="env:TYPEFORM_OLD_SECRET").verify(old) == Verified()
    assert made(sink, http, webhook_secret=None).verify(request(hook())) == Denied("webhook_secret is not set")


def test_a_webhook_becomes_a_response(connector: Typeform) -> None:
    (response,) = connector.parse(request(hook()))
    assert response == Response(
        workspace="w",
        source="typeform",
        external_id="t1",
        survey="form1",
        at=1_795_255_200_000,
        answers=(
            SurveyAnswer("likely", 9, "How likely?", "nps"),
            SurveyAnswer("why", "It just works – ü", "Why?", "text"),
            SurveyAnswer("which", ["Red", "Blue", "Green"], "Which?", "choice"),
            SurveyAnswer("ease", 4, "How easy?", "ces"),
        ),
        identity=Identity("userId", "u1"),
        touchpoint="checkout",
        metadata={"plan": "pro", "score": "3"},
    )
    assert "person.example" not in str(response)


def test_other_forms_and_other_events_are_left_out_and_nonsense_is_refused(connector: Typeform) -> None:
    assert list(connector.parse(request(hook(form="form9")))) == []
    assert list(connector.parse(request(hook(event_type="form_response_partial")))) == []
    for body in (
        b"[]",
        b"nonsense",
        json.dumps({"event_type": "form_response", "form_response": {"form_id": "form1"}}).encode(),
    ):
        with pytest.raises(ValueError, match=r"expected|token|Expecting"):
            list(connector.parse(request(body)))


@pytest.mark.parametrize(
    ("hidden", "identity"),
    [
        ({"user_id": "ada", "anonymous_id": "a-1"}, Identity("userId", "ada")),
        ({"user_id": "", "anonymous_id": "a-1"}, Identity("anonymousId", "a-1")),
        ({"user_id": "xxxxx"}, None),
        ({"user_id": "{{user_id}}"}, None),
        ({"user_id": "x" * 256}, None),
        ({}, None),
        (None, None),
    ],
)
async def test_who_answered_stands_in_hidden_fields(
    connector: Typeform, typeform: SmallTypeform, hidden: Any, identity: Identity | None
) -> None:
    typeform.responses["form1"] = [given(1, hidden=hidden)]
    ((response,), _) = await pulled(connector)
    assert response.identity == identity


# -- pull -------------------------------------------------------------------------------------------------------------


async def test_a_pull_finds_the_very_response_that_the_webhook_brought(
    connector: Typeform, typeform: SmallTypeform
) -> None:
    typeform.responses["form1"] = [given(1)]
    (hooked,) = connector.parse(request(hook()))
    ((found,), _) = await pulled(connector)
    assert found == hooked
    assert as_message(found) == as_message(hooked)


async def test_every_response_of_every_form_is_found_once_page_by_page(
    sink: Sink, http: GuardedHttp, connector: Typeform, typeform: SmallTypeform
) -> None:
    typeform.responses = {
        "form1": [given(number, number) for number in range(7)],
        "form2": [given(number, number) for number in range(7, 10)],
    }
    both = made(sink, http, forms=["form1", "form2"], page_size=3)
    rows, state = await pulled(both)
    assert sorted(row.external_id for row in rows) == sorted(f"t{number}" for number in range(10))
    assert {row.survey for row in rows} == {"form1", "form2"}
    assert state["form"] == 0


async def test_a_pull_goes_on_where_the_last_was_and_an_hour_before(
    sink: Sink, connector: Typeform, typeform: SmallTypeform
) -> None:
    typeform.responses["form1"] = [given(1, 0), given(2, 120)]
    _, state = await pulled(connector)
    typeform.responses["form1"] += [given(3, 180), given(4, 70)]  # the last was given earlier and shown later
    rows, _ = await pulled(connector, state)
    assert sorted(row.external_id for row in rows) == ["t2", "t3", "t4"]
    asked = next(one for one in sink.asked[-2:] if one.path.endswith("/responses"))
    assert asked.query["since"] == "2026-11-21T11:00:00Z"


async def test_a_walk_that_is_broken_off_loses_nothing(
    sink: Sink, http: GuardedHttp, connector: Typeform, typeform: SmallTypeform
) -> None:
    typeform.responses["form1"] = [given(number, number * 60) for number in range(6)]
    small = made(sink, http, page_size=2)
    first = await small.read(None)
    assert first.more
    typeform.responses["form1"].append(given(6, 400))  # given while the walk goes back
    again = made(sink, http, page_size=2)  # another process
    rows, state = await pulled(again, first.state)
    found = {row.external_id for row in (*first.rows, *rows) if isinstance(row, Response)}
    assert found == {f"t{number}" for number in range(6)}
    rows, _ = await pulled(again, state)
    assert "t6" in {row.external_id for row in rows}


async def test_forms_that_are_taken_out_or_added_do_not_confuse_it(
    sink: Sink, http: GuardedHttp, connector: Typeform, typeform: SmallTypeform
) -> None:
    typeform.responses = {"form1": [given(1)], "form2": [given(2)]}
    _, state = await pulled(made(sink, http, forms=["form1", "form2"]))
    _, state = await pulled(connector, {**state, "form": 1})
    assert list(state["forms"]) == ["form1"]
    rows, _ = await pulled(made(sink, http, forms=["form2"]), state)
    assert [row.external_id for row in rows] == ["t2"]


@pytest.mark.parametrize(
    ("told", "category"),
    [
        (Told({}, 401), "auth"),
        (Told({}, 403), "auth"),
        (Told({}, 404), "config"),
        (Told({}, 429), "rate_limit"),
        (Told(b"", 500), "remote"),
        (Told(b"<html>", 200), "remote"),
    ],
)
async def test_failures_say_whose_turn_it_is(sink: Sink, connector: Typeform, told: Told, category: str) -> None:
    sink.answers = [told]
    with pytest.raises(PluginError) as raised:
        await connector.read(None)
    assert raised.value.failure.category == category
    assert "canary" not in str(raised.value)


async def test_the_check_asks_for_each_form(
    sink: Sink, http: GuardedHttp, connector: Typeform, typeform: SmallTypeform, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await connector.check()).ok
    assert "form9" in (await made(sink, http, forms=["form1", "form9"]).check()).said
    monkeypatch.setenv("TYPEFORM_TOKEN", "another")
    assert (await connector.check()).said == "The token is refused."


class Asking:
    """A network that only remembers where it was asked."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        self.hosts.append(url.split("/")[2])
        return Answer(200, {}, b'{"items": []}')


@pytest.mark.parametrize(
    ("region", "host"), [("us", "api.typeform.com"), ("eu", "api.eu.typeform.com"), ("eu2", "api.typeform.eu")]
)
async def test_the_region_decides_the_host(sink: Sink, connector: Typeform, region: str, host: str) -> None:
    network = Asking()
    page = await made(sink, network, base_url=None, region=region).read(None)
    assert page == Page([], {"form": 0, "forms": {"form1": {"since": 0}}}, more=False)
    assert network.hosts == [host]


async def test_it_asks_twice_a_second_at_most(sink: Sink, connector: Typeform, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(module, "_BETWEEN_SECONDS", 0.5)
    network = Asking()
    quick = made(sink, network, forms=["form1", "form2", "form1"])
    monkeypatch.setattr(quick.context.clock, "monotonic", lambda: 100.0)
    # In the connector alone: whatever else sleeps in this process would never do so again.
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    await quick.check()
    assert waits == [0.5, 1.0]
