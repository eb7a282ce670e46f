"""Benchmarks share the running gateway of the flow tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.flow.conftest import RunningGateway, free_port, gateway_environment, running

__all__ = ["gateway_environment", "running"]


@pytest.fixture(scope="session")
def mongo_uri(mongo_uri: str) -> str:
    """A machine that stands still for seconds is no outage of MongoDB: it would end a measurement."""
    patience = "connectTimeoutMS=30000&serverSelectionTimeoutMS=30000&heartbeatFrequencyMS=30000"
    return mongo_uri + ("&" if "?" in mongo_uri else "/?") + patience


@pytest.fixture
def gateway_of(gateway_environment: dict[str, str]) -> Iterator[Callable[[str], RunningGateway]]:
    """Makes gateways of a role on one database, not started yet; none outlives the test, however that ends."""
    made: list[RunningGateway] = []

    def make(role: str) -> RunningGateway:
        made.append(RunningGateway(gateway_environment | {"GATEWAY_ROLE": role}, free_port()))
        return made[-1]

    yield make
    for gateway in made:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()
