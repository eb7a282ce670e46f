"""Changes of segments, alert rules and rules about answers: who is meant, and when somebody is told."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.contract.changes.grades import BREAKING, DANGEROUS, SAFE, Both, Change, Done, Grade
from gateway.contract.lineage import Node


def segment_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of segments."""
    before, after = both.before.segments, both.after.segments
    for key in sorted({*before, *after}):
        if key not in before:
            yield _segment(both, key, "is added", SAFE, "nothing asks about it yet", "added")
        elif key not in after:
            yield _segment(both, key, "is removed", BREAKING, "whoever asks about it finds nothing any more", "removed")
        else:
            if before[key].hash != after[key].hash:
                why = "others are in it, and numbers of before and after cannot be compared"
                yield _segment(both, key, "means other users", DANGEROUS, why)
            if _texts(before[key]) != _texts(after[key]):
                yield _segment(both, key, "is described otherwise", SAFE, "it is for people")


def alert_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of alert rules."""
    before, after = both.before.alerts, both.after.alerts
    for key in sorted({*before, *after}):
        if key not in before:
            yield _alert(both, key, "is added", SAFE, "people are told of more", "added")
        elif key not in after:
            yield _alert(both, key, "is removed", DANGEROUS, "nobody is told any more", "removed")
        elif before[key].hash != after[key].hash:
            yield _alert(both, key, "fires for something else", DANGEROUS, "it begins anew, and what is open is closed")
        elif (before[key].muted, before[key].channels) != (after[key].muted, after[key].channels):
            yield _alert(both, key, "tells others, or at other times", DANGEROUS, "somebody may not be told any more")
        elif before[key] != after[key]:
            yield _alert(both, key, "is described otherwise", SAFE, "it is for people")


def rule_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of rules about answers."""
    before, after = both.before.rules, both.after.rules
    for key in sorted({*before, *after}):
        if key not in before:
            yield Change("rule", key, "added", f"rule {key} is added", SAFE, "people look after more answers")
        elif key not in after:
            why = "nobody looks after these answers any more"
            yield Change("rule", key, "removed", f"rule {key} is removed", DANGEROUS, why)
        elif before[key] != after[key]:
            why = "others look after other answers"
            yield Change("rule", key, "changed", f"rule {key} says something else", DANGEROUS, why)


def _texts(segment: object) -> tuple[object, ...]:
    return tuple(getattr(segment, name) for name in ("name", "description", "owners", "term"))


def _segment(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    depend = both.dependants(Node("segment", key))
    return Change("segment", key, change, f"segment {key} {what}", grade, why, depend)


def _alert(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    return Change("alert", key, change, f"alert {key} {what}", grade, why, both.dependants(Node("alert", key)))
