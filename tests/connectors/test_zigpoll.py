"""Zigpoll: a fake that insists on what is known of the live API."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from gateway_zigpoll.connector import Zigpoll, ZigpollConfig

from gateway.connectors.http import GuardedHttp
from gateway.model.identity import Identity
from gateway.plugin import Denied, PluginError, RawRequest, Response, SurveyAnswer, Verified
from tests.connectors.delivering import context
from tests.connectors.sink import Asked, Sink, Told

FIRST = datetime.fromisoformat("2026-11-21T10:00:00+00:00")


def given(number: int, minutes: float = 0, **more: Any) -> dict[str, Any]:
    at = (FIRST + timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "_id": f"r{number}",
        "pollId": "poll1",
        "slideId": "slide1",
        "participantId": f"p{number}",
        "response": "From a friend",
        "valueType": "vote",
        "createdAt": at,
        "metadata": {"user_id": f"u{number}", "email": "ada@person.example", "plan": "pro", "touchpoint": "exit"},
        **more,
    }


class SmallZigpoll:
    """Responses behind a bare key: whatever else stands in Authorization is answered 422, on every path."""

    def __init__(self, sink: Sink) -> None:
        self.responses: list[dict[str, Any]] = []
        sink.answer = self.answer

    def answer(self, asked: Asked) -> Told:
        if asked.headers.get("authorization") != "zp-canary":
            return Told({"message": "Invalid API key"}, 422)
        if asked.path == "/me":
            return Told({"_id": "me", "accounts": ["acc1"]})
        if asked.path != "/responses":
            return Told({}, 404)
        query = asked.query
        if not {"accountId", "pollId", "slideId"} & query.keys() or int(query.get("limit", 1)) > 5000:
            return Told({"message": "scope"}, 400)
        after = int(query.get("createdAfter", 0))
        found = [one for one in self.responses if millis(one["createdAt"]) > after]
        start = int(query.get("startCursor", "c0")[1:])
        end = start + int(query.get("limit", 100))
        return Told({"data": found[start:end], "hasNextPage": end < len(found), "endCursor": f"c{end}"})


def millis(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture
def zigpoll(sink: Sink) -> SmallZigpoll:
    return SmallZigpoll(sink)


@pytest.fixture
def connector(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> Zigpoll:
    monkeypatch.setenv("ZIGPOLL_KEY", "zp-canary")
    monkeypatch.setenv("ZIGPOLL_HOOK", "hook-canary")
    return made(sink, http)


def made(sink: Sink, http: GuardedHttp, **settings: Any) -> Zigpoll:
    given = {
        "api_key": "env:ZIGPOLL_KEY",
        "account_id": "acc1",
        "base_url": sink.url,
        "webhook_key": "env:ZIGPOLL_HOOK",
        "metadata": ["plan"],
        "kinds": {"slide9": "nps"},
    }
    return Zigpoll(ZigpollConfig.model_validate({**given, **settings}), context("zigpoll", http=http))


async def pulled(connector: Zigpoll, state: Any = None) -> tuple[list[Response], Any]:
    """A whole round: its responses and the state behind it."""
    rows: list[Response] = []
    for _ in range(50):
        page = await connector.read(json.loads(json.dumps(state)))
        rows += [row for row in page.rows if isinstance(row, Response)]
        state = page.state
        if not page.more:
            return rows, state
    raise AssertionError("the round does not end")


async def test_a_row_becomes_a_response(connector: Zigpoll, zigpoll: SmallZigpoll) -> None:
    zigpoll.responses = [given(1)]
    ((response,), _) = await pulled(connector)
    assert response == Response(
        workspace="w",
        source="zigpoll",
        external_id="r1",
        survey="poll1",
        at=1_795_255_200_000,
        answers=(SurveyAnswer("slide1", "From a friend", kind="choice"),),
        identity=Identity("userId", "u1"),
        touchpoint="exit",
        metadata={"plan": "pro"},
    )
    assert "person.example" not in str(response)


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        (
            {"valueType": "dynamic-response", "response": " my own words "},
            SurveyAnswer("slide1", "my own words", kind="text"),
        ),
        ({"slideId": "slide9", "response": "9"}, SurveyAnswer("slide9", 9, kind="nps")),
        ({"slideId": "slide9", "response": "nine"}, SurveyAnswer("slide9", "nine", kind="nps")),
        ({"response": "9"}, SurveyAnswer("slide1", "9", kind="choice")),
    ],
)
async def test_what_an_answer_is(
    connector: Zigpoll, zigpoll: SmallZigpoll, more: dict[str, Any], answer: SurveyAnswer
) -> None:
    zigpoll.responses = [given(1, **more)]
    ((response,), _) = await pulled(connector)
    assert response.answers == (answer,)


@pytest.mark.parametrize(
    ("more", "identity"),
    [
        ({"metadata": {"user_id": 42}}, Identity("userId", "42")),
        ({"metadata": {"anonymous_id": "a-1"}}, Identity("anonymousId", "a-1")),
        ({"metadata": {}}, Identity("anonymousId", "zigpoll:p1")),
        ({"metadata": None}, Identity("anonymousId", "zigpoll:p1")),
        ({"metadata": {"user_id": "x" * 256}, "participantId": None}, None),
    ],
)
async def test_who_answered(
    connector: Zigpoll, zigpoll: SmallZigpoll, more: dict[str, Any], identity: Identity | None
) -> None:
    zigpoll.responses = [given(1, **more)]
    ((response,), _) = await pulled(connector)
    assert response.identity == identity


async def test_what_is_no_answer_is_left_out(connector: Zigpoll, zigpoll: SmallZigpoll) -> None:
    zigpoll.responses = [given(1, response=""), given(2, slideId=None), given(3, createdAt="2026-11-21T10:00:00")]
    rows, _ = await pulled(connector)
    assert [(row.external_id, row.at) for row in rows] == [("r3", 1_795_255_200_000)]


async def test_every_response_is_found_page_by_page(
    sink: Sink, http: GuardedHttp, connector: Zigpoll, zigpoll: SmallZigpoll
) -> None:
    zigpoll.responses = [given(number, number) for number in range(7)]
    rows, state = await pulled(made(sink, http, page_size=3))
    assert [row.external_id for row in rows] == [f"r{number}" for number in range(7)]
    assert state == {"after": millis(zigpoll.responses[-1]["createdAt"])}
    assert [asked.query.get("startCursor") for asked in sink.asked] == [None, "c3", "c6"]
    assert sink.last.query["accountId"] == "acc1"


async def test_a_pull_goes_on_a_little_before_the_last(sink: Sink, connector: Zigpoll, zigpoll: SmallZigpoll) -> None:
    zigpoll.responses = [given(1, 0), given(2, 60)]
    _, state = await pulled(connector)
    zigpoll.responses += [given(3, 55), given(4, 70)]
    rows, _ = await pulled(connector, state)
    assert [row.external_id for row in rows] == ["r2", "r3", "r4"]
    assert sink.last.query["createdAfter"] == str(1_795_255_200_000 + 50 * 60_000)


async def test_a_round_that_is_broken_off_goes_on_elsewhere(
    sink: Sink, http: GuardedHttp, connector: Zigpoll, zigpoll: SmallZigpoll
) -> None:
    zigpoll.responses = [given(number, number) for number in range(6)]
    first = await made(sink, http, page_size=2).read(None)
    rows, _ = await pulled(made(sink, http, page_size=2), first.state)
    assert [row.external_id for row in rows] == ["r2", "r3", "r4", "r5"]


async def test_a_cursor_that_stands_still_ends_the_round(sink: Sink, connector: Zigpoll) -> None:
    sink.answer = lambda asked: Told({"data": [], "hasNextPage": True, "endCursor": "c1"})
    rows, state = await pulled(connector)
    assert (rows, state, len(sink.asked)) == ([], {"after": 0}, 2)


async def test_a_bad_key_is_told_as_such_though_it_looks_otherwise(
    sink: Sink, connector: Zigpoll, zigpoll: SmallZigpoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await connector.check()).ok
    monkeypatch.setenv("ZIGPOLL_KEY", "Bearer zp-canary")
    with pytest.raises(PluginError) as raised:
        await connector.read(None)
    failure = raised.value.failure
    assert (failure.category, failure.retryable) == ("auth", False)
    assert failure.fix == "Set api_key to a private key (Integrations, Private Keys), without `Bearer`."
    assert "canary" not in str(raised.value)
    health = await connector.check()
    assert (health.ok, health.said, health.hint) == (False, "Zigpoll refuses the key (HTTP 422).", failure.fix)


@pytest.mark.parametrize(
    ("told", "category"),
    [
        (Told({}, 429), "rate_limit"),
        (Told({}, 404), "config"),
        (Told(b"", 500), "remote"),
        (Told([{"_id": "acc1"}]), "remote"),
        (Told(b"<html>"), "remote"),
    ],
)
async def test_failures_say_whose_turn_it_is(sink: Sink, connector: Zigpoll, told: Told, category: str) -> None:
    sink.answers = [told]
    with pytest.raises(PluginError) as raised:
        await connector.read(None)
    assert raised.value.failure.category == category


def test_a_webhook_is_only_a_hint_and_needs_the_key(sink: Sink, http: GuardedHttp, connector: Zigpoll) -> None:
    url = "https://a.example/v1/hooks/zigpoll"
    body = json.dumps(given(1)).encode()
    by_address = RawRequest("POST", f"{url}?key=hook-canary", {}, body)
    assert connector.verify(by_address) == Verified()
    assert connector.verify(RawRequest("POST", url, {"x-webhook-key": "hook-canary"}, body)) == Verified()
    for wrong in (
        RawRequest("POST", url),
        RawRequest("POST", f"{url}?key=hook-canar"),
        RawRequest("POST", f"{url}?key=ü"),
    ):
        assert connector.verify(wrong) == Denied("wrong key")
    assert made(sink, http, webhook_key=None).verify(by_address) == Denied("webhook_key is not set")
    assert list(connector.parse(by_address)) == []
    assert connector.hint()


@pytest.mark.parametrize("settings", [{"account_id": None}, {"poll_id": "poll1"}])
def test_either_an_account_or_a_poll(sink: Sink, http: GuardedHttp, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give either"):
        made(sink, http, **settings)
