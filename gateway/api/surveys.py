"""Which survey comes next for a user, why, and how it is put."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, cast

import strawberry
from strawberry.scalars import JSON

from gateway.api.context import Context
from gateway.api.journeys import JOURNEYS
from gateway.contract import Question, Survey
from gateway.contract.surveys import Branch, OnTimeOnPage, in_language
from gateway.errors import InvalidInput
from gateway.feedback import Choice, Moment, Standing, Verdict
from gateway.feedback.eligibility import PageTrigger
from gateway.feedback.messages import texts_in
from gateway.model.identity import Identity, user_id_of
from gateway.model.journey import UserState
from gateway.plugin import Policy, Source, attribute, field

#: Why somebody is not asked names segments and earlier answers: not for a user's own token.
GROUNDS = Policy("journeys:read")

_LONGEST = 500
_CHOSEN = Source.loader("survey choice")

TouchpointKey = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Where they could be asked; surveys that name touchpoints need one of theirs."),
]
Language = Annotated[
    str | None, strawberry.argument(description="The language of the words, such as `de` or `pt-BR`, if there are any.")
]


def _file(key: str) -> Source:
    return Source.contract("surveys", key)


@strawberry.input(description="The page somebody is on, for surveys that wait for what happens there.")
class PageInput:
    """A page."""

    path: str = strawberry.field(description="Its path, such as `/checkout`.")
    seconds: int = strawberry.field(default=0, description="For how many seconds they have been on it.")
    leaving: bool = strawberry.field(default=False, description="Whether they are about to leave it.")


Page = Annotated[PageInput | None, strawberry.argument(description="The page they are on.")]


@strawberry.enum(description="How a question is answered.")
class SurveyQuestionKind(Enum):
    """Kinds."""

    CSAT = strawberry.enum_value("CSAT", description="How satisfied: a number on a scale.")
    CES = strawberry.enum_value("CES", description="How easy: a number on a scale.")
    NPS = strawberry.enum_value("NPS", description="How likely to recommend: 0 to 10.")
    EMOJI = strawberry.enum_value("EMOJI", description="A face: a number on a scale.")
    SLIDER = strawberry.enum_value("SLIDER", description="A number on a long scale.")
    CHOICE = strawberry.enum_value("CHOICE", description="One or several options.")
    TEXT = strawberry.enum_value("TEXT", description="In words.")


@strawberry.enum(name="SurveyGroundCode", description="Why somebody is not asked.")
class GroundCode(Enum):
    """Grounds."""

    CONSENT = strawberry.enum_value("consent", description="They have not consented.")
    SCHEDULE = strawberry.enum_value("schedule", description="It has not begun, or is over.")
    TOUCHPOINT = strawberry.enum_value("touchpoint", description="It is asked elsewhere.")
    SEGMENT = strawberry.enum_value("segment", description="They are not in its segment.")
    ANSWERED = strawberry.enum_value("answered", description="They have not answered another survey so.")
    SAMPLING = strawberry.enum_value("sampling", description="They are not in its sample.")
    CONTROL = strawberry.enum_value("control", description="They are in its control group.")
    CLOCK = strawberry.enum_value("clock", description="They were asked it not long ago.")
    QUOTA = strawberry.enum_value("quota", description="It has the answers that were wanted.")
    TRIGGER = strawberry.enum_value("trigger", description="Nothing that it asks about has just happened.")
    CAP = strawberry.enum_value("cap", description="They have had enough surveys lately.")
    PAUSE = strawberry.enum_value("pause", description="They have just had a survey.")


@strawberry.enum(description="What a survey may wait for on a page.")
class PageTriggerKind(Enum):
    """Kinds."""

    TIME_ON_PAGE = strawberry.enum_value("TIME_ON_PAGE", description="So many seconds on it.")
    EXIT_INTENT = strawberry.enum_value("EXIT_INTENT", description="They are about to leave it.")


@strawberry.type(description="What a page should listen for: once it happens, ask for `nextSurvey` again and say so.")
class SurveyPageTrigger:
    """A trigger of a page."""

    kind: PageTriggerKind = attribute(source=_file("triggers"), policy=JOURNEYS, description="What has to happen.")
    seconds: int | None = attribute(
        source=_file("triggers.timeOnPage.seconds"), policy=JOURNEYS, description="Of TIME_ON_PAGE: after how long."
    )
    path: str | None = attribute(
        source=_file("triggers.path"),
        policy=JOURNEYS,
        description="On which page; one that ends in `*` is any that begins so, null is every page.",
    )


@strawberry.type(description="The scale of a question; whole numbers.")
class SurveyScale:
    """A scale."""

    lowest: int = attribute(source=_file("questions.scale"), policy=JOURNEYS, description="The lowest answer.")
    highest: int = attribute(source=_file("questions.scale"), policy=JOURNEYS, description="The highest answer.")


@strawberry.type(description="One of the answers to choose from.")
class SurveyOption:
    """An option."""

    key: strawberry.ID = attribute(
        source=_file("questions.options"), policy=JOURNEYS, description="The answer as it is sent."
    )
    text: str = attribute(source=_file("questions.options"), policy=JOURNEYS, description="The words to be shown.")


@strawberry.type(description="Where an answer leads; of several the first that fits counts.")
class SurveyBranch:
    """A branch."""

    op: str | None = attribute(
        source=_file("questions.next"),
        policy=JOURNEYS,
        description="How the answer is compared with `value`: equals, in, gt, gte, lt, lte or exists (whether there is "
        "one); null: it is for every answer.",
    )
    value: JSON | None = attribute(source=_file("questions.next"), policy=JOURNEYS, description="What with.")
    go: strawberry.ID | None = attribute(
        source=_file("questions.next"), policy=JOURNEYS, description="The key of the next question; null: the end."
    )


@strawberry.type(description="A question as it is put before somebody.")
class SurveyQuestion:
    """A question."""

    asked: strawberry.Private[Question]
    language: strawberry.Private[str]

    text: str = attribute(source=_file("questions.text"), policy=JOURNEYS, description="The words to be shown.")

    @field(source=_file("questions.key"), policy=JOURNEYS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.asked.key)

    @field(source=_file("questions.kind"), policy=JOURNEYS, description="How it is answered.")
    def kind(self) -> SurveyQuestionKind:
        return SurveyQuestionKind(self.asked.kind)

    @field(source=_file("questions.required"), policy=JOURNEYS, description="Whether it cannot be skipped.")
    def required(self) -> bool:
        return self.asked.required

    @field(source=_file("questions.scale"), policy=JOURNEYS, description="The scale, if it is answered by numbers.")
    def scale(self) -> SurveyScale | None:
        scale = self.asked.scale
        return None if scale is None else SurveyScale(lowest=scale.lowest, highest=scale.highest)

    @field(source=_file("questions.options"), policy=JOURNEYS, description="Of a CHOICE: what to choose from.", size=5)
    def options(self) -> list[SurveyOption]:
        return [
            SurveyOption(key=strawberry.ID(one.key), text=in_language(one.text, self.language))
            for one in self.asked.options
        ]

    @field(source=_file("questions.multiple"), policy=JOURNEYS, description="Whether several may be chosen.")
    def multiple(self) -> bool:
        return self.asked.multiple

    @field(source=_file("questions.maxLength"), policy=JOURNEYS, description="Of a TEXT: how many characters at most.")
    def max_length(self) -> int | None:
        return self.asked.longest

    @field(
        source=_file("questions.next"),
        policy=JOURNEYS,
        description="Where answers lead; where none fits, to the question behind this.",
        size=2,
    )
    def next(self) -> list[SurveyBranch]:
        return [_branch(one) for one in self.asked.branches]


@strawberry.type(description="A survey as it is put before somebody.")
class OfferedSurvey:
    """A survey with the words of the variant and language."""

    survey: strawberry.Private[Survey]
    variant_key: strawberry.Private[str | None]
    language: strawberry.Private[str]

    @field(source=_file("key"), policy=JOURNEYS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.survey.key)

    @field(source=_file("kind"), policy=JOURNEYS, description="What its first question measures.")
    def kind(self) -> SurveyQuestionKind:
        return SurveyQuestionKind(self.survey.kind)

    @field(source=_file("variants"), policy=JOURNEYS, description="The variant; null: the survey as it is.")
    def variant(self) -> strawberry.ID | None:
        return None if self.variant_key is None else strawberry.ID(self.variant_key)

    @field(
        source=_file("anonymous"),
        policy=JOURNEYS,
        description="Whether answers are kept without a trace of who gave them.",
    )
    def anonymous(self) -> bool:
        return self.survey.anonymous

    @field(source=_file("questions"), policy=JOURNEYS, description="One to three questions, in order.", size=3)
    def questions(self) -> list[SurveyQuestion]:
        texts = texts_in(self.survey, self.variant_key, self.language)
        return [
            SurveyQuestion(asked=one, language=self.language, text=text)
            for one, text in zip(self.survey.questions, texts, strict=True)
        ]


@strawberry.type(description="Why a survey is not put before somebody.")
class SurveyGround:
    """A ground."""

    survey: strawberry.ID = attribute(source=_CHOSEN, policy=GROUNDS, description="The survey's key.")
    code: GroundCode = attribute(source=_CHOSEN, policy=GROUNDS, description="The ground, for programs.")
    text: str = attribute(source=_CHOSEN, policy=GROUNDS, description="The ground in words.")


@strawberry.type(description="What to ask somebody now, if anything.")
class SurveyOffer:
    """What was chosen."""

    choice: strawberry.Private[Choice]
    language: strawberry.Private[str]
    sealed: strawberry.Private[str | None]

    @field(source=_CHOSEN, policy=JOURNEYS, description="The survey; null when there is nothing to ask now.")
    def survey(self) -> OfferedSurvey | None:
        verdict = self.choice.verdict
        if verdict is None:
            return None
        return OfferedSurvey(survey=verdict.survey, variant_key=_variant(verdict), language=self.language)

    @field(
        source=_CHOSEN,
        policy=JOURNEYS,
        description="What to send along with displays, answers and dismissals. It stays the same until the survey was "
        "shown, and takes one response.",
    )
    def offer(self) -> str | None:
        return self.sealed

    @field(source=_CHOSEN, policy=JOURNEYS, description="Why it is asked now, or that nothing is, in words.")
    def because(self) -> str:
        verdict = self.choice.verdict
        return "There is nothing to ask now." if verdict is None else verdict.because

    @field(
        source=_CHOSEN,
        policy=JOURNEYS,
        description="What on the page would bring a survey up; empty when one is asked now.",
        size=3,
    )
    def waiting(self) -> list[SurveyPageTrigger]:
        return [] if self.choice.verdict is not None else _page_triggers(self.choice)

    @field(source=_CHOSEN, policy=GROUNDS, description="Why the others are not asked, survey by survey.", size=10)
    def grounds(self) -> list[SurveyGround]:
        return [
            SurveyGround(survey=strawberry.ID(verdict.survey.key), code=GroundCode(ground.value), text=text)
            for verdict in self.choice.verdicts
            for ground, text in verdict.grounds
        ]


def moment_of(context: Context, touchpoint: str | None, page: PageInput | None) -> Moment:
    """The moment as the caller describes it. Raises InvalidInput."""
    now = context.services.clock.now()
    if touchpoint is not None and not 0 < len(touchpoint) <= _LONGEST:
        raise InvalidInput("`touchpoint` is empty or too long.", hint="Send the key of one.", path="touchpoint")
    if page is None:
        return Moment(now, touchpoint)
    if len(page.path) > 4 * _LONGEST or page.seconds < 0:
        raise InvalidInput("`page` is no page.", hint="Send its path, and 0 seconds or more.", path="page")
    return Moment(now, touchpoint, page.path, page.seconds, page.leaving)


async def standing_of(context: Context, state: UserState, identities: Sequence[Identity]) -> Standing:
    """How things stand with a user of the caller's workspace."""
    consent = await context.load.consents.load(tuple(identities))
    services, workspace = context.services, context.scope.workspace
    return await services.feedback.standing(workspace, services.contract, state.user, identities, state, consent)


async def standing_behind(context: Context, identity: Identity) -> Standing:
    """The same for whoever is or will be behind an identity."""
    user = await context.load.user_ids.load(identity)
    state = None if user is None else await context.load.users.load(user)
    if user is not None and state is not None:
        return await standing_of(context, state, await context.load.identities.load(user))
    services, workspace = context.services, context.scope.workspace
    consent = await context.load.consents.load((identity,))
    named = user_id_of(workspace, identity)
    return await services.feedback.standing(workspace, services.contract, named, [identity], None, consent)


async def offered(context: Context, standing: Standing, moment: Moment, language: str | None) -> SurveyOffer:
    """What to ask somebody at a moment."""
    services, workspace = context.services, context.scope.workspace
    choice = await services.feedback.choice(workspace, services.contract, standing, moment)
    sealed = None
    if choice.verdict is not None:
        sealed = services.feedback.offers.sealed(services.feedback.offer(workspace, standing, choice.verdict))
    return SurveyOffer(choice=choice, language=(language or "")[:20], sealed=sealed)


def _variant(verdict: Verdict) -> str | None:
    return None if verdict.variant is None else verdict.variant.key


def _page_triggers(choice: Choice) -> list[SurveyPageTrigger]:
    return [_page_trigger(one) for one in dict.fromkeys(trigger for _, trigger in choice.waiting)]


def _page_trigger(trigger: PageTrigger) -> SurveyPageTrigger:
    if isinstance(trigger, OnTimeOnPage):
        return SurveyPageTrigger(kind=PageTriggerKind.TIME_ON_PAGE, seconds=trigger.seconds, path=trigger.path)
    return SurveyPageTrigger(kind=PageTriggerKind.EXIT_INTENT, seconds=None, path=trigger.path)


def _branch(branch: Branch) -> SurveyBranch:
    value = sorted(cast("tuple[object, ...]", branch.value), key=repr) if branch.op == "in" else branch.value
    return SurveyBranch(
        op=branch.op,
        value=None if branch.op is None else JSON(value),
        go=None if branch.go is None else strawberry.ID(branch.go),
    )
