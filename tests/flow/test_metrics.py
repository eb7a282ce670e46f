"""/metrics: Prometheus can read it, its numbers are those of what was really sent, and not everybody may see it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from prometheus_client.parser import text_string_to_metric_families

from gateway.configuration import Tables
from gateway.connectors.delivery import OUTCOMES
from tests.flow.served import Served, serve
from tests.pace import PATIENCE

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
TOKEN = "scrape-7f1c"


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    sink: dict[str, Any] = {"use": "webhook", "url": "http://127.0.0.1:9/", "secret": "env:METRICS_SINK"}
    sink |= {"events": ["View"], "journeys": False}  # (an address that is refused)
    os.environ["METRICS_SINK"] = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    try:
        async with serve(mongo_uri, metrics_token=TOKEN, connectors=Tables({"sink": sink}, {})) as served:
            yield served
    finally:
        del os.environ["METRICS_SINK"]


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"journey_gateway_{name}", frozenset(labels.items())), 0.0)


async def until(served: Served, done: Callable[[Samples], bool]) -> Samples:
    async with asyncio.timeout(PATIENCE):
        while not done(samples := await served.samples()):  # noqa: ASYNC110 - derivation tells nobody
            await asyncio.sleep(0.05)
    return samples


async def test_numbers_are_those_of_what_was_sent(served: Served) -> None:
    before = await served.samples()

    def grown(samples: Samples, name: str, **labels: str) -> float:
        return value(samples, name, **labels) - value(before, name, **labels)

    batch = [{"type": "track", "userId": "u", "event": "View", "messageId": f"b{number}"} for number in range(5)]
    assert (await served.client.post("/v1/batch", json={"batch": batch}, headers=served.write)).status_code == 200
    for _ in range(2):
        await served.track("t1")
    await served.track("t1", event="Another")
    await served.track("t2", event=7)
    await served.client.post("/v1/track", json={"event": "x"}, headers={"authorization": "Basic d2tfbm9uZTo="})
    await served.graphql("{ users { nodes { id } } }")
    await served.graphql("{ nothing }")
    await served.client.get("/no/such/ada@example.org")
    after = await until(served, lambda now: grown(now, "derivation_batch_events_sum") >= 6)

    track = {"door": "/v1/track", "family": "segment"}
    assert grown(after, "events_total", **track, verdict="accepted") == 1
    assert grown(after, "events_total", **track, verdict="duplicate") == 1
    assert grown(after, "events_total", **track, verdict="conflict") == 1
    assert grown(after, "events_total", **track, verdict="quarantined") == 1
    assert grown(after, "events_total", door="/v1/batch", family="segment", verdict="accepted") == 5
    seconds = "http_request_duration_seconds_count"
    assert grown(after, seconds, method="POST", route="/v1/track", status="200") == 4
    assert grown(after, seconds, method="POST", route="/v1/track", status="401") == 1
    assert grown(after, seconds, method="GET", route="(none)", status="404") == 1
    assert grown(after, "commit_events_sum") == 8
    assert grown(after, "errors_total", code="UNAUTHENTICATED") == 1
    assert grown(after, "errors_total", code="NOT_FOUND") == 1
    assert grown(after, "errors_total", code="INVALID_INPUT") == 1
    assert grown(after, "graphql_operations_total", type="query", outcome="ok") == 1
    assert grown(after, "graphql_operations_total", type="query", outcome="error") == 1
    await until(served, lambda now: _of_sink(now) > 0)
    told = {dict(labels)["outcome"] for name, labels in after if name == "journey_gateway_deliveries_total"}
    assert told == set(OUTCOMES), "also those that have not happened"
    assert value(after, "derivation_lanes_held") == 16
    assert value(after, "ready") == value(after, "mongodb_up") == 1
    assert value(after, "feed_head") >= 6
    assert 0 <= value(after, "derivation_lag_seconds") < 5
    assert value(after, "intake_in_flight_bytes") == 0


def _of_sink(samples: Samples) -> float:
    return sum(value(samples, "deliveries_total", instance="sink", outcome=one) for one in OUTCOMES)


async def test_open_subscriptions_and_their_messages_are_counted(served: Served) -> None:
    before = await served.samples()
    transport = WebsocketsTransport(
        url=f"ws://127.0.0.1:{served.port}/graphql",
        init_payload={"authorization": f"Bearer {served.api_key}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with Client(transport=transport) as session:
        news = session.subscribe(gql("subscription { eventStored { cursor event { name } } }"))
        await anext(news)
        during = await served.samples()
        assert value(during, "websockets_open") == 1
        assert value(during, "subscriptions_open", kind="event") == 1
        await served.track("live-1")
        await anext(news)
        await news.aclose()
    after = await until(served, lambda now: value(now, "websockets_open") == 0)
    assert value(after, "subscriptions_open", kind="event") == 0
    sent = "subscription_messages_total"
    assert value(after, sent, kind="event") - value(before, sent, kind="event") == 1
    assert value(after, "graphql_operations_total", type="subscription", outcome="ok") >= 1


async def test_a_command_that_mongodb_refuses_is_counted_by_its_name(served: Served) -> None:
    before = value(await served.samples(), "mongodb_command_failures_total", command="aggregate")
    with pytest.raises(Exception, match="MongoDB refused"):
        await served.gateway.database.aggregate("events", [{"$noSuchStage": {}}])
    assert value(await served.samples(), "mongodb_command_failures_total", command="aggregate") == before + 1


async def test_names_follow_the_conventions_and_labels_hold_nothing_that_users_sent(served: Served) -> None:
    await served.track("secret-id", userId="someone@example.org", event="Very Private Event")
    text = (await served.client.get("/metrics")).text
    for sent in ("someone@example.org", "Very Private Event", "secret-id", served.write_key, "main"):
        assert f'"{sent}"' not in text
        assert sent == "main" or sent not in text
    families = list(text_string_to_metric_families(text))
    ours = [family for family in families if family.name.startswith("journey_gateway_")]
    assert len(ours) >= 20
    assert {"process_resident_memory_bytes", "python_info"} <= {family.name for family in families}
    for family in ours:
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", family.name)
        assert len(family.documentation) > 10
        assert family.documentation.endswith("."), family.documentation
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_events"))
        assert not (family.type == "gauge" and family.name.endswith("_total"))


async def test_openmetrics_is_spoken_to_who_asks_for_it(served: Served) -> None:
    answer = await served.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"x-forwarded-for": "203.0.113.9"}, 403),
        ({"forwarded": "for=203.0.113.9"}, 403),
        ({"x-forwarded-for": "203.0.113.9", "authorization": f"Bearer {TOKEN}"}, 200),
        ({"x-forwarded-for": "203.0.113.9", "authorization": "Bearer wrong"}, 403),
        ({"authorization": "Bearer wrong"}, 403),
    ],
)
async def test_metrics_are_for_this_machine_and_for_the_token(
    served: Served, headers: dict[str, str], status: int
) -> None:
    answer = await served.client.get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert set(answer.json()) == {"code", "message"}
