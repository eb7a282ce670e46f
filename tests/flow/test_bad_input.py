"""Hostile input: a bad body is refused whole, a bad event is kept aside, and the door goes on to work."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store.database import Database
from tests.flow.doors import Doors, basic, new_database, open_doors, track


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = {"a": value}
    return value


GOOD = {"batch": [track("1"), track("2")], "sentAt": "2024-03-13T10:21:14Z"}


# -- bodies that cannot be taken --------------------------------------------------------------------------------------

ZIPPED = gzip.compress(json.dumps(GOOD).encode())
HOSTILE = {
    "an empty body": (b"", {}, 400),
    "blanks": (b" \n", {}, 400),
    "broken JSON": (b'{"batch": [', {}, 400),
    "two JSON values": (b"{} {}", {}, 400),
    "a number": (b"1", {}, 400),
    "a string": (b'"x"', {}, 400),
    "null": (b"null", {}, 400),
    "a list": (b"[]", {}, 400),
    "invalid UTF-8": (b'{"batch": [], "x": "\xff\xfe"}', {}, 400),
    "UTF-16": ('{"batch": []}'.encode("utf-16"), {}, 400),
    "no batch": (b"{}", {}, 400),
    "a batch that is an object": (b'{"batch": {}}', {}, 400),
    "a batch that is null": (b'{"batch": null}', {}, 400),
    "600 levels": (b'{"batch": ' + b"[" * 600 + b"]" * 600 + b"}", {}, 400),
    "1,100 levels": (b'{"batch": ' + b"[" * 1_100 + b"]" * 1_100 + b"}", {}, 400),
    "100,000 open lists": (b"[" * 100_000, {}, 400),
    "100,000 open objects": (b'{"a":' * 100_000, {}, 400),
    "broken gzip": (b"\x1f\x8b\x08\x00 this is not gzip", {"content-encoding": "gzip"}, 400),
    "gzip that is plain": (json.dumps(GOOD).encode(), {"content-encoding": "gzip"}, 400),
    "plain that is gzip": (ZIPPED, {}, 400),
    "truncated gzip": (ZIPPED[:-20], {"content-encoding": "gzip"}, 400),
    "gzip without its checksum": (ZIPPED[:-8], {"content-encoding": "gzip"}, 400),
    "gzip with a wrong checksum": (ZIPPED[:-8] + b"\0" * 8, {"content-encoding": "gzip"}, 400),
    "gzip with more behind it": (ZIPPED + ZIPPED, {"content-encoding": "gzip"}, 400),
    "an empty gzip stream": (gzip.compress(b""), {"content-encoding": "gzip"}, 400),
    "no bytes of gzip": (b"", {"content-encoding": "gzip"}, 400),
    "an unknown encoding": (ZIPPED, {"content-encoding": "br"}, 400),
    "5 MB": (json.dumps({"batch": [], "x": "x" * 5_000_000}).encode(), {}, 413),
    "a gzip bomb": (gzip.compress(b"0" * 200_000_000), {"content-encoding": "gzip"}, 413),
    "2,501 events": (json.dumps({"batch": [track(str(n)) for n in range(2_501)]}).encode(), {}, 413),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_body_that_cannot_be_taken_is_refused_with_the_way_out(doors: Doors, case: str) -> None:
    body, headers, status = HOSTILE[case]

    answer = await doors.post("/v1/batch", body, **headers)

    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message"}
    assert answer.json()["code"] == {400: "INVALID_INPUT", 413: "TOO_LARGE"}[status]
    assert answer.json()["message"].endswith("Nothing was stored.")
    assert await doors.events() == []
    assert await doors.quarantined() == []
    assert (await doors.post("/v1/batch", GOOD)).json()["accepted"] == 2, "the door goes on to work"


async def test_a_body_larger_than_it_says_is_refused(doors: Doors) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"batch": ["'
        for _ in range(5):
            yield b"x" * 1_000_000
        yield b'"]}'

    answer = await doors.client.post("/v1/batch", content=pieces(), headers={"authorization": basic(doors.write_key)})
    assert answer.status_code == 413


# -- one bad event among good ones ------------------------------------------------------------------------------------

BAD_EVENTS = {
    "40 KB": (track("bad", properties={"text": "x" * 40_000}), "event_too_large"),
    "300 levels": (track("bad", properties=nested(300)), "too_deep"),
    "500 levels": (track("bad", properties=nested(500)), "too_deep"),
    "an integer beyond 64 bits": (track("bad", properties={"id": 2**64 + 1}), "integer_out_of_range"),
    "an integer of 20 digits": (track("bad", properties={"id": -(2**63) - 1}), "integer_out_of_range"),
    "an integer of 63 bits and one": (track("bad", properties={"id": 2**63}), "integer_out_of_range"),
    "an integer of 4,000 digits": (track("bad", properties={"id": 10**3_999}), "integer_out_of_range"),
    "a key with NUL": (track("bad", properties={"a\0b": 1}), "nul_in_key"),
    "a long key": (track("bad", properties={"k" * 10_000: 1}), "key_too_long"),
    "10,000 keys": (track("bad", properties={str(number): 1 for number in range(10_000)}), "event_too_large"),
    "300 keys": (track("bad", properties={str(number): 1 for number in range(300)}), "too_many_keys"),
    "no one": (track("bad", userId=None, anonymousId=None), "no_identity"),
    "an empty userId": (track("bad", userId=""), "no_identity"),
    "a userId that is an object": (track("bad", userId={"$gt": ""}), "wrong_type"),
    "a userId that is a list": (track("bad", userId=["ada"]), "wrong_type"),
    "a userId that is true": (track("bad", userId=True), "wrong_type"),
    "a long userId": (track("bad", userId="u" * 300), "id_too_long"),
    "a long messageId": (track("b" * 101), "id_too_long"),
    "a messageId with a lone surrogate and no one": (track("\ud800", userId=None), "no_identity"),
    "no event": (track("bad", event=None), "no_event_name"),
    "an event that is an object": (track("bad", event={"$ne": 1}), "no_event_name"),
    "no type": (track("bad", type=None), "unknown_type"),
    "an unknown type": (track("bad", type="delete"), "unknown_type"),
    "a type that is a list": (track("bad", type=["track"]), "unknown_type"),
    "properties that are a list": (track("bad", properties=[1]), "wrong_type"),
    "a context that is text": (track("bad", context="x"), "wrong_type"),
    "a number": (1, "not_an_object"),
    "null": (None, "not_an_object"),
    "a list": ([], "not_an_object"),
    "text": ("track", "not_an_object"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
async def test_one_bad_event_is_kept_aside_and_the_others_are_accepted(doors: Doors, case: str) -> None:
    bad, code = BAD_EVENTS[case]
    body = json.dumps({"batch": [track("1"), bad, track("2")]}).encode()
    code = "too_many_keys" if case == "10,000 keys" else code

    answer = await doors.post("/v1/batch", body)

    assert answer.status_code == 200
    told = answer.json()
    assert (told["success"], told["accepted"], told["quarantined"]) == (False, 2, 1)
    assert (told["problems"][0]["index"], told["problems"][0]["code"]) == (1, code)
    assert told["problems"][0]["verdict"] == "quarantined"
    assert [event.message_id for event in await doors.events()] == ["1", "2"]
    (kept,) = await doors.quarantined()
    assert json.loads(kept["original"]) == bad, "kept as it was sent, to the last digit"
    again = (await doors.post("/v1/batch", body)).json()
    assert (again["duplicate"], again["quarantined"]) == (2, 1)
    assert len(await doors.quarantined()) == 1, "kept once, however often it is sent"


async def test_a_number_that_python_would_not_read_stays_with_its_event(doors: Doors) -> None:
    bad = json.dumps(track("bad", properties={"id": 0})).replace('"id": 0', '"id": ' + "9" * 10_000)
    body = f'{{"batch": [{json.dumps(track("1"))}, {bad}]}}'.encode()
    told = (await doors.post("/v1/batch", body)).json()
    assert (told["accepted"], told["problems"][0]["code"]) == (1, "integer_out_of_range")


ODD_VALUES = {
    "a lone surrogate": ('"\\ud800"', "�", ["lone_surrogate"]),
    "a surrogate pair": ('"\\ud83d\\ude00"', "😀", []),
    "NUL in a value": ('"a\\u0000b"', "a\0b", []),
    "NaN": ("NaN", None, ["not_a_number"]),
    "infinity": ("-Infinity", None, ["not_a_number"]),
    "a float beyond floats": ("1e400", None, ["not_a_number"]),
    "the largest integer": (str(2**63 - 1), 2**63 - 1, []),
    "the smallest integer": (str(-(2**63)), -(2**63), []),
    "a float of 25 digits": ("0.1234567890123456789012345", 0.1234567890123456789012345, []),
    "null": ("null", None, []),
    "a reference": ('{"$ref": "keys", "$id": 1, "$db": "admin"}', {"$ref": "keys", "$id": 1, "$db": "admin"}, []),
    "an operator": ('{"$where": "sleep(1)", "$gt": ""}', {"$where": "sleep(1)", "$gt": ""}, []),
    "a dotted key": ('{"a.b": {"c.": 1, ".": 2}}', {"a.b": {"c.": 1, ".": 2}}, []),
    "an empty key": ('{"": 1}', {"": 1}, []),
    "an extended JSON id": ('{"$oid": "507f1f77bcf86cd799439011"}', {"$oid": "507f1f77bcf86cd799439011"}, []),
    "operators inside lists": ('[[{"$set": {"x": 1}}]]', [[{"$set": {"x": 1}}]], []),
}


@pytest.mark.parametrize("case", ODD_VALUES)
async def test_odd_values_are_stored_and_read_back_as_sent(doors: Doors, case: str) -> None:
    text, read, flags = ODD_VALUES[case]
    body = json.dumps({"batch": [track("1"), track("2", properties={"odd": "?"})]}).replace('"?"', text).encode()

    assert (await doors.post("/v1/batch", body)).json()["accepted"] == 2

    _, odd = await doors.events()
    assert odd.properties == {"odd": read}
    assert list(odd.flags) == flags


async def test_null_ids_are_normal(doors: Doors) -> None:
    message = track("1", userId=None, anonymousId="anon", groupId=None, previousId=None, context=None, properties=None)
    assert (await doors.post("/v1/track", message)).json()["accepted"] == 1
    (event,) = await doors.events()
    assert (event.user_id, event.anonymous_id, event.properties) == (None, "anon", {})


async def test_keys_that_mongodb_reads_as_operators_are_stored_with_others(doors: Doors) -> None:
    await doors.post("/v1/track", track("1", properties={"$where": {"a.b": 1}}, traits={"$set": 1}))
    row = await doors.database.find_one("events", {"workspace": doors.workspace})
    assert row is not None
    assert "$" not in str(row["properties"]) + str(row["traits"])
    assert "." not in str(row["properties"])
