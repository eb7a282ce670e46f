"""What can be said of a survey that was offered: that it was shown, answered in part or to the end, or closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.context import Context, Info
from gateway.api.mutations import SEND, SOURCE, InputError, UserError, sender_of, wrong
from gateway.api.surveys import standing_behind
from gateway.contract import Survey
from gateway.contract.shape import did_you_mean
from gateway.errors import InvalidInput
from gateway.feedback import Answered, AnswerProblem, Standing, check_answers, unchecked
from gateway.feedback.messages import (
    Circumstances,
    as_they_are,
    dismissed,
    partly_answered,
    responded,
    response_id,
    same_answers,
    shown,
)
from gateway.model.event import JsonObject, Receipt
from gateway.model.event import Verdict as Judged
from gateway.model.identity import Identity, digest, user_id_of
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery
from gateway.plugin import ANYONE, Source, attribute, field

_RECEIPT = Source.loader("intake")
_LONGEST_KEY = 100


@strawberry.input(description="The answer to one question.")
class SurveyAnswerInput:
    """An answer."""

    question: strawberry.ID = strawberry.field(description="The question's key.")
    value: JSON = strawberry.field(
        description="A whole number on the question's scale, a text, the key of an option, or several in a list."
    )


@strawberry.input(description="Which offer of a survey it is about.")
class _AboutOffer:
    """What the inputs have in common; it is no input of the API itself."""

    offer: str | None = strawberry.field(
        default=None, description="The offer, as `nextSurvey` gave it. A user's own token needs it."
    )
    survey: strawberry.ID | None = strawberry.field(
        default=None, description="Without an offer: the survey that your server put before them by its own means."
    )
    response_id: strawberry.ID | None = strawberry.field(
        default=None, description="Without an offer: your own id of this, so that sending it again changes nothing."
    )
    touchpoint: strawberry.ID | None = strawberry.field(default=None, description="Where it was asked.")
    language: str | None = strawberry.field(default=None, description="In which language.")
    user_id: str | None = strawberry.field(
        default=None, description="Who it is, if known. With a user's own token, leave it out."
    )
    anonymous_id: str | None = strawberry.field(
        default=None, description="The browser or device. With a user's own token, leave it out."
    )


@strawberry.input(description="Answers to a survey.")
class SubmitResponseInput(_AboutOffer):
    """A response."""

    answers: list[SurveyAnswerInput] = strawberry.field(description="The answers; what was skipped is left out.")
    complete: bool = strawberry.field(
        default=True,
        description="False: there is more to come. Such answers are kept and counted apart, and are in no score until "
        "all of them are sent with `complete: true`.",
    )


@strawberry.input(description="A survey that was put before somebody.")
class RecordSurveyDisplayInput(_AboutOffer):
    """A display."""


@strawberry.input(description="A survey that was closed without an answer.")
class DismissSurveyInput(_AboutOffer):
    """A dismissal."""

    question: strawberry.ID | None = strawberry.field(default=None, description="At which question.")


@strawberry.type(description="What became of it.")
class _Heard:
    """What the answers of these mutations have."""

    stored: bool = attribute(
        source=_RECEIPT, policy=ANYONE, description="Whether it is stored; durable once this is answered."
    )
    known: bool = attribute(
        source=_RECEIPT, policy=ANYONE, description="Whether it was stored before, so that nothing changed."
    )
    consistency_token: str | None = attribute(
        source=_RECEIPT, policy=ANYONE, description="For `atLeast` in a query that shall see it."
    )
    errors: list[UserError] = attribute(
        source=_RECEIPT, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What became of a response.")
class SubmitResponsePayload(_Heard):
    """The answer of submitResponse."""

    response_id: strawberry.ID | None = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="The response's id for `node`, once it is complete; null of an anonymous one.",
    )


@strawberry.type(description="What became of a display.")
class RecordSurveyDisplayPayload(_Heard):
    """The answer of recordSurveyDisplay."""


@strawberry.type(description="What became of a dismissal.")
class DismissSurveyPayload(_Heard):
    """The answer of dismissSurvey."""


@strawberry.type(description="What can be said of surveys.")
class Answering:
    """Mutations of surveys."""

    @field(
        source=_RECEIPT,
        policy=SEND,
        description="Answer a survey: one response to each offer, stored as an event like everything else, with "
        "traits, segments and stages as they are now.",
    )
    async def submit_response(
        self, info: Info, input: Annotated[SubmitResponseInput, strawberry.argument(description="The answers.")]
    ) -> SubmitResponsePayload:
        return await _submit(info.context, input)

    @field(
        source=_RECEIPT,
        policy=SEND,
        description="Say that a survey was put before somebody; its clock runs from then.",
    )
    async def record_survey_display(
        self, info: Info, input: Annotated[RecordSurveyDisplayInput, strawberry.argument(description="Which.")]
    ) -> RecordSurveyDisplayPayload:
        about = await _about(info.context, input)
        if isinstance(about, InputError):
            return RecordSurveyDisplayPayload(**_refused([about]))
        receipt = await _send(info.context, about, [shown(about.where)])
        return RecordSurveyDisplayPayload(**_heard(receipt))

    @field(source=_RECEIPT, policy=SEND, description="Say that a survey was closed without an answer.")
    async def dismiss_survey(
        self, info: Info, input: Annotated[DismissSurveyInput, strawberry.argument(description="Which.")]
    ) -> DismissSurveyPayload:
        about = await _about(info.context, input)
        if isinstance(about, InputError):
            return DismissSurveyPayload(**_refused([about]))
        question = None if input.question is None else str(input.question)[:_LONGEST_KEY]
        return DismissSurveyPayload(**_heard(await _send(info.context, about, [dismissed(about.where, question)])))


@dataclass(frozen=True, slots=True)
class _About:
    """Whom and which survey it is about; `survey` is None when it is there no longer, `changed` when it was another."""

    sender: JsonObject
    identity: Identity
    standing: Standing
    survey: Survey | None
    changed: bool
    where: Circumstances


async def _submit(context: Context, given: SubmitResponseInput) -> SubmitResponsePayload:
    about = await _about(context, given)
    if isinstance(about, InputError):
        return SubmitResponsePayload(**_refused([about]), response_id=None)
    pairs = [(str(one.question), one.value) for one in given.answers]
    answered, problems = _checked(about, pairs, given.complete)
    if not problems and not pairs:
        problems = [AnswerProblem(None, "NO_ANSWERS", "There are no answers.", "Send some, or `dismissSurvey`.")]
    if problems:
        return SubmitResponsePayload(**_refused([_told(one) for one in problems]), response_id=None)
    if about.survey is not None and about.survey.anonymous:
        return await _submit_anonymously(context, about, about.survey, answered, given.complete)
    if not given.complete:
        receipt = await _send(context, about, partly_answered(about.where, answered))
        return SubmitResponsePayload(**_heard(receipt), response_id=None)
    now = context.services.clock.now()
    message = responded(
        about.where, about.survey, answered, as_they_are(context.services.contract, about.standing, now)
    )
    receipt = await _send(context, about, [message])
    key = digest(context.scope.workspace, SOURCE, response_id(about.where.offer))
    if receipt.conflict and not await _is_same(context, key, answered):
        error = wrong(
            "ALREADY_ANSWERED",
            "This offer was answered before, and otherwise.",
            "Nothing changed; ask for `nextSurvey` again.",
            "input",
            "offer",
        )
        return SubmitResponsePayload(**_refused([error]), response_id=None)
    heard = _heard(receipt)
    return SubmitResponsePayload(
        **heard, response_id=strawberry.ID(f"response_{key.hex()}") if heard["stored"] else None
    )


async def _submit_anonymously(
    context: Context, about: _About, survey: Survey, answered: Answered, complete: bool
) -> SubmitResponsePayload:
    """Nothing of it becomes an event: those say who and when."""
    if not complete:
        hint = "Send all answers at once with `complete: true`."
        error = wrong("ANONYMOUS", "Anonymous surveys take no answers in parts.", hint, "input", "complete")
        return SubmitResponsePayload(**_refused([error]), response_id=None)
    feedback, workspace = context.services.feedback, context.scope.workspace
    fresh = await feedback.anonymous.take(workspace, survey, about.where.offer, answered)
    return SubmitResponsePayload(stored=True, known=not fresh, consistency_token=None, errors=[], response_id=None)


def _checked(
    about: _About, pairs: Sequence[tuple[str, Any]], complete: bool
) -> tuple[Answered, Sequence[AnswerProblem]]:
    if about.survey is None:
        return unchecked(pairs)
    return check_answers(about.survey, pairs, complete=complete, changed=about.changed)


async def _about(context: Context, given: _AboutOffer) -> _About | InputError:
    """What an input is about. Raises InvalidInput for an offer that is none."""
    sender = sender_of(context.scope, given.user_id, given.anonymous_id)
    if isinstance(sender, InputError):
        return sender
    kind = "userId" if sender.get("userId") is not None else "anonymousId"
    identity = Identity(kind, str(sender[kind]))  # type: ignore[arg-type]
    if any(one is not None and not 0 < len(one) <= _LONGEST_KEY for one in (given.touchpoint, given.language)):
        return wrong("TOO_LONG", "`touchpoint` or `language` is empty or too long.", "Send its key.", "input")
    standing = await standing_behind(context, identity)
    if given.offer is not None:
        return await _by_offer(context, given, sender, identity, standing)
    if context.scope.subject is not None:
        hint = "Send `offer` as `nextSurvey` gave it."
        return wrong("NO_OFFER", "A user's own token answers what it was offered.", hint, "input", "offer")
    if given.survey is None or given.response_id is None:
        return wrong("NO_OFFER", "Which survey is it about?", "Send `offer`, or `survey` and `responseId`.", "input")
    survey = context.services.contract.surveys.get(given.survey)
    if survey is None:
        known = list(context.services.contract.surveys)
        hint = did_you_mean(given.survey, known, otherwise="there is") if known else "Add one to surveys/."
        return wrong("UNKNOWN_SURVEY", "There is no survey of this key.", hint, "input", "survey")
    offer = digest("response", context.scope.workspace, survey.key, given.response_id).hex()
    where = Circumstances(survey.key, offer, given.touchpoint, None, given.language)
    return _About(sender, identity, standing, survey, False, where)


async def _by_offer(
    context: Context, given: _AboutOffer, sender: JsonObject, identity: Identity, standing: Standing
) -> _About | InputError:
    try:
        offer = context.services.feedback.offers.opened(given.offer or "", context.scope.workspace)
    except InvalidInput as error:
        return wrong("NO_OFFER", error.message, error.hint, "input", "offer")
    workspace = context.scope.workspace
    known = [identity] if standing.state is None else await context.load.identities.load(standing.user)
    # An offer holds through merges: it was made for the user that one of their identities was.
    if offer.user not in {standing.user, *(user_id_of(workspace, one) for one in known)}:
        hint = "Ask for `nextSurvey` as this user."
        return wrong("OTHER_USER", "This offer was made to somebody else.", hint, "input", "offer")
    survey = context.services.contract.surveys.get(offer.survey)
    changed = survey is None or survey.asks_hash != offer.asks_hash
    where = Circumstances(offer.survey, offer.id, given.touchpoint, offer.variant, given.language)
    return _About(sender, identity, standing, survey, changed, where)


async def _send(context: Context, about: _About, messages: Sequence[JsonObject]) -> Receipt:
    """Raises Unavailable: nothing was stored then, and the same may be sent again."""
    kept = {name: value for name, value in about.sender.items() if value is not None}
    return await context.services.intake.ingest(
        Delivery(context.scope.workspace, SOURCE, [one | kept for one in messages])
    )


async def _is_same(context: Context, key: bytes, answered: Answered) -> bool:
    """Whether the response that is stored has these answers: sent again, when traits or stages had changed."""
    found = await context.services.events.get(Scope.system(context.scope.workspace), [key])
    return key in found and same_answers(found[key].properties, answered)


def _heard(receipt: Receipt) -> dict[str, Any]:
    """The fields of the payload. That it was said before in other words is no error: it counts once."""
    refused = receipt.quarantined + receipt.refused
    problems = [one for one in receipt.problems if one.verdict is not Judged.CONFLICT]
    return {
        "stored": not refused,
        "known": not receipt.accepted and not refused,
        "consistency_token": receipt.consistency_token,
        "errors": [wrong(one.code.upper(), one.message, None, "input") for one in problems],
    }


def _refused(errors: Sequence[InputError]) -> dict[str, Any]:
    return {"stored": False, "known": False, "consistency_token": None, "errors": list(errors)}


def _told(problem: AnswerProblem) -> InputError:
    place = () if problem.place is None else (str(problem.place), "value")
    return wrong(problem.code, problem.message, problem.fix, "input", "answers", *place)
