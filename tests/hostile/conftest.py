"""The whole gateway in this process, with a workspace that has something to hide."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from starlette.types import ASGIApp

from gateway.app.building import Gateway, open_gateway
from gateway.app.serving import build_app
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings
from tests.flow.doors import basic
from tests.hostile.cases import track

#: Words that must never be seen outside: those of MongoDB, of our code, and what the users of the workspace hide.
SECRET_TRAIT = "canary-of-ada@example.com"
STAGES = ("Product List Viewed", "Product Added", "Order Completed")


@dataclass(frozen=True, slots=True)
class Whole:
    """The application with its credentials."""

    gateway: Gateway
    app: ASGIApp
    client: httpx2.AsyncClient
    credentials: dict[str, str]


@pytest.fixture(scope="session")
async def whole(mongo_uri: str) -> AsyncIterator[Whole]:
    settings = Settings(mongo_uri=mongo_uri, database=f"hostile_{uuid.uuid4().hex}", columnar_url="off")
    async with open_gateway(settings) as gateway:
        async with gateway.deriving(), gateway.publishing(), gateway.watching():
            while not gateway.watch.ready(gateway.watch.checks()):  # noqa: ASYNC110 - the watch tells nobody
                await asyncio.sleep(0.05)
            credentials = await _credentials(gateway)
            await _fill(gateway)
            # An exception that reaches the server would be a 500 there; here it must not pass unseen.
            transport = httpx2.ASGITransport(app := build_app(gateway), raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Whole(gateway, app, client, credentials)
        await gateway.database.drop_database()


async def _credentials(gateway: Gateway) -> dict[str, str]:
    keyring, tokens = gateway.keyring, gateway.tokens
    write = await keyring.create_write_key("main", "web")
    return {
        "write": basic(write).removeprefix("Basic "),
        "write_key": write,
        "api": await keyring.create_api_key("main", frozenset(PERMISSIONS)),
        "other": await keyring.create_api_key("other", frozenset(PERMISSIONS)),
        "user": tokens.mint_user("main", Identity("userId", "ada"), 60),
        "visitor": tokens.mint_user("main", Identity("anonymousId", "visitor-1"), 60),
        "page": tokens.mint_page("main", 60),
    }


async def _fill(gateway: Gateway) -> None:
    """150 users with a journey each: enough for lists in lists to hurt."""
    identify = {"type": "identify", "userId": "ada", "anonymousId": "anon-ada", "traits": {"email": SECRET_TRAIT}}
    messages = [
        identify,
        *(track(f"seed-{n}-{stage}", userId=f"u{n}", event=stage) for n in range(150) for stage in STAGES),
    ]
    receipt = await gateway.intake.ingest(Delivery("main", "seed", messages))
    assert receipt.accepted == len(messages)
    while await gateway.events.underived("main"):  # noqa: ASYNC110 - derivation has no event for it
        await asyncio.sleep(0.05)
