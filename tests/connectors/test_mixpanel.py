"""Mixpanel: what its own library sends, what its documentation answers."""

from __future__ import annotations

import json
from typing import Any

import mixpanel
import pytest
from gateway_mixpanel.connector import Mixpanel, MixpanelConfig
from gateway_mixpanel.mapping import insert_id

from gateway.connectors.http import GuardedHttp
from gateway.model.event import EventType
from gateway.plugin import (
    Answer,
    AuthFailed,
    Delivered,
    Http,
    Item,
    Message,
    Rejected,
    Retry,
    Skip,
    Throttled,
    TooLarge,
)
from tests.connectors.delivering import context, event
from tests.connectors.sink import Sink, Told

GOOD = Told({"code": 200, "num_records_imported": 2, "status": "OK"})


@pytest.fixture
def connector(sink: Sink, http: GuardedHttp, monkeypatch: pytest.MonkeyPatch) -> Mixpanel:
    monkeypatch.setenv("MIXPANEL_SECRET", "s3cret-canary")
    return made(sink, http)


def made(sink: Sink, http: Http, **settings: Any) -> Mixpanel:
    given = {"project_id": "77", "username": "gateway.mp", "secret": "env:MIXPANEL_SECRET", "base_url": sink.url}
    return Mixpanel(MixpanelConfig.model_validate({**given, **settings}), context("mixpanel", http=http))


def message(number: int = 1, **changes: Any) -> Message:
    one = event(number, **changes)
    return Message(one.id.hex(), "event", "w", "user", one.at, event=one)


def items(connector: Mixpanel, count: int) -> list[Item]:
    found = []
    for number in range(count):
        payload = connector.map(message(number))
        assert isinstance(payload, dict)
        found.append(Item(message(number), payload))
    return found


async def test_an_event_is_what_the_vendors_library_imports(sink: Sink, connector: Mixpanel) -> None:
    properties = {"price": 12.5, "tags": ["a", "b"], "name": "Lamp – weiß"}
    mine = message(name="Product Viewed", user_id="ada", properties=properties)
    sink.answers = [Told({"status": 1, "error": None}), Told({"code": 200, "num_records_imported": 1, "status": "OK"})]
    account = mixpanel.ServiceAccountCredentials("gateway.mp", "s3cret-canary", "77")
    consumer = mixpanel.Consumer(import_url=f"{sink.url}/import", retry_limit=0, credentials=account)
    theirs = mixpanel.Mixpanel("token", consumer=consumer)
    theirs.import_data(None, "ada", "Product Viewed", mine.at / 1000, {**properties, "$insert_id": mine.key})
    payload = connector.map(mine)
    assert isinstance(payload, dict)
    assert await connector.send([Item(mine, payload)]) == [Delivered()]
    library, ours = sink.asked
    # The library sends a form, one event, and its own name beside.
    sent = json.loads(library.form["data"])
    (got,) = ours.json
    for key in ("token", "mp_lib", "$lib_version"):
        sent["properties"].pop(key)
    assert got["properties"].pop("$user_id") == "ada"
    assert got["properties"].pop("time") == round(sent["properties"].pop("time") * 1000)
    assert got == sent
    assert (library.path, ours.path) == ("/import", "/import")
    assert ours.query == {"strict": "1", **library.query} == {"strict": "1", "project_id": "77"}
    assert ours.basic == library.basic == "gateway.mp:s3cret-canary"
    assert ours.headers["content-encoding"] == "gzip"


async def test_requests_are_packed_only_if_that_is_set(sink: Sink, http: GuardedHttp, connector: Mixpanel) -> None:
    sink.answers = [GOOD]
    await made(sink, http, gzip=False).send(items(connector, 2))
    assert "content-encoding" not in sink.last.headers
    assert len(sink.last.json) == 2


async def test_each_event_has_its_own_result(sink: Sink, connector: Mixpanel) -> None:
    failed = {"index": 1, "$insert_id": "x", "field": "properties.time", "message": "properties.time is invalid"}
    error = "some data points in the request failed validation"
    body = {"code": 400, "error": error, "failed_records": [failed], "num_records_imported": 2, "status": "Bad Request"}
    sink.answers = [Told(body, 400)]
    assert await connector.send(items(connector, 3)) == [
        Delivered(),
        Rejected("properties.time is invalid", code="invalid_event", field="properties.time"),
        Delivered(),
    ]


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Told({"code": 400, "error": "request body could not be parsed", "status": "Bad Request"}, 400), Rejected),
        (Told(b"nonsense", 400), Rejected),
        (Told({"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}, 401), AuthFailed),
        (Told({"code": 403, "error": "no access"}, 403), AuthFailed),
        (Told({"code": 413, "error": "request exceeds max limit of 10MB"}, 413), TooLarge),
        (Told({"code": 429, "error": "Project exceeded rate limits."}, 429), Throttled),
        (Told(b"bad gateway", 502), Retry),
        (Told({"code": 503, "error": "unavailable"}, 503), Retry),
        (Told(b"<html>Sign in to the network</html>"), Retry),
        (Told({"code": 500, "error": "lying"}), Retry),
    ],
)
async def test_every_answer_means_one_thing_for_all(
    sink: Sink, connector: Mixpanel, told: Told, kind: type[object]
) -> None:
    sink.answers = [told]
    results = await connector.send(items(connector, 2))
    assert [type(one) for one in results] == [kind, kind]


async def test_it_waits_from_two_seconds_to_sixty_as_the_vendor_says(
    sink: Sink, connector: Mixpanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(0, 10_000, 100))
    monkeypatch.setattr(connector.context.clock, "monotonic", lambda: float(next(moments)))
    sink.answer = lambda asked: Told({"code": 429}, 429)
    waits = []
    for _ in range(7):
        (one,) = await connector.send(items(connector, 1))
        assert isinstance(one, Throttled)
        assert one.after is not None
        waits.append(one.after)
    for wait, least in zip(waits, (2, 4, 8, 16, 32, 60, 60), strict=True):
        assert least + 1 <= wait <= least + 5
    sink.answers = [GOOD, Told(b"", 500)]
    await connector.send(items(connector, 1))
    (again,) = await connector.send(items(connector, 1))
    assert isinstance(again, Retry)
    assert again.after is not None
    assert 3 <= again.after <= 7


async def test_requests_refused_side_by_side_count_once(
    sink: Sink, connector: Mixpanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector.context.clock, "monotonic", lambda: 5.0)
    sink.answer = lambda asked: Told({"code": 429}, 429)
    for _ in range(4):
        (one,) = await connector.send(items(connector, 1))
    assert isinstance(one, Throttled)
    assert one.after is not None
    assert one.after <= 7


def test_the_insert_id_has_the_form_that_mixpanel_takes() -> None:
    assert insert_id("0f" * 16) == "0f" * 16
    for key in ("a key: with ümlauts", "x" * 37, ""):
        assert len(insert_id(key)) == 32
        assert insert_id(key).isalnum()
        assert insert_id(key) == insert_id(key)
    assert insert_id("x" * 37) != insert_id("x" * 38)


def test_both_ids_join_and_an_event_cannot_choose_them(connector: Mixpanel) -> None:
    forged = {"distinct_id": "eve", "token": "eve", "time": 1, "$insert_id": "eve", "$user_id": "eve"}
    both = connector.map(message(anonymous_id="a-1", properties=forged))
    assert isinstance(both, dict)
    kept = both["properties"]
    assert (kept["distinct_id"], kept["$user_id"], kept["$device_id"]) == ("ada", "ada", "a-1")
    assert "eve" not in kept.values()
    visitor = connector.map(message(user_id=None, anonymous_id="a-1"))
    assert isinstance(visitor, dict)
    assert visitor["properties"]["distinct_id"] == "$device:a-1"
    assert "$user_id" not in visitor["properties"]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (EventType.PAGE, "Cart", "Viewed Cart Page"),
        (EventType.PAGE, "page", "Viewed Page"),
        (EventType.SCREEN, "Home", "Viewed Home Screen"),
    ],
)
def test_pages_and_screens_are_events(connector: Mixpanel, kind: EventType, name: str, said: str) -> None:
    page = {"page": {"url": "https://shop.example/cart", "referrer": ""}, "campaign": {"source": "mail"}}
    made = connector.map(message(type=kind, name=name, context=page, client={"os": "Linux", "ip": "203.0.113.0"}))
    assert isinstance(made, dict)
    assert made["event"] == said
    properties = made["properties"]
    assert (properties["$current_url"], properties["utm_source"], properties["$os"]) == (
        "https://shop.example/cart",
        "mail",
        "Linux",
    )
    assert "203.0.113.0" not in str(made)
    assert "$referrer" not in properties


def test_profiles_are_left_out_with_the_reason(connector: Mixpanel) -> None:
    assert isinstance(connector.map(message(type=EventType.IDENTIFY)), Skip)
    assert isinstance(connector.map(Message("k", "journey", "w", "u", 1)), Skip)


async def test_the_check_asks_who_the_account_is(sink: Sink, connector: Mixpanel) -> None:
    sink.answers = [Told({"results": {}}), Told({"error": "no"}, 401), Told(b"", 500)]
    assert (await connector.check()).ok
    assert (sink.last.method, sink.last.path) == ("GET", "/api/app/me")
    refused = await connector.check()
    assert (refused.ok, refused.hint) == (False, "Check username, secret and region.")
    assert not (await connector.check()).ok


class Asking:
    """A network that only remembers where it was asked."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        self.urls.append(url)
        return Answer(200, {}, b'{"code": 200}')


@pytest.mark.parametrize(
    ("region", "importing", "asking"),
    [
        ("us", "https://api.mixpanel.com/import", "https://mixpanel.com/api/app/me"),
        ("eu", "https://api-eu.mixpanel.com/import", "https://eu.mixpanel.com/api/app/me"),
        ("in", "https://api-in.mixpanel.com/import", "https://in.mixpanel.com/api/app/me"),
    ],
)
async def test_the_region_decides_the_host(
    sink: Sink, connector: Mixpanel, region: str, importing: str, asking: str
) -> None:
    network = Asking()
    regional = made(sink, network, base_url=None, region=region)
    await regional.send(items(regional, 1))
    await regional.check()
    assert network.urls == [importing, asking]


def test_settings_hold_no_secret() -> None:
    config = MixpanelConfig.model_validate({"project_id": "1", "username": "u", "secret": "env:MIXPANEL_SECRET"})
    assert "s3cret" not in repr(config)
    with pytest.raises(ValueError, match="by reference"):
        MixpanelConfig.model_validate({"project_id": "1", "username": "u", "secret": "s3cret-canary"})
