from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway.contract import (
    Condition,
    EventRule,
    Function,
    Funnel,
    FunnelStep,
    Kpi,
    Satisfied,
    SessionLength,
    duration_in_words,
    parse_duration,
)

SCORE = Satisfied(EventRule("k.satisfied", "Answered"), "answer.score", 4.0, 1.0, 5.0)


def kpi(function: Function, **changes: Any) -> Kpi:
    said: dict[str, Any] = {
        "key": "k",
        "question": "?",
        "unit": "percent",
        "better": "higher",
        "owners": ("ux",),
        "term": None,
    }
    return Kpi(**{**said, **changes}, function=function)


def funnel(*events: str, window: timedelta | None = None, where: tuple[Condition, ...] = ()) -> Funnel:
    steps = (FunnelStep(event.lower(), event, EventRule(f"k.{event.lower()}", event, where)) for event in events)
    return Funnel(tuple(steps), window)


def test_a_funnel_without_a_window_says_so() -> None:
    assert kpi(funnel("Listed", "Added", "Ordered")).definition == (
        'Of the unique users with "Listed" in the range, the percentage who then had "Added", then "Ordered", in this '
        "order, with any other events in between, without a time limit; each user counts once, with their best "
        "attempt, and the value is null when no user had the first."
    )


def test_a_funnel_with_a_window_says_where_it_begins_and_that_it_includes_its_end() -> None:
    assert kpi(funnel("Listed", "Ordered", window=timedelta(hours=36))).definition == (
        'Of the unique users with "Listed" in the range, the percentage who then had "Ordered", in this order, with '
        "any other events in between, at most 36 hours after the first (exactly 36 hours still counts); each user "
        "counts once, with their best attempt, users who still have time to convert are reported as open and are not "
        "in the percentage, and the value is null when no user had the first."
    )


def test_a_score_says_which_answers_count() -> None:
    conditional = Satisfied(
        EventRule("k", "Answered", (Condition("survey", "equals", "csat"),)), "score", 4.5, 1.0, 5.0
    )
    assert kpi(conditional).definition == (
        'Of the answers in the range (events "Answered" where "survey" equals "csat" and "score" is a number from 1 to '
        '5), the percentage with a "score" of at least 4.5; every answer counts, also several of one user, and the '
        "value is null when there is no answer."
    )
    assert '"Answered" where "answer.score" is a number from 1 to 5)' in kpi(SCORE).definition


def test_the_session_length_says_when_a_session_ends() -> None:
    definition = kpi(SessionLength("mean"), unit="seconds").definition
    assert "mean length in seconds" in definition
    assert "more than 30 minutes ends a session (exactly 30 minutes does not)" in definition
    assert "null when there is no session" in definition


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("plan", "in", ("a", 2, None)), '"plan" is one of "a", 2, null'),
        (Condition("price", "gt", 10.0), '"price" is greater than 10'),
        (Condition("price", "gte", 1e300), '"price" is at least 1e+300'),
        (Condition("price", "lt", 2.5), '"price" is less than 2.5'),
        (Condition("price", "lte", 2), '"price" is at most 2'),
        (Condition("cart.id", "exists", True), '"cart.id" is present'),
        (Condition("cart.id", "exists", False), '"cart.id" is absent'),
        (Condition("gift", "equals", True), '"gift" equals true'),
    ],
)
def test_a_definition_says_conditions_in_words(condition: Condition, words: str) -> None:
    definition = kpi(funnel("Listed", "Ordered", where=(condition,))).definition
    assert f'"Listed" where {words} in the range' in definition
    assert f'then had "Ordered" where {words}, in this order' in definition


def test_the_hash_changes_with_whatever_is_counted() -> None:
    variants: list[Function] = [
        funnel("A", "B"),
        funnel("A", "C"),
        funnel("B", "A"),
        funnel("A", "B", "C"),
        funnel("A", "B", window=timedelta(days=7)),
        funnel("A", "B", window=timedelta(days=8)),
        funnel("A", "B", where=(Condition("p", "equals", 1),)),
        funnel("A", "B", where=(Condition("p", "equals", True),)),
        funnel("A", "B", where=(Condition("p", "equals", "1"),)),
        funnel("A", "B", where=(Condition("p", "gte", 1),)),
        funnel("A", "B", where=(Condition("q", "equals", 1),)),
        SCORE,
        Satisfied(SCORE.rule, "answer.score", 3.0, 1.0, 5.0),
        Satisfied(SCORE.rule, "answer.score", 4.0, 1.0, 7.0),
        SessionLength("mean"),
    ]
    assert len({kpi(function).hash for function in variants}) == len(variants)


def test_the_hash_stays_when_only_the_words_around_it_change() -> None:
    labelled = Funnel((FunnelStep("a", "Other words", EventRule("k.a", "A")), funnel("A", "B").steps[1]))
    before = kpi(funnel("A", "B"))
    assert len(before.hash) == 32
    assert kpi(labelled, question="??", owners=("shop",), term="T", target=5.0, better="lower").hash == before.hash


@pytest.mark.parametrize(
    ("properties", "answer"),
    [
        ({"answer": {"score": 4}}, 4.0),
        ({"answer": {"score": 1}}, 1.0),
        ({"answer": {"score": 5.0}}, 5.0),
        ({"answer": {"score": 0}}, None),
        ({"answer": {"score": 5.5}}, None),
        ({"answer": {"score": "4"}}, None),
        ({"answer": {"score": True}}, None),
        ({"answer": {"score": float("nan")}}, None),
        ({"answer": 4}, None),
        ({}, None),
    ],
)
def test_an_answer_counts_when_it_is_a_number_on_the_scale(properties: dict[str, Any], answer: float | None) -> None:
    assert SCORE.answer(properties) == answer


@pytest.mark.parametrize(
    ("text", "duration", "words"),
    [
        ("1m", timedelta(minutes=1), "1 minute"),
        ("30m", timedelta(minutes=30), "30 minutes"),
        ("90m", timedelta(minutes=90), "90 minutes"),
        ("12h", timedelta(hours=12), "12 hours"),
        ("24h", timedelta(days=1), "1 day"),
        ("7d", timedelta(days=7), "7 days"),
        ("8w", timedelta(weeks=8), "56 days"),
    ],
)
def test_durations_are_read_and_said(text: str, duration: timedelta, words: str) -> None:
    assert parse_duration(text) == duration
    assert duration_in_words(duration) == words


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "7 d", "7D", "1.5h", "7d\n", "7s", "1d12h", "٧d", "523w"])
def test_what_is_no_duration_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_duration(text)
