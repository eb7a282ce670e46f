"""Every kernel says what its oracle says, and no wrong definition passes for a right one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from random import Random
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.insights.kernels import attempts, events, friction, funnel, paths, retention, sessions, variants
from tests.unit.insights.comparing import COMPARISONS
from tests.unit.insights.oracles import frictions, funnels, periods, population, sequences


@pytest.mark.parametrize("name", COMPARISONS)
@given(chance=st.randoms(use_true_random=False))
def test_a_kernel_says_what_the_oracle_says(name: str, chance: Random) -> None:
    assert COMPARISONS[name](chance) is None


@pytest.mark.parametrize("name", COMPARISONS)
def test_it_does_so_on_many_populations(name: str) -> None:
    assert [found for seed in range(150) if (found := COMPARISONS[name](Random(seed)))] == []


def test_long_sequences_are_told_apart_as_short_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "_TOGETHER", 2)
    assert [found for seed in range(150) if (found := COMPARISONS["variants"](Random(seed)))] == []


# -- wrong definitions ----------------------------------------------------------------------------------------------


def _window_open(ev: Any, entry: int, done: Any, row: int, question: Any) -> bool:
    return question["window"] is None or ev[row]["at"] - ev[entry]["at"] < question["window"]


def _window_from_last_step(ev: Any, entry: int, done: Any, row: int, question: Any) -> bool:
    last = done[max(done)] if done else entry
    return question["window"] is None or ev[row]["at"] - ev[last]["at"] <= question["window"]


def _no_tolerance(ev: Any, done: Any, step: int, row: int, question: Any) -> bool:
    return bool(row > done[max(done)])


def _one_event_for_two_steps(ev: Any, done: Any, step: int, row: int, question: Any) -> bool:
    previous = done[max(done)]
    return bool(row >= previous if not question["tolerance"] else ev[row]["at"] >= ev[previous]["at"] - 2000)


def _without_exclusions(question: Any, ev: Any, entry: int, walk: Any = funnels.attempt) -> Any:
    return walk(question | {"exclusions": []}, ev, entry)


def _optional_is_required(question: Any) -> list[int]:
    return list(range(len(question["steps"])))


def _enter_while_one_runs(question: Any, ev: Any, one: Any, entries: list[int]) -> int | None:
    return next((entry for entry in entries if entry > one["entry"]), None)


def _days_of_24_hours(at: int, zone: ZoneInfo) -> date:
    winter = datetime(2026, 1, 15, tzinfo=zone).utcoffset()
    assert winter is not None
    return (datetime(1970, 1, 1) + timedelta(milliseconds=at) + winter).date()


def _nearest_rank(values: list[float], share: float) -> float | None:
    return sorted(values)[int((len(values) - 1) * share)] if values else None


def _plus_minus(hits: int, n: int) -> dict[str, Any]:
    """The interval of a normal distribution."""
    if not n:
        return {"hits": hits, "n": 0, "value": None, "low": None, "high": None}
    seen = hits / n
    margin = 1.96 * (seen * (1 - seen) / n) ** 0.5
    return {"hits": hits, "n": n, "value": seen, "low": seen - margin, "high": seen + margin}


def _zero_for_nothing(hits: int, n: int, of: Any = population.share) -> Any:
    return of(hits, n) if n else {"hits": hits, "n": 0, "value": 0.0, "low": None, "high": None}


def _last_page_has_none(session: Any, row: int, *rest: Any, of: Any = sequences.view_time) -> int:
    return int(max(0, of(session, row, *rest)))


def _border_belongs_to_the_one_left(visits: Any, number: int, rows: Any) -> list[Any]:
    visit = visits[number]
    return [
        event
        for of_user in population.of_users(rows)
        for event in of_user
        if event["user"] == visit["user"]
        and event["code"] >= 0
        and visit["entered"] < event["at"]
        and (visit["left"] == -1 or event["at"] <= visit["left"])
    ]


ORACLES: dict[str, tuple[str, ModuleType, str, Any]] = {
    "a window without its end": ("funnel", funnels, "in_window", _window_open),
    "a window from the last step": ("funnel", funnels, "in_window", _window_from_last_step),
    "first touch for best attempt": ("funnel", funnels, "first_touch", lambda question: True),
    "best attempt for first touch": ("funnel", funnels, "first_touch", lambda question: False),
    "the earliest of the best attempts": (
        "funnel",
        funnels,
        "best",
        lambda every: max(every, key=lambda one: (one["depth"], -one["entry"])),
    ),
    "open is drop-off": ("funnel", funnels, "still_open", lambda question, ev, one: False),
    "no tolerance": ("funnel", funnels, "may_be_next", _no_tolerance),
    "one event for two steps": ("funnel", funnels, "may_be_next", _one_event_for_two_steps),
    "exclusions exclude nobody": ("funnel", funnels, "attempt", _without_exclusions),
    "an optional step is required": ("funnel", funnels, "required", _optional_is_required),
    "entering while an attempt runs": ("funnel", funnels, "next_entry", _enter_while_one_runs),
    "the last value for the first": (
        "funnel",
        funnels,
        "attributed",
        lambda one, attribution, step, of=funnels.attributed: of(
            one, "LAST" if attribution == "FIRST" else attribution, step
        ),
    ),
    "nobody entered is 0 %": ("funnel", funnels, "share", _zero_for_nothing),
    "another interval than Wilson's": ("funnel", funnels, "share", _plus_minus),
    "ties by name": (
        "follows",
        population,
        "order",
        lambda event: (event["at"], event["code"], event["seq"], event["id"]),
    ),
    "ties by id alone": ("variants", population, "order", lambda event: (event["at"], event["id"])),
    "a session ends at 30:00": (
        "sessions",
        population,
        "new_session",
        lambda before, event: event["at"] - before["at"] >= 30 * 60_000,
    ),
    "engaged at exactly 10 seconds": (
        "sessions",
        sequences,
        "is_engaged",
        lambda session, views, keys, of=sequences.is_engaged: (
            of(session, views, keys) or session[-1]["at"] - session[0]["at"] >= 10_000
        ),
    ),
    "the last page has 0 seconds": ("sessions", sequences, "view_time", _last_page_has_none),
    "percentiles without interpolation": ("sessions", population, "percentile", _nearest_rank),
    "the exit is dropped": (
        "paths",
        sequences,
        "exits",
        lambda path, columns: path + path[-1:] * (columns - len(path)),
    ),
    "repeats are kept": ("paths", sequences, "collapsed", lambda rows, collapse: rows),
    "one name more than asked for": (
        "paths",
        sequences,
        "shown_codes",
        lambda codes, most, of=sequences.shown_codes: of(codes, most + 1),
    ),
    "every day has 24 hours": ("trend", periods, "local_date", _days_of_24_hours),
    "every day has 24 hours, in activity": ("activity", periods, "local_date", _days_of_24_hours),
    "unfinished buckets in the average": ("retention", periods, "complete", lambda *which: True),
    "unbounded is by day": (
        "retention",
        periods,
        "holds",
        lambda kind, *rest, of=periods.holds: of("N_DAY" if kind == "UNBOUNDED" else kind, *rest),
    ),
    "a streak may have gaps": (
        "retention",
        periods,
        "holds",
        lambda kind, *rest, of=periods.holds: of("UP_TO" if kind == "STREAK" else kind, *rest),
    ),
    "rolling is by calendar": (
        "retention",
        periods,
        "bucket_of",
        lambda start, at, question, of=periods.bucket_of: of(start, at, question | {"clock": "CALENDAR"}),
    ),
    "who joins as the period begins is a customer": (
        "activity",
        periods,
        "customers",
        lambda rows, joins, leaves, before, of=periods.customers: of(rows, joins, leaves, before + 1),
    ),
    "an event at the border of two visits": ("friction", frictions, "events_of", _border_belongs_to_the_one_left),
}


def _first_entry(unit: Any, entries: Any, rows: int) -> Any:
    return np.flatnonzero(events.changes(unit))


def _as_they_came(rows: Any, key: Any, seq: Any, rank: Any) -> Any:
    return rows[np.argsort(key[rows], kind="stable")]


KERNELS: dict[str, tuple[str, Any, str, Any]] = {
    "the first attempt for the best": ("funnel", attempts, "best", _first_entry),
    "optional steps are not looked for": (
        "funnel",
        funnel,
        "_add_optional",
        lambda question, found, entries, counted, done: done.update(
            {step: (done[0][0][:0], done[0][1][:0]) for step, kind in enumerate(question.steps) if kind.optional}
        ),
    ),
    "the order of arrival for that of sequence": ("follows", events, "_finer", _as_they_came),
    "engaged above 9.999 seconds": ("sessions", sessions, "ENGAGED_MS", 9_999),
    "a rolling day of 23 hours": (
        "retention",
        retention,
        "ROLLING_MS",
        dict.fromkeys(retention.ROLLING_MS, 82_800_000),
    ),
    "paths without their Other": ("paths", paths, "OTHER", paths.EXIT),
    "variants that are collapsed": (
        "variants",
        variants,
        "collapsed",
        lambda found, collapse, of=paths.collapsed: of(found, True),
    ),
    "repeats across visits": ("friction", friction, "changes", lambda *columns: events.changes(columns[-1])),
}


def _is_caught(comparison: Callable[[Random], str | None]) -> bool:
    return any(comparison(Random(seed)) for seed in range(400))


@pytest.mark.parametrize("mutant", ORACLES)
def test_a_wrong_definition_differs_from_the_kernel(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, module, attribute, wrong = ORACLES[mutant]
    monkeypatch.setattr(module, attribute, wrong)
    assert _is_caught(COMPARISONS[name])


@pytest.mark.parametrize("mutant", KERNELS)
def test_a_wrong_kernel_differs_from_the_oracle(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, module, attribute, wrong = KERNELS[mutant]
    monkeypatch.setattr(module, attribute, wrong)
    assert _is_caught(COMPARISONS[name])
