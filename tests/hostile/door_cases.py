"""Hostile requests to the doors beside events and queries: pixel, beacon, settings, tokens, health, files."""

from __future__ import annotations

import gzip

from tests.hostile.cases import API, JSON, WRITE, Case, as_json, track

KEY = {"authorization": "Basic {write}"}
BEARER = {"authorization": "Bearer {api}"}


def got(
    name: str, path: str, *status: int, headers: dict[str, str] = KEY, code: str | None = None, body: bytes = b""
) -> Case:
    return Case(f"doors: {name}", path, status, body, headers, "GET", code)


def sent(name: str, path: str, body: bytes, *status: int, headers: dict[str, str] = WRITE) -> Case:
    return Case(f"doors: {name}", path, status, body, headers)


def not_with(method: str, path: str, body: bytes = b"") -> Case:
    return Case(f"doors: {method} {path}", path, (405,), body, KEY, method, "METHOD_NOT_ALLOWED")


PIXEL = "/pixel/v1/track"
BEACON = "/beacon/v1/batch"

COLLECT = [
    got("pixel: no key", f"{PIXEL}?event=x&userId=ada", 401, headers={}, code="UNAUTHENTICATED"),
    got("pixel: a key nobody has", f"{PIXEL}?writeKey=wk_x&event=x", 401, headers={}),
    got("pixel: an operator as the key", f"{PIXEL}?writeKey[$ne]=&event=x", 401, headers={}),
    got("pixel: an API key", f"{PIXEL}?event=x", 401, headers=BEARER),
    got("pixel: 257 fields", f"{PIXEL}?{'&'.join(f'f{n}=1' for n in range(257))}", 400, code="INVALID_INPUT"),
    got("pixel: a value and an object", f"{PIXEL}?event=x&userId=ada&properties=1&properties.price=3", 400),
    got("pixel: an object and a value", f"{PIXEL}?event=x&userId=ada&a.b=1&a=2", 200),
    got("pixel: 20,000 dots", f"{PIXEL}?event=x&userId=ada&{'a.' * 20_000}=1", 200),
    got("pixel: only dots", f"{PIXEL}?...=1&.=2&=3&&&", 200),
    got("pixel: another type", f"{PIXEL}?type=alias&previousId=ada&userId=bob&event=x", 200),
    got("pixel: prototype pollution", f"{PIXEL}?event=x&userId=ada&__proto__.admin=1&constructor.prototype.x=1", 200),
    got("pixel: operators", f"{PIXEL}?event=x&userId[$gt]=&properties.$where=sleep(1000)", 200),
    got("pixel: bytes", f"{PIXEL}?event=%ff%fe%00&userId=%ed%a0%80&%zz=%", 200),
    got("pixel: 60 KB", f"{PIXEL}?event=x&userId=ada&properties.x={'x' * 60_000}", 200),
    got("pixel: a type that is none", "/pixel/v1/frobnicate", 404, code="NOT_FOUND"),
    not_with("POST", PIXEL),
    not_with("DELETE", "/pixel/v1/page"),
    sent("beacon: an empty body", BEACON, b"", 400),
    sent("beacon: no key", BEACON, b'{"batch": []}', 401, headers=JSON),
    sent("beacon: a key in the address that nobody has", f"{BEACON}?writeKey=wk_x", b'{"batch": []}', 401, headers={}),
    sent("beacon: text", BEACON, as_json({"batch": [track("b1")]}), 200, headers=KEY | {"content-type": "text/plain"}),
    sent("beacon: broken gzip", BEACON, b"\x1f\x8bx", 400, headers=KEY | {"content-encoding": "gzip"}),
    sent("beacon: a form", BEACON, b"batch=%5B%5D", 400),
    not_with("GET", BEACON),
    got("settings: a key nobody has", "/v1/projects/wk_x/settings", 404, headers={}, code="NOT_FOUND"),
    got("settings: no key", "/v1/projects//settings", 404, headers={}),
    got("settings: a key of dots", "/v1/projects/%2e%2e/settings", 404, headers={}),
    got("settings: a key with NUL", "/v1/projects/%00/settings", 404, headers={}),
    got("settings: a key of 20 KB", f"/v1/projects/{'k' * 20_000}/settings", 404, headers={}),
    got("settings: an operator", "/v1/projects/%7B%22$ne%22:1%7D/settings", 404, headers={}),
    got("settings: the good key in a header alone", "/v1/projects/wk_x/settings", 404),
    not_with("POST", "/v1/projects/wk_x/settings"),
    got("sourceConfig: no key", "/sourceConfig/?p=web", 401, headers={}, code="UNAUTHENTICATED"),
    got("sourceConfig: a key of bytes", "/sourceConfig?writeKey=%ff%00", 401, headers={}),
    got("sourceConfig: an API key", "/sourceConfig", 401, headers=BEARER),
    got("sourceConfig: a header of another language", "/sourceConfig", 401, headers={"authorization": "Basic ü"}),
    got("sourceConfig: 60 KB of nothing", f"/sourceConfig?{'x' * 60_000}", 200),
    not_with("PUT", "/sourceConfig", b"{}"),
]


def minted(name: str, content: object, *status: int, headers: dict[str, str] = API) -> Case:
    return Case(f"doors: minting: {name}", "/v1/token", status, as_json(content), headers)


TOKENS = [
    minted("no minutes", {"userId": "ada", "minutes": 0}, 400),
    minted("a million minutes", {"userId": "ada", "minutes": 1_000_000}, 400),
    minted("minutes of 4,000 digits", {"userId": "ada", "minutes": 10**3_999}, 400),
    minted("minutes that are true", {"userId": "ada", "minutes": True}, 400),
    minted("minutes that are text", {"userId": "ada", "minutes": "60"}, 400),
    minted("minutes of a half", {"userId": "ada", "minutes": 0.5}, 400),
    minted("a userId that is true", {"userId": True}, 400),
    minted("a userId of NUL", {"userId": "\0"}, 200, 400),
    minted("renewing with one", {"renew": 1}, 401, 403),
    minted("renewing text", {"renew": "true"}, 400),
    minted("a code with NUL", {"code": "\0" * 40}, 401, headers=JSON),
    minted("Bearer and nothing", {"userId": "ada"}, 401, headers=JSON | {"authorization": "Bearer"}),
    minted("a token of 10 KB", {"userId": "ada"}, 401, headers=JSON | {"authorization": "Bearer " + "x" * 10_000}),
    minted("a token of other characters", {"userId": "ada"}, 401, headers=JSON | {"authorization": "Bearer ünïcode"}),
    minted(
        "a visitor for somebody else", {"anonymousId": "v"}, 403, headers=JSON | {"authorization": "Bearer {visitor}"}
    ),
    sent(
        "minting: a gzip bomb",
        "/v1/token",
        gzip.compress(b"0" * 9_000_000),
        413,
        headers=API | {"content-encoding": "gzip"},
    ),
    sent("minting: 10,000 open lists", "/v1/token", b"[" * 10_000, 400, headers=API),
    not_with("PUT", "/v1/token", b'{"userId": "ada"}'),
    not_with("DELETE", "/v1/token"),
]

HEALTH = [
    not_with("POST", "/healthz", b'{"alive": false}'),
    not_with("DELETE", "/readyz"),
    not_with("POST", "/metrics", b"x" * 100_000),
    not_with("TRACE", "/healthz"),
    not_with("FROBNICATE", "/metrics"),
    got("health: a body", "/healthz", 200, body=b"x" * 1_000_000, headers={}),
    got("health: a length that is none", "/healthz", 200, headers={"content-length": "-1"}),
    got("health: a request id with line ends", "/healthz", 200, headers={"x-request-id": "a b\tc: d" * 5_000}),
    got("health: 60 KB of query", f"/healthz?{'x=%ff&' * 10_000}", 200, headers={}),
    got("health: a path below", "/healthz/../metrics/%2e%2e/x", 404, headers={}),
    got("metrics: through a proxy", "/metrics", 403, headers={"x-forwarded-for": "127.0.0.1"}, code="FORBIDDEN"),
    got("metrics: through a proxy of the standard", "/metrics", 403, headers={"forwarded": "for=127.0.0.1"}),
    got(
        "metrics: types nobody knows",
        "/metrics",
        200,
        headers={"accept": "x/y;q=ü,application/openmetrics-text;version=9"},
    ),
    got("metrics: 60 KB of names", f"/metrics?{'name[]=python_info&' * 3_000}", 200, headers={}),
]

FILES = [
    got("schema: a tag of 20 KB", "/schema.graphql", 200, headers={"if-none-match": '"x", W/' * 3_000}),
    got("schema: a credential nobody has", "/schema.graphql", 200, headers={"authorization": "Bearer sk_x"}),
    got("schema: another file", "/schema.graphql/../pyproject.toml", 404, headers={}),
    not_with("POST", "/schema.graphql", b"type Query { a: Int }"),
    not_with("DELETE", "/schema.graphql"),
    got("graphiql: out of the folder", "/graphiql/npm/../files.json", 404, headers={}),
    got("graphiql: encoded out of the folder", "/graphiql/npm/%2e%2e/files.json", 404, headers={}),
    got("graphiql: doubly encoded", "/graphiql/npm/%252e%252e/files.json", 404, headers={}),
    got("graphiql: slashes encoded", "/graphiql/npm/..%2f..%2f..%2fapi%2fview.py", 404, headers={}),
    got("graphiql: backslashes", "/graphiql/npm/..%5c..%5cgraphiql.py", 404, headers={}),
    got("graphiql: an absolute path", "/graphiql/npm//etc/passwd", 404, headers={}),
    got("graphiql: NUL", "/graphiql/npm/react%00.js", 404, headers={}),
    got("graphiql: a folder", "/graphiql/npm/react@18.2.0/", 404, headers={}),
    got("graphiql: 60,000 characters", f"/graphiql/npm/{'a' * 60_000}", 404, 414, headers={}),
    got("graphiql: what is beside the files", "/graphiql/files.json", 404, headers={}),
    not_with("POST", "/graphiql/npm/react@18.2.0/umd/react.production.min.js"),
    not_with("PUT", "/graphiql/start.js", b"alert(1)"),
]

CASES = COLLECT + TOKENS + HEALTH + FILES
