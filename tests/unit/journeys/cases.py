"""Made-up journey maps in the language of map files, and made-up events of one person to run through them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson
from hypothesis import assume
from hypothesis import strategies as st

from gateway.contract import JourneyMap, load_contract
from gateway.errors import ContractError
from gateway.model.event import Event, EventType

HALF_HOUR = 30 * 60_000
START = 1_750_000_000_000
NAMES = ["A", "B", "C", "D", "E"]
VALUES = [1, 2, True, "1", None, {"q": 1}]
CONDITIONS: list[dict[str, Any]] = [
    {"property": "p", "equals": 1},
    {"property": "p", "in": [2, "1"]},
    {"property": "p", "gt": 1},
    {"property": "p", "lte": 1},
    {"property": "p", "exists": False},
    {"property": "p.q", "exists": True},
]


@dataclass(frozen=True, slots=True)
class Case:
    """A map, a person's events in any order, where to cut them, and the time to look at it."""

    journey_map: dict[str, Any]
    events: list[dict[str, Any]]
    cuts: set[int]
    as_of: int


def case(rng: Random) -> Case:
    events = _events(rng)
    cuts = {rng.randint(1, len(events)) for _ in range(rng.randint(0, len(events)))}
    return Case(_map(rng), events, cuts, START + rng.randint(0, 14) * HALF_HOUR + rng.choice([0, 1, -1]))


#: The same for Hypothesis, which looks for the smallest that goes wrong.
cases = st.builds(case, st.randoms(use_true_random=False))


def _map(rng: Random) -> dict[str, Any]:
    """A map as its file has it; some are refused for a stage that nothing leads to."""
    stages = [_stage(rng, key) for key in "abcde"[: rng.randint(2, 5)]]
    stages[-1] = {"key": stages[-1]["key"], "label": "goal", "enter": stages[-1]["enter"], "completes": True}
    for index, stage in enumerate(stages[:-1]):
        others = [one["key"] for at, one in enumerate(stages) if at > index or (at < index and one.get("repeats"))]
        if not stage.get("completes") and rng.randint(0, 2) == 0:
            stage["next"] = rng.sample(others, rng.randint(1, len(others)))
    whole = {"key": "m", "version": 1, "name": "M", "persona": "P", "goal": "G", "owners": ["ux"], "stages": stages}
    whole["abandonedAfter"] = rng.choice(["30m", "1h", "90m", "3h"])
    if rng.randint(0, 3) == 0:
        whole["restart"] = _rules(rng, 1)
    return whole


def _stage(rng: Random, key: str) -> dict[str, Any]:
    stage: dict[str, Any] = {"key": key, "label": key, "enter": _rules(rng, rng.randint(1, 2))}
    if rng.randint(0, 2) == 0:
        stage["optional"] = True
        if rng.randint(0, 4) == 0:
            return {**stage, "completes": True}
    if rng.randint(0, 1):
        stage["repeats"] = True
    if rng.randint(0, 1):
        stage["leave"] = _rules(rng, 1)
    if rng.randint(0, 2) == 0:
        stage["limit"] = rng.choice(["30m", "1h", "2h"])
    return stage


def _rules(rng: Random, count: int) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [{"event": rng.choice(NAMES)} for _ in range(count)]
    for rule in rules:
        if rng.randint(0, 3) == 0:
            rule["where"] = [rng.choice(CONDITIONS)]
    return rules


def _events(rng: Random) -> list[dict[str, Any]]:
    """Little time and few names, so that ties, limits to the millisecond and every turn of a map happen."""
    events = [
        {
            "id": number.to_bytes(16, "big"),
            "name": rng.choice([*NAMES, *NAMES, "Other"]),
            "at": START + rng.randint(0, 8) * HALF_HOUR + rng.choice([0, 0, 0, 1, -1]),
            "seq": rng.randint(0, 2),
            "properties": {"p": rng.choice(VALUES)} if rng.randint(0, 1) else {},
        }
        for number in range(rng.randint(1, 14))
    ]
    rng.shuffle(events)
    return events


def loaded(journey_map: dict[str, Any]) -> JourneyMap:
    """The map as the gateway reads it from its file. Gives the example up when no run can come to some stage."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journeys" / "m.yaml"
        path.parent.mkdir()
        path.write_bytes(orjson.dumps(journey_map))
        try:
            return load_contract(Path(folder)).journeys["m"]
        except ContractError as refused:
            assume(not all(": no stage leads to " in problem for problem in refused.problems))
            raise


def to_event(plain: dict[str, Any]) -> Event:
    return Event(
        id=plain["id"],
        workspace="w",
        source="s",
        message_id=plain["id"].hex(),
        type=EventType.TRACK,
        name=plain["name"],
        user_id="ada",
        anonymous_id=None,
        at=plain["at"],
        seq=plain["seq"],
        received_at=plain["at"],
        content_hash=b"",
        properties=plain["properties"],
    )
