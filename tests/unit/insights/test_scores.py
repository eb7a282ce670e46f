"""Scores: published figures, changes beside the chance they have, what is not shown, and rank correlation."""

from __future__ import annotations

import random
from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.functions import Ces, Nps, Satisfied
from gateway.contract.surveys import Question, QuestionKind, Scale, Survey
from gateway.errors import InvalidInput
from gateway.insights.kpis.estimates import Kind, Sample, estimate
from gateway.insights.kpis.samples import scored
from gateway.insights.scores import K, changed, correlated, function_of, measured_by, satisfied_from, suppressed
from gateway.insights.scores.metrics import CesMethod, Metric, Scales, distribution


def score(metric: Metric, scale: Scale, answers: list[int], method: CesMethod = "mean") -> tuple[float, float, float]:
    function = function_of(Scales(metric, ("s",), scale), method)
    found = estimate(function, Sample.of(np.zeros(len(answers), np.int64), scored(function, np.array(answers, float))))
    assert found.value is not None
    return found.value, found.low or 0.0, found.high or 0.0


def test_eight_of_ten_are_satisfied_with_wilsons_interval() -> None:
    value, low, high = score("CSAT", Scale(1, 5, 4), [5] * 4 + [4] * 4 + [3, 1])
    assert (value, round(low, 1), round(high, 1)) == (80, 49.0, 94.3)


def test_fifty_promoters_and_twenty_detractors_of_a_hundred() -> None:
    value, low, high = score("NPS", Scale(0, 10, 9), [10] * 25 + [9] * 25 + [8] * 15 + [7] * 15 + [6] * 10 + [0] * 10)
    assert (value, round(high - value, 1), round(value - low, 1)) == (30, 15.3, 15.3)


@pytest.mark.parametrize(("method", "value"), [("mean", 4.0), ("percentEasy", 300 / 7), ("index", -100 / 7)])
def test_effort_by_each_method(method: CesMethod, value: float) -> None:
    """1 to 7 once each: easy are 5, 6 and 7; the index takes 1 to 3 from 6 and 7."""
    assert score("CES", Scale(1, 7, 5), [1, 2, 3, 4, 5, 6, 7], method)[0] == pytest.approx(value)


@pytest.mark.parametrize(
    ("scale", "lowest"),
    [
        (Scale(1, 3), 3),
        (Scale(1, 4), 3),
        (Scale(1, 5), 4),
        (Scale(1, 6), 5),
        (Scale(1, 7), 6),
        (Scale(1, 10), 8),
        (Scale(1, 10, 9), 9),
    ],
)
def test_who_is_satisfied_depends_on_the_scale(scale: Scale, lowest: int) -> None:
    assert satisfied_from(scale) == lowest


def _survey(key: str, kind: QuestionKind, scale: Scale) -> Survey:
    return Survey(key, kind, key, ("ux",), (Question("q", kind, {"en": "?"}, scale=scale),))


def test_surveys_of_one_score_share_their_scale_or_are_asked_about_one_by_one() -> None:
    one, other = _survey("a", "CSAT", Scale(1, 5, 4)), _survey("b", "CSAT", Scale(1, 7, 6))
    surveys = {"a": one, "b": other, "c": _survey("c", "NPS", Scale(0, 10, 9))}
    with pytest.raises(InvalidInput, match="different scales"):
        measured_by(surveys, "CSAT")
    assert measured_by(surveys, "CSAT", "b") == Scales("CSAT", ("b",), Scale(1, 7, 6))
    assert isinstance(function_of(measured_by(surveys, "NPS")), Nps)
    for key, metric in (("c", "CSAT"), ("d", "CSAT"), (None, "CES")):
        with pytest.raises(InvalidInput):
            measured_by(surveys, metric, key)  # type: ignore[arg-type]
    assert isinstance(function_of(measured_by({"a": one}, "CSAT")), Satisfied)
    ces = function_of(measured_by({"a": _survey("a", "CES", Scale(1, 7, 5))}, "CES"))
    assert isinstance(ces, Ces)
    assert (ces.direction, ces.lowest, ces.highest) == ("highIsEasy", 1, 7)


def test_a_distribution_has_every_answer_of_the_scale() -> None:
    assert distribution([5, 5, 1, 9, 2.5], Scale(1, 5)) == [(1, 1), (2, 0), (3, 0), (4, 0), (5, 2)]


def ones(hits: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0] * hits + [0.0] * (n - hits))


def test_newcombes_published_interval() -> None:
    """Newcombe 1998, table II, method 10: 56/70 less 48/80 -> 0.0524 to 0.3339; 9/10 less 3/10 -> 0.1705 to 0.8090."""
    found = changed(Kind.SHARE, ones(56, 70), ones(48, 80), "points")
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low, 2), round(found.high, 2)) == (5.24, 33.39)
    assert found.significant
    small = changed(Kind.SHARE, ones(9, 10), ones(3, 10), "points")
    assert (round(small.low or 0, 2), round(small.high or 0, 2)) == (17.05, 80.90)
    assert not small.significant, "ten answers are too few to act on"
    assert small.words == "Too few answers to tell a change: 10, and 10 in the period before."


def test_two_means_by_welch() -> None:
    """Two samples of 4, of which one does not vary: 3 degrees of freedom."""
    now, before = np.array([5.0, 5, 5, 5]), np.array([3.0, 4, 5, 4])
    found = changed(Kind.MEAN, now, before, "points")
    error = np.sqrt(np.var(before, ddof=1) / 4)
    assert found.difference == 1
    assert isclose(found.low or 0, 1 - 3.1824463053 * error, rel_tol=1e-9)


def test_words_say_what_can_be_said() -> None:
    more = changed(Kind.SHARE, ones(90, 100), ones(60, 100), "points")
    assert more.words.startswith("Up 30.0 points on the period before: more than chance would bring (between 18")
    fewer = changed(Kind.SHARE, ones(60, 100), ones(90, 100), "points")
    assert fewer.words.startswith("Down 30.0 points on the period before")
    same = changed(Kind.SHARE, ones(61, 100), ones(60, 100), "points")
    assert same.words.startswith("No significant change: up 1.0 points, and chance alone may bring 1")
    assert changed(Kind.NET, ones(0, 0), ones(1, 1), "points").words == "There are no answers in this period."
    assert changed(Kind.NET, ones(1, 1), ones(0, 0), "points").words == "There are no answers in the period before."


@pytest.mark.parametrize("kind", [Kind.SHARE, Kind.NET, Kind.MEAN])
def test_where_nothing_changes_chance_is_taken_for_a_change_as_seldom_as_is_said(kind: Kind) -> None:
    """An A/A simulation: about 5 of 100 are significant; more than 8 of 100 in 1,000 are so once in 100,000."""
    chance = np.random.default_rng(5)
    answers = {Kind.SHARE: [0.0, 1.0], Kind.NET: [-1.0, 0.0, 1.0], Kind.MEAN: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}[kind]
    found = [
        changed(kind, chance.choice(answers, 80), chance.choice(answers, 120), "points").significant
        for _ in range(1_000)
    ]
    assert 0.02 < sum(found) / len(found) < 0.08


@given(st.lists(st.integers(0, 40), max_size=8))
def test_no_group_that_is_too_small_can_be_worked_out(counts: list[int]) -> None:
    hidden = suppressed(counts)
    assert all(gone for count, gone in zip(counts, hidden, strict=True) if 0 < count < K)
    left = sum(count for count, gone in zip(counts, hidden, strict=True) if gone)
    # What the whole less the others tells is nothing, or enough; unless the whole itself is too small.
    assert left == 0 or left >= K or left == sum(counts)
    assert not any(gone for count, gone in zip(counts, hidden, strict=True) if count == 0)


def test_ranks_correlate_as_spearman_has_it() -> None:
    """With ties, against the definition: Pearson's correlation of mid-ranks, worked out pair by pair."""
    scores, outcomes = np.array([1.0, 2, 2, 4, 5, 5, 7]), np.array([0.0, 0, 1, 0, 1, 1, 1])

    def rank(values: np.ndarray[tuple[int], np.dtype[np.float64]], place: int) -> float:
        return 1 + float(sum((other < values[place]) + (other == values[place]) / 2 for other in values)) - 0.5

    pairs = [(rank(scores, place), rank(outcomes, place)) for place in range(len(scores))]
    mean = sum(one for one, _ in pairs) / len(pairs)
    top = sum((one - mean) * (other - mean) for one, other in pairs)
    bottom = (sum((one - mean) ** 2 for one, _ in pairs) * sum((other - mean) ** 2 for _, other in pairs)) ** 0.5
    found = correlated(scores, outcomes)
    assert found.value == pytest.approx(top / bottom)
    assert (found.n, found.low) == (7, None), "seven people are no ground for an interval"
    assert correlated(scores, np.zeros(7)).value is None
    assert correlated(np.arange(4.0), np.array([0.0, 10, 11, 500])).value == 1, "only the order counts"


def test_the_interval_of_a_correlation_holds_the_truth_about_as_often_as_is_said() -> None:
    chance = random.Random(3)
    held = 0
    for _ in range(300):
        pairs = [(chance.gauss(0, 1), chance.gauss(0, 1)) for _ in range(40)]
        found = correlated(np.array([one for one, _ in pairs]), np.array([other for _, other in pairs]))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0 <= found.high
    assert 0.9 < held / 300 <= 0.99
