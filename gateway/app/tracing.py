"""OpenTelemetry traces over OTLP/HTTP. Loaded only when GATEWAY_TRACES_URL is set; needs the extra `tracing`.

A thread of OpenTelemetry's own sends spans in batches: while the collector is away they are dropped, and nobody waits.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

import gateway
from gateway.app.exchanges import HEALTH
from gateway.app.spans import Span, Spans, Value
from gateway.clock import REQUEST_ID

_SEND_SECONDS = 5
_CLOSE_SECONDS = 2.0
#: Group commits whose events may still ask for them.
_KEPT_COMMITS = 8
_W3C = TraceContextTextMapPropagator()


class Traces(Spans):
    """Spans that go to a collector."""

    on = True

    def __init__(self, url: str, role: str) -> None:
        names = {"service.version": gateway.__version__, "journey_gateway.role": role}
        if "OTEL_SERVICE_NAME" not in os.environ:
            names["service.name"] = "journey-gateway"
        # Neither the process's global provider nor its exit handlers: a gateway is closed by whoever opened it.
        self._provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=_SEND_SECONDS)))
        self._tracer = self._provider.get_tracer("journey-gateway", gateway.__version__)
        self._commits: deque[tuple[frozenset[bytes], SpanContext]] = deque(maxlen=_KEPT_COMMITS)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        if scope["path"] in HEALTH:
            yield Span()
            return
        parent = _W3C.extract(_carrier(scope))
        attributes: dict[str, Value] = {"journey_gateway.request_id": REQUEST_ID.get() or ""}
        span = self._tracer.start_span(scope["type"], parent, SpanKind.SERVER, attributes)
        with _current(span) as open_span:
            yield open_span

    @contextmanager
    def span(self, words: str, **values: Value) -> Iterator[Span]:
        with _current(self._tracer.start_span(words, attributes=values)) as span:
            yield span

    def begin(self, words: str, **values: Value) -> Span:
        return _Traced(self._tracer.start_span(words, attributes=values))

    @contextmanager
    def committed(self, events: Sequence[Mapping[str, Any]]) -> Iterator[Span]:
        # Requests share a commit: it belongs to none of them, and they link to it.
        span = self._tracer.start_span("group commit", Context(), attributes={"events": len(events)})
        with _current(span) as open_span:
            yield open_span
        self._commits.append((frozenset(bytes(event["_id"]) for event in events), span.get_span_context()))

    def link(self, span: Span, event: bytes) -> None:
        if isinstance(span, _Traced):
            found = next((context for events, context in reversed(self._commits) if event in events), None)
            if found is not None:
                span.link(found)

    async def close(self) -> None:
        # In a thread that nobody waits for longer: the exporter tries for as long as it likes.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _CLOSE_SECONDS)


class _Traced(Span):
    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    def note(self, **values: Value) -> None:
        self._span.set_attributes(values)

    def name(self, words: str) -> None:
        self._span.update_name(words)

    def fail(self, what: str) -> None:
        self._span.set_attribute("error.type", what)
        self._span.set_status(Status(StatusCode.ERROR))

    def link(self, context: SpanContext) -> None:
        self._span.add_link(context)

    def end(self) -> None:
        self._span.end()


@contextmanager
def _current(span: OpenSpan) -> Iterator[_Traced]:
    """The span as the parent of what happens inside. Of an exception its type is told, not its words."""
    traced = _Traced(span)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield traced
        except Exception as error:
            traced.fail(type(error).__name__)
            raise


def _carrier(scope: Scope) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
