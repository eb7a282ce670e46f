"""HTTP in, MongoDB out: what SDKs send, what they are answered, and what is stored by then."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model.consistency import ConsistencyToken
from gateway.model.event import CALLS, EventType
from gateway.settings import Settings
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedMongod
from tests.flow.doors import NOW, SETTINGS, Doors, basic, new_database, open_doors, track


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


GOOD = {"batch": [track("1"), track("2")], "sentAt": "2024-03-13T10:21:14Z"}


# -- what is sent well ------------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_once_it_is_stored(doors: Doors) -> None:
    answer = await doors.post("/v1/batch", GOOD)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert ConsistencyToken.decode(told.pop("consistencyToken")).lanes
    assert told == {"success": True, "accepted": 2, "duplicate": 0, "conflict": 0, "quarantined": 0, "refused": 0}
    assert [event.message_id for event in await doors.events()] == ["1", "2"]


async def test_the_same_batch_again_is_stored_once(doors: Doors) -> None:
    await doors.post("/v1/batch", GOOD)
    again = await doors.post("/v1/batch", GOOD | {"sentAt": "2024-03-13T10:21:19Z"})

    told = again.json()
    assert ConsistencyToken.decode(told.pop("consistencyToken")).lanes
    assert told == {"success": True, "accepted": 0, "duplicate": 2, "conflict": 0, "quarantined": 0, "refused": 0}
    assert len(await doors.events()) == 2


async def test_one_message_id_for_two_contents_is_told(doors: Doors) -> None:
    await doors.post("/v1/batch", GOOD)
    answer = (await doors.post("/v1/track", track("2", event="Product Added"))).json()

    assert (answer["success"], answer["conflict"]) == (False, 1)
    assert answer["problems"][0]["code"] == "id_reused"
    assert [event.name for event in await doors.events()] == ["Product Viewed"] * 2
    assert [row["code"] for row in await doors.quarantined()] == ["id_reused"]


async def test_an_empty_batch_is_no_mistake(doors: Doors) -> None:
    answer = await doors.post("/v1/batch", {"batch": []})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)


async def test_import_is_another_name_for_batch(doors: Doors) -> None:
    assert (await doors.post("/v1/import", GOOD)).json()["accepted"] == 2


@pytest.mark.parametrize("kind", list(CALLS))
async def test_every_call_has_its_path_and_the_path_decides_the_type(doors: Doors, kind: EventType) -> None:
    other = "page" if kind is EventType.TRACK else "track"
    message = {"type": other, "event": "e", "name": "n", "userId": "ada", "previousId": "anon"}

    answer = await doors.post(f"/v1/{kind}", message)

    assert answer.json()["accepted"] == 1
    assert [event.type for event in await doors.events()] == [kind]


async def test_items_inherit_the_context_of_their_batch_key_by_key(doors: Doors) -> None:
    batch = {
        "context": {"app": {"name": "shop", "build": 7}, "locale": "de"},
        "integrations": {"All": False},
        "batch": [track("1", context={"app": {"name": "own"}}), track("2"), track("3", context=None)],
    }
    await doors.post("/v1/batch", batch)

    first, second, third = await doors.events()
    assert first.context == {"app": {"name": "own"}, "locale": "de"}
    assert second.context == third.context == batch["context"]


async def test_a_device_with_a_wrong_clock_is_corrected_by_its_sent_at(doors: Doors) -> None:
    hour_ahead = "2024-03-13T11:21:14Z"
    await doors.post("/v1/batch", {"batch": [track("1", timestamp=hour_ahead)], "sentAt": hour_ahead})
    assert [event.at for event in await doors.events()] == [NOW]


async def test_messages_without_an_id_are_kept_apart_and_a_retry_is_recognised(doors: Doors) -> None:
    message = {key: value for key, value in track("").items() if key != "messageId"}
    batch = {"batch": [message, message], "sentAt": "2024-03-13T10:21:14Z"}

    first, again = [(await doors.post("/v1/batch", batch)).json() for _ in range(2)]

    assert (first["accepted"], again["duplicate"]) == (2, 2)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_any_content_type_will_do(doors: Doors, content_type: str) -> None:
    answer = await doors.post("/v1/batch", GOOD, **{"content-type": content_type})
    assert answer.json()["accepted"] == 2


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
async def test_a_zipped_body_is_unzipped(doors: Doors, encoding: str) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())
    assert (await doors.post("/v1/batch", body, **{"content-encoding": encoding})).json()["accepted"] == 2


async def test_a_byte_order_mark_does_no_harm(doors: Doors) -> None:
    assert (await doors.post("/v1/batch", json.dumps(GOOD).encode("utf-8-sig"))).json()["accepted"] == 2


# -- who sends --------------------------------------------------------------------------------------------------------


async def test_the_write_key_may_come_in_every_way_that_sdks_know(doors: Doors) -> None:
    key, unused = doors.write_key, "wk_unknown"
    no_colon = "Basic " + b64encode(key.encode()).decode()
    ways = [
        await doors.bare("/v1/track", track("1"), authorization=basic(key)),
        await doors.bare("/v1/track", track("2"), authorization=no_colon),
        await doors.bare("/v1/track", track("3", writeKey=key), authorization="Bearer whatever"),
        await doors.bare("/v1/track", track("4", writeKey=key)),
        await doors.bare(f"/v1/track?writeKey={key}", track("5")),
        await doors.bare(f"/v1/track?writeKey={unused}", track("6", writeKey=key)),
        await doors.bare(f"/v1/track?writeKey={unused}", track("7", writeKey=unused), authorization=basic(key)),
        await doors.bare("/v1/track", track("8", writeKey=key), authorization="Basic ~~~"),
    ]
    assert [way.status_code for way in ways] == [200] * 8
    assert len(await doors.events()) == 8


@pytest.mark.parametrize(
    ("authorization", "body_key", "query"),
    [
        (basic("wk_unknown"), None, ""),
        (basic("wk_unknown"), "right", ""),
        (None, "wk_unknown", ""),
        (None, "wk_unknown", "right"),
        (None, None, "wk_unknown"),
        (None, None, ""),
        (None, 7, ""),
        (basic(""), None, ""),
        (basic("sk_an_api_key"), None, ""),
    ],
)
async def test_an_unknown_write_key_opens_nothing(
    doors: Doors, authorization: str | None, body_key: Any, query: str
) -> None:
    keys = {"right": doors.write_key}
    body = track("1") | ({} if body_key is None else {"writeKey": keys.get(body_key, body_key)})
    headers = {} if authorization is None else {"authorization": authorization}

    answer = await doors.bare(f"/v1/track?writeKey={keys.get(query, query)}", body, **headers)

    assert answer.status_code == 401
    assert answer.json()["code"] == "UNAUTHENTICATED"
    assert answer.json()["message"].endswith("Nothing was stored.")
    assert await doors.events() == []


async def test_an_api_key_is_no_write_key(doors: Doors) -> None:
    assert (await doors.post("/v1/track", track("1"), key=doors.api_key)).status_code == 401


# -- limits and methods ------------------------------------------------------------------------------------------------


async def test_a_limit_that_was_set_holds(prepared: Database) -> None:
    async with open_doors(prepared, Settings(max_body_bytes=1_000, max_event_bytes=300, max_batch_events=2)) as doors:
        assert (await doors.post("/v1/batch", {"batch": [], "x": "x" * 1_000})).status_code == 413
        assert (await doors.post("/v1/batch", {"batch": [1, 2, 3]})).status_code == 413
        answer = await doors.post("/v1/batch", {"batch": [track("1", properties={"x": "x" * 300}), track("2")]})
        assert (answer.json()["accepted"], answer.json()["quarantined"]) == (1, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_told_to_use_post(doors: Doors, method: str) -> None:
    answer = await doors.client.request(method, "/v1/batch")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert method == "HEAD" or answer.json() == {"code": "METHOD_NOT_ALLOWED", "message": "Use POST here."}


# -- without MongoDB --------------------------------------------------------------------------------------------------


async def test_without_mongodb_nothing_is_acknowledged_and_the_sender_is_asked_to_come_again(
    database: Database,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        away = connect(f"mongodb://127.0.0.1:{port}/?replicaSet=rs0&serverSelectionTimeoutMS=200", "nothing")
        async with open_doors(database) as doors:
            doors.keyring._keys._database = away
            try:
                known = await doors.post("/v1/batch", GOOD)
            finally:
                # pymongo leaves a socket open when closed while its monitor connects; after this pause it does not.
                await asyncio.sleep(0.25)
                await away.close()
    assert known.status_code == 503
    assert int(known.headers["retry-after"]) > 0
    assert known.json()["code"] == "UNAVAILABLE"
    assert "Nothing was acknowledged" in known.json()["message"]


@pytest.mark.slow
async def test_a_frozen_mongodb_acknowledges_nothing_and_the_retry_counts_once(
    tmp_path: Path, mongod_binary: Path | None
) -> None:
    mongod = await EmbeddedMongod.start(tmp_path, mongod=mongod_binary)
    database = connect(f"{mongod.uri}&heartbeatFrequencyMS=500&connectTimeoutMS=500", "frozen")
    try:
        async with open_doors(database) as doors:
            assert (await doors.post("/v1/track", track("0"))).status_code == 200
            os.kill(mongod.pid, signal.SIGSTOP)
            try:
                refused = await doors.post("/v1/batch", GOOD)
            finally:
                os.kill(mongod.pid, signal.SIGCONT)
            retried = await doors.post("/v1/batch", GOOD)
            events = await doors.events()
    finally:
        await database.close()
        await mongod.stop()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "accepted" not in refused.json()
    assert retried.json()["accepted"] + retried.json()["duplicate"] == 2
    assert sorted(event.message_id for event in events) == ["0", "1", "2"]


async def test_what_mongodb_refuses_is_no_fault_of_the_sender(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_doors(database) as doors:
        await database.create_collection("events")
        await database._database.command({"collMod": "events", "validator": {"never": True}})
        answer = await doors.post("/v1/track", track("secret-id"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "MongoDB refused" not in answer.text
    assert "secret-id" not in caplog.text
    assert "a request could not be served" in caplog.text


def test_the_documented_limit_is_the_one_that_is_tested() -> None:
    assert SETTINGS.max_body_bytes < 5_000_000
    assert SETTINGS.max_event_bytes < 40_000
    assert SETTINGS.max_batch_events == 2_500
