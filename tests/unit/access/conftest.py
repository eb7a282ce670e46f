"""A provider that runs, and the gateway's clock for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.clock import FrozenClock
from tests.unit.access.provider import NOW, Provider, running_provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider() as running:
        yield running


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW * 1000)
