"""Surveys: what is asked next, and what nobody would ever be asked."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from gateway.contract import Survey, load_texts
from gateway.contract.surveys import EarlierAnswer, OnEvent, OnStage, OnTaskCompleted, Periodically, Quota, in_language
from gateway.errors import ContractError
from tests.unit.contract.acme import JOURNEY

SURVEY = """\
key: ease
kind: CES
name: After signing up
owners: [ux]
languages: [en, pt-BR]
questions:
  - key: effort
    kind: CES
    text: {en: "Easy?", pt-BR: "Fácil?"}
    required: true
    next:
      - {gte: 5, go: end}
      - {lte: 2, go: words}
  - key: reason
    kind: CHOICE
    text: {en: "What was it?", pt-BR: "O que foi?"}
    options:
      - {key: form, text: {en: The form, pt-BR: O formulário}}
      - {key: other, text: {en: Something else, pt-BR: Outra coisa}}
    next:
      - {equals: form, go: end}
  - key: words
    kind: TEXT
    text: {en: "How so?", pt-BR: "Como assim?"}
triggers:
  - event: {name: Signed Up, where: [{property: plan, equals: free}]}
  - stageLeft: {map: trial, stage: signup}
  - taskCompleted: {map: trial}
  - periodic: {every: 90d}
targeting:
  consent: surveys
  answered:
    - {survey: ease, question: effort, lte: 3}
sampling: 12.5
quota: {answers: 100, per: week}
schedule: {from: 2026-03-01, to: 2026-05-31}
cooldown: 30d
variants:
  - key: warm
    share: 40
    questions: [{key: effort, text: {en: "All fine?", pt-BR: "Tudo bem?"}}]
  - {key: control, share: 10, ask: false}
"""
CONSENT = "purposes:\n  - {key: surveys, brief: We ask you., default: granted}\n"
FILES = {"surveys/ease.yaml": SURVEY, "journeys/trial.yaml": JOURNEY, "consent.yaml": CONSENT}


def ease(text: str = SURVEY) -> Survey:
    return load_texts("acme", {**FILES, "surveys/ease.yaml": text}).surveys["ease"]


def test_a_survey_is_read_whole() -> None:
    survey = ease()
    assert (survey.sampling, survey.quota, survey.cooldown) == (12.5, Quota(100, "week"), timedelta(days=30))
    assert (survey.begins, survey.ends) == (date(2026, 3, 1), date(2026, 5, 31))
    event, left, completed, periodic = survey.triggers
    assert isinstance(event, OnEvent)
    assert event.rule.matches("Signed Up", {"plan": "free"})
    assert left == OnStage("left", "trial", "signup")
    assert completed == OnTaskCompleted("trial")
    assert periodic == Periodically(timedelta(days=90))
    assert survey.targeting.consent == "surveys"
    assert survey.targeting.answered == (EarlierAnswer("ease", "effort", "lte", 3),)
    warm, control = survey.variants
    assert (warm.share, warm.ask, warm.texts["effort"]["pt-BR"]) == (40, True, "Tudo bem?")
    assert (control.share, control.ask, control.texts) == (10, False, {})
    assert survey.clock == timedelta(days=90)
    effort = survey.questions[0]
    assert effort.scale is not None
    assert (effort.scale.lowest, effort.scale.highest, effort.scale.satisfied) == (1, 7, 5)


@pytest.mark.parametrize(
    ("question", "answer", "following"),
    [
        ("effort", 7, None),
        ("effort", 5, None),
        ("effort", 4, "reason"),
        ("effort", 2, "words"),
        ("reason", "form", None),
        ("reason", "other", "words"),
        ("reason", None, "words"),
        ("words", "any text", None),
        ("words", None, None),
    ],
)
def test_the_answer_says_what_is_asked_next(question: str, answer: object, following: str | None) -> None:
    found = ease().next_question(question, answer)
    assert (None if found is None else found.key) == following


def test_a_text_is_told_in_the_nearest_language() -> None:
    text = ease().questions[0].text
    assert [in_language(text, language) for language in ("pt-BR", "pt", "en-GB", "ja")] == [
        "Fácil?",
        "Easy?",
        "Easy?",
        "Easy?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{gte: 5, go: end}", "{gte: 5, go: wrods}", "12 questions[0].next[0].go: no question has the key 'wrods'"),
        ("{lte: 2, go: words}", "{lte: 2, go: effort}", "7 questions[0]: the question 'effort' leads back to itself"),
        ("{lte: 2, go: words}", "{gte: 6, go: words}", "13 questions[0].next[1]: no answer takes this branch"),
        ("{lte: 2, go: words}", "{lt: 9, go: words}", "14 questions[1]: no answer leads to the question 'reason'"),
        ("{equals: form, go: end}", "{go: effort}", "7 questions[0]: the question 'effort' leads back to itself"),
        ("{equals: form, go: end}", "{equals: from, go: end}", "21 questions[1].next[0]: no answer takes this branch"),
        ("{gte: 5, go: end}", "{gte: 5, lte: 6, go: end}", "12 questions[0].next[0]: gte and lte stand together"),
        ("key: words", "key: end", "22 questions[2].key: 'end' is where surveys end"),
        ('text: {en: "Easy?", pt-BR: "Fácil?"}', "text: Easy?", "9 questions[0].text: the text is written once, for 2"),
        ("{en: The form, pt-BR: O formulário}", "{en: The form}", "text: there is no text in 'pt-BR' - add pt-BR: ..."),
        (
            '{en: "How so?", pt-BR: "Como assim?"}',
            '{en: "Why?", pt-BR: "Por quê?", de: "Warum?"}',
            "24 questions[2].text.de: 'de' is none of the survey's languages",
        ),
        ("kind: CES\nname", "kind: CSAT\nname", "2 kind: the survey measures 'CSAT' and asks 'CES' first"),
        ("kind: TEXT", "kind: TEXT\n    options: [{key: a, text: a}, {key: b, text: b}]", "TEXT has no options"),
        ("kind: CHOICE", "kind: TEXT", "17 questions[1].options: a question of the kind TEXT has no options"),
        (
            "kind: CES\n    text",
            "kind: CES\n    scale: {lowest: 7, highest: 1}\n    text",
            "from 7 to 1 is empty",
        ),
        (
            "kind: CES\n    text",
            "kind: CES\n    scale: {lowest: 1, highest: 5, satisfied: 6}\n    text",
            "6 does not part the scale from 1 to 5",
        ),
        ("stage: signup}", "stage: singup}", "no stage of that map has the key 'singup' - did you mean 'signup'?"),
        ("{map: trial}", "{map: tiral}", "no journey map has the key 'tiral' - did you mean 'trial'?"),
        ("consent: surveys", "consent: marketing", "no purpose of consent.yaml has the key 'marketing'"),
        ("{survey: ease,", "{survey: esae,", "no survey has the key 'esae' - did you mean 'ease'?"),
        ("question: effort,", "question: efort,", "no question of that survey has the key 'efort'"),
        ("from: 2026-03-01", "from: 2026-02-30", "'2026-02-30' is no day"),
        ("to: 2026-05-31", "to: 2026-02-01", "the schedule ends before it begins"),
        ("sampling: 12.5", "sampling: 101", "sampling: 101 is out of range - write at most 100"),
        ("every: 90d", "every: 9999w", "triggers[3].periodic.every: '9999w' is too long"),
        ("cooldown: 30d", "cooldown: monthly", "cooldown: 'monthly' cannot stand here"),
        ("[{key: effort, text", "[{key: efort, text", "no question has the key 'efort' - did you mean 'effort'?"),
        (', pt-BR: "Tudo bem?"', "", "variants[0].questions[0].text: there is no text in 'pt-BR' - add pt-BR: ..."),
        ("share: 10, ask", "share: 61, ask", "variants: the shares come to 101 percent - let them be 100 or less"),
        ("share: 10, ask: false", "share: 10", "variants[1]: the variant asks in the same words - write other words"),
        ("share: 40\n", "share: 40\n    ask: false\n", "variants[0]: words that nobody is asked in"),
        ("key: control", "key: warm", "variants[1].key: the variant key 'warm' is already used"),
    ],
)
def test_a_mistake_in_a_survey_is_told(old: str, new: str, problem: str) -> None:
    assert SURVEY.count(old) == 1
    with pytest.raises(ContractError) as refused:
        ease(SURVEY.replace(old, new))
    assert any(problem in line for line in refused.value.problems), refused.value.problems


def test_a_fourth_question_is_too_much() -> None:
    more = "  - {key: more, kind: TEXT, text: {en: More, pt-BR: Mais}}\ntriggers:"
    with pytest.raises(ContractError, match="questions: has 4 entries - write at most 3"):
        ease(SURVEY.replace("triggers:", more))


def test_a_stage_names_surveys_that_there_are() -> None:
    journey = JOURNEY.replace("label: First event", "label: First event\n    feedback: [ease, esae]")
    with pytest.raises(ContractError) as refused:
        load_texts("acme", {**FILES, "journeys/trial.yaml": journey})
    assert refused.value.problems == [
        "acme/journeys/trial.yaml:19 stages[1].feedback[1]: no survey has the key 'esae' - did you mean 'ease'?"
    ]


def test_consent_counts_by_country_until_somebody_says_something() -> None:
    text = "purposes:\n  - {key: analytics, brief: We count., default: denied, regions: [%s]}\n"
    us = "{countries: [US, CA], default: granted}"
    purpose = load_texts("acme", {"consent.yaml": text % us}).consent["analytics"]
    assert [purpose.default(country) for country in ("US", "CA", "DE", None)] == [True, True, False, False]
    with pytest.raises(ContractError, match="'US' is already in another region of this purpose"):
        load_texts("acme", {"consent.yaml": text % f"{us}, {{countries: [US], default: denied}}"})
    with pytest.raises(ContractError, match="'marketting' is not known - did you mean 'marketing'"):
        load_texts("acme", {"consent.yaml": (text % us).replace("key: analytics", "key: marketting")})
