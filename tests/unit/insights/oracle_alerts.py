"""When a rule fires and recovers, worked out anew at every look from all looks before it.

Imports nothing from the product. A rule is a dict: comparison, threshold, hysteresis, minimum, lasting (ms), noData,
muted (a set of looks, by their place). Looks are (at ms, value or None, n), in order.
"""

from __future__ import annotations

from typing import Any

Look = tuple[int, float | None, int]


def beyond(rule: dict[str, Any], value: float | None, threshold: float) -> bool:
    assert value is not None
    return bool(
        {"gt": value > threshold, "gte": value >= threshold, "lt": value < threshold, "lte": value <= threshold}[
            rule["comparison"]
        ]
    )


def happened(rule: dict[str, Any], looks: list[Look]) -> list[tuple[int, str]]:
    told: list[tuple[int, str]] = []
    begins = 0  # the first look behind the last recovery
    for place, (at, value, n) in enumerate(looks):
        missing = value is None or n < rule["minimum"]
        if told and told[-1][1] == "fired":
            toward = -1 if rule["comparison"] in ("gt", "gte") else 1
            back = rule["threshold"] + toward * rule["hysteresis"]
            well = rule["noData"] == "ok" if missing else not beyond(rule, value, back)
            if well:
                told.append((at, "recovered"))
                begins = place + 1
        elif verdict(rule, looks, place) == "wrong":
            first = at
            for earlier in range(place - 1, begins - 1, -1):
                said = verdict(rule, looks, earlier)
                if said == "well":
                    break
                if said == "wrong":
                    first = looks[earlier][0]
            if at - first >= rule["lasting"]:
                told.append((at, "fired"))
    return told


def verdict(rule: dict[str, Any], looks: list[Look], place: int) -> str:
    """What one look says of a rule that does not fire."""
    _, value, n = looks[place]
    if place in rule["muted"]:
        return "well"
    if value is None or n < rule["minimum"]:
        return {"keep": "nothing", "ok": "well", "alert": "wrong"}[rule["noData"]]
    return "wrong" if beyond(rule, value, rule["threshold"]) else "well"
