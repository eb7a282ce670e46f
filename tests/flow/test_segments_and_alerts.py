"""Segments and alert rules in a gateway as users run it: kept up, watched, and the same after a restart."""

from __future__ import annotations

from typing import Any

from tests.flow.conftest import RunningGateway

SEGMENTS = """{ segments { key count users { nodes { identities { value } } } }
  sessionStats(input: {range: {last: "2d"}, segment: "regulars"}) { people } }"""
RULES = "{ alertRules { key status lookedAt value } alerts { nodes { key count resolvedAt } } }"


def order(number: int, user: str, at: str) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": user,
        "messageId": f"{user}-{number}",
        "timestamp": at,
        "properties": {"order_id": f"o-{user}-{number}"},
    }


def regulars(data: dict[str, Any]) -> tuple[int, list[str]]:
    (one,) = (each for each in data["segments"] if each["key"] == "regulars")
    return one["count"], [identity["value"] for node in one["users"]["nodes"] for identity in node["identities"]]


def looked_at(data: dict[str, Any]) -> dict[str, str | None]:
    return {one["key"]: one["lookedAt"] for one in data["alertRules"]}


def test_who_is_in_a_segment_and_what_fires_outlives_a_restart(running: RunningGateway) -> None:
    now = running.graphql('{ kpi(key: "csat") { result(range: {last: "1d"}) { asOf } } }')["kpi"]["result"]["asOf"]
    yesterday = running.graphql('{ trend(input: {range: {last: "1d"}}) { start } }')["trend"]["start"]
    running.batch(*(order(number, "ann", yesterday) for number in range(3)), order(1, "bob", yesterday))
    data = running.until(SEGMENTS, lambda data: regulars(data)[0] == 1)
    assert regulars(data) == (1, ["ann"])
    assert data["sessionStats"]["people"] == 1
    stopped = running.until(RULES, lambda data: all(looked_at(data).values()))
    assert {one["key"]: one["status"] for one in stopped["alertRules"]}["satisfaction_drops"] == "OK"
    running.stop()
    running.start()
    running.batch(*(order(number, "bob", now) for number in (2, 3)))
    assert regulars(running.until(SEGMENTS, lambda data: regulars(data)[0] == 2))[0] == 2
    again = running.graphql(RULES)
    assert set(looked_at(again)) == {"events_are_lost", "orders_have_stopped", "satisfaction_drops"}
    assert all(when is not None and when >= (looked_at(stopped)[key] or "") for key, when in looked_at(again).items())
    assert len({one["key"] for one in again["alerts"]["nodes"]}) == len(again["alerts"]["nodes"]), "nothing twice"
