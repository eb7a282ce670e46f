"""The judgment over destinations: nothing missing, nothing out of order, nothing twice but for a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults.sinks import Sink
from tests.faults.tables import LANES, Row, Tables

#: How long after a fault what it interrupted may come again: leases run out, and tries are spread.
_AFTER_SECONDS = 30.0


def announced(feed: list[Row]) -> dict[str, tuple[str, int, int]]:
    """Of each announced event (in hexadecimal) its user, lane and number."""
    return {bytes(row["event"]).hex(): (row["user"], row["lane"], row["seq"]) for row in feed if row["kind"] == "event"}


def missing(sink: Sink, feed: list[Row]) -> Iterator[str]:
    """Every announced event came at least once, and nothing that was not announced."""
    told = announced(feed)
    for key in told.keys() - sink.keys:
        yield f"{sink.manner}: event {key} never came"
    for key in sink.keys - told.keys():
        yield f"{sink.manner}: event {key} came and was not announced"


def out_of_order(sink: Sink, feed: list[Row]) -> Iterator[str]:
    """Of each user, events came for the first time in the order in which they were announced."""
    told = announced(feed)
    last: dict[tuple[str, int], tuple[int, str]] = {}
    seen: set[str] = set()
    for one in sink.taken:
        if one.key in seen or one.key not in told:
            continue
        seen.add(one.key)
        user, lane, number = told[one.key]
        before, key = last.get((user, lane), (0, ""))
        if number < before:
            yield f"{sink.manner}: of {user} number {number} ({one.key}) came behind {before} ({key})"
        last[user, lane] = max((number, one.key), (before, key))


def twice_without_reason(sink: Sink, faults: list[tuple[float, float]]) -> Iterator[str]:
    """What comes again comes within or soon after a fault (monotonic seconds)."""
    counts: Counter[str] = Counter()
    for one in sink.taken:
        counts[one.key] += 1
        excused = any(began <= one.at <= settled + _AFTER_SECONDS for began, settled in faults)
        if counts[one.key] > 1 and not excused:
            yield f"{sink.manner}: event {one.key} came {counts[one.key]} times, and nothing was broken"


def unfinished(tables: Tables) -> Iterator[str]:
    """Every cursor stands at the head of its lane, every destination delivers, and no alert about one is open."""
    heads = {row["_id"]: row["seq"] for row in tables["lanes"] if row["_id"] in range(LANES)}
    at = {(row["instance"], row["lane"]): row["seq"] for row in tables["delivery_cursors"]}
    for row in tables["destinations"]:
        if row["state"] != "delivering":
            yield f"{row['instance']} is {row['state']}"
        for lane, head in heads.items():
            if at.get((row["instance"], lane), 0) != head:
                yield f"{row['instance']} stands at {at.get((row['instance'], lane))} of {head} in lane {lane}"
    for row in tables["alerts"]:
        if row["open"]:
            yield f"an alert is open: {row['key']}: {row['title']}"
