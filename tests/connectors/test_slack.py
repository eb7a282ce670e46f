"""Slack: what its own SDK sends, what its documentation answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gateway_slack.connector import Slack, SlackConfig
from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from gateway.connectors.http import GuardedHttp
from gateway.plugin import AuthFailed, Delivered, Duplicate, Rejected, Retry, Throttled
from tests.connectors.alerting import RAISED, RESOLVED, Remembered
from tests.connectors.delivering import context
from tests.connectors.sink import Sink, Told

POSTED = Told({"ok": True, "channel": "C1", "ts": "1795255200.000100"})


@pytest.fixture
def state() -> Remembered:
    return Remembered()


@pytest.fixture
def app(sink: Sink, http: GuardedHttp, state: Remembered, monkeypatch: pytest.MonkeyPatch) -> Slack:
    monkeypatch.setenv("SLACK_TOKEN", "xoxb-canary")
    given = {"token": "env:SLACK_TOKEN", "channel": "C1", "api_url": f"{sink.url}/api"}
    return Slack(SlackConfig.model_validate(given), replace(context("slack", http=http), state=state))


@pytest.fixture
def webhook(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> Slack:
    monkeypatch.setenv("SLACK_WEBHOOK", f"{sink.url}/services/T0/B0/canary")
    return Slack(SlackConfig.model_validate({"webhook_url": "env:SLACK_WEBHOOK"}), context("slack", http=http))


async def test_a_message_by_webhook_is_what_the_sdk_sends(sink: Sink, webhook: Slack) -> None:
    sink.answer = lambda asked: Told(b"ok")
    assert await webhook.notify(RAISED) == Delivered()
    ours = sink.last
    WebhookClient(f"{sink.url}/services/T0/B0/canary").send(text=ours.json["text"], blocks=ours.json["blocks"])
    theirs = sink.last
    assert theirs is not ours
    assert (ours.method, ours.target, ours.json) == (theirs.method, theirs.target, theirs.json)
    assert ours.headers["content-type"] == theirs.headers["content-type"].partition(";")[0]


async def test_a_message_of_the_app_is_what_the_sdk_sends(sink: Sink, app: Slack) -> None:
    sink.answer = lambda asked: POSTED
    assert await app.notify(RAISED) == Delivered("1795255200.000100")
    ours = sink.last
    WebClient("xoxb-canary", base_url=f"{sink.url}/api/").chat_postMessage(**ours.json)
    theirs = sink.last
    assert theirs is not ours
    assert (ours.method, ours.path, ours.json) == (theirs.method, theirs.path, theirs.json)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == "Bearer xoxb-canary"


async def test_the_message_says_what_what_to_do_and_nothing_that_calls_people(sink: Sink, app: Slack) -> None:
    sink.answer = lambda asked: POSTED
    await app.notify(replace(RAISED, text="<!channel> a & b"))
    message = sink.last.json
    assert message["text"] == ":rotating_light: The connector crm is paused: its credentials are refused"
    header, text, hint, facts = message["blocks"]
    assert header["text"]["text"] == message["text"]
    assert text["text"]["text"] == "&lt;!channel&gt; a &amp; b"
    assert hint["text"]["text"] == "*What to do:* Set a new token."
    assert [one["text"] for one in facts["elements"]] == [
        "connector: crm",
        "severity: critical",
        "workspace: main",
        "3 times",
        "<!date^1795255200^since {date_short_pretty} {time}|since 1795255200>",
    ]


async def test_what_is_long_is_cut_to_what_slack_takes(sink: Sink, app: Slack) -> None:
    sink.answer = lambda asked: POSTED
    await app.notify(replace(RAISED, title="t" * 5_000, text="x" * 5_000))
    header, text, *_ = sink.last.json["blocks"]
    assert (len(header["text"]["text"]), len(text["text"]["text"])) == (150, 3_000)


async def test_an_alert_is_posted_once_and_resolved_in_its_thread(sink: Sink, app: Slack, state: Remembered) -> None:
    sink.answer = lambda asked: POSTED
    await app.notify(RAISED)
    assert await app.notify(RAISED) == Duplicate("1795255200.000100")
    assert len(sink.asked) == 1
    assert await app.notify(RESOLVED) == Delivered("1795255200.000100")
    message = sink.last.json
    assert message["text"].startswith(":white_check_mark: Resolved:")
    assert (message["thread_ts"], message["reply_broadcast"]) == ("1795255200.000100", True)
    assert [block["type"] for block in message["blocks"]] == ["header", "context"]
    assert state.values == {}


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (Told({"ok": False, "error": "invalid_auth"}), AuthFailed("invalid_auth")),
        (Told({"ok": False, "error": "ratelimited"}, headers={"Retry-After": "7"}), Throttled("ratelimited", 7.0)),
        (Told({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "30"}), Throttled("HTTP 429", 30.0)),
        (Told({"ok": False, "error": "internal_error"}), Retry("internal_error")),
        (Told(b"<html>", 200), Retry("HTTP 200, but not Slack's answer")),
        (Told(b"", 503), Retry("HTTP 503")),
        (Told({"ok": False, "error": "msg_too_long"}), Rejected("msg_too_long", code="msg_too_long")),
        (
            Told({"ok": False, "error": "not_in_channel"}),
            Rejected("not_in_channel: invite the app to the channel", code="not_in_channel"),
        ),
    ],
)
async def test_answers_to_the_app(sink: Sink, app: Slack, state: Remembered, told: Told, result: Any) -> None:
    sink.answers = [told]
    assert await app.notify(RAISED) == result
    assert state.values == {}


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Told(b"no_service", 404), AuthFailed),
        (Told(b"invalid_token", 403), AuthFailed),
        (Told(b"invalid_payload", 400), Rejected),
        (Told(b"channel_is_archived", 410), Rejected),
        (Told(b"", 429, {"Retry-After": "1"}), Throttled),
        (Told(b"rollup_error", 500), Retry),
        (Told(b"<html>Welcome</html>", 200), Retry),
    ],
)
async def test_answers_to_the_webhook(sink: Sink, webhook: Slack, told: Told, kind: type[object]) -> None:
    sink.answers = [told]
    assert type(await webhook.notify(RAISED)) is kind


async def test_the_checks_post_nothing(sink: Sink, app: Slack, webhook: Slack) -> None:
    sink.answers = [Told({"ok": True}), Told({"ok": False, "error": "invalid_auth"}), Told(b"no_text", 400)]
    assert (await app.check()).ok
    refused = await app.check()
    assert (refused.ok, refused.said) == (False, "Slack answers invalid_auth.")
    assert [asked.path for asked in sink.asked] == ["/api/auth.test"] * 2
    assert (await webhook.check()).ok
    assert sink.last.json == {}
    sink.answers = [Told(b"no_service", 404)]
    assert not (await webhook.check()).ok


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"token": "env:A"},
        {"channel": "C1"},
        {"token": "env:A", "channel": "C1", "webhook_url": "env:B"},
        {"webhook_url": "env:B", "channel": "C1"},
        {"webhook_url": "https://hooks.slack.com/services/secret"},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"give either|go together|by reference"):
        SlackConfig.model_validate(settings)
