"""What intake makes of messages, to the byte: answers, stored events, and what is kept aside.

`stored_form.json` has a digest for each case. Whoever changes what is stored on purpose writes it anew:
`python -m pytest tests/flow/test_stored_form.py -k every_case` shows the digests that are found.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import bson
import pytest

from gateway.testing.simulate import Population
from tests.flow.doors import Doors, basic, new_database, open_doors, track
from tests.flow.test_bad_input import BAD_EVENTS, ODD_VALUES

EXPECTED = Path(__file__).with_name("stored_form.json")
SENT_AT = "2024-03-13T10:21:13.250Z"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
CONTEXT = {
    "library": {"name": "analytics.js", "version": "2.1"},
    "userAgent": BROWSER,
    "locale": "de",
    "page": {"url": "https://shop.example/?q=1&r=é", "path": "/"},
}
#: One message each, beyond those of the tests of bad input.
MESSAGES: dict[str, Any] = {
    "all fields": track(
        "1", anonymousId="a", groupId=7, previousId="p", context=CONTEXT, traits={"t": 1}, integrations={"All": True}
    ),
    "own sentAt, receivedAt and writeKey": track("1", sentAt=1_710_325_000, receivedAt="x", writeKey="wk_x", extra=1),
    "a clock that is wrong": track("1", timestamp=1_700_000_000_000, sentAt=1_700_000_001_000),
    "two time stamps": track("1", timestamp="2024-03-01T00:00:00+02:00", originalTimestamp="2024-03-02 00:00:00"),
    "times that are none": track("1", timestamp="yesterday", originalTimestamp=True, sentAt=[]),
    "a time before 1970": track("1", timestamp="1969-12-31T00:00:00Z"),
    "a time with blanks": track("1", timestamp=" 2024-03-13T10:21:14.1234567Z "),
    "the far future": track("1", timestamp="9999-12-31T23:59:59Z"),
    "no messageId": track(""),
    "a number as messageId and userId": track("x") | {"messageId": 12, "userId": 34},
    "an address": track("1", context=CONTEXT | {"ip": "198.51.100.77"}),
    "an address of the sixth version": track("1", context={"ip": "2001:db8:1:2::3", "library": {"name": "ruby"}}),
    "an address that is none": track("1", context={"ip": "nowhere"}),
    "a hash of the user": track("1", userHash="ab", context={"userHash": "cd", "traits": {"userHash": "e", "f": 1}}),
    "a location": track("1", context={"location": {"country": "DE"}}),
    "a page": {
        "type": "page",
        "anonymousId": "a",
        "name": " Home ",
        "category": "c",
        "event": "kept",
        "messageId": "1",
    },
    "a screen without a name": {"type": "screen", "anonymousId": "a", "messageId": "1"},
    "an identify": {
        "type": "identify",
        "userId": "ada",
        "anonymousId": "a",
        "traits": {"plan": "pro"},
        "messageId": "1",
    },
    "traits in the context": {
        "type": "identify",
        "userId": "ada",
        "context": {"traits": {"b": None}},
        "messageId": "1",
    },
    "a group": {"type": "group", "userId": "ada", "groupId": "g", "traits": {"x": [1, {"y": 2.5}]}, "messageId": "1"},
    "an alias": {"type": "alias", "userId": "ada", "previousId": "a", "messageId": "1"},
    "an alias without": {"type": "alias", "userId": "ada", "messageId": "1"},
    "a name of blanks": {"type": "page", "userId": "ada", "name": "   ", "messageId": "1"},
    "a name that is a number": {"type": "page", "userId": "ada", "name": 7, "messageId": "1"},
    "a long name": {"type": "page", "userId": "ada", "name": "n" * 256, "messageId": "1"},
    "a merge": {"type": "merge", "userId": "ada", "properties": {"one": ["u:a"], "other": ["u:b"]}, "messageId": "1"},
    "a backslash, quotes and braces": track("1", properties={"a": '\\ " : {[', "b": '":":'}),
    "null inside": track("1", properties={"a": None, "b": [None]}, context={"c": None}),
    "nineteen zeros": track("1", properties={"a": 10**18, "b": "0" * 30, "c": 1e18, "d": 123456.75}),
    "256 keys": track("1", properties={f"k{number}": number for number in range(250)}),
    "257 keys": track("1", properties={f"k{number}": number for number in range(252)}),
    "keys of 128 bytes": track("1", properties={"k" * 128: 1, "é" * 64: 2}),
    "a key of 130 bytes in 65 characters": track("1", properties={"é" * 65: 2}),
    "a key with a point at the top": track("1") | {"a.b": 1, "$c": {"d.e": {"$f": [{"g.h": 1}]}}},
    "31 levels": track("1", properties=json.loads('{"a":' * 31 + "1" + "}" * 31)),
    "32 levels": track("1", properties=json.loads('{"a":' * 32 + "1" + "}" * 32)),
    "lists and braces in text": track("1", properties={"a": [[[[1]]]], "b": "{[" * 30}),
    "true for 1": track("1", properties={"a": True, "b": 1, "c": 1.0, "d": -0.0, "e": 1e300, "f": 5e-324}),
    "an empty message": {},
}


def bodies(key: str) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """Path, body and headers by case."""
    found: dict[str, tuple[str, bytes, dict[str, str]]] = {}

    def add(case: str, path: str, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        found[case] = (path, body, {"content-type": "application/json", "authorization": basic(key), **headers})

    for name, (message, _) in BAD_EVENTS.items():
        add(f"bad: {name}", "/v1/batch", {"batch": [track("0"), message, track("2")], "sentAt": SENT_AT})
    for name, (text, _, _) in ODD_VALUES.items():
        body = json.dumps({"batch": [track("1", properties={"odd": "?", "z": 1})], "sentAt": SENT_AT})
        add(f"odd: {name}", "/v1/batch", body.replace('"?"', text).encode())
    for name, message in MESSAGES.items():
        add(f"one: {name}", "/v1/batch", {"batch": [message], "sentAt": SENT_AT})
    raw = json.dumps({"batch": [*MESSAGES.values()], "sentAt": SENT_AT}, ensure_ascii=False).encode()
    add("all in one batch, ids used twice", "/v1/batch", raw)
    add(
        "shared context",
        "/v1/batch",
        {"batch": [track("1", context={"a": 1}), track("2"), 3], "context": CONTEXT, "sentAt": SENT_AT},
    )
    add("indented", "/v1/batch", json.dumps({"batch": [track("1", context=CONTEXT)]}, indent=2).encode())
    add("a browser's request", "/v1/batch", {"batch": [track("1")], "sentAt": SENT_AT}, **{"user-agent": BROWSER})
    add("a library's request", "/v1/t", track("1", type="page", writeKey=key), **{"user-agent": "x-python/1.2"})
    add("one identify", "/v1/identify", MESSAGES["an identify"] | {"sentAt": SENT_AT})
    now = datetime(2024, 3, 13, 10, tzinfo=UTC)
    for number, size in enumerate((1, 100)):
        lives = islice(Population(7 + number, now, visitors_per_week=20).backfill(), size)
        add(f"{size} of a shop", "/v1/batch", {"batch": [one.message for one in lives], "sentAt": SENT_AT})
    posthog = {
        "event": "$pageview",
        "distinct_id": "a",
        "uuid": "u-1",
        "properties": {"$current_url": "https://x/", "$os": "iOS"},
    }
    add("PostHog", "/batch/", {"api_key": key, "batch": [posthog, 1], "sent_at": SENT_AT})
    mixpanel = {
        "event": "Paid",
        "properties": {"token": key, "distinct_id": "a", "time": 1_710_325_000, "$insert_id": "i", "a.b": 1},
    }
    add("Mixpanel", "/track?verbose=1", [mixpanel])
    amplitude = {
        "event_type": "Paid",
        "user_id": "ada-1",
        "insert_id": "i",
        "time": 1_710_325_000_000,
        "platform": "iOS",
    }
    add("Amplitude", "/2/httpapi", {"api_key": key, "events": [amplitude]})
    return found


@pytest.fixture
async def doors(mongo_uri: str) -> AsyncIterator[Doors]:
    async with new_database(mongo_uri) as database, open_doors(database, workspace="stored-form") as opened:
        yield opened


async def digest_of(doors: Doors, case: tuple[str, bytes, dict[str, str]]) -> str:
    path, body, headers = case
    doors.clock.at += 1
    answer = await doors.client.post(path, content=body, headers=headers)
    told = answer.text
    if answer.headers["content-type"] == "application/json":
        told = json.dumps({key: value for key, value in json.loads(told).items() if key != "consistencyToken"})
    stored = [told.encode()]
    for collection in ("events", "quarantine"):
        for row in await doors.database.find(collection, {"workspace": doors.workspace}, sort=[("_id", 1)]):
            row.pop("run", None)  # another one in every process
            stored.append(bson.encode(row))
        await doors.database.delete_many(collection, {"workspace": doors.workspace})
    return sha256(b"\0".join(stored)).hexdigest()[:32]


async def test_every_case_is_stored_and_answered_as_ever(doors: Doors) -> None:
    found = {name: await digest_of(doors, case) for name, case in bodies(doors.write_key).items()}
    expected = json.loads(EXPECTED.read_text())
    assert {name: value for name, value in found.items() if expected.get(name) != value} == {}
    assert expected.keys() == found.keys()
