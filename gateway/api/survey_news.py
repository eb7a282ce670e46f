"""Surveys offered live: each time what a user does makes something fit to be asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from gateway.api.context import Context, Info
from gateway.api.following import follow
from gateway.api.journeys import JOURNEYS
from gateway.api.subscriptions import Change, Resume
from gateway.api.surveys import Language, SurveyOffer, TouchpointKey, moment_of, offered, standing_behind, standing_of
from gateway.api.users import UserBy, identity_by, load_user, user_id_by
from gateway.errors import InvalidInput, NotFound
from gateway.feedback import Standing
from gateway.plugin import Source, field, subscription

_FEED = Source.many("feed", "workspace, kind")


@strawberry.type(description="What to ask a user has changed.")
class SurveyChange(Change):
    """A message of `surveyOffered`."""

    told_offer: strawberry.Private[SurveyOffer | None]

    @field(
        source=Source.loader("survey choice"),
        policy=JOURNEYS,
        description="What `nextSurvey` says now; without a survey when the one that was offered is not to be asked any "
        "more, or nothing is.",
    )
    def offer(self) -> SurveyOffer | None:
        return self.told_offer


@strawberry.type(description="What can be watched of surveys.")
class Offering:
    """Subscriptions to surveys."""

    @subscription(
        source=_FEED,
        policy=JOURNEYS,
        description="What to ask one user: first as it is, then each time it becomes another by what they do. With a "
        "user's own token that user, else the one that is named. What waits for the page is in `waiting`.",
    )
    async def survey_offered(
        self,
        info: Info,
        touchpoint: TouchpointKey = None,
        language: Language = None,
        user: Annotated[UserBy | None, strawberry.argument(description="Who is to be asked.")] = None,
        after: Resume = None,
    ) -> AsyncIterator[SurveyChange]:
        context, last = info.context, None
        if context.scope.subject is None and user is None:
            raise InvalidInput("Whom is it about?", hint="Name a `user`, or use a user's own token.", path="user")
        async for news in follow(context, "event", user, after):
            context.forget()
            moment = moment_of(context, touchpoint, None)
            offer = await offered(context, await _standing(context, user), moment, language)
            seen = (offer.sealed, [one.survey.key for one in offer.choice.verdicts if one.waiting])
            if seen != last or news.gap is not None:
                last = seen
                context.position.cursor = news.cursor
                yield SurveyChange(news=news, told_offer=offer)


async def _standing(context: Context, by: UserBy | None) -> Standing:
    """The user who is watched, as of now. Raises NotFound for an id that never was one."""
    identity = context.scope.subject if by is None else identity_by(by)
    if identity is not None:
        return await standing_behind(context, identity)
    assert by is not None
    user = await load_user(context, await user_id_by(context, by))
    if user is None:
        raise NotFound("There is no such user.", hint="Name one by userId or anonymousId to watch before they come.")
    return await standing_of(context, user.state, await context.load.identities.load(user.state.user))
