"""Benchmarks share the running gateway of the flow tests."""

from __future__ import annotations

import pytest

from tests.flow.conftest import gateway_environment, running

__all__ = ["gateway_environment", "running"]


@pytest.fixture(scope="session")
def mongo_uri(mongo_uri: str) -> str:
    """A machine that stands still for seconds is no outage of MongoDB: it would end a measurement."""
    patience = "connectTimeoutMS=30000&serverSelectionTimeoutMS=30000&heartbeatFrequencyMS=30000"
    return mongo_uri + ("&" if "?" in mongo_uri else "/?") + patience
