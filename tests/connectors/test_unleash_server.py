"""The real Unleash server, from npm, on a PostgreSQL of its own: flags switched in its admin API arrive."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from gateway_unleash.connector import Unleash, UnleashConfig

from gateway.plugin import Secret
from tests.connectors.surroundings import next_change, one, opened, person, surroundings
from tests.flow.conftest import free_port
from tests.flow.projects import MODULES
from tests.pace import PATIENCE

SERVER = MODULES / "unleash-server" / "dist" / "server.js"
ADMIN, BACKEND = "*:*.admin-of-this-test", "default:development.backend-of-this-test"


def binaries() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def missing() -> str:
    if shutil.which("node") is None or not SERVER.exists():
        return "no unleash-server; `make peers` installs it"
    if binaries() is None:
        return "no PostgreSQL, such as Debian's package postgresql"
    if os.geteuid() == 0 and not any(one.pw_name == "postgres" for one in pwd.getpwall()):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


def postgres_command(folder: Path, port: int) -> Sequence[str]:
    """Prepare a cluster; the command that runs it."""
    bin_ = binaries()
    assert bin_ is not None
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    made = [str(bin_ / "initdb"), "-D", str(data), "-U", "unleash", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(made, user=user, check=True, capture_output=True, timeout=PATIENCE, cwd=folder)
    options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(folder)]
    return [str(bin_ / "postgres"), "-D", str(data), "-p", str(port), *options]


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """The port of a PostgreSQL of this test alone."""
    port = free_port()
    with TemporaryDirectory(prefix="journey-gateway-", ignore_cleanup_errors=True) as name:
        command = postgres_command(Path(name), port)
        user = "postgres" if os.geteuid() == 0 else None
        process = subprocess.Popen(command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=name)
        try:
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


@dataclass(frozen=True, slots=True)
class Server:
    """A running Unleash and its admin API."""

    url: str
    client: httpx2.AsyncClient

    async def admin(self, method: str, path: str, body: Any = None) -> None:
        answer = await self.client.request(method, f"/api/admin/projects/default/features{path}", json=body)
        assert answer.status_code < 300, answer.text

    async def switch(self, key: str, on: bool) -> None:
        await self.admin("POST", f"/{key}/environments/development/{'on' if on else 'off'}")


@pytest.fixture
async def server(postgres: int) -> AsyncIterator[Server]:
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(postgres),
        "DATABASE_NAME": "postgres",
        "DATABASE_USERNAME": "unleash",
        "DATABASE_PASSWORD": "none",
        "DATABASE_SSL": "false",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "LOG_LEVEL": "error",
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
        "INIT_ADMIN_API_TOKENS": ADMIN,
        "INIT_BACKEND_API_TOKENS": BACKEND,
    }
    process = await asyncio.create_subprocess_exec(
        *("node", str(SERVER)), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    reading = asyncio.create_task(process.stdout.read())
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=url, headers={"Authorization": ADMIN}, timeout=PATIENCE) as client:
            await until_healthy(client, process, reading)
            yield Server(url, client)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        await reading


async def until_healthy(
    client: httpx2.AsyncClient, process: asyncio.subprocess.Process, reading: asyncio.Task[bytes]
) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if process.returncode is not None:
                raise AssertionError((await reading).decode())
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.2)


async def test_flags_of_a_real_server(server: Server) -> None:
    constraint = {"contextName": "traits.plan", "operator": "IN", "values": ["pro"]}
    strategy = {"name": "flexibleRollout", "constraints": [constraint], "parameters": {"rollout": "100"}}
    strategy["parameters"] |= {"stickiness": "default", "groupId": "banner"}  # type: ignore[operator]
    variants = [{"name": "blue", "weight": 1000, "weightType": "variable", "stickiness": "default"}]
    strategy["variants"] = [{**one, "payload": {"type": "string", "value": "azure"}} for one in variants]
    await server.admin("POST", "", {"name": "banner", "type": "release"})
    await server.admin("POST", "/banner/environments/development/strategies", strategy)
    token = Secret("env:T", {"T": BACKEND})
    config = UnleashConfig(url=f"{server.url}/api", token=token, refresh_seconds=1)
    async with opened(Unleash(config, surroundings())) as unleash:
        changes = unleash.changes()
        assert await next_change(changes) == {"banner"}
        assert (await one(unleash, "banner", person(traits__plan="pro"))).value is False  # not on yet
        await server.switch("banner", True)
        assert await next_change(changes) == {"banner"}
        found = await one(unleash, "banner", person(traits__plan="pro"))
        assert (found.value, found.variant) == ("azure", "blue")
        assert (await one(unleash, "banner", person(traits__plan="free"))).value is False
        assert (await unleash.check()).ok
        await server.switch("banner", False)
        assert await next_change(changes) == {"banner"}
        assert (await one(unleash, "banner", person(traits__plan="pro"))).value is False
        await server.admin("DELETE", "/banner")
        assert await next_change(changes) == {"banner"}
        assert (await one(unleash, "banner", person())).error == "FLAG_NOT_FOUND"


async def test_a_token_that_is_none_opens_and_says_so(server: Server) -> None:
    config = UnleashConfig(url=f"{server.url}/api", token=Secret("env:T", {"T": "wrong"}), refresh_seconds=1)
    async with opened(Unleash(config, surroundings())) as unleash:
        health = await unleash.check()
        assert not health.ok
        assert "token" in health.hint
