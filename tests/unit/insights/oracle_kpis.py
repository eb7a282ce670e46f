"""What a KPI is, worked out the slow and obvious way. Imports nothing from the product.

Events are dicts: sk, name, at, seq, properties. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Step = Callable[[Event], bool]


def funnel(
    events: list[Event],
    user_of: dict[str, str],
    steps: list[Step],
    between: tuple[int, int],
    window: int | None,
    as_of: int,
) -> tuple[list[int], int]:
    """Users who reached each step with any of their attempts, and users who still have time."""
    people: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: (event["at"], event["seq"])):
        people.setdefault(user_of.get(event["sk"]) or event["sk"], []).append(event)
    depths, waiting = [], 0
    for own in people.values():
        entries = [
            index for index, event in enumerate(own) if steps[0](event) and between[0] <= event["at"] < between[1]
        ]
        if not entries:
            continue
        depth = max(_deepest(own, entry, entry, 0, steps, window) for entry in entries)
        depths.append(depth)
        if window is not None and depth < len(steps):
            waiting += any(as_of - own[entry]["at"] <= window for entry in entries)
    return [sum(depth > step for depth in depths) for step in range(len(steps))], waiting


def _deepest(own: list[Event], entry: int, here: int, step: int, steps: list[Step], window: int | None) -> int:
    """How many steps the best way on from `here` reaches, trying every way."""
    best = step + 1
    if best == len(steps):
        return best
    for later in range(here + 1, len(own)):
        in_time = window is None or own[later]["at"] - own[entry]["at"] <= window
        if in_time and steps[best](own[later]):
            best = max(best, _deepest(own, entry, later, step + 1, steps, window))
            if best == len(steps):
                break
    return best


def satisfied(events: list[Event], between: tuple[int, int]) -> tuple[int, int]:
    """Answers of 4 and 5, and all answers, of a survey `csat` with scores from 1 to 5."""
    scores = [
        event["properties"]["score"]
        for event in events
        if event["name"] == "Answer"
        and between[0] <= event["at"] < between[1]
        and event["properties"].get("survey") == "csat"
        and type(event["properties"].get("score")) in (int, float)
        and 1 <= event["properties"]["score"] <= 5
    ]
    return sum(score >= 4 for score in scores), len(scores)
