"""Hostile requests to GraphQL by GET and as event streams."""

from __future__ import annotations

from urllib.parse import quote

from tests.hostile.cases import API, JSON, Case, as_json

PATH = "/graphql"
BEARER = {"authorization": "Bearer {api}"}
#: What is not executed has a status of its own.
STRICT = BEARER | {"accept": "application/graphql-response+json"}
EVENTS = {"accept": "text/event-stream"}
TICKET = "x-graphql-event-stream-token"
CHANGE = 'mutation m { track(input: {event: "x", userId: "ada"}) { verdict } }'
QUERY = as_json({"query": "{ __typename }"})


def got(
    name: str, *status: int, headers: dict[str, str] = BEARER, method: str = "GET", body: bytes = b"", **asked: str
) -> Case:
    """Asked in the address."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in asked.items())
    return Case(f"streams: {name}", f"{PATH}?{query}", status, body, headers, method)


def sent(name: str, body: bytes, *status: int, headers: dict[str, str], query: str = "", method: str = "POST") -> Case:
    return Case(f"streams: {name}", PATH + query, status, body, headers, method)


BY_GET = [
    got("a mutation by GET", 405, query=CHANGE),
    got("a mutation by GET among queries", 405, query=f"query q {{ __typename }} {CHANGE}", operationName="m"),
    got("a mutation by GET that is not named", 400, headers=STRICT, query=f"query q {{ __typename }} {CHANGE}"),
    got(
        "a mutation by GET that comes first and is not named",
        400,
        headers=STRICT,
        query=f"{CHANGE} query q {{ __typename }}",
    ),
    sent(
        "two operations and no name",
        as_json({"query": f"{CHANGE} query q {{ __typename }}"}),
        400,
        headers=JSON | STRICT,
    ),
    got("a mutation by GET in a stream", 405, query=CHANGE, headers=BEARER | EVENTS),
    got(
        "a mutation by GET with a method in a header",
        405,
        query=CHANGE,
        headers=BEARER | {"x-http-method-override": "POST"},
    ),
    got("a mutation by GET from a fragment", 405, query="mutation { ...f } fragment f on Mutation { __typename }"),
    got("a mutation by GET that cannot be parsed", 200, 400, 405, query="mutation { track("),
    got("a mutation by GET in the body", 400, body=as_json({"query": CHANGE}), headers=API),
    got("a mutation by GET of a stranger", 401, query=CHANGE, headers={}),
    Case(
        "streams: a mutation by GET behind a query",
        f"{PATH}?query=%7B__typename%7D&query={quote(CHANGE)}",
        (200, 405),
        headers=BEARER,
        method="GET",
    ),
    got("a subscription by GET", 400, query="subscription { eventStored { cursor } }"),
    got("nothing asked by GET", 400),
    got("variables by GET that are no JSON", 400, query="{ __typename }", variables="{"),
    got("variables by GET that are a list", 400, query="{ __typename }", variables="[]"),
    got("variables by GET of 10,000 levels", 400, query="{ __typename }", variables="[" * 10_000),
    got("variables by GET of 10,000 digits", 200, 400, query="{ __typename }", variables='{"x":' + "9" * 10_000 + "}"),
    got("extensions by GET that are text", 400, query="{ __typename }", extensions='"x"'),
    got("a hash by GET", 400, extensions='{"persistedQuery": {"version": 1, "sha256Hash": "0"}}'),
    got("a credential in the address", 401, query="{ __typename }", access_token="sk_x", headers={}),
    got("2,000 aliases by GET", 200, 400, query="{ " + " ".join(f"a{n}:id" for n in range(2_000)) + " }"),
    got("5,000 levels by GET", 200, 400, query="{ a" * 5_000 + " }" * 5_000),
    Case("streams: bytes by GET", f"{PATH}?query=%ff%00%ed%a0%80", (200, 400), headers=BEARER, method="GET"),
    got("an Accept of 20 KB", 200, 406, query="{ __typename }", headers=BEARER | {"accept": "a/b;q=0.1," * 2_000}),
    got("an Accept of nothing known", 406, query="{ __typename }", headers=BEARER | {"accept": "image/png"}),
    got("the page for a host that is not ours", 200, 503, headers={"accept": "text/html", "host": "evil.example"}),
    got(
        "the page with a query of markup", 200, 503, query="</script><script>alert(1)", headers={"accept": "text/html"}
    ),
]

DISTINCT = [
    sent("an empty body", b"", 400, headers=API | EVENTS),
    sent("a list", b"[]", 400, headers=API | EVENTS),
    sent("a stranger", QUERY, 401, headers=JSON | EVENTS),
    sent("a token nobody made", QUERY, 401, headers=JSON | EVENTS | {"authorization": "Bearer a.b.c"}),
    sent("a write key", QUERY, 401, headers=JSON | EVENTS | {"authorization": "Bearer {write_key}"}),
    sent("text", QUERY, 415, headers=BEARER | EVENTS | {"content-type": "text/plain"}),
    sent("a form", b"query={}", 415, headers=BEARER | EVENTS | {"content-type": "application/x-www-form-urlencoded"}),
    sent("300 KB", as_json({"query": "{ __typename }" + " " * 300_000}), 413, headers=API | EVENTS),
    sent("a text that cannot be parsed", as_json({"query": "{"}), 200, headers=API | EVENTS),
    sent("5,000 aliases", as_json({"query": "subscription {" + " a: x" * 5_000 + "}"}), 200, headers=API | EVENTS),
    sent("5,000 levels", as_json({"query": "{ a" * 5_000 + " }" * 5_000}), 200, headers=API | EVENTS),
    sent(
        "two subscriptions in one",
        as_json({"query": "subscription { a: eventStored { cursor } b: eventStored { cursor } }"}),
        200,
        headers=API | EVENTS,
    ),
    sent(
        "a cursor of nonsense",
        as_json({"query": 'subscription { eventStored(after: "AAAA") { cursor } }'}),
        200,
        headers=API | EVENTS,
    ),
    sent(
        "an id of the last event of nonsense",
        as_json({"query": "subscription { eventStored { cursor } }"}),
        200,
        headers=API | EVENTS | {"last-event-id": "\x7f" * 10_000},
    ),
    sent(
        "an id of the last event for a mutation",
        as_json({"query": "mutation { track(input: {}) { verdict } }"}),
        200,
        headers=API | EVENTS | {"last-event-id": "x"},
    ),
    sent(
        "another user's journey",
        as_json({"query": 'subscription { journeyChanged(map: "purchase", user: {userId: "bob"}) { cursor } }'}),
        200,
        headers=JSON | EVENTS | {"authorization": "Bearer {visitor}"},
    ),
]

SHARED = [
    sent("a ticket for a stranger", b"", 401, headers={}, method="PUT"),
    sent("a ticket for a token nobody made", b"", 401, headers={"authorization": "Bearer a.b.c"}, method="PUT"),
    sent("a ticket for a write key", b"", 401, headers={"authorization": "Bearer {write_key}"}, method="PUT"),
    sent("a ticket as JSON", b"", 406, headers=BEARER | {"accept": "application/json"}, method="PUT"),
    sent("an operation without a reservation", QUERY, 404, headers=API | {TICKET: "x"}),
    sent("an operation for a ticket of 20 KB", QUERY, 404, headers=API | {TICKET: "x" * 20_000}),
    sent("an operation for a ticket in the address", QUERY, 404, headers=API, query="?token=%00%ff"),
    sent("a stranger's operation", QUERY, 401, headers=JSON | {TICKET: "x"}),
    sent("an operation as text", QUERY, 415, headers=BEARER | {TICKET: "x", "content-type": "text/plain"}),
    sent("an operation for two streams", QUERY, 406, headers=API | EVENTS | {TICKET: "x"}),
    got("a stream without a reservation", 404, token="x", headers=EVENTS),
    got("a stream of another's token", 404, token="x", headers=EVENTS | {"authorization": "Bearer {other}"}),
    got("a stream for a credential nobody has", 401, token="x", headers=EVENTS | {"authorization": "Bearer x"}),
    got("a stream for a ticket with NUL", 404, token="\0", headers=EVENTS),
    got("ending nothing", 400, method="DELETE"),
    got("ending without a ticket", 400, operationId="x", method="DELETE"),
    got("ending without an operation", 400, token="x", method="DELETE"),
    got("ending without a reservation", 404, token="x", operationId="x", method="DELETE"),
    got("a stranger who ends", 401, token="x", operationId="x", method="DELETE", headers={}),
    got(
        "ending by a write key",
        401,
        token="x",
        operationId="x",
        method="DELETE",
        headers={"authorization": "Basic {write}"},
    ),
]

CASES = BY_GET + DISTINCT + SHARED
