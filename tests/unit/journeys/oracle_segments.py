"""Who is in a segment, worked out from all events of a person and the rule as its file says it, the slow way.

Imports nothing from the product. Events are dicts: at (ms), seq, id, name, properties, traits, client, consent (None
or a dict by purpose).
"""

from __future__ import annotations

from typing import Any

from tests import oracle

UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
ABSENT = object()


def is_in(
    who: dict[str, Any],
    events: list[dict[str, Any]],
    as_of: int,
    maps: dict[str, dict[str, Any]],
    personas: dict[str, dict[str, Any]],
) -> bool:
    ((name, said),) = who.items()

    def inner(rule: dict[str, Any]) -> bool:
        return is_in(rule, events, as_of, maps, personas)

    if name == "all":
        return all(inner(one) for one in said)
    if name == "any":
        return any(inner(one) for one in said)
    if name == "not":
        return not inner(said)
    if name in ("did", "didNot"):
        return (count(said, events, as_of) >= said.get("atLeast", 1)) is (name == "did")
    ordered = sorted(events, key=oracle.order)
    if name == "trait":
        return meets(said, merged([one["traits"] for one in ordered]))
    if name == "client":
        return meets(said, merged([one["client"] for one in ordered]))
    if name == "persona":
        traits = merged([one["traits"] for one in ordered])
        return all(meets({"property": key, "equals": value}, traits) for key, value in personas[said].items())
    runs = oracle.trips(ordered, maps[said["map"]], as_of)
    if not runs:
        return False
    last = runs[-1]["stages"][-1]
    stage = last["stage"] if last["left"] is None else None
    return bool(said.get("stage", stage) == stage and said.get("status", runs[-1]["status"]) == runs[-1]["status"])


def count(said: dict[str, Any], events: list[dict[str, Any]], as_of: int) -> int:
    found = 0
    for event in events:
        if event["consent"] is not None and event["consent"].get("analytics") is False:
            continue
        if event["name"] != said["event"]:
            continue
        if not all(meets(condition, event["properties"]) for condition in said.get("where", [])):
            continue
        if "within" in said and as_of - event["at"] > int(said["within"][:-1]) * UNITS[said["within"][-1]]:
            continue
        found += 1
    return found


def merged(dicts: list[dict[str, Any]]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for one in dicts:
        for key, value in one.items():
            known[key] = value
    return known


def kind(value: Any) -> str:
    for name, types in (("text", str), ("boolean", bool), ("number", (int, float)), ("null", type(None))):
        if isinstance(value, types):
            return name
    return "none"


def meets(condition: dict[str, Any], values: dict[str, Any]) -> bool:
    value: Any = values
    for part in condition["property"].split("."):
        value = value.get(part, ABSENT) if isinstance(value, dict) else ABSENT
    if "exists" in condition:
        return bool((value is not ABSENT) == condition["exists"])
    for wanted in condition.get("in", [condition.get("equals", ABSENT)]):
        if wanted is not ABSENT and kind(wanted) == kind(value) != "none" and wanted == value:
            return True
    for name, wanted in condition.items():
        if name in ("gt", "gte", "lt", "lte") and kind(wanted) == kind(value) and kind(value) in ("number", "text"):
            tests = {"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}
            return bool(tests[name])
    return False
