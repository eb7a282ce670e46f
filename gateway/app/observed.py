"""The parts of the gateway with an eye on them: each does what it did, and counts and traces it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, cast

from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from gateway.app.exchanges import COUNTED, SERVED, Exchanges, route_of
from gateway.app.metrics import OTHER, Metrics
from gateway.app.spans import Span, Spans
from gateway.clock import monotonic
from gateway.live.hub import Hub, News, Watch
from gateway.model.event import Event, Receipt
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.owner import Deriver
from gateway.store.database import Database, Document, InsertOutcome, Timestamp
from gateway.store.events import Events
from gateway.store.lanes import Lease


class ObservedEvents(Events):
    """Events whose group commits are measured."""

    def __init__(self, database: Database, metrics: Metrics, spans: Spans) -> None:
        super().__init__(database)
        self._metrics = metrics
        self._spans = spans

    async def insert(self, documents: Sequence[Document]) -> InsertOutcome:
        began = monotonic()
        with self._spans.committed(documents):
            outcome = await super().insert(documents)
        self._metrics.commit_events.observe(len(documents))
        self._metrics.commit_seconds.observe(monotonic() - began)
        return outcome


class ObservedIntake(Intake):
    """Intake whose verdicts are counted, by the door they came through."""

    def __init__(self, *parts: Any, metrics: Metrics, spans: Spans, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._metrics = metrics
        self._spans = spans

    async def ingest(self, delivery: Delivery) -> Receipt:
        door, family = _door()
        with self._spans.span("ingest", family=family, events=len(delivery.messages)) as span:
            receipt = await super().ingest(delivery)
            counts = receipt.counts()
            span.note(**counts)
            if receipt.ids:
                self._spans.link(span, receipt.ids[0])
        self._metrics.ingested(door, family, **counts)
        return receipt


class ObservedDeriver(Deriver):
    """Derivation whose batches are measured."""

    def __init__(self, *parts: Any, metrics: Metrics, spans: Spans, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._metrics = metrics
        self._spans = spans

    async def apply(
        self, lease: Lease, events: list[Event], *, offset: Timestamp | None = None, waiting: bool = False
    ) -> None:
        began = monotonic()
        with self._spans.span("derive batch", events=len(events)):
            await super().apply(lease, events, offset=offset, waiting=waiting)
        self._metrics.batch_events.observe(len(events))
        self._metrics.batch_seconds.observe(monotonic() - began)


class ObservedHub(Hub):
    """A hub whose subscriptions and messages are counted."""

    def __init__(self, *parts: Any, metrics: Metrics) -> None:
        super().__init__(*parts)
        self._metrics = metrics

    async def subscribe(self, watch: Watch, after: str | None = None) -> AsyncIterator[News]:
        """As the hub's own."""
        count_open = self._metrics.subscriptions_open.labels(watch.kind)
        messages, gaps = self._metrics.messages.labels(watch.kind), self._metrics.gaps.labels(watch.kind)
        source = cast("Any", super().subscribe(watch, after))
        count_open.inc()
        try:
            async with aclosing(source) as stream:
                async for news in stream:
                    if news.row is not None:
                        messages.inc()
                    elif news.gap is not None:
                        gaps.inc()
                    yield news
        finally:
            count_open.dec()


class Operations(SchemaExtension):
    """Counts and traces GraphQL operations by type and outcome; texts, names and variables are the caller's own."""

    def __init__(self, exchanges: Exchanges, metrics: Metrics, spans: Spans) -> None:
        self._exchanges = exchanges
        self._metrics = metrics
        self._spans = spans

    def on_operation(self) -> Iterator[None]:
        served = SERVED.get()
        if served is not None:
            served[COUNTED] = True
        began = monotonic()
        span = self._spans.begin("GraphQL")
        try:
            yield
        finally:  # a subscription mostly ends by being dropped
            self._ended(span, monotonic() - began)

    def _ended(self, span: Span, seconds: float) -> None:
        kind = self._kind()
        codes = self._codes()
        for code in codes:
            self._exchanges.fail(code)
        span.name(f"GraphQL {kind}")
        span.note(**{"graphql.operation.type": kind})
        if codes:
            span.fail(str(codes[0]))
        span.end()
        self._metrics.operated(kind, seconds, ok=not codes)

    def _kind(self) -> str:
        try:
            kind: OperationType = self.execution_context.operation_type
        except Exception:
            return "unknown"  # the text is no GraphQL, or has no such operation
        return str(kind.value)

    def _codes(self) -> list[object]:
        found = self.execution_context.pre_execution_errors or getattr(self.execution_context.result, "errors", None)
        return [(error.extensions or {}).get("code", "INVALID_INPUT") for error in found or ()]


def _door() -> tuple[str, str]:
    """The route that a delivery came through, and the family of SDKs that the route is for."""
    scope = SERVED.get()
    if scope is None:
        return OTHER, OTHER
    path = route_of(scope)
    if path.startswith("/graphql"):
        return path, "graphql"
    family, dot, _ = str(getattr(scope.get("route"), "name", "")).partition(".")
    return path, family if dot else OTHER
