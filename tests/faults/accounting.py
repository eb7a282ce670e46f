"""The judgment over the sums of what was sent, by source and hour, against what the writers know.

An answer says what was counted, and in which hour, unless the hour changed meanwhile. Of a request without an answer
nobody knows whether it was counted: all that was lost on the way makes room between the least and the most.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.evidence import Evidence
from tests.faults.history import Request
from tests.faults.messages import HOUR
from tests.faults.tables import Row

VERDICTS = ("accepted", "duplicate", "conflict", "quarantined", "refused")
#: How far a gateway's idea of the server's clock may be from this machine's (ms).
_SKEW = 2_000
#: So long after its writer gave up a request may still be read: by a gateway that stood still, from a held line.
_READ_LATE = 120_000


@dataclass(slots=True)
class Bounds:
    """Of one hour: the least and the most of each verdict, and of all of them (`sent`)."""

    least: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)


def everything_sent_is_counted(evidence: Evidence) -> Iterator[str]:
    """Per source and hour the sums agree with the writers' history, and nothing good is called anything else."""
    sources = {row["source"] for row in evidence.tables["events"]}
    if len(sources) > 1:
        yield f"one key was written with, and events are of the sources {sorted(sources)}"
        return
    stored = Counter((row["source"], _hour(row["receivedAt"])) for row in evidence.tables["events"])
    sums = _sums(evidence)
    bounds = bounds_of(evidence.history.requests)
    for source, hour in sums.keys() | {(source, hour) for source in sources for hour in bounds}:
        counts, bound = sums.get((source, hour), Counter()), bounds.get(hour, Bounds())
        # Whatever was accepted is stored, whether or not the answer arrived.
        bound.most["accepted"] = min(bound.most["accepted"], stored[source, hour])
        sent = sum(counts[verdict] for verdict in VERDICTS)
        for what, number in (*counts.items(), ("sent", sent)):
            if not bound.least[what] <= number <= bound.most[what]:
                told = f"{bound.least[what]} to {bound.most[what]}"
                yield f"{what} of source {source} in hour {hour} is {number}, by the writers it is {told}"


def rows_count_what_they_stored(evidence: Evidence) -> Iterator[str]:
    """No process counts more events accepted than it stored, and no row is closed more often than opened."""
    stored = _stored_by_run(evidence)
    for row in evidence.tables["accounting"]:
        own = stored[_run(row)]
        if row["accepted"] > own:
            yield f"{_run(row)} counts {row['accepted']} accepted and stored {own}"
        if row["closed"] > row["opened"]:
            yield f"{_run(row)} was closed {row['closed']} times and opened {row['opened']} times"


def bounds_of(requests: list[Request]) -> dict[int, Bounds]:
    """The bounds of each hour (ms) in which any of the requests can have been received."""
    found: dict[int, Bounds] = defaultdict(Bounds)
    for request in requests:
        late = 0 if request.counts is not None else _READ_LATE
        hours = range(_hour(request.began - _SKEW), request.ended + late + _SKEW + 1, HOUR)
        for hour in hours:
            bounds = found[hour]
            bounds.most["sent"] += request.messages
            if request.counts is None:
                bounds.most.update(accepted=request.messages, duplicate=request.messages)
            else:
                bounds.most.update(request.counts)
            if request.counts is not None and len(hours) == 1:
                bounds.least["sent"] += request.messages
                bounds.least.update(request.counts)
    return found


def _sums(evidence: Evidence) -> dict[tuple[str, int], Counter[str]]:
    """Counts by source and hour. Of a row that its process left open, the events it stored count as accepted."""
    stored = _stored_by_run(evidence)
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for row in evidence.tables["accounting"]:
        counts = {what: row[what] for what in (*VERDICTS, "replayed")}
        if row["opened"] > row["closed"]:
            counts["accepted"] = max(counts["accepted"], stored[_run(row)])
        found[row["source"], row["hour"]].update(counts)
    return found


def _stored_by_run(evidence: Evidence) -> Counter[Any]:
    return Counter((row["source"], _hour(row["receivedAt"]), row["run"]) for row in evidence.tables["events"])


def _run(row: Row) -> tuple[str, int, int]:
    return row["source"], row["hour"], row["run"]


def _hour(at: int) -> int:
    return at // HOUR * HOUR
