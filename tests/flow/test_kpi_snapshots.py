"""A gateway as users run it writes down its KPIs by itself, and after a restart not once more."""

from __future__ import annotations

from typing import Any

from tests.flow.conftest import RunningGateway

ASK = "{ kpis { key cadence snapshots { nodes { start end n takenAt } } } }"


def counts(data: dict[str, Any]) -> dict[str, int]:
    return {one["key"]: len(one["snapshots"]["nodes"]) for one in data["kpis"]}


def test_snapshots_are_taken_and_survive_a_restart(running: RunningGateway) -> None:
    expected = {one["key"]: one["cadence"] is not None for one in running.graphql(ASK)["kpis"]}
    data = running.until(ASK, lambda found: counts(found) == {key: int(has) for key, has in expected.items()})
    running.stop()
    running.start()
    running.batch({"type": "track", "event": "A", "userId": "ann"})
    running.until("{ events { totalCount } }", lambda found: found["events"]["totalCount"] == 1)
    assert running.graphql(ASK) == data
