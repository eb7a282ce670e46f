"""A gateway on a real socket inside the test's own process: what `serve` builds, without the start of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from gateway.app.building import Gateway, open_gateway, open_spans
from gateway.app.serving import Serving, listen, serving
from gateway.flags import Flags
from gateway.model.scope import PERMISSIONS
from gateway.settings import Settings
from tests.databases import lend
from tests.flow.doors import basic
from tests.pace import PATIENCE


@dataclass(frozen=True, slots=True)
class Served:
    """One gateway with the workspace `main`."""

    gateway: Gateway
    serving: Serving
    client: httpx2.AsyncClient
    port: int
    write_key: str
    api_key: str

    @property
    def write(self) -> dict[str, str]:
        return {"authorization": basic(self.write_key)}

    @property
    def api(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}

    async def track(self, message_id: str, **rest: Any) -> httpx2.Response:
        body = {"userId": "ada", "event": "Product Viewed", "messageId": message_id, **rest}
        return await self.client.post("/v1/track", json=body, headers=self.write)

    async def graphql(self, query: str, **variables: Any) -> httpx2.Response:
        return await self.client.post("/graphql", json={"query": query, "variables": variables}, headers=self.api)

    async def ready(self) -> tuple[int, dict[str, Any]]:
        answer = await self.client.get("/readyz")
        return answer.status_code, answer.json()

    async def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """What /metrics says, by name and labels; fails on what Prometheus could not read."""
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@asynccontextmanager
async def serve(mongo_uri: str, *, flags: Flags | None = None, **settings: Any) -> AsyncIterator[Served]:
    """A gateway on a fresh database, or on the one that is named."""
    given = {"mongo_uri": mongo_uri, "drain_seconds": 0.0, "columnar_url": "off", **settings}
    async with AsyncExitStack() as stack:
        if "database" not in given:
            given["database"] = await stack.enter_async_context(lend(mongo_uri))
        wanted = Settings(**given)
        spans = await stack.enter_async_context(open_spans(wanted))
        gateway = await stack.enter_async_context(open_gateway(wanted, spans))
        if flags is not None:
            gateway = replace(gateway, connectors=replace(gateway.connectors, flags=flags))
        write_key = await gateway.keyring.create_write_key("main", "web")
        api_key = await gateway.keyring.create_api_key("main", frozenset(PERMISSIONS))
        await stack.enter_async_context(gateway.deriving())
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        running = await stack.enter_async_context(serving(gateway, listener))
        client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
        await stack.enter_async_context(client)
        yield Served(gateway, running, client, port, write_key, api_key)
