"""Responses: what a person answered to a survey."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.model.identity import Identity

#: The event that a response is stored as, whoever asked: the log has it like all else.
RESPONDED = "Survey Response Submitted"
#: Events that say that a survey was put before somebody, that one of its questions was answered while others were
#: still open, and that it was closed without an answer.
SHOWN = "Survey Shown"
QUESTION_ANSWERED = "Survey Question Answered"
DISMISSED = "Survey Dismissed"
#: All that is heard of surveys.
SURVEYED = (SHOWN, QUESTION_ANSWERED, DISMISSED, RESPONDED)
#: Kinds of questions whose answer is the response's score.
SCORES = ("nps", "csat", "ces")

#: A choice or text, a number (scores, scales), a yes or no, or several choices.
Value = str | int | float | bool | list[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question. `question` is the survey's key for it, `text` its words when they are known."""

    question: str
    value: Value
    text: str | None = None
    #: `nps`, `csat`, `ces`, `choice`, `text`, or what else the survey's tool calls it.
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One response. `at` is milliseconds since 1970 UTC; `external_id` is the tool's own id, which makes it one."""

    workspace: str
    source: str
    external_id: str
    survey: str
    at: int
    answers: tuple[Answer, ...]
    #: Who answered, as the tool knows them; None: anonymous.
    identity: Identity | None = None
    touchpoint: str | None = None
    complete: bool = True
    metadata: dict[str, str] = field(default_factory=dict)
