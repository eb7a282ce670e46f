"""Hostile requests to the doors for the SDKs of Mixpanel, PostHog and Amplitude."""

from __future__ import annotations

import gzip
from base64 import b64encode
from typing import Any
from urllib.parse import quote

from tests.hostile.cases import JSON, WRITE, Case, as_json, nested

FORM = {"authorization": "Basic {write}", "content-type": "application/x-www-form-urlencoded"}
NOBODY = "wk_" + "0" * 43


def refused(
    name: str, path: str, body: bytes, *status: int, headers: dict[str, str] = WRITE, code: str | None = None
) -> Case:
    return Case(f"vendors: {path}: {name}", path, status or (400,), body, headers, code=code)


def taken(name: str, path: str, content: Any, headers: dict[str, str] = WRITE) -> Case:
    """Taken: what is bad in it is quarantined."""
    body = content if isinstance(content, bytes) else as_json(content)
    return Case(f"vendors: {path}: {name}", path, (200,), body, headers)


def not_with(method: str, path: str) -> Case:
    return Case(f"vendors: {path}: {method}", path, (405,), method=method)


def item(**properties: Any) -> dict[str, Any]:
    """An event as Mixpanel's SDKs send it."""
    return {"event": "Product Viewed", "properties": {"distinct_id": "ada", "$insert_id": "m", **properties}}


def captured(**rest: Any) -> dict[str, Any]:
    """An event as PostHog's SDKs send it."""
    return {"event": "Product Viewed", "distinct_id": "ada", "properties": {}, **rest}


def amplitude(**rest: Any) -> dict[str, Any]:
    return {"events": [{"event_type": "Product Viewed", "user_id": "ada", **rest}]}


MIXPANEL = [
    refused("an empty body", "/track", b""),
    refused("a form without data", "/track", b"verbose=1", headers=FORM),
    refused("data that are nothing", "/track", b"data=%%%&verbose=1", headers=FORM),
    refused("base64 of bytes", "/track", b"data=" + b64encode(b"\xff" * 300), headers=FORM),
    refused("a megabyte of base64", "/track", b"data=" + b"A" * 1_000_000, headers=FORM),
    refused("base64 of gzip", "/track", b"data=" + quote(b64encode(gzip.compress(b"[]", mtime=0))).encode()),
    refused("101 fields", "/track", b"&".join(b"f%d=1" % n for n in range(101)), headers=FORM),
    refused("a number", "/track", b"1"),
    refused("data: null", "/track", b"data=null", headers=FORM),
    refused("100,000 open lists", "/track", b"[" * 100_000),
    refused("two tokens", "/track", as_json([item(token="a"), item(token="b")]), headers=JSON),
    refused("an operator as the token", "/track", as_json([item(token={"$ne": None})]), 401, headers=JSON),
    refused("a token with NUL", "/track", as_json([item(token="wk_\0")]), 401, headers=JSON),
    refused("a token of surrogates", "/track", as_json([item(token="\ud800")]), 401, headers=JSON),
    refused("a token nobody has", "/engage", as_json([{"$token": NOBODY}]), 401, headers=JSON),
    refused("no token", "/groups", as_json([{}]), 401, headers=JSON, code="UNAUTHENTICATED"),
    refused("2,501 events", "/track", as_json([item()] * 2_501), 413, code="TOO_LARGE"),
    refused("10,002 lines", "/import", b"{}\n" * 10_002, 413),
    refused("one broken line", "/import", b'{"event":'),
    refused("a service account nobody has", "/import", b"[]", 401, headers={"authorization": "Basic YTp3a19ub3Bl"}),
    refused("600 levels", "/engage", b"[" * 600 + b"]" * 600),
    taken("lists of lists", "/track", [[[]], [1], None, "x"]),
    taken("properties that are a list", "/track", [{"event": "x", "properties": [1]}]),
    taken("an event that is an object", "/track", [{"event": {"$ne": 1}, "properties": {"distinct_id": "ada"}}]),
    taken("a distinct_id that is an object", "/track", [item(distinct_id={"$gt": ""})]),
    taken("a distinct_id of 100,000 characters", "/track", [item(distinct_id="d" * 100_000)]),
    taken("a device of nothing", "/track", [item(distinct_id="$device:")]),
    taken("a time of 1e308", "/track", [item(time=1e308)]),
    taken("a time of 4,000 digits", "/track", [item(time=10**3_999)]),
    taken("33 levels of properties", "/track", [item(x=nested(33))]),
    taken(
        "three distinct_ids to merge", "/import", [{"event": "$merge", "properties": {"$distinct_ids": [[], {}, 1]}}]
    ),
    taken(
        "an alias of objects", "/track", [{"event": "$create_alias", "properties": {"alias": {}, "distinct_id": []}}]
    ),
    taken("lines of nonsense", "/import", b'{"event": "x"}\n\xff\xfe\n{{{\n]\n"\n' * 50),
    taken("operators as traits", "/engage", [{"$distinct_id": "ada", "$set": {"$where": "1", "a.b": {"$gt": ""}}}]),
    taken("$set that is a list", "/engage", [{"$distinct_id": "ada", "$set": ["x"], "$unset": {"a": 1}}]),
    taken("a group key that is an object", "/groups", [{"$group_key": {"$ne": 1}, "$group_id": [1], "$set": 1}]),
    Case("vendors: /track: data in the address that are nothing", "/track?data=%ff%00%zz", (400,), method="GET"),
    Case("vendors: /track: a stranger by GET", "/track?data=e30%3D", (401,), method="GET", code="UNAUTHENTICATED"),
    not_with("PUT", "/track"),
    not_with("DELETE", "/engage"),
]

ZIPPED = gzip.compress(as_json({"batch": [captured()]}), mtime=0)

POSTHOG = [
    refused("an empty body", "/batch/", b""),
    refused("a string as the batch", "/batch/", as_json({"batch": "[]"})),
    refused("a bomb of 50 MB that no header names", "/batch/", gzip.compress(b"0" * 50_000_000), 413),
    refused("half of a gzip stream that no header names", "/batch/", ZIPPED[:-9]),
    refused("gzip in gzip that no header names", "/e/", gzip.compress(ZIPPED)),
    refused("lz64", "/e/?compression=lz64", b"data=AAAA", headers=FORM),
    refused("gzip-js that is none", "/e/?compression=gzip-js", b"data=AAAA", headers=FORM),
    refused("two keys", "/batch/", as_json({"batch": [captured(token="a"), captured(token="b")]}), headers=JSON),
    refused("an operator as api_key", "/batch/", as_json({"api_key": {"$ne": 1}, "batch": []}), 401, headers=JSON),
    refused("a list as api_key", "/capture/", as_json({"api_key": ["wk_"], **captured()}), 401, headers=JSON),
    refused("2,501 events", "/capture/", as_json([captured()] * 2_501), 413, code="TOO_LARGE"),
    refused("a batch that is a number", "/i/v1/analytics/events", as_json({"batch": 1})),
    refused("a key in the body of the newer protocol", "/i/v1/analytics/events", b'{"batch":[]}', 401, headers=JSON),
    refused("no key", "/flags/?v=2", b"{}", 401, headers=JSON),
    refused("an operator as the token", "/decide", as_json({"token": {"$gt": ""}}), 401, headers=JSON),
    refused("a list", "/flags", b"[]", 401, headers=JSON),
    refused("bytes", "/decide", b"\x1f\x8b\xff\xff"),
    taken("a batch that is one event", "/batch/", {"batch": captured(uuid={"$ne": 1})}),
    taken("a batch that is null", "/batch/", {"batch": None, "event": None}),
    taken("events that are none", "/batch/", {"batch": [None, 1, "x", [], {}]}),
    taken(
        "$set of operators", "/capture/", captured(**{"$set": {"$where": "1"}, "$set_once": ["x"], "$unset": {"a": 1}})
    ),
    taken("$identify of objects", "/e/", captured(event="$identify", properties={"$anon_distinct_id": {"$gt": ""}})),
    taken(
        "$groupidentify of lists",
        "/e/",
        captured(event="$groupidentify", properties={"$group_type": [], "$group_key": {}}),
    ),
    taken("a sent_at of the year 99999", "/batch/", {"batch": [captured()], "sent_at": "99999-01-01T00:00:00Z"}),
    taken("a time of the request of 10,000 digits", "/e/?_=" + "9" * 10_000, captured()),
    taken("a time of the request in Arabic digits", "/e/?_=" + quote("٣" * 13), captured()),
    taken(
        "options that are a list",
        "/i/v1/analytics/events",
        {"batch": [captured(options=[1], uuid="u"), captured(uuid=1)]},
    ),
    taken(
        "an SDK of 20 KB",
        "/i/v1/analytics/events",
        {"batch": [captured(uuid="u")]},
        WRITE | {"posthog-sdk-info": "x/" * 10_000, "posthog-request-timestamp": "1e999"},
    ),
    Case("vendors: /decide: a token of bytes", "/decide?token=%ff%00", (401,), method="GET"),
    Case("vendors: /array: a key of dots", "/array/%2e%2e/config", (401, 404), method="GET"),
    Case("vendors: /array: a key with NUL", "/array/%00/config", (401,), method="GET"),
    Case("vendors: /array: a key of 20 KB", f"/array/{'k' * 20_000}/config", (401,), method="GET"),
    Case("vendors: /array: another file", "/array/x/config.js/../../../etc/passwd", (404,), method="GET"),
    not_with("GET", "/capture"),
    not_with("PATCH", "/array/x/config"),
]

AMPLITUDE = [
    refused("an empty body", "/2/httpapi", b""),
    refused("a list", "/2/httpapi", b"[]"),
    refused("events that are an object", "/2/httpapi", b'{"events": {}}'),
    refused("events that are null", "/batch", b'{"events": null}'),
    refused("an operator as api_key", "/2/httpapi", as_json({"api_key": {"$ne": 1}, "events": []}), 401, headers=JSON),
    refused("no api_key", "/2/httpapi", b'{"events": []}', 401, headers=JSON),
    refused("2,501 events", "/2/httpapi", as_json({"events": [{}] * 2_501}), 413),
    refused("no identification", "/identify", b"api_key=x", headers=FORM),
    refused("an identification that is nothing", "/identify", b"identification=%ff", headers=FORM),
    refused("an identification that is a number", "/groupidentify", b'{"identification": 1}'),
    refused("an identification of a stranger", "/identify", b"identification=%7B%7D", 401, headers=JSON),
    taken("events and a batch", "/batch", {"events": 1, "batch": [captured()]}),
    taken("events that are none", "/2/httpapi", {"events": [None, 1, "x", [], {}], "options": []}),
    taken("a user_id that is an object", "/2/httpapi", amplitude(user_id={"$gt": ""}, device_id=["x"])),
    taken("an event_type that is an object", "/2/httpapi", amplitude(event_type={"$ne": 1})),
    taken("a time of 1e308", "/2/httpapi", amplitude(time=1e308)),
    taken("an upload time of 4,000 digits", "/2/httpapi", amplitude() | {"client_upload_time": 10**3_999}),
    taken(
        "operations of objects",
        "/2/httpapi",
        amplitude(user_properties={"$set": [], "$unset": {"$where": 1}, "$add": "x"}),
    ),
    taken("groups of lists", "/2/httpapi", amplitude(event_type="$groupidentify", groups={"a": [], "b": [[]], "": {}})),
    taken("a library of slashes", "/2/httpapi", amplitude(library="/" * 10_000, ip="$remote", platform={})),
    taken(
        "a group of objects", "/groupidentify", {"identification": [{"group_type": {}, "group_value": {"$ne": 1}}, 1]}
    ),
    not_with("GET", "/2/httpapi"),
]

CASES = MIXPANEL + POSTHOG + AMPLITUDE
