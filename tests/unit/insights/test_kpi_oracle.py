"""Every function of a KPI says what the oracle says, and no wrong definition passes for a right one."""

from __future__ import annotations

from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.functions import Ces, Count, Nps, Ratio, Satisfied
from gateway.insights.kernels import returns
from gateway.insights.kernels.attempts import ReEntry
from gateway.insights.kpis import estimates, samples, stages
from gateway.insights.kpis.estimates import Sample, estimate
from tests.unit.insights.comparing_kpis import COMPARISONS
from tests.unit.insights.made_kpis import rule
from tests.unit.insights.oracles import funnels, kpis, periods, population
from tests.unit.insights.oracles import stages as visits


@pytest.mark.parametrize("name", COMPARISONS)
@given(chance=st.randoms(use_true_random=False))
def test_a_kpi_says_what_the_oracle_says(name: str, chance: Random) -> None:
    assert COMPARISONS[name](chance) is None


@pytest.mark.parametrize("name", COMPARISONS)
def test_it_does_so_on_many_populations(name: str) -> None:
    assert [found for seed in range(200) if (found := COMPARISONS[name](Random(seed)))] == []


# -- wrong definitions ----------------------------------------------------------------------------------------------


def _zero(of: Any) -> Any:
    def wrong(*given: Any) -> Any:
        found = of(*given)
        return found | {"value": 0.0} if found["value"] is None else found

    return wrong


def _last_part(session: Any, value: float) -> Any:
    parts = [event["breakdown"] for event in session if event["breakdown"] != -1]
    return {"user": session[0]["user"], "at": session[0]["at"], "value": value, "part": (parts or [-1])[-1]}


def _any_start(of_user: Any, names: Any, between: Any, of: Any = kpis.beginning) -> Any:
    """The first event in the range, whether it is the first ever or not."""
    every = [event["name"] for event in of_user] if names is None else names
    return of(of_user, every, between)


def _calendar_is_rolling(start: int, at: int, question: Any, of: Any = periods.bucket_of) -> Any:
    return of(start, at, question | {"clock": "ROLLING"})


def _normal(freedom: int) -> float:
    return kpis.Z


ORACLES: dict[str, tuple[str, ModuleType, str, Any]] = {
    "the end of the range counts": ("quantities", kpis, "within", lambda at, span: span[0] <= at <= span[1]),
    "the beginning of the range does not count": (
        "quantities", kpis, "within", lambda at, span: span[0] < at < span[1],
    ),
    "nothing to divide by is 0": ("ratios", kpis, "divided", _zero(kpis.divided)),
    "a part of nothing is 0 %": ("answers", kpis, "hundredths", _zero(kpis.hundredths)),
    "a percentile without interpolation": (
        "statistics",
        kpis,
        "percentile",
        lambda values, share: sorted(values)[int((len(values) - 1) * share)] if values else None,
    ),
    "the normal distribution for Student's": ("statistics", kpis, "student", _normal),
    "answers off the scale are answers": ("answers", kpis, "is_answer", lambda value, question: value is not None),
    "eight promotes": (
        "answers",
        kpis,
        "score",
        lambda value, question, of=kpis.score: float(value >= 4) if question["kind"] == "nps" else of(value, question),
    ),
    "the easy end is always up": (
        "answers",
        kpis,
        "score",
        lambda value, question, of=kpis.score: of(value, question | {"low_is_easy": False}),
    ),
    "a session ends at 30:00": (
        "sessions", kpis, "new_session", lambda before, event: event["at"] - before["at"] >= 30 * 60_000,
    ),
    "a session has its last value": ("sessions", kpis, "of_session", _last_part),
    "the end of the time is too late": (
        "times", kpis, "took_too_long", lambda took, limit: limit is not None and took >= limit,
    ),
    "ties by id alone": ("times", population, "order", lambda event: (event["at"], event["id"])),
    "whoever comes in the range is new": ("times", kpis, "beginning", _any_start),
    "whoever is there in the range is new": ("retention", kpis, "beginning", _any_start),
    "the calendar is not looked at": ("retention", periods, "bucket_of", _calendar_is_rolling),
    "every period is over": ("retention", kpis, "period_over", lambda *given: True),
    "the first touch is the best attempt": ("funnels", funnels, "first_touch", lambda question: False),
    "open attempts have dropped": ("funnels", funnels, "still_open", lambda question, events, one: False),
    "a run that is active has ended": ("stages", visits, "judged", lambda run, place: True),
    "the stage before for the one after": (
        "stages", visits, "following", lambda run, place: run["visits"][place - 1] if place else None,
    ),
}  # fmt: skip

PRODUCT: dict[str, tuple[str, ModuleType, str, Any]] = {
    "open ones are counted": (
        "churn",
        estimates,
        "estimate",
        lambda function, sample: estimate(function, Sample.of(sample.user, sample.value, sample.part)),
    ),
    "the first of the whole history": ("times", samples, "begins", lambda events, start, span: returns.begins(
        events, None, span)),
    "every ratio is 100 %": (
        "ratios", estimates, "divided", lambda ratio, part, whole, n: estimates.Estimate(100.0, n),
    ),
    "events for names of a session": (
        "sessions", samples, "_depths", lambda function, seen, of, count: 1.0 * np.bincount(of, minlength=count),
    ),
    "every funnel is by best attempt": (
        "funnels", samples, "_ATTEMPTS", dict.fromkeys(samples._ATTEMPTS, ReEntry.BEST_ATTEMPT),
    ),
    "parts begin a ms later": (
        "quantities",
        samples,
        "_parted",
        lambda at, sample, bounds, of=samples._parted: of(at, sample, [bounds[0] + 1, *bounds[1:]]),
    ),
    "a visit never ends": ("stages", stages, "ACTIVE", "none"),
}  # fmt: skip


def _is_caught(name: str) -> bool:
    return any(COMPARISONS[name](Random(seed)) for seed in range(400))


@pytest.mark.parametrize("mutant", ORACLES)
def test_a_wrong_definition_differs_from_the_product(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, module, attribute, wrong = ORACLES[mutant]
    monkeypatch.setattr(module, attribute, wrong)
    assert _is_caught(name)


@pytest.mark.parametrize("mutant", PRODUCT)
def test_a_wrong_product_differs_from_the_oracle(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, module, attribute, wrong = PRODUCT[mutant]
    monkeypatch.setattr(module, attribute, wrong)
    assert _is_caught(name)


# -- the vectors of the literature ----------------------------------------------------------------------------------


def sample_of(values: list[float]) -> Sample:
    return Sample.of(np.arange(len(values)), np.array(values))


def test_eight_of_ten_satisfied() -> None:
    found = estimate(Satisfied(rule("A"), "s", 4, 1, 5), sample_of([1.0] * 8 + [0.0] * 2))
    assert (found.value, found.n) == (80.0, 10)
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low, 1), round(found.high, 1)) == (49.0, 94.3)


def test_fifty_promoters_and_twenty_detractors_of_a_hundred() -> None:
    found = estimate(Nps(rule("A"), "s"), sample_of([1.0] * 50 + [0.0] * 30 + [-1.0] * 20))
    assert (found.value, found.n) == (30.0, 100)
    assert found.low is not None
    assert round(30 - found.low, 1) == 15.3


@pytest.mark.parametrize(
    ("method", "direction", "highest", "expected"),
    [
        ("percentEasy", "highIsEasy", 7, [0, 0, 0, 0, 1, 1, 1]),
        ("percentEasy", "lowIsEasy", 7, [1, 1, 1, 0, 0, 0, 0]),
        ("index", "highIsEasy", 7, [-1, -1, -1, 0, 0, 1, 1]),
        ("index", "lowIsEasy", 7, [1, 1, 0, 0, -1, -1, -1]),
        ("percentEasy", "highIsEasy", 5, [0, 0, 0, 1, 1]),
        ("index", "highIsEasy", 5, [-1, -1, 0, 0, 1]),
        ("mean", "highIsEasy", 7, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_the_customer_effort_score(method: Any, direction: Any, highest: int, expected: list[int]) -> None:
    function = Ces(rule("A"), "s", method, direction, 1, highest)
    answers = np.arange(1, highest + 1, dtype=np.float64)
    assert samples.scored(function, answers).tolist() == expected
    if method == "percentEasy":
        four = function.sixths(4)
        easy = [answer for answer in answers if (answer >= four if direction == "highIsEasy" else answer <= four)]
        assert len(easy) == sum(expected), "the words say the same"


def test_more_than_the_whole_is_no_share() -> None:
    function = Ratio(Count((rule("A"),)), Count((rule("B"),)))
    assert estimates.divided(function, 3, 2, 2) == estimates.Estimate(150.0, 2)
    assert estimates.divided(function, 3, 0, 0) == estimates.Estimate(None, 0)
