"""Gateways for tests of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.store.database import Database, connect
from tests.api.gateway_api import Gateway, load_shop
from tests.databases import lend


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[Gateway]:
    """An API over an empty workspace, with live updates."""
    gateway = Gateway(database, load_shop())
    await gateway.prepare()
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()
    await gateway.close()


@pytest.fixture(scope="session")
async def idle_gateway(mongo_uri: str) -> AsyncIterator[Gateway]:
    """One for all the tests that store nothing."""
    async with lend(mongo_uri) as name:
        database = connect(f"{mongo_uri}&serverSelectionTimeoutMS=30000", name)
        gateway = Gateway(database, load_shop())
        await gateway.prepare()
        await gateway.hub.start()
        yield gateway
        await gateway.hub.stop()
        await gateway.close()
        await database.close()
