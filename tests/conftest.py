"""A real mongod for the whole run, a database for each test, and no way out to other machines."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import json_logic
import pytest
from hypothesis import HealthCheck, settings

from gateway.errors import Unavailable
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedMongod
from tests import memory, order
from tests.databases import keeping_databases, lend
from tests.matrix import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)
from tests.pace import TOO_SLOW, strain

# The SDKs of Mixpanel and of flagd each bring a package of this name; whichever was installed last is here. Mixpanel's
# adds to a table that flagd's does not have, for flags that no test asks of it.
if not hasattr(json_logic, "operations"):
    json_logic.operations = {}

# The HTTP client looks for this package with every request to an app in this process. Where it is not, Python would
# search all of its path for it each time.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_runtest_makereport", "pytest_terminal_summary"]

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TEST_COMMANDS = ("--setParameter", "enableTestCommands=1")


# pymongo's asyncio client leaves a socket to the garbage collector when closing it cuts an attempt to connect short.
# Only a socket that was never connected is forgiven: one of ours that leaks has a remote address.
HALF_OPEN = r"ignore:unclosed <socket\.socket fd=\d+, family=2, type=1, proto=6(?!.*raddr):ResourceWarning"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", HALF_OPEN)
    config.pluginmanager.register(order)


@pytest.fixture(scope="session")
def mongod_binary() -> Path | None:
    """The setting GATEWAY_MONGOD, as the tests run with it."""
    given = os.environ.get("GATEWAY_MONGOD")
    return Path(given) if given else None


@pytest.fixture(scope="session")
async def mongo_uri(mongod_binary: Path | None) -> AsyncIterator[str]:
    """A replica set that takes fail points: the one at GATEWAY_TEST_MONGO_URI, else one started for this run."""
    given = os.environ.get("GATEWAY_TEST_MONGO_URI")
    if given:
        async with keeping_databases(given):
            yield given
        return
    with memory.folder() as directory:
        mongod = await EmbeddedMongod.start(directory, mongod=mongod_binary, extra_args=TEST_COMMANDS)
        try:
            async with keeping_databases(mongod.uri):
                yield mongod.uri
        finally:
            await mongod.stop()


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    """A database that holds nothing, with every collection and index."""
    async with lend(mongo_uri) as name:
        database = connect(_patient(mongo_uri), name)
        try:
            yield database
        finally:
            await database.close()


@pytest.fixture
async def bare_database(mongo_uri: str) -> AsyncIterator[Database]:
    """A database that does not exist yet, dropped after the test."""
    database = connect(_patient(mongo_uri), f"test_{uuid.uuid4().hex}")
    try:
        yield database
        with suppress(Unavailable):  # the whole server goes when the tests have ended
            await database.drop_database()
    finally:
        await database.close()


def _patient(uri: str) -> str:
    """A machine that stands still for seconds is no outage of MongoDB. (Benchmarks bring a patience of their own.)"""
    if "serverSelectionTimeoutMS" in uri:
        return uri
    return uri + ("&" if "?" in uri else "/?") + "serverSelectionTimeoutMS=30000"


@pytest.fixture(autouse=True)
def _no_outgoing_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("network"):
        return
    connect_anywhere = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not _is_loopback(address[0]):
            raise AssertionError(f"a test tried to reach {address[0]}; mark it `network` if it must")
        connect_anywhere(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


@pytest.fixture(autouse=True)
def _quiet_machine(request: pytest.FixtureRequest) -> None:
    """Tests marked `timed` are skipped, and say so, where the machine itself is too slow for what they judge."""
    if request.node.get_closest_marker("timed") and (found := strain()) > TOO_SLOW:
        pytest.skip(f"this machine is {found:.0f} times slower than usual just now, and the test judges times")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
