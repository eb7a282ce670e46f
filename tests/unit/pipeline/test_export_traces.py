"""The trace of a run in an event log: in which stage each of its events fell, and in none between stages."""

from __future__ import annotations

from gateway.pipeline.export import _journey_trace
from tests.unit.journeys.cases import START
from tests.unit.journeys.test_changes import runs


def test_events_between_stages_are_in_none() -> None:
    (run,) = runs("A", "B", "Out", "A", "B", "Out")
    trace = _journey_trace(run)
    assert [trace.stage(START + minute * 60_000) for minute in range(6)] == ["a", "b", None, "a", "b", None]
    assert "stage" not in dict(trace.attributes)
    (within,) = runs("A", "B")
    assert dict(_journey_trace(within).attributes)["stage"] == "b"
