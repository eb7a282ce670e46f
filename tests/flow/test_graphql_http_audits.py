"""GraphQL over HTTP and event streams, judged by published Node packages against a gateway on a real socket."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.app.building import Gateway, open_gateway
from gateway.app.serving import listen, serving
from gateway.model.scope import PERMISSIONS
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings

PEERS = Path(__file__).parents[1] / "peers"
AUDITS = 61
SECONDS = 60.0

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        shutil.which("node") is None, reason="no Node on this machine; `make peers` says what is missing"
    ),
    pytest.mark.skipif(
        not (PEERS / "node_modules" / "graphql-sse").exists(), reason="`make peers` installs graphql-sse"
    ),
]


@asynccontextmanager
async def at(gateway: Gateway, port: int = 0) -> AsyncIterator[str]:
    """The gateway, on a port for as long as this is open."""
    with listen("127.0.0.1", port) as listener:
        async with serving(gateway, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/graphql"


@pytest.fixture(scope="module")
async def gateway(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    settings = Settings(
        mongo_uri=mongo_uri, database="audits", data_dir=tmp_path_factory.mktemp("audits"), drain_seconds=0.0
    )
    async with open_gateway(settings) as gateway, gateway.deriving():
        yield gateway
        await gateway.database.drop_database()


@pytest.fixture(scope="module")
async def authorization(gateway: Gateway) -> str:
    return "Bearer " + await gateway.keyring.create_api_key("main", frozenset(PERMISSIONS))


@pytest.mark.matrix("Client", "npm:graphql-http", "query")
async def test_every_audit_of_graphql_http_is_ok(gateway: Gateway, authorization: str) -> None:
    async with at(gateway) as url:
        done = await asyncio.to_thread(
            subprocess.run,
            ["node", "audits.mjs", url, authorization],
            cwd=PEERS,
            capture_output=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr.decode()
    results = orjson.loads(done.stdout)
    assert [one for one in results if one["status"] != "ok"] == []
    assert len(results) == AUDITS


@pytest.mark.matrix("Client", "npm:graphql-sse", "subscription", "resume")
@pytest.mark.matrix("Client", "npm:graphql-ws", "subscription", "resume")
async def test_streams_of_both_modes_tell_what_sockets_tell_across_a_restart(
    gateway: Gateway, authorization: str
) -> None:
    async with at(gateway) as url:
        port = int(url.split(":")[2].split("/")[0])
        client = await asyncio.create_subprocess_exec(
            "node",
            "sse.mjs",
            url,
            authorization,
            cwd=PEERS,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert await line(client) == "ready"
        await happen(gateway, "A", "B")
        first = await heard(client, 2)
    # The gateway has stopped: streams have ended, without `complete`, and the socket has been sent away.
    await happen(gateway, "C")
    async with at(gateway, port):
        await happen(gateway, "D")
        both = await heard(client, 4)
        assert client.stdin is not None
        client.stdin.close()
        assert await client.wait() == 0
    for name in ("distinct", "single", "socket"):
        assert [event["name"] for event in first[name]] == ["A", "B"], name
        assert [event["name"] for event in both[name]] == ["A", "B", "C", "D"], name
        assert both[name] == both["socket"]


async def happen(gateway: Gateway, *events: str) -> None:
    messages: list[Any] = [{"type": "track", "event": event, "userId": "ada"} for event in events]
    await gateway.intake.ingest(Delivery("main", "test", messages))


async def heard(client: asyncio.subprocess.Process, count: int) -> Any:
    assert client.stdin is not None
    client.stdin.write(f"{count}\n".encode())
    return orjson.loads(await line(client))


async def line(client: asyncio.subprocess.Process) -> str:
    assert client.stdout is not None
    async with asyncio.timeout(SECONDS):
        return (await client.stdout.readline()).decode().strip()
