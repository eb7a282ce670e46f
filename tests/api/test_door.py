"""The door over HTTP: what is no request is refused in JSON, with a status, a code and the way out."""

from __future__ import annotations

import logging

import orjson
import pytest

from gateway.errors import StoreError, Unavailable
from tests.api.gateway_api import Gateway

QUERY = {"query": "{ journeyMaps { key } }"}


async def test_a_request_without_a_credential_is_told_what_to_send(idle_gateway: Gateway) -> None:
    for authorization in (None, "", "Bearer", "Bearer nonsense", "Bearer sk_unknown", "Basic abc", "Bearer wk_x"):
        response = await idle_gateway.post(QUERY, authorization)
        assert response.status_code == 401, authorization
        assert response.headers["www-authenticate"] == "Bearer"
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert error["extensions"]["hint"]
    introspection = await idle_gateway.post({"query": "{ __schema { queryType { name } } }"})
    assert introspection.status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"1", 400),
        (b"null", 400),
        (b'"{ me { id } }"', 400),
        (b"[]", 400),
        (b'[{"query": "{ __typename }"}]', 400),
        (b"{", 400),
        (b'{"query": "\xff"}', 400),
        (b"[" * 5_000 + b"]" * 5_000, 400),
        (b'{"query": "{ __typename }", "variables": ' + b'{"a":' * 3_000 + b"1" + b"}" * 3_001, 400),
        (b"{}", 400),
        (b'{"query": 5}', 400),
        (b'{"query": ""}', 400),
        (b'{"query": "{ __typename }", "variables": []}', 400),
        (b'{"query": "{ __typename }", "operationName": {}}', 400),
        (b'{"query": "{ __typename }", "operationName": "other"}', 400),
        (b'{"query": "fragment a on User { id }"}', 400),
        (b'{"query": "subscription { eventStored { cursor } }"}', 400),
        (b'{"query": "' + b"x" * (256 * 1024) + b'"}', 413),
        (b'{"query": "{ __typename }", "id": "' + b"x" * 1_000_000 + b'"}', 413),
    ],
)
async def test_what_is_no_request_is_refused(idle_gateway: Gateway, body: bytes, status: int) -> None:
    response = await idle_gateway.post(body, await idle_gateway.api_key())
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == ("TOO_LARGE" if status == 413 else "INVALID_INPUT")
    assert error["extensions"]["hint"]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"],
)
async def test_only_json_is_taken(idle_gateway: Gateway, kind: str) -> None:
    response = await idle_gateway.post(QUERY, await idle_gateway.api_key(), **{"content-type": kind})
    assert response.status_code == 415
    with_charset = await idle_gateway.post(
        QUERY, await idle_gateway.api_key(), **{"content-type": "application/json; charset=utf-8"}
    )
    assert with_charset.status_code == 200


async def test_other_methods_are_refused(idle_gateway: Gateway) -> None:
    for method in ("PATCH", "TRACE", "PROPFIND"):
        response = await idle_gateway.request(method, "/", authorization=await idle_gateway.api_key())
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"


@pytest.mark.parametrize(("method", "body"), [("PATCH", QUERY), ("PATCH", None), ("PUT", QUERY), ("DELETE", QUERY)])
async def test_graphql_sent_by_another_method_is_told_which_one(
    idle_gateway: Gateway, method: str, body: dict[str, str] | None
) -> None:
    content = b"" if body is None else orjson.dumps(body)
    for credential in (None, await idle_gateway.api_key()):
        headers = {} if credential is None else {"authorization": credential}
        response = await idle_gateway.request(method, "/", content, **headers)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
        (error,) = response.json()["errors"]
        assert error["message"] == f"{method} is not for GraphQL."
        assert "by POST" in error["extensions"]["hint"]


async def test_mistakes_are_explained_without_suggestions(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key()
    error = await idle_gateway.refusal("{ journeyMap { key } }", key)
    assert "journeyMap(key:)" in error["message"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    unknown = await idle_gateway.refusal("{ journeyMapz { key } }", key)
    assert "journeyMaps" not in str(unknown)
    syntax = await idle_gateway.refusal("{ journeyMaps {", key)
    assert syntax["message"].startswith("Syntax Error")


async def test_what_goes_wrong_inside_stays_inside(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [
        RuntimeError("mongodb://root:secret@host"),
        StoreError("MongoDB refused: {name: 'secret'}"),
        KeyError("secret"),
    ]
    key = await gateway.api_key()
    for failure in failures:

        async def fail(*given: object, failure: Exception = failure, **more: object) -> None:
            raise failure

        monkeypatch.setattr(gateway.users, "page", fail)
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            response = await gateway.post({"query": "{ users { nodes { id } } secretAlias: journeyMaps { key } }"}, key)
        (error,) = response.json()["errors"]
        assert (error["message"], error["path"]) == ("Internal error.", ["users"])
        assert error["extensions"]["code"] == "INTERNAL"
        assert "secret@" not in response.text
        logged = [record for record in caplog.records if record.name == "gateway.api"]
        assert [record.__dict__["id"] for record in logged] == [error["extensions"]["id"]]
        assert logged[0].__dict__["error"] == type(failure).__name__
        assert logged[0].__dict__["field"] == "users"
        everything = "".join(
            str(record.__dict__) for record in caplog.records if record.name.startswith(("gateway", "straw"))
        )
        assert "secret" not in everything


async def test_an_outage_is_told_with_the_time_to_wait(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await gateway.api_key()

    async def away(*given: object, **more: object) -> None:
        raise Unavailable("MongoDB is away.", retry_after=7)

    monkeypatch.setattr(gateway.users, "page", away)
    inside = await gateway.post({"query": "{ users { nodes { id } } }"}, key)
    assert inside.status_code == 200
    assert inside.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    monkeypatch.setattr(gateway.services.callers, "grant_of", away)
    outside = await gateway.post({"query": "{ users { nodes { id } } }"}, key)
    assert outside.status_code == 503
    assert outside.headers["retry-after"] == "7"


async def test_one_workspace_sees_nothing_of_another(gateway: Gateway) -> None:
    from tests.api.gateway_api import track

    ids = await gateway.send(track("Product Viewed", userId="ann"), workspace="other")
    foreign = "Bearer " + await gateway.keyring.create_api_key("other", frozenset({"journeys:read"}))
    user = (
        await gateway.ask(
            '{ users { nodes { id journey(map: "purchase") { id } sessions { nodes { id } } } } }', foreign
        )
    )["users"]["nodes"][0]
    key = await gateway.api_key()
    for id in (*ids, user["id"], user["journey"]["id"], user["sessions"]["nodes"][0]["id"]):
        assert await gateway.ask("query($id: ID!) { node(id: $id) { id } }", key, id=id) == {"node": None}
    nothing = await gateway.ask(
        "{ users { nodes { id } totalCount } events { nodes { id } totalCount } journeys { nodes { id } }"
        ' journeyMaps { stages { users reached } } user(by: {userId: "ann"}) { id } }',
        key,
    )
    assert nothing["users"] == {"nodes": [], "totalCount": 0}
    assert nothing["events"] == {"nodes": [], "totalCount": 0}
    assert nothing["journeys"] == {"nodes": []}
    assert nothing["user"] is None
    assert {stage["reached"] for stage in nothing["journeyMaps"][0]["stages"]} == {0}


async def test_answers_are_json_as_orjson_writes_it(idle_gateway: Gateway) -> None:
    response = await idle_gateway.post(QUERY, await idle_gateway.api_key())
    assert response.content == orjson.dumps({"data": {"journeyMaps": [{"key": "purchase"}]}})
