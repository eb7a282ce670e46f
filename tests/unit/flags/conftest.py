"""Threads of providers end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.flags.fakes import end_threads


@pytest.fixture(autouse=True)
async def _ended() -> AsyncIterator[None]:
    yield
    await end_threads()
