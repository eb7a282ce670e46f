"""The connector `webhook`: what it sends is verified, and what it takes is signed, by the specification's library."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import click
import pytest
from click.testing import CliRunner
from gateway_webhook.commands import webhook
from gateway_webhook.destination import Webhook
from gateway_webhook.source import WebhookIn
from standardwebhooks.webhooks import Webhook as Library
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.plugin import AuthFailed, Delivered, PluginError, RawRequest, Retry
from gateway.testing import DestinationContract, Received, Reply, WebhookSourceContract, event_message
from gateway.testing.rig import NOW, Rig
from gateway.testing.samples import journey_message

NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
SETTINGS = {"secret": "env:HOOK_SECRET", "previous_secret": "env:HOOK_OLD_SECRET"}
SECRETS = {"HOOK_SECRET": NEW, "HOOK_OLD_SECRET": OLD}
OUT = {"url": "https://audit.example/hook?x=1", **SETTINGS}
ONE = b'{"type": "track", "event": "Gr\xc3\xbc\xc3\x9fe", "userId": "ada"}'


class TestDestination(DestinationContract):
    connector = Webhook
    settings = OUT
    secrets = SECRETS
    means: ClassVar[Mapping[int, tuple[type[Any], ...]]] = {410: (AuthFailed,)}


class TestSource(WebhookSourceContract):
    connector = WebhookIn
    settings = SETTINGS
    secrets = SECRETS
    signing = ("HOOK_SECRET", "HOOK_OLD_SECRET")
    bodies = (ONE, b"[" + ONE + b", " + ONE + b"]", b'{"batch": [' + ONE + b"]}")

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        text = body.decode("utf-8", "replace")
        try:
            library = Library(secret)
        except ValueError:
            library = Library(b"another")
        moment = datetime.fromtimestamp(at // 1000, UTC)
        return {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(at // 1000),
            "webhook-signature": library.sign("msg_1", moment, text),
        }


def sent(*messages: Any, settings: Mapping[str, Any] = OUT, **reply: Any) -> tuple[list[Received], list[Any]]:
    """The requests and results of one `send`."""
    with Rig(Webhook, settings, SECRETS) as rig:
        rig.server.answer = lambda request: Reply(**reply)
        case = TestDestination()

        async def send(connector: Any) -> list[Any]:
            return list(await connector.send(case._items(connector, messages)))

        results = rig.run(send)
        return list(rig.server.requests), results


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_the_library_verifies_what_is_sent_with_either_secret(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Now:
            return cls.fromtimestamp(NOW / 1000, tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Now)
    message = event_message(1)
    (request,), results = sent(message)
    assert results == [Delivered()]
    assert request.url == OUT["url"]
    found = Library(secret).verify(request.body, dict(request.headers))
    assert request.headers["webhook-id"] == message.key
    assert found["type"] == "event.stored"
    assert found["user"] == message.user
    assert found["data"]["properties"]["note"] == message.event.properties["note"]  # type: ignore[union-attr]
    with pytest.raises(WebhookVerificationError):
        Library(secret).verify(request.body + b" ", dict(request.headers))


def test_steps_of_journeys_are_sent_and_can_be_left_out() -> None:
    (request,), _ = sent(journey_message(1))
    body = json.loads(request.body)
    assert body["type"] == "journey.changed"
    assert (body["data"]["from"], body["data"]["to"], body["data"]["status"]) == ("consider", "buy", "active")
    assert sent(journey_message(1), settings={**OUT, "journeys": False})[0] == []


def test_each_item_has_the_result_of_its_own_request() -> None:
    with Rig(Webhook, OUT, SECRETS) as rig:
        rig.server.answer = lambda request: Reply(fault="close") if b"sample-2" in request.body else Reply()
        case = TestDestination()
        messages = [event_message(at, user=f"u{at}") for at in (1, 2, 3)]

        async def send(connector: Any) -> Any:
            return await connector.send(case._items(connector, messages))

        first, second, third = rig.run(send)
    assert (first, third) == (Delivered(), Delivered())
    assert isinstance(second, Retry)


def test_what_one_gateway_sends_another_takes() -> None:
    requests, _ = sent(event_message(1), event_message(2), journey_message(1))
    with Rig(WebhookIn, {"secret": "env:HOOK_SECRET"}, SECRETS) as rig:

        async def take(source: Any) -> list[Any]:
            rows = []
            for one in requests:
                raw = RawRequest(one.method, one.url, one.headers, one.body, NOW)
                assert source.verify(raw).id == one.headers["webhook-id"]
                rows += list(source.parse(raw))
            return rows

        rows = rig.run(take)
    assert sorted(row["messageId"] for row in rows) == ["sample-1", "sample-2"]
    assert rows[0]["userId"] == "ada"


def test_what_is_no_secret_is_said_without_its_value() -> None:
    with Rig(WebhookIn, {"secret": "env:HOOK_SECRET"}, {"HOOK_SECRET": "whsec_ü-not-base64"}) as rig:

        async def nothing(source: Any) -> None: ...

        with pytest.raises(PluginError, match="env:HOOK_SECRET") as raised:
            rig.run(nothing)
    assert "not-base64" not in f"{raised.value!r} {raised.value}"
    assert "new-secret" in raised.value.failure.fix


def test_a_new_secret_is_one_of_the_library() -> None:
    group = click.Group(commands={"webhook": webhook})
    first, second = (CliRunner().invoke(group, ["webhook", "new-secret"]).output.strip() for _ in range(2))
    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    assert Library(first).sign("a", datetime.fromtimestamp(1, UTC), "b").startswith("v1,")


@pytest.mark.parametrize(
    "url", ["https:// a.example", "https://", "ftp://a.example", "https://me:pw@a.example", "a.example"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an address begins with"):
        Webhook.Config.model_validate({**OUT, "url": url})


@pytest.mark.parametrize("url", ["https://a.example", "http://10.0.0.7:8080/in?x=1&y=a@b", "https://a.example?k=1"])
def test_what_is_an_address_is_taken(url: str) -> None:
    assert Webhook.Config.model_validate({**OUT, "url": url}).model_dump()["url"] == url
