"""Hostile requests to GraphQL and to POST /v1/token."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.hostile.cases import API, JSON, USER, VISITOR, WRITE, Case, as_json, nested

PATH = "/graphql"


def asked(name: str, query: str, *, headers: dict[str, str] = API, **variables: Any) -> Case:
    """Refused or answered with an error inside; never 5xx."""
    return Case(f"graphql: {name}", PATH, (200, 400), as_json({"query": query, "variables": variables}), headers)


def refused(name: str, body: bytes, status: int = 400, headers: dict[str, str] = API) -> Case:
    return Case(f"graphql: {name}", PATH, (status,), body, headers)


def many(count: int, field: str) -> str:
    return "{ " + " ".join(f"a{number}: {field}" for number in range(count)) + " }"


def fan_out(levels: int) -> str:
    """Fragments that double at every level."""
    spreads = " ".join(f"fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}" for level in range(levels))
    return f"{{ ...f0 }} {spreads} fragment f{levels} on Query {{ journeyMaps {{ key }} }}"


SHAPES = [
    asked("5,000 aliases", many(5_000, "journeyMaps { key }")),
    asked("20,000 equal fields", "{ " + "__typename " * 20_000 + "}"),
    asked("3,000 overlapping fields", "{ " + "journeyMaps { key } " * 3_000 + "}"),
    asked("fragments that double 16 times", fan_out(16)),
    asked("fragments that double 200 times", fan_out(200)),
    asked(
        "lists in lists",
        "{ users(first: 100) { nodes { events(first: 100) { nodes { user { "
        "events(first: 100) { nodes { id } } } } } } } }",
    ),
    asked("lists under aliases", many(90, "users(first: 100) { nodes { events(first: 100) { nodes { id } } } }")),
    asked("10,000 directives", "{ __typename " + "@skip(if: false) " * 10_000 + "}"),
    asked("20,000 variables", "query(" + " ".join(f"$v{n}: Int" for n in range(20_000)) + ") { __typename }"),
    asked("5,000 levels", "{ a" * 5_000 + " }" * 5_000),
    asked("400 levels of a list", "{ events(filter: {names: " + "[" * 400 + "]" * 400 + "}) { nodes { id } } }"),
    asked("2,000 list literals", "{ events(filter: {names: [" + '"x" ' * 2_000 + "]}) { nodes { id } } }"),
    asked("a circle of fragments", "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"),
    asked(
        "introspection in a circle",
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    ),
    asked("introspection 50 times", many(50, "__schema { types { name fields { name } } }")),
    asked("60,000 comments", "{ __typename }" + "#\n" * 60_000),
    asked("a name of 100,000 characters", "{ " + "a" * 100_000 + " }"),
    asked("a string of 200,000 characters", '{ journeyMap(key: "' + "k" * 200_000 + '") { key } }'),
    asked("a block string of quotes", '{ journeyMap(key: """' + '\\"""' * 30_000 + '""") { key } }'),
    asked("1,000 operations", " ".join(f"query q{n} {{ __typename }}" for n in range(1_000))),
    asked("KPIs 100 times", many(100, 'kpi(key: "csat") { result(range: {last: "8w"}) { n } }')),
    asked("a subscription over POST", "subscription { eventStored { cursor } }"),
    asked("@defer", "{ ... @defer { journeyMaps { key } } }"),
    asked("@stream", "{ journeyMaps @stream(initialCount: 0) { key } }"),
    asked("a field nobody knows", "{ pasword }"),
    asked("a mutation named as a query", 'query { track(input: {event: "x"}) { success } }'),
]

VALUES = [
    asked("an operator as a userId", "query($u: String) { user(by: {userId: $u}) { id } }", u={"$gt": ""}),
    asked("an operator as a map's key", "query($k: ID!) { journeyMap(key: $k) { key } }", k={"$ne": None}),
    asked(
        "an operator as a name",
        "query($n: [String!]) { events(filter: {names: $n}) { nodes { id } } }",
        n=[{"$regex": ".*"}],
    ),
    asked("a NUL in a userId", "query($u: String) { user(by: {userId: $u}) { id } }", u="a\0b"),
    asked("a lone surrogate in a userId", "query($u: String) { user(by: {userId: $u}) { id } }", u="\ud800"),
    asked("a userId of 200,000 characters", "query($u: String) { user(by: {userId: $u}) { id } }", u="u" * 200_000),
    asked("two ways to name a user", '{ user(by: {userId: "a", anonymousId: "b"}) { id } }'),
    asked("no way to name a user", "{ user(by: {}) { id } }"),
    asked("an id of another kind", '{ node(id: "' + base64.b64encode(b"Event:1").decode() + '") { id } }'),
    asked("an id of bytes", '{ node(id: "event_zz") { id } }'),
    asked("an id of operators", '{ node(id: "user_{$ne:null}") { id } }'),
    asked("an id of another length", '{ node(id: "event_' + "0" * 10_000 + '") { id } }'),
    asked("a cursor of nonsense", '{ users(after: "AAAA") { nodes { id } } }'),
    asked("a cursor of JSON", '{ users(after: "' + base64.b64encode(b'{"$gt": 1}').decode() + '") { nodes { id } } }'),
    asked("a cursor of 100,000 characters", '{ users(after: "' + "A" * 100_000 + '") { nodes { id } } }'),
    asked("a cursor of another list", '{ events(after: "eyJ4IjogMX0=") { nodes { id } } }'),
    asked("first: -1", "{ users(first: -1) { nodes { id } } }"),
    asked("first: 2^31", "{ users(first: 2147483648) { nodes { id } } }"),
    asked("first: 101", "{ users(first: 101) { nodes { id } } }"),
    asked("a range of nothing", '{ kpis { result(range: {last: ""}) { n } } }'),
    asked("a range of a million years", '{ kpis { result(range: {last: "99999999999999w"}) { n } } }'),
    asked("a range of words", '{ kpis { result(range: {last: "8w; drop"}) { n } } }'),
    asked(
        "a range turned round",
        '{ kpis { result(range: {between: {from: "2026-01-01T00:00:00Z", to: "2025-01-01T00:00:00Z"}}) { n } } }',
    ),
    asked("a time without a zone", '{ events(filter: {from: "2026-01-01T00:00:00"}) { nodes { id } } }'),
    asked("a time of the year 99999", '{ events(filter: {from: "99999-01-01T00:00:00Z"}) { nodes { id } } }'),
    asked(
        "properties of 100 levels",
        'mutation($p: JSON) { track(input: {event: "x", userId: "ada", properties: $p}) { __typename } }',
        p=nested(100),
    ),
    asked(
        "properties of operators",
        'mutation($p: JSON) { track(input: {event: "x", userId: "ada", properties: $p}) { __typename } }',
        p={"$set": 1},
    ),
    asked(
        "properties that are a list",
        'mutation { track(input: {event: "x", userId: "ada", properties: [1]}) { __typename } }',
    ),
    asked(
        "properties of 200 KB",
        'mutation($p: JSON) { track(input: {event: "x", userId: "ada", properties: $p}) { __typename } }',
        p={"x": "x" * 200_000},
    ),
    asked(
        "input keys nobody knows", 'mutation { track(input: {event: "x", userId: "ada", admin: true}) { __typename } }'
    ),
]

BODIES = [
    refused("an empty body", b""),
    refused("the body 1", b"1"),
    refused("a list of requests", as_json([{"query": "{ __typename }"}] * 10)),
    refused("a query that is a number", as_json({"query": 1})),
    refused("a query that is null", as_json({"query": None})),
    refused("an empty query", as_json({"query": ""})),
    refused("variables that are a list", as_json({"query": "{ __typename }", "variables": [1]})),
    refused("variables that are text", as_json({"query": "{ __typename }", "variables": "{}"})),
    refused("an operationName that is an object", as_json({"query": "{ __typename }", "operationName": {}})),
    refused("an operationName nobody wrote", as_json({"query": "query a { __typename }", "operationName": "b"})),
    refused("extensions that are a list", as_json({"query": "{ __typename }", "extensions": []})),
    refused(
        "a hash in place of a query",
        as_json({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}}),
    ),
    refused("300 KB", as_json({"query": "{ __typename }", "variables": {"x": "x" * 300_000}}), 413),
    refused("invalid UTF-8", b'{"query": "\xff"}'),
    refused("100,000 open lists", b"[" * 100_000),
    refused("a form", b"query=%7B__typename%7D", 415, API | {"content-type": "application/x-www-form-urlencoded"}),
    refused("text/plain", as_json({"query": "{ __typename }"}), 415, API | {"content-type": "text/plain"}),
    refused("multipart", b"--x\r\n\r\n", 415, API | {"content-type": "multipart/form-data; boundary=x"}),
    refused(
        "application/jsonx", as_json({"query": "{ __typename }"}), 415, API | {"content-type": "application/jsonx"}
    ),
    Case(
        "graphql: a mutation by GET",
        PATH + "?query=mutation%7Btrack(input:%7Bevent:%22x%22%7D)%7B__typename%7D%7D",
        (400, 405),
        method="GET",
        headers={"authorization": "Bearer {api}"},
    ),
    Case("graphql: DELETE", PATH, (400,), method="DELETE", headers={"authorization": "Bearer {api}"}),
    Case("graphql: PATCH", PATH, (405,), method="PATCH", headers={"authorization": "Bearer {api}"}),
]


def jwt(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"x" * 32) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


CLAIMS = {
    "iss": "journey-gateway",
    "aud": "journey-gateway",
    "ws": "main",
    "sub": "ada",
    "idt": "userId",
    "exp": 4_000_000_000,
}


def bearer(name: str, token: str, status: int = 401) -> Case:
    return Case(
        f"token: {name}",
        PATH,
        (status,),
        as_json({"query": "{ me { id } }"}),
        JSON | {"authorization": f"Bearer {token}"},
    )


CREDENTIALS = [
    Case("token: none", PATH, (401,), as_json({"query": "{ me { id } }"}), JSON),
    bearer("alg none", jwt({"alg": "none", "typ": "JWT"}, CLAIMS, b"")),
    bearer("alg None in capitals", jwt({"alg": "NONE"}, CLAIMS, b"")),
    bearer("a made-up signature", jwt({"alg": "HS256"}, CLAIMS)),
    bearer("HS512", jwt({"alg": "HS512"}, CLAIMS)),
    bearer(
        "RS256 of nobody", jwt({"alg": "RS256", "kid": "../../etc/passwd"}, CLAIMS | {"iss": "https://nobody.example"})
    ),
    bearer("a key in the header", jwt({"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}}, CLAIMS)),
    bearer(
        "a key address in the header",
        jwt({"alg": "RS256", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}, CLAIMS),
    ),
    bearer("a critical header", jwt({"alg": "HS256", "crit": ["x"], "x": 1}, CLAIMS)),
    bearer("claims that are a list", jwt({"alg": "HS256"}, [1])),  # type: ignore[arg-type]
    bearer("a header that is a list", jwt([1], CLAIMS)),  # type: ignore[arg-type]
    bearer("three dots", "..."),
    bearer("10 KB", jwt({"alg": "HS256"}, CLAIMS | {"x": "x" * 10_000})),
    bearer("an API key that is not one", "sk_" + "0" * 43),
    bearer("a write key", "{write_key}"),
    bearer("an operator", '{{"$ne":null}}'),
    Case(
        "token: Basic with an API key",
        PATH,
        (401,),
        as_json({"query": "{ me { id } }"}),
        JSON | {"authorization": "Basic {api}"},
    ),
    asked(
        "another workspace's user",
        '{ user(by: {userId: "ada"}) { id } }',
        headers=JSON | {"authorization": "Bearer {other}"},
    ),
    asked("another user with one's own token", '{ user(by: {userId: "bob"}) { id traits } }', headers=USER),
    asked("everybody with one's own token", "{ users { nodes { id } } }", headers=USER),
    asked("KPIs with one's own token", '{ kpis { result(range: {last: "8w"}) { n } } }', headers=USER),
    asked(
        "sending as somebody else",
        'mutation { track(input: {event: "x", userId: "bob"}) { __typename } }',
        headers=USER,
    ),
    asked("identifying as a visitor", 'mutation { identify(input: {userId: "ada"}) { __typename } }', headers=VISITOR),
]


def token(name: str, body: bytes, status: tuple[int, ...] = (400,), headers: dict[str, str] = API) -> Case:
    return Case(f"minting: {name}", "/v1/token", status, body, headers)


MINTING = [
    token("an empty body", b""),
    token("a list", b"[]"),
    token("nothing asked", b"{}"),
    token("two things asked", as_json({"userId": "a", "anonymousId": "b"})),
    token("an object as userId", as_json({"userId": {"$ne": None}})),
    token("a number as userId", as_json({"userId": 7})),
    token("an empty userId", as_json({"userId": ""})),
    token("a userId of 10,000 characters", as_json({"userId": "u" * 10_000})),
    token("a lone surrogate", as_json({"userId": "\ud800"})),
    token("nobody in particular", as_json({"userId": "undefined"})),
    token("17 KB", as_json({"userId": "ada", "x": "x" * 17_000}), (413,)),
    token("a code that is an object", as_json({"code": {"$ne": None}}), (400, 401), JSON),
    token("a code nobody made", as_json({"code": "x" * 43}), (401,), JSON),
    token("a userId with a write key", as_json({"userId": "ada"}), (403,), WRITE),
    token("a linked anonymousId with a write key", as_json({"anonymousId": "anon-ada"}), (403,), WRITE),
    token("a userId with a user's token", as_json({"userId": "bob"}), (403,), USER),
    token("renewing an API key", as_json({"renew": True}), (401, 403)),
    token("renewing a user's token", as_json({"renew": True}), (401, 403), USER),
    token("no credential", as_json({"userId": "ada"}), (401,), JSON),
    Case("minting: GET", "/v1/token", (405,), method="GET", code="METHOD_NOT_ALLOWED"),
]

CASES = SHAPES + VALUES + BODIES + CREDENTIALS + MINTING
