"""Hostile requests to the doors for events of the Segment and RudderStack SDKs."""

from __future__ import annotations

import gzip

from tests.hostile.cases import JSON, WRITE, Case, as_json, nested, track

BATCH = "/v1/batch"
GOOD = as_json({"batch": [track("1"), track("2")], "sentAt": "2024-03-13T10:21:14Z"})
ZIPPED = gzip.compress(GOOD, mtime=0)
GZIP = WRITE | {"content-encoding": "gzip"}


def refused(name: str, body: bytes, status: int = 400, headers: dict[str, str] = WRITE, path: str = BATCH) -> Case:
    return Case(f"intake: {name}", path, (status,), body, headers)


def taken(name: str, body: bytes, headers: dict[str, str] = WRITE, path: str = BATCH) -> Case:
    """Taken: what is bad in it is quarantined."""
    return Case(f"intake: {name}", path, (200,), body, headers)


def one(name: str, **rest: object) -> Case:
    """A batch with one odd event in it."""
    return taken(name, as_json({"batch": [track(**rest)]}))  # type: ignore[arg-type]


BODIES = [
    refused("an empty body", b""),
    refused("blanks", b" \r\n\t"),
    refused("broken JSON", b'{"batch": ['),
    refused("two JSON values", b"{} {}"),
    refused("a number", b"1"),
    refused("null", b"null"),
    refused("a list", b"[]"),
    refused("a string of 1 MB", as_json("x" * 1_000_000)),
    refused("invalid UTF-8", b'{"batch": [], "x": "\xff\xfe"}'),
    refused("overlong UTF-8", b'{"batch": [], "x": "\xc0\xaf"}'),
    refused("UTF-16", '{"batch": []}'.encode("utf-16")),
    refused("UTF-32", '{"batch": []}'.encode("utf-32")),
    refused("a NUL byte between tokens", b'{"batch"\x00: []}'),
    refused("no batch", b"{}"),
    refused("a batch that is an object", b'{"batch": {}}'),
    refused("a batch that is a string", b'{"batch": "[]"}'),
    refused("600 levels", b'{"batch": ' + b"[" * 600 + b"]" * 600 + b"}"),
    refused("100,000 open lists", b"[" * 100_000),
    refused("100,000 open objects", b'{"a":' * 100_000),
    refused("a million open brackets", b'{"batch": ' + b"[" * 1_000_000),
    refused("broken gzip", b"\x1f\x8b\x08\x00 this is not gzip", headers=GZIP),
    refused("gzip that is plain", GOOD, headers=GZIP),
    refused("plain that is gzip", ZIPPED),
    refused("truncated gzip", ZIPPED[:-20], headers=GZIP),
    refused("gzip with a wrong checksum", ZIPPED[:-8] + b"\0" * 8, headers=GZIP),
    refused("gzip within gzip", gzip.compress(ZIPPED), headers=GZIP),
    refused("two gzip streams", ZIPPED + ZIPPED, headers=GZIP),
    refused("an encoding nobody knows", ZIPPED, headers=WRITE | {"content-encoding": "zstd, gzip"}),
    refused("5 MB", as_json({"batch": [], "x": "x" * 5_000_000}), 413),
    refused("a gzip bomb of 50 MB", gzip.compress(b"0" * 50_000_000), 413, GZIP),
    refused("a length of 2^62 bytes", GOOD, 413, WRITE | {"content-length": str(2**62)}),
    refused("2,501 events", as_json({"batch": [track(str(n)) for n in range(2_501)]}), 413),
    refused("100,000 empty events", b'{"batch":[' + b"0," * 100_000 + b"0]}", 413),
    taken("a length that is no number", GOOD, WRITE | {"content-length": "12abc"}),
    taken("a batch of nothing", b'{"batch": []}'),
    taken("events that are no objects", as_json({"batch": [None, 1, "x", [], True, 1.5]})),
    taken("an empty event", as_json({"batch": [{}]})),
    taken("a key that stands twice", b'{"batch": [], "batch": []}'),
    taken("a byte order mark", b"\xef\xbb\xbf" + GOOD),
    taken("any content type", GOOD, WRITE | {"content-type": "multipart/form-data; boundary=x"}),
    taken("no content type", GOOD, {"authorization": WRITE["authorization"]}),
    taken("a content type with CR and LF in its name", GOOD, WRITE | {"content-type": "application/json\tx"}),
    taken("prototype pollution", b'{"batch": [], "__proto__": {"admin": true}, "constructor": {"prototype": {}}}'),
    taken("2,500 quarantined events", as_json({"batch": [{"type": "nope"}] * 2_500})),
]

EVENTS = [
    one("33 levels", properties=nested(33)),
    one("500 levels", properties=nested(500)),
    one("257 keys", properties={f"k{n}": n for n in range(257)}),
    one("50,000 keys", properties={f"k{n}": n for n in range(50_000)}),
    one("a key of 10,000 characters", properties={"k" * 10_000: 1}),
    one("a key with NUL", properties={"a\0b": 1}),
    one("keys of operators", properties={"$where": "sleep(1000)", "$ne": None, "$gt": ""}),
    one("keys with dots", properties={"a.b.c": {"d.e": 1}, ".": 1, "..": 2}),
    one("an empty key", properties={"": 1}),
    one("an event of 33 KB", properties={"x": "x" * 33_000}),
    one("an integer of 4,000 digits", properties={"n": 10**3_999}),
    one("an integer beyond 64 bits", properties={"n": 2**70}),
    taken(
        "a number of 100,000 digits",
        b'{"batch": [{"type":"track","event":"x","userId":"a","n":' + b"9" * 100_000 + b"}]}",
    ),
    taken("1e999", b'{"batch": [{"type":"track","event":"x","userId":"a","properties":{"n":1e999}}]}'),
    taken("NaN", b'{"batch": [{"type":"track","event":"x","userId":"a","properties":{"n":NaN}}]}'),
    one("lone surrogates", properties={"x": "\ud800", "\udfff": 1}),
    one("text of right to left marks", event="\u202e\u2066 gnp.exe"),
    one("control characters in a name", event="a\r\nb\x1b[2J\x00"),
    one("a type that is an object", type={"$ne": None}),
    one("a type that is a list", type=["track"]),
    one("a userId that is an object", userId={"$gt": ""}),
    one("a userId that is a list", userId=["ada"]),
    one("a userId that is a truth", userId=True),
    one("a userId of 10,000 characters", userId="u" * 10_000),
    one("a userId of blanks", userId="   "),
    one("a userId that is a number", userId=12_345),
    one("a messageId that is an object", messageId={"$ne": 1}),
    one("a messageId of 10,000 characters", messageId="m" * 10_000),
    one("properties that are a list", properties=[1, 2]),
    one("properties that are text", properties='{"a": 1}'),
    one("a context that is a list", context=["x"]),
    one("traits that are a number", type="identify", traits=1),
    one("a time of the year 99999", timestamp="99999-01-01T00:00:00Z"),
    one("a time before 1970", timestamp="0001-01-01T00:00:00Z"),
    one("a time that is an object", timestamp={"$date": 1}),
    one("a time of 1e308", timestamp=1e308),
    one("a time of 50,000 characters", timestamp="2" * 50_000),
    one("an alias to itself", type="alias", previousId="ada"),
    one("a previousId that is a list", type="alias", previousId=["x"]),
    one("a thousand nested empty lists", properties={"x": [[]] * 1_000}),
    one("HTML and template code", event="<script>alert(1)</script>{{7*7}}${7*7}%s%n"),
    one("a user agent of 30 KB", context={"userAgent": "Mozilla/5.0 (" + "a" * 30_000}),
    one("a user agent made for slow patterns", context={"userAgent": "Mozilla/5.0 " + "(; " * 5_000}),
    one("a context.ip that is no address", context={"ip": "' OR 1=1 --"}),
    one("a library that is a list", context={"library": [1], "app": "x", "os": 3}),
]

KEYS = [
    refused("no credential", GOOD, 401, JSON),
    refused("an unknown key", GOOD, 401, {"authorization": "Basic d2tfbm9wZTo="}),
    refused("Basic that is no base64", GOOD, 401, {"authorization": "Basic !!!!"}),
    refused("Basic of bytes", GOOD, 401, {"authorization": "Basic /////w=="}),
    refused("Basic of nothing", GOOD, 401, {"authorization": "Basic "}),
    refused("a header of blanks", GOOD, 401, {"authorization": "   "}),
    refused("an API key where a write key belongs", GOOD, 401, {"authorization": "Bearer {api}"}),
    refused("a user's token where a write key belongs", GOOD, 401, {"authorization": "Bearer {user}"}),
    refused("a writeKey that is an object", as_json({"batch": [], "writeKey": {"$ne": None}}), 401, JSON),
    refused("a writeKey that is a list", as_json({"batch": [], "writeKey": ["wk_"]}), 401, JSON),
    refused("a writeKey of 1 MB", as_json({"batch": [], "writeKey": "wk_" + "x" * 1_000_000}), 401, JSON),
    refused("a writeKey with NUL", as_json({"batch": [], "writeKey": "wk_\0"}), 401, JSON),
    refused("a writeKey of surrogates", as_json({"batch": [], "writeKey": "wk_\ud800"}), 401, JSON),
    refused("a key in the address that nobody knows", b'{"batch": []}', 401, JSON, BATCH + "?writeKey=wk_x"),
    refused("an address that is not UTF-8", b'{"batch": []}', 401, JSON, BATCH + "?writeKey=%ff%fe"),
    refused("the id of the row that holds the secret", GOOD, 401, {"authorization": "Basic c2VydmVyLXNlY3JldDo="}),
    Case("intake: GET", BATCH, (405,), method="GET", code="METHOD_NOT_ALLOWED"),
    Case("intake: DELETE", BATCH, (405,), method="DELETE", code="METHOD_NOT_ALLOWED"),
    Case("intake: TRACE", BATCH, (405,), method="TRACE", code="METHOD_NOT_ALLOWED"),
    Case("intake: a made-up method", BATCH, (405,), method="FROBNICATE", code="METHOD_NOT_ALLOWED"),
    Case("intake: an unknown call", "/v1/frobnicate", (404,), GOOD, WRITE, code="NOT_FOUND"),
    Case("intake: a path with NUL", "/v1/batch%00", (404,), GOOD, WRITE, code="NOT_FOUND"),
    Case("intake: a path of dots", "/v1/../v1/%2e%2e/batch", (404,), GOOD, WRITE, code="NOT_FOUND"),
]

CASES = BODIES + EVENTS + KEYS
