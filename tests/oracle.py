"""What users, sessions and journeys a set of events gives, worked out the slow and obvious way.

Imports nothing from the product. Events are dicts: id, type, name, userId, anonymousId, previousId, at (ms), seq.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]

GAP = 30 * 60 * 1000
NOBODY = {"", "null", "none", "anonymous", "guest", "undefined", "unknown", "0"}


def order(event: Event) -> tuple[int, int, bytes]:
    return (event["at"], event["seq"], event["id"])


def sender(event: Event) -> tuple[str, str]:
    return ("userId", event["userId"]) if event["userId"] is not None else ("anonymousId", event["anonymousId"])


def edge(event: Event) -> tuple[tuple[str, str], tuple[str, str]] | None:
    if event["userId"] is None:
        return None
    if event["type"] == "identify" and event["anonymousId"] is not None:
        return ("anonymousId", event["anonymousId"]), ("userId", event["userId"])
    if event["type"] == "alias" and event["previousId"] not in (None, event["userId"]):
        return ("anonymousId", event["previousId"]), ("userId", event["userId"])
    return None


def people(events: Iterable[Event]) -> list[set[tuple[str, str]]]:
    """The sets of identities that are one person each."""
    groups: list[set[tuple[str, str]]] = []

    def group_of(identity: tuple[str, str]) -> set[tuple[str, str]]:
        for group in groups:
            if identity in group:
                return group
        groups.append({identity})
        return groups[-1]

    for event in sorted(events, key=order):
        group_of(sender(event))
        pair = edge(event)
        if pair is None:
            continue
        left, right = group_of(pair[0]), group_of(pair[1])
        if left is right or any(value.strip().lower() in NOBODY for _, value in pair):
            continue
        if len({identity for identity in left | right if identity[0] == "userId"}) > 1:
            continue
        groups.remove(right)
        left |= right
    return groups


def sessions(events: list[Event]) -> list[tuple[int, int, int]]:
    """(start, end, events) of one person's sorted events."""
    found: list[tuple[int, int, int]] = []
    for event in events:
        if found and event["at"] - found[-1][1] <= GAP:
            start, _, count = found[-1]
            found[-1] = (start, event["at"], count + 1)
        else:
            found.append((event["at"], event["at"], 1))
    return found


def journeys(
    events: list[Event], stages: list[tuple[str, set[str]]], limit: int, as_of: int
) -> list[tuple[str, list[str], int]]:
    """(status, stages visited, started) of one person's runs; a run starts in any stage but the last, which ends it."""
    names = [name for name, _ in stages]
    runs: list[dict[str, Any]] = []
    for event in events:
        stage = next((name for name, entering in stages if event["name"] in entering), None)
        run = runs[-1] if runs and runs[-1]["status"] == "active" else None
        if run is not None and run["last"] + limit <= event["at"]:
            run["status"] = "abandoned"
            run = None
        if stage is None:
            continue
        if run is None:
            if stage != names[-1]:
                runs.append({"status": "active", "stages": [stage], "start": event["at"], "last": event["at"]})
            continue
        run["last"] = event["at"]
        if names.index(stage) > names.index(run["stages"][-1]):
            run["stages"].append(stage)
        if run["stages"][-1] == names[-1]:
            run["status"] = "completed"
    if runs and runs[-1]["status"] == "active" and runs[-1]["last"] + limit <= as_of:
        runs[-1]["status"] = "abandoned"
    return [(run["status"], run["stages"], run["start"]) for run in runs]


def world(events: Iterable[Event], stages: list[tuple[str, set[str]]], limit: int, as_of: int) -> list[dict[str, Any]]:
    """Every person with sessions and journeys, in an order that does not depend on anything else."""
    events = list({event["id"]: event for event in events}.values())
    result = []
    for identities in people(events):
        mine = sorted((event for event in events if sender(event) in identities), key=order)
        if not mine:
            continue
        result.append(
            {
                "identities": sorted(identities),
                "events": len(mine),
                "sessions": sessions(mine),
                "journeys": journeys(mine, stages, limit, as_of),
            }
        )
    return sorted(result, key=lambda person: person["identities"])
