"""Gateways as operators run them: processes of `serve`, each behind a proxy; the last with a clock that can jump."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
import orjson

from tests.faults.mongods import until
from tests.faults.processes import Process, free_port
from tests.faults.proxy import Proxy

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 2.0
DATABASE = "faults"


class Gateway:
    """One gateway process. Clients speak to `url`, the proxy's."""

    def __init__(self, number: int, mongo_uri: str, directory: Path, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.number = number
        self.port = free_port()
        self.proxy = Proxy(self.port)
        self.process = Process(f"gateway {number}", directory / f"gateway{number}.log")
        self.clock: Path | None = None
        own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        self.environment = own | {
            "GATEWAY_MONGO_URI": mongo_uri,
            "GATEWAY_DATABASE": DATABASE,
            # A map in the language that the checker's oracle speaks, whatever the shop's own becomes.
            "GATEWAY_SCHEMA_DIR": str(Path(__file__).parent / "schema"),
            "GATEWAY_DRIVER": os.environ.get("GATEWAY_DRIVER", "pymongo"),
            "GATEWAY_LEASE_SECONDS": str(lease_seconds),
            "GATEWAY_DRAIN_SECONDS": "0.3",
            "GATEWAY_DATA_DIR": str(directory / "data"),
            "NO_COLOR": "1",
            "FAULTS_SINKS": "{}",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def command(self, *arguments: str) -> bytes:
        """The output of a `journey-gateway` command against the same database."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            check=True,
            timeout=300,
        ).stdout

    def deliver_to(self, sinks: Mapping[str, str]) -> None:
        """Its destinations, by name and address."""
        self.environment["FAULTS_SINKS"] = orjson.dumps(sinks).decode()

    async def make_keys(self) -> tuple[str, str]:
        """A write key and an API key of the workspace `main`."""
        keys = orjson.loads(await asyncio.to_thread(self.command, "init", "--json"))
        return keys["writeKey"], keys["apiKey"]

    def start(self) -> None:
        environment = dict(self.environment)
        if self.clock is not None:
            environment["FAULTS_CLOCK"] = str(self.clock)
        served = [sys.executable, "-m", "tests.faults.serving", "serve", "--port", str(self.port)]
        self.process.start(served, environment | {"PYTHONPATH": str(ROOT)})

    async def ready(self) -> None:
        """Wait until it says so; an end before that is told with its last words."""
        async with httpx2.AsyncClient(timeout=2) as client:

            async def look() -> bool:
                assert self.process.running, f"{self.process.name} ended: {self.process.tail()}"
                try:
                    return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

            await until(look, f"{self.process.name} is ready")

    async def restart(self) -> None:
        """Started until it stays: a start in the middle of an outage may give up, as supervisors know."""
        for attempt in range(20):
            self.start()
            try:
                await self.ready()
            except AssertionError:
                if attempt == 19:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    def set_clock(self, offset: str) -> None:
        """Move the process's wall clock: "+0", "+3600", "-3600" (seconds)."""
        assert self.clock is not None
        self.clock.write_text(offset)
