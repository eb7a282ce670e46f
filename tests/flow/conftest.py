"""A gateway as users run it: its own process, the real command, a real mongod."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.databases import lend
from tests.pace import PATIENCE

ROOT = Path(__file__).parents[2]
#: No colours, and no parts in the folder where the tests run.
QUIET = {"NO_COLOR": "1", "GATEWAY_COLUMNAR_URL": "off"}
#: A busy machine takes its time; a gateway that fails to start says so at once.
START_SECONDS = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningGateway:
    """One gateway process with a workspace of its own."""

    environment: dict[str, str]
    port: int
    write_key: str = ""
    api_key: str = ""
    program: tuple[str, ...] = ("-m", "gateway")
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `journey-gateway …` against the same database."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.program, "serve", "--port", str(self.port)],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(self.process.communicate()[0])
            try:
                httpx2.get(self.url + "/v1/batch", timeout=1)
                return
            except httpx2.TransportError:
                time.sleep(0.05)
        raise AssertionError("the gateway did not start")

    def set_up(self) -> None:
        """Make the workspace `main` and start."""
        for line in self.command("init").stdout.splitlines():
            if line.startswith("Write key"):
                self.write_key = line.split()[-1]
            if line.startswith("API key"):
                self.api_key = line.split()[-1]
        self.start()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def graphql(self, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
        """Data of a query; fails on errors."""
        answer = httpx2.post(
            self.url + "/graphql",
            json={"query": query, "variables": variables},
            headers={"authorization": f"Bearer {token or self.api_key}"},
            timeout=PATIENCE,
        ).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def batch(self, *messages: dict[str, Any]) -> dict[str, Any]:
        answer = httpx2.post(
            self.url + "/v1/batch", json={"batch": list(messages)}, auth=(self.write_key, ""), timeout=PATIENCE
        )
        assert answer.status_code == 200, answer.text
        counts: dict[str, Any] = answer.json()
        return counts

    def until(self, query: str, done: Any, seconds: float = PATIENCE, **variables: Any) -> dict[str, Any]:
        """Ask again until `done(data)`; derivation takes a moment."""
        deadline = time.monotonic() + seconds
        while True:
            data = self.graphql(query, **variables)
            if done(data):
                return data
            assert time.monotonic() < deadline, data
            time.sleep(0.05)


@pytest.fixture
async def gateway_environment(mongo_uri: str) -> AsyncIterator[dict[str, str]]:
    """Environment of commands that share one fresh database."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    async with lend(mongo_uri) as name:
        yield {**own, "GATEWAY_MONGO_URI": mongo_uri, "GATEWAY_DATABASE": name, **QUIET}


@pytest.fixture
def running(gateway_environment: dict[str, str]) -> Iterator[RunningGateway]:
    """A running gateway with an empty workspace `main`."""
    gateway = RunningGateway(gateway_environment, free_port())
    gateway.set_up()
    yield gateway
    if gateway.process is not None and gateway.process.poll() is None:
        gateway.stop()
