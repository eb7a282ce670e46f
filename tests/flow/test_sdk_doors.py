"""What SDKs ask for around the calls: short paths, settings, pixels, preflights; and what is told of clients."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model.event import CALLS, EventType
from gateway.settings import Settings
from gateway.store.database import Database
from tests.country_database import write_countries
from tests.flow.doors import SETTINGS, Doors, basic, new_database, open_doors, track

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
ANALYTICS_JS = {"library": {"name": "analytics.js", "version": "npm:next-1.84.3"}, "userAgent": CHROME}
ORIGIN = "https://shop.example"


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


# -- short paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(CALLS))
async def test_every_call_has_a_path_of_one_letter(doors: Doors, kind: EventType) -> None:
    message = {"event": "e", "userId": "ada", "previousId": "anon", "writeKey": doors.write_key}
    answer = await doors.bare(f"/v1/{kind.value[0]}", message, **{"content-type": "text/plain"})

    assert answer.json()["accepted"] == 1
    assert [event.type for event in await doors.events()] == [kind]


async def test_the_browsers_batches_have_one_too(doors: Doors) -> None:
    batch = {"writeKey": doors.write_key, "batch": [track("1"), track("2")], "sentAt": "2024-03-13T10:21:14Z"}
    assert (await doors.bare("/v1/b", batch)).json()["accepted"] == 2


async def test_the_browser_sdks_metrics_about_itself_are_taken_and_forgotten(doors: Doors) -> None:
    metrics = {"series": [{"type": "Counter", "metric": "analytics_js.invoke", "value": 1, "tags": {}}]}
    answer = await doors.bare("/v1/m", metrics)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await doors.events() == []


@pytest.mark.parametrize("path", ["/v1/batch/", "/v1/b/", "/v1/import/"])
async def test_a_slash_at_the_end_does_not_matter(doors: Doors, path: str) -> None:
    assert (await doors.post(path, {"batch": [track("1")]})).json()["accepted"] == 1


async def test_an_alias_of_oneself_says_nothing_and_null_ids_are_none(doors: Doors) -> None:
    alone = {"userId": "ada", "previousId": "ada", "anonymousId": None, "groupId": None, "messageId": "1"}
    assert (await doors.post("/v1/a", alone)).json()["accepted"] == 1
    assert (await doors.post("/v1/t", track("2", anonymousId=None, userId=None))).json()["quarantined"] == 1
    assert [event.link() for event in await doors.events()] == [None]


async def test_all_four_time_stamps_are_kept(doors: Doors) -> None:
    await doors.post(
        "/v1/batch",
        {
            "batch": [
                track("1", timestamp="2024-03-13T10:20:00Z", originalTimestamp="2024-03-13T10:19:00Z"),
                track("2", timestamp="2024-03-13T10:20:00Z", sentAt="2024-03-13T10:21:00Z"),
            ],
            "sentAt": "2024-03-13T10:21:05Z",
        },
    )
    one, two = await doors.events()
    base = 1_710_325_200_000
    assert (one.timestamp, one.original_timestamp, one.sent_at) == (base, base - 60_000, base + 65_000)
    assert (two.timestamp, two.original_timestamp, two.sent_at) == (base, base, base + 60_000)
    assert one.received_at == two.received_at == doors.clock.now()


# -- what SDKs ask before they send -----------------------------------------------------------------------------------


async def test_project_settings_say_where_to_send_and_what_the_contract_knows(doors: Doors) -> None:
    answer = await doors.client.get(f"/v1/projects/{doors.write_key}/settings", headers={"host": "events.example"})

    settings = answer.json()
    assert answer.status_code == 200
    destination = settings["integrations"]["Segment.io"]
    assert destination["apiKey"] == doors.write_key
    assert (destination["protocol"], destination["apiHost"]) == ("http", "events.example/v1")
    assert {"Product Added", "Order Completed", "__default"} <= settings["plan"]["track"].keys()
    assert all(event == {"enabled": True, "integrations": {}} for event in settings["plan"]["track"].values())
    assert settings["metrics"]["sampleRate"] == 0


async def test_the_public_address_is_told_when_it_is_set(prepared: Database) -> None:
    async with open_doors(prepared, Settings(public_url="https://events.example")) as doors:
        settings = (await doors.client.get(f"/v1/projects/{doors.write_key}/settings")).json()
    destination = settings["integrations"]["Segment.io"]
    assert (destination["protocol"], destination["apiHost"]) == ("https", "events.example/v1")


async def test_an_unknown_source_has_no_settings(doors: Doors) -> None:
    answer = await doors.client.get("/v1/projects/wk_nobody/settings", headers={"origin": ORIGIN})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
async def test_a_source_configuration_names_no_destination_and_nobody_else(doors: Doors, path: str) -> None:
    answer = await doors.client.get(f"{path}?p=npm&v=3.34.1&writeKey={doors.write_key}")
    source = answer.json()["source"]
    assert (source["id"], source["enabled"], source["destinations"]) == ("web", True, [])
    assert source["config"]["statsCollection"]["errors"] == {"enabled": False}
    assert doors.workspace not in answer.text
    by_header = await doors.client.get(path, headers={"authorization": basic(doors.write_key)})
    assert by_header.json()["source"]["id"] == "web"


async def test_an_unknown_source_has_no_configuration(doors: Doors) -> None:
    assert (await doors.client.get("/sourceConfig/?writeKey=wk_nobody")).status_code == 401
    assert (await doors.client.get("/sourceConfig/")).status_code == 401


async def test_a_beacon_is_a_batch(doors: Doors) -> None:
    batch = {"batch": [track("1"), track("2")], "sentAt": "2024-03-13T10:21:14Z"}
    answer = await doors.bare(f"/beacon/v1/batch?writeKey={doors.write_key}", batch, **{"content-type": "text/plain"})
    assert answer.json()["accepted"] == 2


async def test_a_pixel_is_an_event_and_an_image_that_nobody_keeps(doors: Doors) -> None:
    query = (
        f"writeKey={doors.write_key}&anonymousId=a1&event=Mail%20Opened&properties.campaign=spring&context.locale=de"
    )
    for _ in range(2):
        answer = await doors.client.get(f"/pixel/v1/track?{query}", headers={"user-agent": CHROME})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
        assert answer.content.startswith(b"GIF89a")
        assert answer.headers["cache-control"] == "no-store"
    page = await doors.client.get(f"/pixel/v1/page?writeKey={doors.write_key}&userId=ada&name=Home")

    assert page.status_code == 200
    first, again, viewed = await doors.events()
    assert (first.name, first.anonymous_id, first.properties) == ("Mail Opened", "a1", {"campaign": "spring"})
    assert first.context == {"locale": "de"}
    assert first.client["platform"] == "web"
    assert first.client["browser"] == "Chrome"
    assert again.id != first.id
    assert (viewed.type, viewed.name, viewed.user_id) == (EventType.PAGE, "Home", "ada")
    assert doors.write_key not in repr([first, again, viewed])


async def test_a_pixel_for_nobody_known_is_no_image(doors: Doors) -> None:
    answer = await doors.client.get("/pixel/v1/track?writeKey=wk_nobody&event=e&userId=ada")
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    odd = await doors.client.get(f"/pixel/v1/track?writeKey={doors.write_key}&a=1&a.b=2")
    assert (odd.status_code, odd.json()["code"]) == (400, "INVALID_INPUT")
    many = "&".join(f"k{number}=1" for number in range(300))
    assert (await doors.client.get(f"/pixel/v1/track?writeKey={doors.write_key}&{many}")).status_code == 400


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_a_write_key_may_be_a_bearers(doors: Doors) -> None:
    answer = await doors.bare("/v1/track", track("1"), authorization=f"Bearer {doors.write_key}")
    assert answer.json()["accepted"] == 1
    unknown = await doors.bare("/v1/track", track("2", writeKey=doors.write_key), authorization="Bearer wk_nobody")
    assert unknown.status_code == 401


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/e/", "/sourceConfig"])
async def test_an_api_key_is_known_for_what_it_is(doors: Doors, path: str) -> None:
    body = json.dumps({"event": "x", "userId": "ada", "distinct_id": "ada"})
    ways = [{"authorization": basic(doors.api_key)}, {"authorization": f"Bearer {doors.api_key}"}]
    for headers in ways if path.startswith("/v1") else ways[:1] if path == "/sourceConfig" else []:
        answer = await doors.client.request(
            "GET" if path == "/sourceConfig" else "POST", path, content=body, headers=headers
        )
        assert (answer.status_code, answer.json()["message"][:22]) == (401, "This is an API key; ev")
        assert doors.api_key not in answer.text
    inside = json.dumps({"event": "x", "writeKey": doors.api_key, "api_key": doors.api_key, "distinct_id": "ada"})
    if path != "/sourceConfig":
        answer = await doors.client.post(path, content=inside)
        assert (answer.status_code, answer.json()["message"][:22]) == (401, "This is an API key; ev")


@pytest.mark.parametrize("way", ["header", "body", "query", "beacon", "pixel", "settings"])
async def test_a_key_for_one_origin_is_for_no_other(doors: Doors, way: str) -> None:
    made = await doors.keyring.book.create_write_key(doors.workspace, "shop", origins=[ORIGIN])
    key, asked = made.value, {"origin": "https://evil.example"}

    async def send() -> Any:
        match way:
            case "header":
                return await doors.post("/v1/batch", b"{not even JSON", key=key, **asked)
            case "body":
                return await doors.bare("/v1/t", track("1", writeKey=key), **asked)
            case "query":
                return await doors.bare(f"/v1/track?writeKey={key}", track("1"), **asked)
            case "beacon":
                return await doors.bare(f"/beacon/v1/batch?writeKey={key}", {"batch": [track("1")]}, **asked)
            case "pixel":
                return await doors.client.get(f"/pixel/v1/track?writeKey={key}&event=e&userId=ada", headers=asked)
            case _:
                return await doors.client.get(f"/v1/projects/{key}/settings", headers=asked)

    refused = await send()
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert await doors.events() == []
    asked["origin"] = ORIGIN
    assert (await send()).status_code == (400 if way == "header" else 200)


async def test_a_key_that_sends_too_fast_is_told_when_to_come_again(doors: Doors) -> None:
    made = await doors.keyring.book.create_write_key(doors.workspace, "fast", rate=2, burst=4)
    full = {"batch": [track(str(number)) for number in range(4)]}

    first = await doors.post("/v1/batch", full, key=made.value)
    again = await doors.post("/v1/batch", {"batch": [track("9")]}, key=made.value, origin=ORIGIN)

    assert first.json()["accepted"] == 4
    assert (again.status_code, again.json()["code"]) == (429, "RATE_LIMITED")
    assert int(again.headers["retry-after"]) >= 1
    assert "retry-after" in again.headers["access-control-expose-headers"].lower()
    assert len(await doors.events()) == 4
    doors.clock.advance(int(again.headers["retry-after"]) * 1000)
    assert (await doors.post("/v1/batch", {"batch": [track("9")]}, key=made.value)).status_code == 200


async def test_with_a_secret_users_must_be_proven(doors: Doors) -> None:
    made = await doors.keyring.book.create_write_key(doors.workspace, "app", user_hash=True)
    assert made.user_hash_secret is not None
    proof = hmac.new(made.user_hash_secret.encode(), b"ada", "sha256").hexdigest()
    batch = {
        "batch": [
            track("1", userHash=proof),
            track("2", context={"userHash": proof}),
            track("3"),
            track("4", userHash="0" * 64),
            track("5", userId=None, anonymousId="a1"),
        ]
    }
    answer = (await doors.post("/v1/batch", batch, key=made.value)).json()

    assert (answer["accepted"], answer["quarantined"]) == (3, 2)
    assert [problem["code"] for problem in answer["problems"]] == ["user_hash_missing", "user_hash_wrong"]
    kept = await doors.quarantined()
    assert proof not in repr(await doors.events()) + repr(kept)
    assert "userHash" not in repr([row["original"] for row in kept])
    assert (await doors.post("/v1/batch", {"batch": [track("3")]})).json()["accepted"] == 1


# -- clients ----------------------------------------------------------------------------------------------------------


async def test_events_say_which_client_sent_them_from_where(prepared: Database, tmp_path: Path) -> None:
    file = write_countries(tmp_path / "countries.mmdb", {"203.0.113.0/24": {"country": {"iso_code": "DE"}}})
    settings = Settings(country_database=file, trusted_proxies=("127.0.0.0/8",), country_header="x-country")
    visitor = {"x-forwarded-for": "203.0.113.77", "user-agent": CHROME}
    async with open_doors(prepared, settings) as doors:
        await doors.post("/v1/t", track("1", context=ANALYTICS_JS), **visitor)
        await doors.post("/v1/t", track("2", context=ANALYTICS_JS), **{**visitor, "x-country": "FR"})
        server = {"library": {"name": "analytics-go", "version": "3.3.0"}}
        await doors.post("/v1/t", track("3", context=server), **visitor)
        await doors.post("/v1/t", track("4", context={**server, "ip": "203.0.113.99"}), **visitor)
        await doors.post("/v1/t", track("5"), **{**visitor, "user-agent": "analytics-python/2.3.4"})
        events = {event.message_id: event for event in await doors.events()}
        stored = repr(await doors.database.find("events", {"workspace": doors.workspace}))

    web = {
        "platform": "web",
        "library": "analytics.js",
        "libraryVersion": "npm:next-1.84.3",
        "os": "Linux",
        "browser": "Chrome",
        "browserVersion": "141",
        "device": "desktop",
        "ip": "203.0.113.0",
    }
    go = {"platform": "server", "library": "analytics-go", "libraryVersion": "3.3.0"}
    assert events["1"].client == {**web, "country": "DE"}
    assert events["2"].client == {**web, "country": "FR"}
    assert events["3"].client == go
    assert events["4"].client == {**go, "ip": "203.0.113.0", "country": "DE"}
    assert events["4"].context["ip"] == "203.0.113.0"
    assert events["5"].client == {"platform": "server", "library": "analytics-python", "libraryVersion": "2.3.4"}
    assert "203.0.113.77" not in stored
    assert "203.0.113.99" not in stored


async def test_a_retry_over_another_network_is_the_same_event(doors: Doors) -> None:
    home = await doors.post("/v1/t", track("1", context={**ANALYTICS_JS, "ip": "203.0.113.77"}))
    train = await doors.post(
        "/v1/t", track("1", context={**ANALYTICS_JS, "ip": "198.51.100.7"}), **{"user-agent": "Other/1"}
    )
    assert (home.json()["accepted"], train.json()["duplicate"]) == (1, 1)


@pytest.mark.parametrize("ip", ["truncate", "drop"])
async def test_quarantine_knows_no_more_of_an_address(prepared: Database, ip: Any) -> None:
    async with open_doors(prepared, Settings(ip=ip)) as doors:
        await doors.post("/v1/t", track("1", userId=None, context={"ip": "203.0.113.77"}))
        [row] = await doors.quarantined()
    original = json.loads(row["original"])
    assert original["context"] == ({"ip": "203.0.113.0"} if ip == "truncate" else {})


# -- pages of other origins -------------------------------------------------------------------------------------------

#: What published browser SDKs put into requests, beside what a page's monitoring may add.
ASKED = [
    "authorization,content-type",
    "authorization,content-type,x-retry-count",
    "anonymousid,authorization,content-type",
    "authorization,content-encoding,content-type,traceparent,baggage,sentry-trace",
    "apollographql-client-name,authorization,content-type",
]


@pytest.mark.parametrize(
    "path", ["/v1/t", "/v1/batch", "/v1/projects/x/settings", "/sourceConfig/", "/beacon/v1/batch"]
)
@pytest.mark.parametrize("asked", ASKED)
async def test_a_browser_may_call_from_every_origin_with_the_headers_that_sdks_send(
    doors: Doors, path: str, asked: str
) -> None:
    answer = await preflight(doors, path, asked)
    allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert answer.status_code == 200
    assert set(asked.split(",")) <= set(allowed)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].replace(" ", "").split(","))
    assert int(answer.headers["access-control-max-age"]) >= 7_200
    assert "access-control-allow-credentials" not in answer.headers


async def test_other_origins_than_those_listed_may_not(prepared: Database) -> None:
    async with open_doors(prepared, Settings(cors_origins=(ORIGIN,))) as doors:
        own = await preflight(doors, "/v1/t", "authorization", origin=ORIGIN)
        other = await preflight(doors, "/v1/t", "authorization", origin="https://evil.example")
        answered = await doors.post("/v1/t", track("1"), origin="https://evil.example")
    assert own.headers["access-control-allow-origin"] == ORIGIN
    assert (other.status_code, other.json()["code"]) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in answered.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/nowhere", 404),
        ("GET", "/v1/batch", 405),
        ("OPTIONS", "/v1/batch", 405),
        ("POST", "/sourceConfig", 405),
        ("DELETE", "/pixel/v1/track", 405),
        ("POST", "/v1/batch", 401),
        ("GET", "/v1/projects/x/settings", 404),
    ],
)
async def test_refusals_can_be_read_by_pages_too(prepared: Database, method: str, path: str, status: int) -> None:
    async with open_doors(prepared) as doors:
        answer = await doors.client.request(method, path, headers={"origin": ORIGIN}, content=b"{}")
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "*"
    if path != "/v1/nowhere":  # the whole application's own answer: test_start
        assert answer.json().keys() == {"code", "message"}


async def preflight(doors: Doors, path: str, asked: str, *, origin: str = ORIGIN) -> Any:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
        "access-control-request-private-network": "true",
    }
    return await doors.client.request("OPTIONS", path, headers=headers)


# -- stopping ---------------------------------------------------------------------------------------------------------


async def test_a_request_that_a_stop_cuts_off_is_sent_elsewhere(doors: Doors) -> None:
    started, sent = asyncio.Event(), list[Any]()

    async def receive() -> Any:
        started.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/batch",
        "raw_path": b"/v1/batch",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", basic(doors.write_key).encode())],
        "client": ("127.0.0.1", 4711),
        "scheme": "http",
    }
    serving = asyncio.create_task(doors.client._transport.app(scope, receive, send))  # type: ignore[attr-defined]
    await started.wait()
    serving.cancel()
    await serving
    start, body = sent
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["code"] == "UNAVAILABLE"


def test_addresses_are_truncated_unless_somebody_says_otherwise() -> None:
    assert (SETTINGS.ip, SETTINGS.country_header, SETTINGS.trusted_proxies) == ("truncate", None, ())
