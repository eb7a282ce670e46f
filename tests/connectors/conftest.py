"""What tests of connectors speak to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.connectors.http import GuardedHttp
from tests.connectors.sink import Sink


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """Another system; vendors' clients reach it without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Sink()
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    """The gateway's own client, allowed to ask this machine."""
    made = GuardedHttp(["127.0.0.0/8"])
    yield made
    await made.close()
