"""The doors for other vendors' SDKs as HTTP: every form of a body, answers, refusals, and what comes twice."""

from __future__ import annotations

import gzip
import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest

from gateway.contract import Contract, EventDefinition, PlannedProperty, PropertyDefinition
from gateway.pipeline.conforming import Modes
from gateway.pipeline.contracts import Contracts
from gateway.settings import Settings
from gateway.store.database import Database
from tests.flow.doors import NOW, Doors, basic, new_database, open_doors

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


async def send(doors: Doors, path: str, content: bytes | str | dict[str, Any], **headers: str) -> httpx2.Response:
    """POST as an SDK would: with nothing but its own body and headers."""
    body = json.dumps(content) if isinstance(content, dict) else content
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await doors.client.post(path, content=body, headers=named)


async def names(doors: Doors) -> list[str]:
    return [event.name for event in await doors.events()]


# -- Mixpanel ---------------------------------------------------------------------------------------------------------


def mixpanel(doors: Doors, name: str = "Product Viewed", **properties: Any) -> dict[str, Any]:
    return {"event": name, "properties": {"token": doors.write_key, "distinct_id": "ada", **properties}}


def packed(value: Any) -> str:
    return b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize("path", ["/track", "/track/"])
@pytest.mark.parametrize("pack", [json.dumps, packed], ids=["json", "base64"])
async def test_mixpanel_takes_a_form(doors: Doors, path: str, pack: Any) -> None:
    event = mixpanel(doors, text="þ~~?>>>")
    answer = await send(doors, path, urlencode({"data": pack(event)}), **FORM)
    assert (answer.status_code, answer.text) == (200, "1")
    answer = await send(doors, path, urlencode({"data": pack([event, event]), "verbose": 1, "ip": 0}), **FORM)
    assert answer.json() == {"status": 1, "error": None}
    assert [event.properties for event in await doors.events()] == [{"text": "þ~~?>>>"}] * 3


async def test_mixpanel_takes_base64_that_is_not_escaped(doors: Doors) -> None:
    event = mixpanel(doors, text="þ~~?>>>")
    assert "+" in packed(event)
    answer = await send(doors, "/track", f"data={packed(event)}", **FORM)
    assert answer.text == "1"


@pytest.mark.parametrize("path", ["/track", "/engage", "/groups", "/import"])
async def test_mixpanel_takes_an_address(doors: Doors, path: str) -> None:
    item = {"$token": doors.write_key, "$distinct_id": "ada", "$group_id": "g"} | mixpanel(doors)
    query = urlencode({"data": packed(item), "ip": 0, "verbose": 0, "api_key": doors.write_key})
    answer = await doors.client.get(f"{path}?{query}")
    assert (answer.status_code, answer.text) == (200, "1")
    image = await doors.client.get(f"{path}?{query}&img=1")
    assert image.headers["content-type"] == "image/gif"
    assert len(await doors.events()) == 2


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("lines", [False, True], ids=["json", "ndjson"])
async def test_mixpanel_imports(doors: Doors, zipped: bool, lines: bool) -> None:
    events = [mixpanel(doors, f"e{number}", time=1_600_000_000, **{"$insert_id": str(number)}) for number in range(3)]
    text = "\n".join(map(json.dumps, events)) if lines else json.dumps(events)
    body = gzip.compress(text.encode()) if zipped else text.encode()
    headers = {"authorization": basic(doors.write_key), **({"content-encoding": "gzip"} if zipped else {})}
    answer = await doors.client.post("/import?strict=1&project_id=7", content=body, headers=headers)
    assert answer.json() == {"code": 200, "num_records_imported": 3, "status": "OK"}
    assert [event.at for event in await doors.events()] == [1_600_000_000_000] * 3


async def test_mixpanel_imports_what_is_good_and_says_what_is_not(doors: Doors) -> None:
    body = "\n".join([json.dumps(mixpanel(doors, time=1)), "{broken", json.dumps({"event": "x"})])
    answer = await send(doors, "/import?strict=1", body, content_type="application/x-ndjson")
    assert (answer.status_code, answer.json()["num_records_imported"]) == (200, 1)
    assert [problem["code"] for problem in answer.json()["problems"]] == ["not_an_object", "no_identity"]
    assert len(await doors.quarantined()) == 2


async def test_a_service_accounts_secret_may_be_the_write_key(doors: Doors) -> None:
    event = {"event": "x", "properties": {"distinct_id": "ada", "time": 1}}
    account = "Basic " + b64encode(f"reporting:{doors.write_key}".encode()).decode()
    answer = await send(doors, "/import?project_id=1", json.dumps([event]), authorization=account)
    assert answer.json()["num_records_imported"] == 1


async def test_mixpanels_refusals_can_be_read_by_its_sdks(doors: Doors) -> None:
    event = mixpanel(doors, token="wk_nobody")
    for content in (urlencode({"data": json.dumps(event), "verbose": 1}), json.dumps([event])):
        answer = await send(doors, "/track", content)
        assert answer.status_code == 401
        assert answer.json()["code"] == "UNAUTHENTICATED"
        assert answer.json()["status"] == 0
        assert answer.json()["error"] == answer.json()["message"]
    mixed = [mixpanel(doors), mixpanel(doors, token="wk_another")]
    assert (await send(doors, "/track", json.dumps(mixed))).status_code == 400
    for content in ("", "x=1", "data=", "data=%%%", "data=abc", "[", "3", "data=3"):
        answer = await send(doors, "/track", content)
        assert (answer.status_code, answer.json()["status"]) == (400, 0), content
    assert await doors.events() == []


# -- PostHog ----------------------------------------------------------------------------------------------------------


def hog(name: str = "Product Viewed", **rest: Any) -> dict[str, Any]:
    return {"event": name, "distinct_id": "ada", "timestamp": "2024-03-13T10:21:10Z", **rest}


@pytest.mark.parametrize("path", ["/batch", "/batch/", "/e/", "/capture/", "/i/v0/e/", "/i/v0/ai/batch/"])
async def test_posthog_takes_a_batch(doors: Doors, path: str) -> None:
    body = {"api_key": doors.write_key, "batch": [hog(), hog("Other", uuid="u1")], "sent_at": "2024-03-13T10:21:14Z"}
    answer = await send(doors, path, body)
    assert (answer.status_code, answer.json()) == (200, {"status": "Ok"})
    assert await names(doors) == ["Product Viewed", "Other"]


async def test_posthog_takes_one_event_in_every_packing(doors: Doors) -> None:
    one = hog(properties={"token": doors.write_key}, uuid="u1")
    text = json.dumps(one).encode()
    zipped = gzip.compress(text)
    for path, body, headers in (
        ("/e/", text, {}),
        ("/e/?compression=gzip-js&ver=1.2", zipped, {"content_type": "text/plain"}),
        ("/e/?compression=gzip", zipped, {}),
        ("/e/", zipped, {"content_encoding": "gzip"}),
        ("/e/?compression=base64", f"data={quote(packed(one), safe='')}".encode(), FORM),
        ("/e/", urlencode({"data": packed(one), "compression": "base64"}).encode(), FORM),
        ("/capture/", urlencode({"data": text.decode()}).encode(), FORM),
    ):
        answer = await send(doors, path, body, **headers)
        assert (answer.status_code, answer.json()) == (200, {"status": 1}), path
    assert len(await doors.events()) == 1, "the same event each time"


async def test_posthogs_times_are_corrected_by_its_sent_at(doors: Doors) -> None:
    hour = 3_600_000
    body = {"api_key": doors.write_key, "sent_at": NOW - hour, "batch": [hog(timestamp=NOW - hour - 5_000)]}
    await send(doors, "/batch/", body)
    await send(doors, "/batch/", {**body, "historical_migration": True, "batch": [hog("Old", timestamp=NOW - hour)]})
    assert {event.name: event.at for event in await doors.events()} == {
        "Product Viewed": NOW - 5_000,
        "Old": NOW - hour,
    }


async def test_posthogs_newer_protocol_answers_for_each_event(doors: Doors) -> None:
    batch = [
        hog(uuid="u1", options={"process_person_profile": False}, properties={}, session_id="s1"),
        hog(uuid="u2", distinct_id="", options={}, properties={}),
    ]
    answer = await doors.client.post(
        "/i/v1/analytics/events",
        content=json.dumps({"created_at": "2024-03-13T10:21:14Z", "batch": batch}),
        headers={"authorization": f"Bearer {doors.write_key}", "posthog-sdk-info": "posthog-go/1.5"},
    )
    results = answer.json()["results"]
    assert results["u1"] == {"result": "ok"}
    assert (results["u2"]["result"], "userId" in results["u2"]["details"]) == ("warning", True)
    (event,) = await doors.events()
    assert (event.anonymous_id, event.context["sessionId"]) == ("ada", "s1")
    assert event.context["library"] == {"name": "posthog-go", "version": "1.5"}


@pytest.mark.parametrize("path", ["/flags/?v=2", "/flags?v=4", "/decide/?v=3"])
async def test_posthog_hears_that_there_are_no_flags(doors: Doors, path: str) -> None:
    answer = await send(doors, path, {"token": doors.write_key, "distinct_id": "ada"})
    assert answer.json()["flags"] == answer.json()["featureFlags"] == {}
    assert answer.json()["errorsWhileComputingFlags"] is False
    assert (await send(doors, path, {"token": "wk_nobody"})).status_code == 401


async def test_posthog_hears_its_configuration(doors: Doors) -> None:
    answer = await doors.client.get(f"/array/{doors.write_key}/config")
    assert answer.json()["supportedCompression"] == ["gzip", "gzip-js"]
    assert (await doors.client.get("/array/wk_nobody/config")).status_code == 401


async def test_posthogs_refusals_can_be_read_by_its_sdks(doors: Doors) -> None:
    answer = await send(doors, "/batch/", {"api_key": "wk_nobody", "batch": [hog()]})
    assert (answer.status_code, answer.json()["type"]) == (401, "authentication_error")
    assert answer.json()["detail"] == answer.json()["message"]
    for path, content in (
        ("/e/", ""),
        ("/e/", "[1"),
        ("/e/?compression=lz64", "abc"),
        ("/e/?compression=gzip-js", b"\x1f\x8bbroken"),
        ("/batch/", json.dumps({"api_key": doors.write_key, "batch": 3})),
    ):
        answer = await send(doors, path, content)
        assert (answer.status_code, answer.json()["type"]) == (400, "validation_error"), (path, answer.text)


async def test_what_a_bomb_unzips_to_is_never_held(prepared: Database) -> None:
    async with open_doors(prepared, Settings(max_body_bytes=10_000)) as doors:
        bomb = gzip.compress(b"[" + b" " * 10_000_000)
        answer = await send(doors, "/e/?compression=gzip-js", bomb[:9_990] if len(bomb) > 10_000 else bomb)
    assert answer.status_code == 413


# -- Amplitude --------------------------------------------------------------------------------------------------------


def amp(name: str = "Product Viewed", **rest: Any) -> dict[str, Any]:
    return {"event_type": name, "user_id": "ada", "time": NOW - 1_000, **rest}


@pytest.mark.parametrize("path", ["/batch", "/i/v0/e/", "/i/v1/analytics/events"])
@pytest.mark.parametrize("batch", [{"a": 1}, {}, "x", 3])
async def test_posthog_s_batch_is_a_list(doors: Doors, path: str, batch: object) -> None:
    body = {"api_key": doors.write_key, "batch": batch}
    answer = await send(doors, path, body, authorization=f"Bearer {doors.write_key}")
    assert answer.status_code == 400
    assert "`batch` must be a list" in answer.json()["message"]


async def test_a_body_without_anything_holds_no_events(doors: Doors) -> None:
    answer = await doors.client.post("/e/", content=b"null", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["message"][:24]) == (400, "The body holds no events")


@pytest.fixture
async def warning_doors(prepared: Database) -> AsyncIterator[Doors]:
    """Doors of a workspace whose plan has one event, and whose senders are told of misfits."""
    price = PlannedProperty(PropertyDefinition("price", "number", "What it costs."))
    event = EventDefinition("Product Viewed", 1, "A product was seen.", ("shop",), (price,))
    plan = Contracts.fixed(Contract("shop", {}, {}, events={event.key: event}))
    async with open_doors(prepared, plan=plan, modes=Modes("warn")) as opened:
        yield opened


async def test_every_vendors_answer_that_has_room_tells_of_misfits(warning_doors: Doors) -> None:
    doors = warning_doors
    bad, good = {"price": "1.50"}, {"price": 1.5}
    pair = [mixpanel(doors, time=NOW // 1000, **one) for one in (bad, good)]
    form = urlencode({"data": json.dumps(pair), "verbose": 1})
    answers = [
        await send(doors, "/track", form, **FORM),
        await send(doors, "/import", json.dumps(pair)),
        *[
            await send(doors, path, {"api_key": doors.write_key, "batch": [
                {"event": "Product Viewed", "distinct_id": "ada", "properties": one} for one in (bad, good)
            ]})
            for path in ("/batch/", "/capture/")
        ],
        await send(doors, "/2/httpapi", {"api_key": doors.write_key, "events": [
            amp(event_properties=bad, insert_id="1"), amp(event_properties=good, insert_id="2")
        ]}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 200
        (warning,) = answer.json()["warnings"]
        assert (warning["index"], warning["verdict"], warning["code"]) == (0, "accepted", "misfit")
        assert [(one["property"], one["rule"], one["fix"]) for one in warning["misfits"]] == [
            ("price", "type", "send a number")
        ]
        assert "problems" not in answer.json()
    events = [
        {"event": "Product Viewed", "distinct_id": "ada", "uuid": uuid, "properties": one}
        for uuid, one in (("u-bad", bad), ("u-good", good))
    ]
    newest = await send(doors, "/i/v1/analytics/events", {"batch": events}, authorization=f"Bearer {doors.write_key}")
    told = newest.json()["results"]
    assert (told["u-bad"]["result"], told["u-good"]) == ("warning", {"result": "ok"})
    assert "`price` is text, not a number" in told["u-bad"]["details"]
    assert await doors.quarantined() == []
    plain = await send(doors, "/track", urlencode({"data": json.dumps(pair)}), **FORM)
    assert plain.text == "1", "what the SDK looks for"


@pytest.mark.parametrize("path", ["/2/httpapi", "/2/httpapi/", "/batch"])
async def test_amplitude_takes_events(doors: Doors, path: str) -> None:
    body = {"api_key": doors.write_key, "events": [amp(insert_id="1"), amp("Other", insert_id="2"), "hostile"]}
    answer = await send(doors, path, body)
    said = answer.json()
    assert (answer.status_code, said["code"], said["events_ingested"]) == (200, 200, 3)
    assert (said["payload_size_bytes"], said["server_upload_time"]) == (len(json.dumps(body)), NOW)
    assert [problem["code"] for problem in said["problems"]] == ["not_an_object"]
    assert await names(doors) == ["Product Viewed", "Other"]


async def test_amplitudes_forms(doors: Doors) -> None:
    identification = json.dumps([{"user_id": "ada", "device_id": "d1", "user_properties": {"$set": {"plan": "pro"}}}])
    answer = await send(
        doors, "/identify", urlencode({"api_key": doors.write_key, "identification": identification}), **FORM
    )
    assert (answer.status_code, answer.text) == (200, "success")
    group = json.dumps({"group_type": "company", "group_value": "acme", "group_properties": {"size": 4}})
    await send(doors, "/groupidentify", urlencode({"api_key": doors.write_key, "identification": group}), **FORM)
    identify, grouped = await doors.events()
    assert (identify.type, identify.anonymous_id, identify.traits) == ("identify", "d1", {"plan": "pro"})
    assert (grouped.type, grouped.group_id, grouped.traits) == ("group", "acme", {"size": 4})


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
async def test_amplitudes_refusals_can_be_read_by_its_sdks(doors: Doors, path: str) -> None:
    answer = await send(doors, path, {"api_key": "wk_nobody", "events": [amp()]})
    assert (answer.status_code, answer.json()["code"]) == (401, 401)
    assert answer.json()["error"].startswith("Invalid API key: ")
    assert answer.json()["reason"] == "UNAUTHENTICATED"
    answer = await send(doors, path, {"api_key": doors.write_key, "events": 3})
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    answer = await send(doors, path, {"api_key": doors.write_key, "events": [amp()] * 2_501})
    assert (answer.status_code, answer.json()["code"]) == (413, 413)


# -- all --------------------------------------------------------------------------------------------------------------


def requests_of(doors: Doors, *, ids: bool) -> list[tuple[str, str, int]]:
    """One request of each kind, with or without ids of its events, and how many events it has."""
    insert, uuid, insert_id = ({"$insert_id": "m1"}, {"uuid": "h1"}, {"insert_id": "a1"}) if ids else ({}, {}, {})
    track = mixpanel(doors, time=1710325270.5, **insert)
    profile = {"$token": doors.write_key, "$distinct_id": "ada", "$set": {"a": 1}, "$time": 1710325270.5}
    hogs = {"api_key": doors.write_key, "batch": [hog(**uuid), hog("Other")], "sent_at": "2024-03-13T10:21:14Z"}
    amps = {"api_key": doors.write_key, "events": [amp(**insert_id), amp("Other"), amp("Other")]}
    return [
        ("/track", urlencode({"data": json.dumps([track])}), 1),
        ("/import", json.dumps([track | {"event": "Imported"} if not ids else track]), 1 - ids),
        ("/engage", urlencode({"data": json.dumps([profile])}), 1),
        ("/batch/", json.dumps(hogs), 2),
        ("/2/httpapi", json.dumps(amps), 3),
    ]


@pytest.mark.parametrize("ids", [True, False], ids=["ids", "no ids"])
async def test_a_request_that_comes_twice_counts_once(doors: Doors, ids: bool) -> None:
    expected = 0
    for path, body, events in requests_of(doors, ids=ids):
        for _ in range(2):
            assert (await send(doors, path, body)).status_code == 200
        expected += events
        assert len(await doors.events()) == expected, path
    assert await doors.quarantined() == []


async def test_events_that_nothing_tells_apart_all_count(doors: Doors) -> None:
    """mixpanel-node's `track` carries neither id nor time, and is never sent again: two are two."""
    for _ in range(2):
        await send(doors, "/track", urlencode({"data": json.dumps(mixpanel(doors))}))
    assert len(await doors.events()) == 2


async def test_an_event_sent_again_in_another_batch_counts_once(doors: Doors) -> None:
    first, second = mixpanel(doors, time=1710325270.5), mixpanel(doors, time=1710325270.6)
    await send(doors, "/track", json.dumps([first]))
    await send(doors, "/track", json.dumps([first, second]))
    assert len(await doors.events()) == 2


async def test_keys_for_some_origins_are_for_those_alone(doors: Doors) -> None:
    key = await doors.keyring.book.create_write_key(doors.workspace, "shop", origins=["https://shop.example"])
    body = {"api_key": key.value, "events": [amp()]}
    assert (await send(doors, "/2/httpapi", body, origin="https://shop.example")).status_code == 200
    answer = await send(doors, "/2/httpapi", body, origin="https://evil.example")
    assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (403, 403, "FORBIDDEN")


async def test_a_key_over_its_rate_is_told_to_come_again(doors: Doors) -> None:
    key = await doors.keyring.book.create_write_key(doors.workspace, "shop", rate=1, burst=1)
    body = {"api_key": key.value, "events": [amp()]}
    assert (await send(doors, "/2/httpapi", body)).status_code == 200
    answer = await send(doors, "/2/httpapi", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["reason"]) == (429, 429, "RATE_LIMITED")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_key_that_asks_for_proof_takes_it_from_the_properties(doors: Doors) -> None:
    key = await doors.keyring.book.create_write_key(doors.workspace, "shop", user_hash=True)
    proof = hmac.new((key.user_hash_secret or "").encode(), b"ada", "sha256").hexdigest()
    proven = [
        (
            "/track",
            json.dumps({"event": "x", "properties": {"token": key.value, "distinct_id": "ada", "userHash": proof}}),
        ),
        ("/e/", json.dumps({"token": key.value, **hog(properties={"userHash": proof})})),
        ("/2/httpapi", json.dumps({"api_key": key.value, "events": [amp(event_properties={"userHash": proof})]})),
    ]
    for path, body in proven:
        assert (await send(doors, path, body)).status_code == 200
        assert (await send(doors, path, body.replace(proof, "0" * 64))).status_code == 200
    assert len(await doors.events()) == 3
    assert [row["code"] for row in await doors.quarantined()] == ["user_hash_wrong"] * 3
    assert proof not in repr(await doors.events())


@pytest.mark.parametrize("path", ["/batch", "/2/httpapi", "/e", "/identify", "/groupidentify"])
async def test_other_methods_are_refused(doors: Doors, path: str) -> None:
    answer = await doors.client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert len(answer.content) == int(answer.headers["content-length"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/batch/", {"batch": []}),
        ("/e/", {"event": "x", "distinct_id": "a"}),
        ("/flags", {"distinct_id": "a"}),
        ("/2/httpapi", {"events": []}),
        ("/track", {"event": "x", "properties": {}}),
    ],
)
async def test_who_sends_no_key_is_told_where_these_sdks_put_it(doors: Doors, path: str, body: dict[str, Any]) -> None:
    answer = await send(doors, path, body)
    assert answer.status_code == 401
    assert "`token` or `api_key`" in answer.json()["message"]
    assert "writeKey" not in answer.json()["message"]


async def test_amplitude_s_door_says_its_own_form(doors: Doors) -> None:
    answer = await send(doors, "/2/httpapi", "[]")
    assert answer.status_code == 400
    assert '"events"' in answer.json()["message"]
