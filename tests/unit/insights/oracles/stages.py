"""What stage metrics see, run by run. Imports nothing from the product.

A run: user, status (active, completed, abandoned), started, last (ms), visits [(stage, entered, left or None)].
"""

from __future__ import annotations

from typing import Any

Run = dict[str, Any]


def following(run: Run, place: int) -> Any:
    return run["visits"][place + 1] if place + 1 < len(run["visits"]) else None


def judged(run: Run, place: int) -> bool:
    return following(run, place) is not None or run["status"] != "active"


def of_visit(run: Run, place: int, order: list[str], measure: str) -> float | None:
    stage, entered, left = run["visits"][place]
    later = following(run, place)
    if measure == "users":
        return 1.0
    if measure == "time":
        return float(left - entered) / 1000
    if not judged(run, place):
        return None
    if measure == "dropOff":
        return float(later is None and run["status"] == "abandoned")
    if later is None:
        return 0.0
    way = order.index(later[0]) - order.index(stage)
    return float(way > 0 if measure == "conversion" else way < 0)


def of_run(run: Run, order: list[str], measure: str) -> float | None:
    if measure == "users":
        return 1.0
    if measure == "time":
        return float(run["last"] - run["started"]) / 1000
    if measure == "backTracks":
        way = [order.index(stage) for stage, _, _ in run["visits"]]
        return float(any(way[place + 1] < way[place] for place in range(len(way) - 1)))
    if run["status"] == "active":
        return None
    return float(run["status"] == ("completed" if measure == "conversion" else "abandoned"))


def observations(
    runs: list[Run], order: list[str], stage: str | None, measure: str, between: tuple[int, int]
) -> list[dict[str, Any]]:
    found = []
    for run in runs:
        if stage is None:
            if between[0] <= run["started"] < between[1] and (measure != "time" or run["status"] == "completed"):
                found.append({"user": run["user"], "value": of_run(run, order, measure), "part": -1})
            continue
        for place, (key, entered, left) in enumerate(run["visits"]):
            if key != stage or not between[0] <= entered < between[1]:
                continue
            if measure != "time" or left is not None:
                found.append({"user": run["user"], "value": of_visit(run, place, order, measure), "part": -1})
    return found
