"""Traces: what a collector is sent, that it may be away, and that nothing is loaded when they are off."""

from __future__ import annotations

import asyncio
import builtins
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.app.building import open_spans
from gateway.errors import SetupError
from gateway.settings import Settings
from tests.flow.conftest import ROOT, free_port
from tests.flow.served import serve
from tests.pace import PATIENCE

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@dataclass
class Collector:
    """Takes OTLP over HTTP and keeps the spans."""

    url: str
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for part in sent.resource_spans:
            self.resources.append({one.key: one.value.string_value for one in part.resource.attributes})
            for scope in part.scope_spans:
                self.spans += scope.spans
        return Response(b"", media_type="application/x-protobuf")

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    port = free_port()
    collector = Collector(f"http://127.0.0.1:{port}/v1/traces")
    app = Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield collector
    finally:
        server.should_exit = True
        await task


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_collector_is_sent_what_happens_and_nothing_that_users_sent(mongo_uri: str) -> None:
    async with collecting() as collector, serve(mongo_uri, traces_url=collector.url) as served:
        parent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r-1"}
        body = {"userId": "ada@example.org", "event": "Planted Name", "messageId": "planted-id"}
        url = "/v1/track?writeKey=planted-key"
        answer = await served.client.post(url, json=body, headers=served.write | parent)
        assert answer.status_code == 200
        await served.client.post(
            "/graphql", json={"query": "query Planted { users { nodes { id } } }"}, headers=served.api
        )
        await served.graphql("{ plantedField }")
        await served.client.get("/healthz")
        transport = WebsocketsTransport(
            url=f"ws://127.0.0.1:{served.port}/graphql",
            init_payload={"authorization": f"Bearer {served.api_key}"},
            subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        )
        async with Client(transport=transport) as session:
            await anext(session.subscribe(gql("subscription { eventStored { cursor } }")))
        async with asyncio.timeout(PATIENCE):
            while await served.gateway.events.underived("main"):  # noqa: ASYNC110 - derivation tells nobody
                await asyncio.sleep(0.05)
    (request,) = collector.named("POST /v1/track")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    said = attributes(request)
    assert said["http.route"] == "/v1/track"
    assert said["http.response.status_code"] == 200
    assert said["journey_gateway.request_id"] == "r-1"
    (ingest,) = collector.named("ingest")
    assert ingest.parent_span_id == request.span_id
    assert attributes(ingest)["accepted"] == 1
    (commit,) = collector.named("group commit")
    assert [link.span_id for link in ingest.links] == [commit.span_id]
    assert commit.trace_id != request.trace_id, "a commit is shared by requests"
    assert attributes(commit)["events"] == 1
    assert collector.named("derive batch")
    queries = collector.named("GraphQL query")
    assert len(queries) == 2
    assert sorted(span.status.code for span in queries) == [0, 2]
    assert {span.parent_span_id for span in queries} == {span.span_id for span in collector.named("POST /graphql")}
    assert len(collector.named("GraphQL subscription")) == 1
    assert not collector.named("GET /healthz")
    assert collector.resources[0]["service.name"] == "journey-gateway"
    text = "".join(str(span) for span in collector.spans).lower()
    assert "planted" not in text
    assert "ada@" not in text


async def test_a_collector_that_is_away_stops_nobody(mongo_uri: str) -> None:
    async with serve(mongo_uri, traces_url=f"http://127.0.0.1:{free_port()}/v1/traces") as served:
        for number in range(20):
            assert (await served.track(f"m{number}")).status_code == 200
        traces, served_spans = served.gateway.spans, served.gateway.spans.on
        assert served_spans
        began = time.monotonic()
    await asyncio.sleep(0)
    assert traces.on
    assert time.monotonic() - began < 60, "closing is bounded"


async def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.app.tracing", raising=False)
    load = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError) as refused:
        async with open_spans(Settings(traces_url="http://127.0.0.1:4318/v1/traces")):
            pass
    assert "pip install 'journey-gateway[tracing]'" in refused.value.hint


def test_nothing_is_loaded_when_traces_are_off() -> None:
    code = "import sys, gateway.cli.running; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert run.stdout.strip() == "[]"
