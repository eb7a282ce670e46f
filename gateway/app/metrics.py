"""The numbers of one process, in Prometheus' terms. Labels come from us alone: routes, codes and verdicts, no ids.

What happens is counted as it happens; what is the case (lag, connections) is read when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

import gateway
from gateway.errors import GatewayError

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Codes of refusals that no error class stands for.
_MORE_CODES = frozenset({"METHOD_NOT_ALLOWED", "INTERNAL", "OVERLOADED", "BAD_REQUEST"})
OTHER = "other"

#: Values of labels, and the number they have.
Tally: TypeAlias = Callable[[], Iterable[tuple[Sequence[str], float]]]


def _codes(kind: type[GatewayError] = GatewayError) -> Iterator[str]:
    yield kind.code
    for inner in kind.__subclasses__():
        yield from _codes(inner)


class Metrics:
    """Everything one gateway counts, in a registry of its own."""

    def __init__(self, role: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        build = ["version", "role"]
        info = Gauge("journey_gateway_build_info", "Version and role; always 1.", build, registry=registry)
        info.labels(gateway.__version__, role).set(1)
        self._codes = frozenset(_codes()) | _MORE_CODES
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._verdicts: dict[tuple[str, str, str], Counter] = {}
        self._make_doors()
        self._make_pipeline()
        self._make_live()

    def _make_doors(self) -> None:
        self._request_seconds = Histogram(
            "journey_gateway_http_request_duration_seconds",
            "Time from a request's headers to the end of its answer, by route and status; event streams are left out.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_open = Gauge(
            "journey_gateway_http_requests_in_progress", "Requests that are being answered.", registry=self.registry
        )
        self.body_bytes = Gauge(
            "journey_gateway_intake_in_flight_bytes",
            "Bytes of request bodies, as they came, whose requests are not answered yet.",
            registry=self.registry,
        )
        self._errors = Counter(
            "journey_gateway_errors", "Refusals and faults told to callers, by code.", ["code"], registry=self.registry
        )
        self._operations = Counter(
            "journey_gateway_graphql_operations",
            "GraphQL operations that ended, by type (query, mutation, subscription, unknown) and outcome (ok, error).",
            ["type", "outcome"],
            registry=self.registry,
        )
        self._operation_seconds = Histogram(
            "journey_gateway_graphql_operation_duration_seconds",
            "Time to answer a GraphQL query or mutation.",
            ["type"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _make_pipeline(self) -> None:
        self._events = Counter(
            "journey_gateway_events",
            "Events by the route and the family of SDKs they came through, and their verdict: accepted, duplicate, "
            "conflict (the id was used before with other content), quarantined or refused (nothing of it is stored).",
            ["door", "family", "verdict"],
            registry=self.registry,
        )
        self.commit_events = Histogram(
            "journey_gateway_commit_events",
            "Events of one group commit, the insert that several requests share.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "journey_gateway_commit_duration_seconds",
            "Time until a majority of MongoDB's members has journaled a group commit.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_events = Histogram(
            "journey_gateway_derivation_batch_events",
            "Events of one batch of derivation.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "journey_gateway_derivation_batch_duration_seconds",
            "Time to derive one batch, transaction included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.mongo_failures = Counter(
            "journey_gateway_mongodb_command_failures",
            "Commands that MongoDB refused or did not answer, by command; a command tried again counts each time.",
            ["command"],
            registry=self.registry,
        )

    def _make_live(self) -> None:
        self.sockets_open = Gauge("journey_gateway_websockets_open", "Open WebSockets.", registry=self.registry)
        self.streams_open = Gauge(
            "journey_gateway_event_streams_open", "Open answers of type text/event-stream.", registry=self.registry
        )
        self.subscriptions_open = Gauge(
            "journey_gateway_subscriptions_open",
            "Subscriptions that follow the feed, by what they follow (event, journey).",
            ["kind"],
            registry=self.registry,
        )
        self.messages = Counter(
            "journey_gateway_subscription_messages",
            "Messages with news that subscriptions were given.",
            ["kind"],
            registry=self.registry,
        )
        self.gaps = Counter(
            "journey_gateway_subscription_gaps",
            "Times a subscription was told that news are lost to it.",
            ["kind"],
            registry=self.registry,
        )

    # -- what happens -------------------------------------------------------------------------------------------

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has its answer."""
        key = (method if method in _METHODS else OTHER, route, status)
        found = self._requests.get(key)
        if found is None:
            found = self._requests[key] = self._request_seconds.labels(key[0], route, str(status))
        found.observe(seconds)

    def ingested(self, door: str, family: str, **verdicts: int) -> None:
        """A delivery has its receipt."""
        for verdict, count in verdicts.items():
            if count:
                key = (door, family, verdict)
                found = self._verdicts.get(key)
                if found is None:
                    found = self._verdicts[key] = self._events.labels(*key)
                found.inc(count)

    def failed(self, code: object) -> str:
        """An error was told to somebody; returns the code it is counted under."""
        known = code if isinstance(code, str) and code in self._codes else OTHER
        self._errors.labels(known).inc()
        return known

    def operated(self, kind: str, seconds: float, *, ok: bool) -> None:
        """A GraphQL operation has ended."""
        self._operations.labels(kind, "ok" if ok else "error").inc()
        if kind in ("query", "mutation"):
            self._operation_seconds.labels(kind).observe(seconds)

    # -- what is the case ---------------------------------------------------------------------------------------

    def watch(self, gauges: Callable[[], Iterable[tuple[str, str, float | None]]]) -> None:
        """Ask `gauges` for (name, explanation, value) at each reading; those without a value are left out."""
        self.registry.register(_Read(gauges))

    def tally(self, name: str, explanation: str, labels: Sequence[str], read: Tally) -> None:
        """Ask `read` for numbers that only grow, each with the values of its labels, at each reading."""
        self.registry.register(_Tally(f"journey_gateway_{name}", explanation, labels, read))

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that `accept` asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Tally(Collector):
    def __init__(self, name: str, explanation: str, labels: Sequence[str], read: Tally) -> None:
        self._name = name
        self._explanation = explanation
        self._labels = labels
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._explanation, labels=self._labels)
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family


class _Read(Collector):
    def __init__(self, gauges: Callable[[], Iterable[tuple[str, str, float | None]]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        for name, explanation, value in self._gauges():
            if value is not None:
                yield GaugeMetricFamily(f"journey_gateway_{name}", explanation, value=value)
