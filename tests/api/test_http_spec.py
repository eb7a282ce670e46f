"""GraphQL over HTTP: media types, status codes, GET, and what is beside it: the schema and GraphiQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
import pytest

from gateway.api import requests
from gateway.api.media import EVENTS, GRAPHQL, HTML, JSON, preferred
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, load_shop
from tests.pace import PATIENCE

QUERY = {"query": "{ journeyMaps { key } }"}
OFFERED = (JSON, GRAPHQL, EVENTS, HTML)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/graphql-response+json", GRAPHQL),
        ("Application/GraphQL-Response+JSON; charset=utf-8", GRAPHQL),
        ("application/graphql-response+json,application/json;q=0.9", GRAPHQL),
        ("application/json;q=0.9, application/graphql-response+json", GRAPHQL),
        ("application/graphql-response+json, application/json", GRAPHQL),
        ("application/json, application/graphql-response+json", JSON),
        ("application/json;q=0.1, */*;q=0.5", JSON),
        ("application/graphql-response+json, application/graphql+json, application/json, text/event-stream", GRAPHQL),
        ("*/*, application/graphql-response+json", GRAPHQL),
        ("application/json;q=0, */*", GRAPHQL),
        ("text/event-stream", EVENTS),
        ("text/event-stream, multipart/mixed", EVENTS),
        ("text/*", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("image/png", None),
        ("application/json;q=0", None),
        ("nonsense", None),
        (", ;;q=, /", None),
        ("application/json" * 10_000, None),
    ],
)
def test_the_type_the_client_likes_best_is_chosen(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    ("body", "as_json", "as_graphql"),
    [
        (QUERY, 200, 200),
        ({"query": "{"}, 200, 400),
        ({"query": "{ nonsense }"}, 200, 400),
        ({"query": "query($id: ID!) { node(id: $id) { id } }", "variables": {"id": None}}, 200, 400),
        ({"query": "{ users { nodes { traits } } }"}, 200, 403),
        ({"query": "subscription { journeyChanged { cursor } }"}, 400, 400),
        ({"query": "{ __typename }", "operationName": "other"}, 400, 400),
        ({"nonsense": 1}, 400, 400),
    ],
)
async def test_each_media_type_has_its_status_codes(
    idle_gateway: Gateway, body: object, as_json: int, as_graphql: int
) -> None:
    key = await idle_gateway.api_key("journeys:read")
    for accept, status in ((JSON, as_json), (GRAPHQL, as_graphql)):
        response = await idle_gateway.post(body, key, accept=accept)
        assert response.status_code == status
        assert response.headers["content-type"].startswith(accept)
        assert ("data" in response.json()) is (body is QUERY)
        assert response.headers["cache-control"] == "no-store"


async def test_an_error_of_one_field_leaves_the_status_alone(idle_gateway: Gateway) -> None:
    body = {"query": '{ node(id: "nonsense") { id } journeyMaps { key } }'}
    response = await idle_gateway.post(body, await idle_gateway.api_key(), accept=GRAPHQL)
    assert response.status_code == 200
    assert response.json()["errors"][0]["path"] == ["node"]
    assert response.json()["data"]["journeyMaps"]


async def test_a_body_that_never_arrives_is_answered(idle_gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.05)

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"query": '
        await asyncio.Event().wait()

    headers = {"content-type": "application/json", "authorization": await idle_gateway.api_key()}
    transport = httpx2.ASGITransport(app=idle_gateway.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client, asyncio.timeout(PATIENCE):
        answer = await client.post("/", content=parts(), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (503, "close")
    assert answer.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"


async def test_what_cannot_be_served_is_406(idle_gateway: Gateway) -> None:
    response = await idle_gateway.post(QUERY, await idle_gateway.api_key(), accept="image/png")
    assert response.status_code == 406
    assert JSON in response.json()["errors"][0]["extensions"]["hint"]


async def test_a_credential_is_asked_for_in_the_type_that_is_accepted(idle_gateway: Gateway) -> None:
    response = await idle_gateway.post(QUERY, accept=GRAPHQL)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.headers["content-type"].startswith(GRAPHQL)


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_queries_may_be_asked_by_get(idle_gateway: Gateway, accept: str) -> None:
    key = await idle_gateway.api_key()
    query = quote("query Q($key: ID!) { journeyMap(key: $key) { key } } query R { __typename }")
    path = f"/?query={query}&operationName=Q&variables=" + quote('{"key": "purchase"}')
    response = await idle_gateway.request("GET", path, authorization=key, accept=accept)
    assert (response.status_code, response.json()) == (200, {"data": {"journeyMap": {"key": "purchase"}}})
    assert (await idle_gateway.request("GET", path, accept=accept)).status_code == 401
    head = await idle_gateway.request("HEAD", path, authorization=key, accept=accept)
    assert (head.status_code, head.headers["content-type"]) == (200, response.headers["content-type"])


async def test_a_get_changes_nothing(idle_gateway: Gateway) -> None:
    path = "/?query=" + quote('query A { __typename } mutation B { track(input: {event: "A"}) { verdict } }')
    key = await idle_gateway.api_key()
    refused = await idle_gateway.request("GET", f"{path}&operationName=B", authorization=key)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert (await idle_gateway.request("GET", f"{path}&operationName=A", authorization=key)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/?query=", "/?query={", "/?query={__typename}&variables=1", "/?query={__typename}&variables={"]
)
async def test_what_is_no_query_in_an_address_is_refused(idle_gateway: Gateway, path: str) -> None:
    key = await idle_gateway.api_key()
    response = await idle_gateway.request("GET", path, authorization=key, accept=GRAPHQL)
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"]


async def test_options_say_what_there_is(idle_gateway: Gateway) -> None:
    response = await idle_gateway.request("OPTIONS", "/")
    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, POST, PUT, DELETE, OPTIONS")


# -- GraphiQL ---------------------------------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def developing(database: Database) -> Gateway:
    return Gateway(database, load_shop(), env="development")


async def test_a_browser_gets_graphiql_in_development_only(developing: Gateway, idle_gateway: Gateway) -> None:
    page = await developing.request("GET", "/", accept=BROWSER)
    assert page.status_code in (200, 503)  # without its files it says what to do
    assert "graphiql" in page.text.lower()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    refused = await idle_gateway.request("GET", "/", accept=BROWSER)
    assert refused.status_code == 404
    assert refused.json()["errors"][0]["message"] == "GraphiQL is not served in production."
