"""The suite for flag providers, on each way a provider gets its flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gateway_launchdarkly.connector import LaunchDarkly
from gateway_openfeature.connector import OpenFeature
from gateway_unleash.connector import Unleash

from gateway.testing import FaultServer, FlagProviderContract, Received, Reply
from tests.connectors import test_launchdarkly, test_openfeature, test_unleash


class FromFile(FlagProviderContract):
    """Flags from a file that each test finds at `file`."""

    file: Path
    document: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _written(self, tmp_path: Path) -> None:
        self.file = tmp_path / "flags.json"
        self.file.write_text(json.dumps(self.document))


class TestOpenFeature(FromFile):
    connector = OpenFeature
    flags = ("banner", "theme", "limit", "rate", "layout", "half")
    document: ClassVar[Mapping[str, Any]] = {"flags": test_openfeature.FLAGS}

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {"file": str(self.file), "poll_seconds": 0.1}


class TestLaunchDarklyFile(FromFile):
    connector = LaunchDarkly
    flags = tuple(test_launchdarkly.FLAGS)
    document: ClassVar[Mapping[str, Any]] = {"flags": test_launchdarkly.FLAGS}

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {"files": [str(self.file)], "poll_seconds": 0.1}


class TestLaunchDarkly(FlagProviderContract):
    """Polled; the stream is tried by the connector's own tests."""

    connector = LaunchDarkly
    settings: ClassVar[Mapping[str, Any]] = {
        "sdk_key": "env:LD_SDK_KEY",
        "stream": False,
        "start_seconds": 1,
        "request_seconds": 1,
    }
    flags = tuple(test_launchdarkly.FLAGS)

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {**self.settings, "base_uri": server.url, "stream_uri": server.url, "events_uri": server.url}

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"flags": test_launchdarkly.FLAGS, "segments": {}})


class TestUnleashFile(FromFile):
    connector = Unleash
    flags = ("banner", "for-ann", "off", "text", "number", "object", "plain", "paying")
    document: ClassVar[Mapping[str, Any]] = {"version": 2, "features": test_unleash.FEATURES}

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {"file": str(self.file), "refresh_seconds": 1}


class TestUnleash(FlagProviderContract):
    connector = Unleash
    settings: ClassVar[Mapping[str, Any]] = {"token": "env:UNLEASH_TOKEN", "request_seconds": 1}
    flags = TestUnleashFile.flags

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        return {**self.settings, "url": f"{server.url}/api"}

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"version": 2, "features": test_unleash.FEATURES})

    def harmless(self, request: Received) -> bool:
        """The SDK registers the application as it starts, not when it is checked."""
        return request.url.endswith("/client/register") or super().harmless(request)
