"""Populations and questions for the kernels, made from a source of chance, and how two answers are compared."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from math import isclose
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gateway.insights.kernels.attempts import Counting, Exclusion, FunnelQuestion, Order, ReEntry, Step
from gateway.insights.kernels.events import Events, Floats

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
CODES = 5
# Nights in which the clock moves, by an hour or by half of one.
NIGHTS = (
    ("Europe/Berlin", datetime(2026, 3, 28, 12)),
    ("Europe/Berlin", datetime(2026, 10, 24, 12)),
    ("America/New_York", datetime(2026, 3, 7, 12)),
    ("America/New_York", datetime(2026, 10, 31, 12)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 12)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 12)),
    ("UTC", datetime(2026, 2, 27, 12)),
)
# What lies between two events of a user: ties, a second, the edges of a session, of a window and of days.
NEAR = (0, 0, 1, 1000, 2000, 5000, 10_000, 10_001, MINUTE, 15 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, HOUR)
# From noon before such a night to its midnight, to the next one, and to the hours that the two ways to count differ by.
FAR = (0, 1, 1000, HOUR, 12 * HOUR, 12 * HOUR - 1, 23 * HOUR, DAY - 1, DAY, DAY + 1, 25 * HOUR, 2 * DAY, 7 * DAY)


@dataclass(frozen=True, slots=True)
class Population:
    """The same events for both sides: dicts for the oracle, arrays for the kernels."""

    rows: list[dict[str, Any]]
    zone: ZoneInfo
    own_sessions: bool

    @property
    def plain(self) -> Events:
        """Without the values, which few kernels read: other columns are sorted in another way."""
        return self.made(None)

    @property
    def events(self) -> Events:
        value = np.array([np.nan if row["value"] is None else row["value"] for row in self.rows], np.float64)
        return self.made(value)

    def made(self, value: Floats | None) -> Events:
        def column(name: str, kind: Any = np.int64) -> Any:
            return np.array([row[name] for row in self.rows], kind)

        return Events.of(
            column("user", np.int32),
            column("at"),
            column("seq"),
            column("code", np.int16),
            value=value,
            session=column("session", np.int32) if self.own_sessions else None,
            breakdown=column("breakdown", np.int32),
            rank=column("id"),
        )

    @property
    def span(self) -> tuple[int, int]:
        times = [row["at"] for row in self.rows] or [0]
        return min(times), max(times)


def population(chance: Random, *, gaps: tuple[int, ...] = NEAR, most: int = 24) -> Population:
    """Up to three users, with ties in time and in sequence; in no order, as late events arrive."""
    name, night = chance.choice(NIGHTS)
    zone = ZoneInfo(name)
    origin = int(night.replace(tzinfo=zone).timestamp() * 1000)
    rows: list[dict[str, Any]] = []
    for user in range(chance.randint(0, 3)):
        at = origin + chance.choice(gaps)
        for _ in range(chance.randint(1, most)):
            rows.append(
                {
                    "user": user,
                    "at": at,
                    "seq": chance.randint(0, 3),
                    "id": len(rows),
                    "code": chance.randint(-1, CODES - 1),
                    "value": chance.choice((None, 0.5, 1.0, 2.0, 4.0, 9.0)),
                    "session": chance.randint(-1, 2),
                    "breakdown": chance.randint(-1, 2),
                }
            )
            at += chance.choice(gaps)
    for rank, row in enumerate(chance.sample(rows, len(rows))):
        row["id"] = rank
    chance.shuffle(rows)
    return Population(rows, zone, chance.random() < 0.5)


def some_codes(chance: Random, most: int = 2) -> tuple[int, ...]:
    return tuple(chance.sample(range(CODES), chance.randint(1, most)))


def funnel_question(chance: Random, span: tuple[int, int]) -> dict[str, Any]:
    """With every option that goes with the order."""
    order = chance.choice(list(Order)).value
    length = chance.randint(1, 4)
    steps = [
        (some_codes(chance), order != "ANY_ORDER" and 0 < step < length - 1 and chance.random() < 0.3)
        for step in range(length)
    ]
    needed = [step for step, (_, optional) in enumerate(steps) if not optional]
    exclusions = []
    if order != "STRICT" and length > 1 and chance.random() < 0.5:
        after, before = (0, length - 1) if order == "ANY_ORDER" else sorted(chance.sample(needed, 2))
        exclusions.append((some_codes(chance), after, before))
    between = None
    if chance.random() < 0.3:
        between = (span[0] + chance.choice((0, MINUTE)), span[1] - chance.choice((0, MINUTE, HOUR)))
    return {
        "steps": steps,
        "window": chance.choice((None, 1000, MINUTE, 15 * MINUTE, HOUR)),
        "order": order,
        "re_entry": chance.choice(list(ReEntry)).value,
        "counting": chance.choice(list(Counting)).value,
        "exclusions": exclusions,
        "tolerance": 0 if order == "STRICT" else chance.choice((0, 0, 1000, 2000)),
        "between": between,
        "as_of": span[1] + chance.choice((0, MINUTE, HOUR)),
    }


def asked(question: dict[str, Any]) -> FunnelQuestion:
    return FunnelQuestion(
        steps=tuple(Step(*step) for step in question["steps"]),
        window_ms=question["window"],
        order=Order(question["order"]),
        re_entry=ReEntry(question["re_entry"]),
        counting=Counting(question["counting"]),
        exclusions=tuple(Exclusion(*one) for one in question["exclusions"]),
        tolerance_ms=question["tolerance"],
        between=question["between"],
        as_of=question["as_of"],
    )


def difference(found: Any, expected: Any, path: str = "") -> str | None:
    """Where an answer differs from the expected plain data; None when it does not. Of a dataclass only the fields that
    are expected are looked at."""
    if is_dataclass(found):
        names = {field.name for field in fields(found)}
        assert set(expected) <= names, set(expected) - names
        found = {name: getattr(found, name) for name in expected}
    if isinstance(found, np.ndarray):
        found = found.tolist()
    if isinstance(expected, dict):
        if found.keys() != expected.keys():
            return f"{path}: {sorted(found)} instead of {sorted(expected)}"
        return next((d for key in expected if (d := difference(found[key], expected[key], f"{path}.{key}"))), None)
    if isinstance(expected, list | tuple):
        if len(found) != len(expected):
            return f"{path}: {len(found)} instead of {len(expected)}: {found} instead of {expected}"
        pairs = enumerate(zip(found, expected, strict=True))
        return next((d for place, (a, b) in pairs if (d := difference(a, b, f"{path}[{place}]"))), None)
    if isinstance(found, np.generic):
        return f"{path}: {found!r} is no number of Python's own"
    if isinstance(expected, float) and isinstance(found, float):
        return None if isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9) else f"{path}: {found} not {expected}"
    return None if found == expected else f"{path}: {found!r} instead of {expected!r}"
