"""Friction, visit by visit. A visit: user, run, stage, entered, left (-1: lasts), status (0 active, 1, 2 abandoned)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.unit.insights.oracles.population import Event, of_users, share, spread

Visit = dict[str, Any]


def events_of(visits: list[Visit], number: int, events: list[Event]) -> list[Event]:
    """Those that fall into a visit; at the ms where it ends and another begins they are of the other."""
    visit = visits[number]
    found = []
    for of_user in of_users(events):
        for event in of_user:
            if event["user"] != visit["user"] or event["code"] == -1:
                continue
            before = [
                other
                for other, one in enumerate(visits)
                if one["user"] == event["user"] and one["entered"] <= event["at"]
            ]
            if before and before[-1] == number and (visit["left"] == -1 or event["at"] <= visit["left"]):
                found.append(event)
    return found


def friction(
    events: list[Event], visits: list[Visit], stages: int, errors: tuple[int, ...], scores: tuple[int, ...], low: float
) -> list[dict[str, Any]]:
    """The visits are in the order (user, entered, place in the run)."""
    told = []
    for number, visit in enumerate(visits):
        run = visit["user"], visit["run"]
        of_run = [other for other, one in enumerate(visits) if (one["user"], one["run"]) == run]
        last = of_run[-1] == number
        inside = events_of(visits, number, events)
        told.append(
            visit
            | {
                "open": last and visit["status"] == 0,
                "dropped": last and visit["status"] == 2,
                "back": not last and visits[of_run[of_run.index(number) + 1]]["stage"] < visit["stage"],
                "errors": sum(event["code"] in errors for event in inside),
                "repeats": sum(a["code"] == b["code"] for a, b in pairwise(inside)),
                "low": sum(
                    event["code"] in scores and event["value"] is not None and event["value"] <= low for event in inside
                ),
            }
        )
    table = []
    for stage in range(stages):
        here = [one for one in told if one["stage"] == stage]
        settled = len(here) - sum(one["open"] for one in here)
        table.append(
            {
                "stage": stage,
                "visits": len(here),
                "users": len({one["user"] for one in here}),
                "open": sum(one["open"] for one in here),
                "dropped": share(sum(one["dropped"] for one in here), settled),
                "went_back": share(sum(one["back"] for one in here), settled),
                "with_error": share(sum(one["errors"] > 0 for one in here), len(here)),
                "with_repeat": share(sum(one["repeats"] > 0 for one in here), len(here)),
                "with_low_score": share(sum(one["low"] > 0 for one in here), len(here)),
                "errors": sum(one["errors"] for one in here),
                "repeats": sum(one["repeats"] for one in here),
                "low_scores": sum(one["low"] for one in here),
                "lasted": spread([one["left"] - one["entered"] for one in here if one["left"] != -1]),
            }
        )
    return table
