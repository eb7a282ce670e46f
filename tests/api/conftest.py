"""Gateways for tests of the API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from gateway.store.database import Database, connect
from tests.api.gateway_api import Gateway, load_shop


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
    database = connect(f"{mongo_uri}&serverSelectionTimeoutMS=30000", f"test_{uuid.uuid4().hex}")
    gateway = Gateway(database, load_shop())
    await gateway.prepare()
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()
    await gateway.close()
    await database.drop_database()
    await database.close()
