"""Every kind of caller at every door: who gets in where. `pytest -s tests/api/test_callers.py` prints the table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from gateway.access.callers import Callers
from gateway.access.issuers import Issuers
from gateway.api.sdl import sdl_route
from gateway.api.served import ServedSchema
from gateway.api.view import graphql_app
from gateway.collect.tokens import token_routes
from gateway.model.identity import Identity, Member
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.identities import Identities
from gateway.store.lanes import Lanes
from tests.api.gateway_api import Gateway, Socket, load_shop
from tests.flow.doors import NOW, Doors, basic, new_database, open_doors, track
from tests.unit.access.provider import running_provider

DOORS = ("send", "mint user", "mint visitor", "journeys", "KPIs", "traits", "me", "watch", "SDL")

# What each caller gets, door by door: yes, or the code of the refusal (401, 403).
EXPECTED = {
    "nobody": "401 401 401 401 401 401 401 401 401",
    "write key": "yes 403 yes 401 401 401 401 401 401",
    "write key, another origin": "403 403 403 401 401 401 401 401 401",
    "write key, expired": "401 401 401 401 401 401 401 401 401",
    "write key, revoked": "401 401 401 401 401 401 401 401 401",
    "API key, everything": "401 yes yes yes yes yes 403 yes yes",
    "API key, journeys:read": "401 403 403 yes 403 403 403 403 yes",
    "API key, tokens:mint": "401 yes yes 403 403 403 403 403 yes",
    "API key, expired": "401 401 401 401 401 401 401 401 401",
    "API key, revoked": "401 401 401 401 401 401 401 401 401",
    "user's token": "401 403 403 403 403 yes yes yes yes",
    "user's token, key revoked": "401 401 401 401 401 401 401 401 401",
    "user's token, expired": "401 401 401 401 401 401 401 401 401",
    "visitor's token": "401 403 403 403 403 yes yes yes yes",
    "visitor's token, signed in": "401 403 403 403 403 403 403 403 yes",
    "page token": "401 403 yes yes yes 403 403 yes yes",
    "OIDC user": "401 403 403 403 403 yes yes yes yes",
    "OIDC user with kpis:read": "401 403 403 403 yes yes yes yes yes",
    "OIDC colleague": "401 403 403 yes 403 403 403 403 yes",
    "OIDC, another audience": "401 401 401 401 401 401 401 401 401",
    "OIDC, unknown issuer": "401 401 401 401 401 401 401 401 401",
}
QUERIES = {
    "journeys": "{ journeys(first: 1) { nodes { id } } }",
    "KPIs": "{ kpis { key } }",
    "traits": "{ me { traits } }",
    "me": "{ me { id } }",
}
OTHERS_TRAITS = "{ users(first: 1) { nodes { traits } } }"


@dataclass(frozen=True)
class House:
    """All doors over one workspace, and a header's value for each kind of caller."""

    doors: Doors
    gateway: Gateway
    app: Any
    client: httpx2.AsyncClient
    credentials: dict[str, str | None]


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        await Lanes(database).prepare()
        yield database


@pytest.fixture
async def house(prepared: Database) -> AsyncIterator[House]:
    async with open_doors(prepared) as doors, running_provider() as provider:
        plain = provider.issuer(workspace=doors.workspace)
        issuers = Issuers(
            [
                plain,
                replace(plain, issuer="https://kpis.example", permissions=("kpis:read",)),
                replace(plain, issuer="https://staff.example", subject="none", permissions=("journeys:read",)),
            ],
            doors.clock,
            development=True,
        )
        gateway = Gateway(prepared, load_shop(), clock=doors.clock)
        services = replace(gateway.services, callers=Callers(doors.keyring, doors.tokens, issuers))
        schema = ServedSchema(gateway.services.contracts)
        app = graphql_app(schema, services, Settings(env="production"))
        settings = Settings(env="production")
        rest = Starlette(
            routes=[
                *token_routes(
                    doors.keyring, services.callers, doors.tokens, Identities(prepared), doors.suppressed, settings
                ),
                sdl_route(services.callers, settings, schema),
            ]
        )
        await gateway.hub.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(rest), base_url="http://gateway") as client:
            yield House(doors, gateway, app, client, await credentials(doors, provider))
        await gateway.hub.stop()


async def credentials(doors: Doors, provider: Any) -> dict[str, str | None]:
    """A header's value for each kind of caller."""
    book, tokens, workspace = doors.keyring.book, doors.tokens, doors.workspace
    origins = ["https://shop.example"]
    write = await book.create_write_key(workspace, "web", origins=origins)
    short_write = await book.create_write_key(workspace, "web", expires_at=NOW + 1_000)
    lost_write = await book.create_write_key(workspace, "web")
    reader = await book.create_api_key(workspace, ["journeys:read"])
    minter = await book.create_api_key(workspace, ["tokens:mint"])
    short = await book.create_api_key(workspace, ["tokens:mint"], expires_at=NOW + 1_000)
    lost = await book.create_api_key(workspace, ["tokens:mint"])
    ann, visitor, signed_in = Identity("userId", "ann"), Identity("anonymousId", "v"), Identity("anonymousId", "s")
    given = {
        "nobody": None,
        "write key": basic(write.value),
        "write key, another origin": basic(write.value),
        "write key, expired": basic(short_write.value),
        "write key, revoked": basic(lost_write.value),
        "API key, everything": f"Bearer {doors.api_key}",
        "API key, journeys:read": f"Bearer {reader.value}",
        "API key, tokens:mint": f"Bearer {minter.value}",
        "API key, expired": f"Bearer {short.value}",
        "API key, revoked": f"Bearer {lost.value}",
        "user's token": f"Bearer {tokens.mint_user(workspace, ann, 60, by=minter.id)}",
        "user's token, key revoked": f"Bearer {tokens.mint_user(workspace, ann, 60, by=lost.id)}",
        "user's token, expired": f"Bearer {tokens.mint_user(workspace, ann, 60, at_latest=NOW + 1_000)}",
        "visitor's token": f"Bearer {tokens.mint_user(workspace, visitor, 60)}",
        "visitor's token, signed in": f"Bearer {tokens.mint_user(workspace, signed_in, 60)}",
        "page token": f"Bearer {tokens.mint_page(workspace, 60)}",
        "OIDC user": f"Bearer {provider.token(NOW // 1000)}",
        "OIDC user with kpis:read": f"Bearer {provider.token(NOW // 1000, iss='https://kpis.example')}",
        "OIDC colleague": f"Bearer {provider.token(NOW // 1000, iss='https://staff.example')}",
        "OIDC, another audience": f"Bearer {provider.token(NOW // 1000, aud='elsewhere')}",
        "OIDC, unknown issuer": f"Bearer {provider.token(NOW // 1000, iss='https://elsewhere.example')}",
    }
    member = Member((0, 0, b"0"), "group", "0" * 32)
    graph = Identities(doors.database)
    await doors.database.with_transaction(
        lambda session: graph.write(
            workspace, dict.fromkeys((signed_in, Identity("userId", "bob")), member), {}, session
        )
    )
    for one in (lost_write, lost):
        await book.revoke(await book.find(workspace, one.id))
    doors.clock.advance(5_000)
    return given


async def test_every_caller_at_every_door(house: House) -> None:
    got = {
        who: [await at(house, door, who, credential) for door in DOORS] for who, credential in house.credentials.items()
    }
    width = max(map(len, got))
    for row in ("", f"{'':{width}}  {'  '.join(DOORS)}"):
        print(row)
    for who, verdicts in got.items():
        print(f"{who:{width}}  " + "  ".join(f"{one:{len(door)}}" for one, door in zip(verdicts, DOORS, strict=True)))
    assert {who: " ".join(verdicts) for who, verdicts in got.items()} == EXPECTED


async def at(house: House, door: str, who: str, credential: str | None) -> str:
    """What one caller gets at one door."""
    headers = {"content-type": "application/json"}
    if credential is not None:
        headers["authorization"] = credential
    if who.startswith("write key"):
        headers["origin"] = "https://evil.example" if "another origin" in who else "https://shop.example"
    match door:
        case "send":
            return _verdict(await house.doors.bare("/v1/batch", {"batch": [track(who)]}, **headers))
        case "mint user":
            return _verdict(await house.client.post("/v1/token", json={"userId": "somebody"}, headers=headers))
        case "mint visitor":
            return _verdict(await house.client.post("/v1/token", json={"anonymousId": "somebody"}, headers=headers))
        case "watch":
            return await _watch(house.app, credential)
        case "SDL":
            return _verdict(await house.client.get("/schema.graphql", headers=headers))
    query = OTHERS_TRAITS if door == "traits" and _sees_all(who) else QUERIES[door]
    return await _query(house, query, credential)


def _sees_all(who: str) -> bool:
    """Whether traits are those of others: an end user has only their own."""
    return who.startswith(("API key", "page", "OIDC colleague"))


def _verdict(response: Any) -> str:
    return "yes" if response.status_code == 200 else str(response.status_code)


async def _query(house: House, query: str, credential: str | None) -> str:
    house.gateway.app = house.app
    response = await house.gateway.post({"query": query}, credential)
    if response.status_code != 200:
        return str(response.status_code)
    errors = response.json().get("errors")
    if not errors:
        return "yes"
    assert {error["extensions"]["code"] for error in errors} == {"FORBIDDEN"}, errors
    assert response.json().get("data") is None
    return "403"


async def _watch(app: Any, credential: str | None) -> str:
    socket = Socket(app)
    await socket.open()
    try:
        await socket.send(type="connection_init", payload={} if credential is None else {"authorization": credential})
        event = await socket._next()
        if event["type"] == "websocket.close":
            # 4403 is how this protocol says both; what is known is told apart by the reason.
            return "403" if "signed in" in event["reason"] else "401"
        await socket.subscribe("subscription { eventStored { cursor } }")
        message = await socket.receive()
        if message["type"] == "next" and "errors" not in message["payload"]:
            return "yes"
        (error,) = message["payload"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        return "403"
    finally:
        await socket.hang_up()
