"""For pytest: the fixture `fault_server`, and suites whose failures show values. It loads nothing until it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gateway.testing.faults import FaultServer

pytest.register_assert_rewrite("gateway.testing.suites")


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """An HTTP server on this machine that answers as `server.answer` says, faults included."""
    from gateway.testing.faults import FaultServer

    with FaultServer() as server:
        yield server
