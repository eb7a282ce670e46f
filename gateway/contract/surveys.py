"""Surveys: what is asked, whom, when and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, get_args

from gateway.contract.hashing import content_hash
from gateway.contract.rules import Condition, EventRule, Operator

QuestionKind = Literal["CSAT", "CES", "NPS", "EMOJI", "SLIDER", "CHOICE", "TEXT"]
QUESTION_KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)

#: Words by language (`en`, `pt-BR`); the first is what everybody else sees.
Text = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scale:
    """Whole numbers from `lowest` to `highest`, from `satisfied` on good; None: nothing is good or bad."""

    lowest: int
    highest: int
    satisfied: int | None = None


#: The scale of a kind whose question says none.
USUAL_SCALES: dict[QuestionKind, Scale] = {
    "CSAT": Scale(1, 5, 4),
    "CES": Scale(1, 7, 5),
    "NPS": Scale(0, 10, 9),
    "EMOJI": Scale(1, 5, 4),
    "SLIDER": Scale(0, 100),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One of the answers to choose from."""

    key: str
    text: Text


@dataclass(frozen=True, slots=True)
class Branch:
    """Where an answer leads: to the question `go`, None: to the end. Without `op` it is for every other answer."""

    go: str | None
    op: Operator | None = None
    value: object = None

    def takes(self, answer: object) -> bool:
        """Whether the branch is for this answer; None is a question that was skipped."""
        if self.op is None:
            return True
        return Condition("answer", self.op, self.value).holds({} if answer is None else {"answer": answer})


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `scale` is for numbers, `options` for CHOICE (`multiple`: several), `longest` for TEXT, in
    characters.

    The first branch that takes the answer says what comes next; without one, the question behind this.
    """

    key: str
    kind: QuestionKind
    text: Text
    required: bool = False
    scale: Scale | None = None
    options: tuple[Option, ...] = ()
    multiple: bool = False
    longest: int | None = None
    branches: tuple[Branch, ...] = ()

    def answers(self) -> tuple[object, ...]:
        """Every answer that branches can tell apart, and None when the question may be skipped."""
        given: tuple[object, ...] = ("any text",)
        if self.scale is not None:
            given = tuple(range(self.scale.lowest, self.scale.highest + 1))
        elif self.options:
            given = tuple(option.key for option in self.options)
        return given if self.required else (*given, None)


@dataclass(frozen=True, slots=True)
class OnEvent:
    """An event that the rule matches was sent."""

    rule: EventRule


@dataclass(frozen=True, slots=True)
class OnStage:
    """A stage of a journey map was entered or left."""

    change: Literal["entered", "left"]
    map: str
    stage: str


@dataclass(frozen=True, slots=True)
class OnTimeOnPage:
    """So long on one page; `path` may end in `*`, None is every page."""

    seconds: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class OnExitIntent:
    """Somebody is about to leave the page; `path` as above."""

    path: str | None = None


@dataclass(frozen=True, slots=True)
class OnTaskCompleted:
    """A run through a journey map was completed."""

    map: str


@dataclass(frozen=True, slots=True)
class Periodically:
    """So often, at any touchpoint."""

    every: timedelta


Trigger = OnEvent | OnStage | OnTimeOnPage | OnExitIntent | OnTaskCompleted | Periodically


@dataclass(frozen=True, slots=True)
class EarlierAnswer:
    """Only who answered a question of a survey so before."""

    survey: str
    question: str
    op: Operator
    value: object


@dataclass(frozen=True, slots=True)
class Targeting:
    """Whom to ask: those in a segment, who consented to a purpose, who answered so before. All must hold."""

    segment: str | None = None
    consent: str | None = None
    answered: tuple[EarlierAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """At most so many answers, in each period or altogether."""

    answers: int
    per: Literal["day", "week", "month"] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """For `share` percent of the users: other words (`texts`, by key of the question), or, with `ask` False, nothing:
    a control group that tells what asking itself does."""

    key: str
    share: float
    ask: bool = True
    texts: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survey:
    """One survey of one to three questions.

    `touchpoints` are where it may be shown, empty: anywhere. `sampling` is the percentage of the eligible that are
    asked. From `begins` to `ends`, both days included (UTC). Nobody is asked again within `cooldown`. Who is in none of
    the `variants` sees the survey as it is. `anonymous`: answers are kept without a trace of who gave them.
    """

    key: str
    kind: QuestionKind
    name: str
    owners: tuple[str, ...]
    questions: tuple[Question, ...]
    triggers: tuple[Trigger, ...] = ()
    term: str | None = None
    languages: tuple[str, ...] = ("en",)
    touchpoints: tuple[str, ...] = ()
    targeting: Targeting = Targeting()
    sampling: float = 100
    quota: Quota | None = None
    begins: date | None = None
    ends: date | None = None
    cooldown: timedelta | None = None
    variants: tuple[Variant, ...] = ()
    anonymous: bool = False

    @property
    def clock(self) -> timedelta:
        """For how long nobody is asked again: the longer of the cooldown and of what is periodic; 0: as often as it
        fits."""
        every = (one.every for one in self.triggers if isinstance(one, Periodically))
        return max(self.cooldown or timedelta(), *every, timedelta())

    @property
    def asks_hash(self) -> str:
        """Of what can be answered: it changes when answers that fitted may fit no longer."""
        return content_hash([[one.key, one.kind, one.required, one.scale, _keys(one)] for one in self.questions])

    def question(self, key: str) -> Question | None:
        """The question of this key."""
        return next((one for one in self.questions if one.key == key), None)

    def variant(self, key: str | None) -> Variant | None:
        """The variant of this key."""
        return next((one for one in self.variants if one.key == key), None)

    def next_question(self, key: str, answer: object) -> Question | None:
        """The question after the one of this key, when it was answered so (None: skipped); None: it was the last."""
        index = next(at for at, question in enumerate(self.questions) if question.key == key)
        for branch in self.questions[index].branches:
            if branch.takes(answer):
                return next((one for one in self.questions if one.key == branch.go), None)
        return self.questions[index + 1] if index + 1 < len(self.questions) else None


def _keys(question: Question) -> list[str]:
    return [*(option.key for option in question.options), *(["multiple"] if question.multiple else [])]


def in_language(text: Text, language: str) -> str:
    """The words in the language, in one less particular (`pt` for `pt-BR`), else in the first."""
    for wanted in (language, language.partition("-")[0]):
        if wanted in text:
            return text[wanted]
    return next(iter(text.values()))
