"""Samples: GrowthBook's published places, and that who is in one stays in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.contract.surveys import Question, Survey, Variant
from gateway.feedback.sampling import is_sampled, place_of, variant_of

SURVEY = Survey("csat", "CSAT", "After an order", ("ux",), (Question("q", "CSAT", {"en": "?"}),))
USERS = [f"{number:032x}" for number in range(4_000)]


@pytest.mark.parametrize(
    ("seed", "value", "place"), [("", "a", 0.0216), ("b", "a", 0.665), ("exp-1", "user-42", 0.7191)]
)
def test_places_are_those_that_growthbook_publishes(seed: str, value: str, place: float) -> None:
    assert place_of(seed, value) == place


def test_a_sample_is_about_as_large_as_it_says_and_grows_around_who_is_in_it() -> None:
    small, large = replace(SURVEY, sampling=10.0), replace(SURVEY, sampling=30.0)
    chosen = {user for user in USERS if is_sampled(small, user)}
    assert abs(len(chosen) / len(USERS) - 0.1) < 0.015  # three standard deviations
    assert chosen < {user for user in USERS if is_sampled(large, user)}
    assert all(is_sampled(SURVEY, user) for user in USERS)


def test_samples_of_two_surveys_have_nothing_to_do_with_each_other() -> None:
    one, other = replace(SURVEY, sampling=50.0), replace(SURVEY, key="nps", sampling=50.0)
    both = sum(is_sampled(one, user) and is_sampled(other, user) for user in USERS)
    assert abs(both / len(USERS) - 0.25) < 0.021


def test_variants_have_their_shares_whoever_is_sampled() -> None:
    survey = replace(SURVEY, sampling=50.0, variants=(Variant("warm", 30), Variant("control", 20, ask=False)))
    found = [variant_of(survey, user) for user in USERS if is_sampled(survey, user)]
    keys = [None if one is None else one.key for one in found]
    shares = {key: keys.count(key) / len(keys) for key in (None, "warm", "control")}
    assert all(abs(shares[key] - wanted) < 0.035 for key, wanted in ((None, 0.5), ("warm", 0.3), ("control", 0.2)))
