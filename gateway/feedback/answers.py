"""Whether answers are answers to the questions of a survey, and what a response makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract.shape import did_you_mean
from gateway.contract.surveys import Question, Survey

#: A text has so many characters at most where the survey says nothing; and whatever a survey was edited from.
LONGEST_TEXT = 2_000
LONGEST_EVER = 10_000
MOST_ANSWERS = 20
_LONGEST_KEY = 100


@dataclass(frozen=True, slots=True)
class AnswerProblem:
    """What is wrong with the answer at `place` in the list, for programs (`code`) and people; `fix` says what to do."""

    place: int | None
    code: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers that fit: (question, value) in the order of the survey. `changed`: the survey was edited since it was
    offered, and some are answers to what it asked before."""

    answers: tuple[tuple[str, Any], ...]
    changed: bool = False


def check_answers(
    survey: Survey, given: Sequence[tuple[str, Any]], *, complete: bool, changed: bool = False
) -> tuple[Answered, list[AnswerProblem]]:
    """The answers that fit, and what is wrong with the others. `complete`: nothing more will come, so that what is
    required must be there. `changed`: the survey was another one when it was offered; then what it asks no more is
    taken as it was given, and nothing is missing."""
    if len(given) > MOST_ANSWERS:
        told = f"There are {len(given)} answers; a survey has at most 3 questions."
        return Answered(()), [AnswerProblem(None, "TOO_MANY_ANSWERS", told, "Send one answer to each question.")]
    problems: list[AnswerProblem] = []
    found: dict[str, Any] = {}
    old: dict[str, Any] = {}
    for place, (key, value) in enumerate(given):
        question = survey.question(key)
        if key in found or key in old:
            problems.append(_problem(place, "ANSWERED_TWICE", f"{_shown(key)} is answered twice.", "Send one of them."))
        elif question is not None and (wrong := _wrong(question, value)) is None:
            found[key] = int(value) if question.scale is not None else value
        elif changed and _harmless(key, value):
            old[key] = value
        elif question is None:
            keys = [one.key for one in survey.questions]
            told = f"The survey has no question {_shown(key)}."
            problems.append(_problem(place, "UNKNOWN_QUESTION", told, did_you_mean(key, keys, otherwise="it has")))
        else:
            code, told, fix = wrong or ("VALUE", "It cannot be kept.", "Send a number, a text or choices.")
            problems.append(_problem(place, code, told, fix))
    if complete and not problems and not changed:
        problems += _missing(survey, found)
    ordered = [(one.key, found[one.key]) for one in survey.questions if one.key in found]
    return Answered((*ordered, *old.items()), changed and bool(old)), problems


def unchecked(given: Sequence[tuple[str, Any]]) -> tuple[Answered, list[AnswerProblem]]:
    """The answers to a survey that is gone: as they were given, as far as they are of a harmless size."""
    kept = {key: value for key, value in given[:MOST_ANSWERS] if _harmless(key, value)}
    problems = [
        _problem(place, "VALUE", f"The answer to {_shown(key)} cannot be kept.", "Send a number, a text or choices.")
        for place, (key, value) in enumerate(given)
        if key not in kept
    ]
    return Answered(tuple(kept.items()), changed=True), problems


def score_of(survey: Survey | None, answers: Sequence[tuple[str, Any]]) -> float | None:
    """The number that the survey measures: the answer to its first question, if that is on a scale."""
    first = None if survey is None else survey.questions[0]
    if first is None or first.scale is None:
        return None
    value = dict(answers).get(first.key)
    on_scale = isinstance(value, int | float) and first.scale.lowest <= value <= first.scale.highest
    return value if on_scale and not isinstance(value, bool) else None


def comment_of(survey: Survey | None, answers: Sequence[tuple[str, Any]]) -> str | None:
    """The first answer in words."""
    asked = () if survey is None else survey.questions
    texts = [value for question in asked if question.kind == "TEXT" for key, value in answers if key == question.key]
    return next((one for one in texts if isinstance(one, str) and one.strip()), None)


def _wrong(question: Question, value: Any) -> tuple[str, str, str] | None:
    """Code, words and fix; None for an answer that fits."""
    if question.scale is not None:
        return _off_scale(question, value)
    if question.kind == "CHOICE":
        return _no_choice(question, value)
    longest = question.longest or LONGEST_TEXT
    if not isinstance(value, str):
        return "NOT_TEXT", f"{_shown(question.key)} is answered in words.", "Send a text."
    if len(value) > longest:
        told = f"The answer to {_shown(question.key)} has {len(value):,} characters; {longest:,} are possible."
        return "TOO_LONG", told, "Shorten it."
    return None


def _off_scale(question: Question, value: Any) -> tuple[str, str, str] | None:
    scale = question.scale
    assert scale is not None
    whole = value.is_integer() if isinstance(value, float) else type(value) is int
    if whole and scale.lowest <= value <= scale.highest:
        return None
    told = f"The answer to {_shown(question.key)} is not on its scale."
    return "OFF_SCALE", told, f"Send a whole number from {scale.lowest} to {scale.highest}."


def _no_choice(question: Question, value: Any) -> tuple[str, str, str] | None:
    keys = [option.key for option in question.options]
    chosen = value if question.multiple and isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in chosen) or not chosen:
        return "NOT_A_CHOICE", f"{_shown(question.key)} is answered by keys of options.", f"Send {_any(keys)}."
    if len(set(chosen)) != len(chosen):
        return "NOT_A_CHOICE", f"{_shown(question.key)} has one option twice.", "Send each once."
    unknown = next((one for one in chosen if one not in keys), None)
    if unknown is None:
        return None
    told = f"{_shown(question.key)} has no option {_shown(unknown)}."
    return "NOT_A_CHOICE", told, did_you_mean(unknown, keys, otherwise="it has")


def _missing(survey: Survey, found: dict[str, Any]) -> Iterator[AnswerProblem]:
    """Questions on the way of these answers that cannot be skipped."""
    question: Question | None = survey.questions[0]
    while question is not None:
        if question.required and question.key not in found:
            told = f"The question {_shown(question.key)} is not answered."
            yield _problem(None, "MISSING_ANSWER", told, "Answer it, or send `complete: false`.")
            return
        question = survey.next_question(question.key, found.get(question.key))


def _harmless(key: str, value: Any) -> bool:
    if not key or len(key) > _LONGEST_KEY:
        return False
    if isinstance(value, list):
        return len(value) <= MOST_ANSWERS and all(isinstance(one, str) and len(one) <= _LONGEST_KEY for one in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) or (isinstance(value, str) and len(value) <= LONGEST_EVER)


def _problem(place: int | None, code: str, message: str, fix: str) -> AnswerProblem:
    return AnswerProblem(place, code, message, fix)


def _any(keys: Sequence[str]) -> str:
    return "one of " + ", ".join(keys)


def _shown(text: str) -> str:
    return repr(text[:64])
