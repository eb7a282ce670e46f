"""What is heard of a survey, as the events that it is stored as. All go through intake like everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract import Contract
from gateway.contract.surveys import Survey, in_language
from gateway.feedback.answers import Answered, comment_of, score_of
from gateway.feedback.standing import Standing
from gateway.journeys.fold import settled
from gateway.model.event import JsonObject
from gateway.model.identity import digest
from gateway.model.response import DISMISSED, QUESTION_ANSWERED, RESPONDED, SHOWN

#: The `source` that a response names when the gateway itself asked.
OWN_SOURCE = "gateway"
_MOST_TRAITS = 50
_LONGEST_TRAIT = 200


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and how it was asked: of which offer (its id, which is the response's), in which variant and language."""

    survey: str
    offer: str
    touchpoint: str | None = None
    variant: str | None = None
    language: str | None = None

    def properties(self) -> JsonObject:
        """As events carry them."""
        said = {"survey": self.survey, "offer": self.offer, "touchpoint": self.touchpoint}
        said |= {"variant": self.variant, "language": self.language}
        return {name: value for name, value in said.items() if value is not None}


def shown(where: Circumstances) -> JsonObject:
    """That the survey was put before somebody; once per offer."""
    return _message(SHOWN, f"shown:{where.offer}", where.properties())


def dismissed(where: Circumstances, question: str | None) -> JsonObject:
    """That it was closed at a question without an answer; once per offer."""
    more = {} if question is None else {"question": question}
    return _message(DISMISSED, f"dismissed:{where.offer}", where.properties() | more)


def partly_answered(where: Circumstances, answered: Answered) -> list[JsonObject]:
    """One event for each answer, before the whole is sent. They count in no score; another answer to the same question
    is another event."""
    return [
        _message(
            QUESTION_ANSWERED,
            f"answered:{digest(where.offer, key, repr(value)).hex()}",
            where.properties() | {"question": key, "value": value},
        )
        for key, value in answered.answers
    ]


def responded(where: Circumstances, survey: Survey | None, answered: Answered, about: JsonObject) -> JsonObject:
    """The response: once per offer. `about` is who answered, as they were then (see `as_they_are`)."""
    properties: JsonObject = {
        **where.properties(),
        "responseId": where.offer,
        "source": OWN_SOURCE,
        "complete": True,
        "answers": [_answer(survey, key, value, where.language) for key, value in answered.answers],
        **about,
    }
    if (score := score_of(survey, answered.answers)) is not None:
        properties["score"] = score
    if (comment := comment_of(survey, answered.answers)) is not None:
        properties["comment"] = comment
    if answered.changed:
        properties["surveyChanged"] = True
    return _message(RESPONDED, response_id(where.offer), properties)


def response_id(offer: str) -> str:
    """The messageId of the one response to an offer."""
    return f"response:{offer}"


def as_they_are(contract: Contract, standing: Standing, now: int) -> JsonObject:
    """Traits, segments and where in each journey somebody is, for the answer to keep; nothing of who denies
    analytics. Only those traits that the plan has, and that tell nothing of a person."""
    state = standing.state
    if state is None or standing.consent.get("analytics") is False:
        return {}
    stages = {key: settled(run, now) for key, run in state.runs.items()}
    journey = {key: run.stage for key, run in stages.items() if run.stage is not None}
    planned = _impersonal(contract)
    traits = {name: value for name, value in state.traits.items() if name in planned and _is_plain(value)}
    return {
        "journey": journey,
        "segments": sorted(standing.segments),
        "traits": dict(list(traits.items())[:_MOST_TRAITS]),
    }


def same_answers(stored: Mapping[str, Any], answered: Answered) -> bool:
    """Whether the properties of a stored response hold these very answers."""
    given = stored.get("answers")
    pairs = [(one.get("question"), one.get("value")) for one in given] if isinstance(given, list) else []
    return pairs == list(answered.answers)


def _answer(survey: Survey | None, key: str, value: Any, language: str | None) -> JsonObject:
    question = None if survey is None else survey.question(key)
    told: JsonObject = {"question": key, "value": value}
    if question is not None:
        told |= {"text": in_language(question.text, language or ""), "kind": question.kind.lower()}
    return told


def _impersonal(contract: Contract) -> frozenset[str]:
    """The traits that are planned and not personal."""
    calls = (event for event in contract.events.values() if event.type == "identify")
    return frozenset(one.key for event in calls for one in event.properties if one.definition.privacy == "none")


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _LONGEST_TRAIT)


def _message(name: str, message_id: str, properties: JsonObject) -> JsonObject:
    return {"type": "track", "event": name, "messageId": message_id, "properties": properties}


def texts_in(survey: Survey, variant: str | None, language: str) -> Sequence[str]:
    """The words of each question as they are put before somebody."""
    found = survey.variant(variant)
    texts = {} if found is None else found.texts
    return [in_language(texts.get(one.key, one.text), language) for one in survey.questions]
