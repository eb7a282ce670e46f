"""The same database through either driver."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import cast

import pytest

from gateway.store.database import Database, Driver, connect
from tests.store.seam import Commands


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture(params=["pymongo", "motor"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return cast(Driver, request.param)


@pytest.fixture
async def store(mongo_uri: str, driver: Driver, commands: Commands) -> AsyncIterator[Database]:
    database = connect(mongo_uri, f"test_{uuid.uuid4().hex}", driver=driver, listeners=[commands])
    try:
        yield database
        await database.drop_database()
    finally:
        await database.close()
