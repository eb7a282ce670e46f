"""A gateway for each test of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.store.database import Database
from tests.api.gateway_api import Gateway, load_shop


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[Gateway]:
    """An API over an empty workspace, with live updates."""
    gateway = Gateway(database, load_shop())
    await gateway.prepare()
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()
