"""Whom a survey would have asked: a survey of the contract, or one that is only thought of."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Annotated, Any

import strawberry

from gateway.api.context import Context, Info
from gateway.api.ranges import RangeInput, range_of
from gateway.api.scalars import DateTime
from gateway.api.surveys import GroundCode
from gateway.api.users import User, owner
from gateway.contract import Contract, Survey, load_texts
from gateway.contract.shape import did_you_mean
from gateway.contract.sources import source_of
from gateway.errors import ContractError, InvalidInput
from gateway.feedback.previewing import Preview, WouldAsk, would_ask
from gateway.model.journey import UserState
from gateway.model.scope import Scope
from gateway.plugin import Policy, Source, attribute, field

PREVIEWS = Policy("journeys:read")

#: Of the users of the range the last seen so many are looked at, and of users with more events than this none.
MOST_USERS = 500
MOST_EVENTS = 2_000
#: So many events of the range are looked at: a few seconds' work.
MOST_MOMENTS = 20_000
_SHOWN = 100
_LARGEST_FILE = 200_000
_PAGE = 100
_REPLAYED = Source.loader("survey preview")


@strawberry.type(description="Somebody who would have been asked.")
class SurveyPreviewUser:
    """A user of a preview."""

    found: strawberry.Private[WouldAsk]

    @field(source=Source.one("users", "user"), policy=PREVIEWS, description="Who.")
    async def user(self, info: Info) -> User:
        return await owner(info.context, self.found.user)

    @field(source=_REPLAYED, policy=PREVIEWS, description="When first.")
    def at(self) -> DateTime:
        return DateTime(self.found.asked[0][0])

    @field(source=_REPLAYED, policy=PREVIEWS, description="Why, in words.")
    def because(self) -> str:
        return self.found.asked[0][1]

    @field(source=_REPLAYED, policy=PREVIEWS, description="How often in the range.")
    def times(self) -> int:
        return len(self.found.asked)


@strawberry.type(description="What kept users from being asked, and how many.")
class SurveyPreviewGround:
    """A ground of a preview."""

    code: GroundCode = attribute(source=_REPLAYED, policy=PREVIEWS, description="The ground.")
    users: int = attribute(source=_REPLAYED, policy=PREVIEWS, description="How many users.")


@strawberry.type(description="Whom a survey would have asked in a range.")
class SurveyPreview:
    """A preview."""

    found: strawberry.Private[Preview]

    @field(source=_REPLAYED, policy=PREVIEWS, description="How many users did something in the range.")
    def looked_at(self) -> int:
        return self.found.looked_at

    @field(source=_REPLAYED, policy=PREVIEWS, description="How many of them would have been asked.")
    def asked(self) -> int:
        return len(self.found.asked)

    @field(
        source=_REPLAYED,
        policy=PREVIEWS,
        description=f"Whether these are all users; else the last {MOST_USERS} seen, or as many as did "
        f"{MOST_MOMENTS:,} things, and nobody with more than {MOST_EVENTS:,} events.",
    )
    def complete(self) -> bool:
        return self.found.complete

    @field(source=_REPLAYED, policy=PREVIEWS, description=f"Who would have been asked, at most {_SHOWN}.", size=20)
    def users(self) -> list[SurveyPreviewUser]:
        return [SurveyPreviewUser(found=one) for one in self.found.asked[:_SHOWN]]

    @field(
        source=_REPLAYED,
        policy=PREVIEWS,
        description="What kept the others from it, the most frequent first; one user may have several.",
        size=5,
    )
    def grounds(self) -> list[SurveyPreviewGround]:
        return [
            SurveyPreviewGround(code=GroundCode(ground.value), users=users)
            for ground, users in self.found.grounds.most_common()
        ]


@strawberry.type
class Previewing:
    """What can be asked of surveys that nobody was asked yet."""

    @field(
        source=_REPLAYED,
        policy=PREVIEWS,
        weight=800,
        description="Whom a survey would have asked, each time they did something: one of the contract, by `key`, or "
        "the text of a `file` that is only thought of. Touchpoints are taken to fit; what happens on pages cannot be "
        "seen. Consent, samples and quotas are those of now.",
    )
    async def survey_preview(
        self,
        info: Info,
        range: Annotated[RangeInput, strawberry.argument(description="In which time.")],
        key: Annotated[strawberry.ID | None, strawberry.argument(description="The survey's key.")] = None,
        file: Annotated[
            str | None, strawberry.argument(description="Instead: the text of a file `surveys/<key>.yaml`.")
        ] = None,
    ) -> SurveyPreview:
        context = info.context
        survey = await asyncio.to_thread(_survey, context.services.contract, key, file)
        now = context.services.clock.now()
        start, end = range_of(range).at(now)
        return SurveyPreview(found=await _preview(context, survey, (start, min(end, now + 1))))


def _survey(contract: Contract, key: str | None, file: str | None) -> Survey:
    """The survey that is meant. Raises InvalidInput."""
    if (key is None) is (file is None):
        raise InvalidInput("Which survey?", hint="Send `key` or `file`, one of them.", path="key")
    if key is not None:
        if key not in contract.surveys:
            known = list(contract.surveys)
            hint = did_you_mean(key, known, otherwise="there is") if known else "Add one to surveys/."
            raise InvalidInput("There is no survey of this key.", hint=hint, path="key")
        return contract.surveys[key]
    assert file is not None
    if len(file) > _LARGEST_FILE:
        raise InvalidInput(f"The survey has more than {_LARGEST_FILE:,} characters.", path="file")
    value: Any = source_of(file.encode(errors="surrogatepass"), "survey", "survey").value
    said = value.get("key") if isinstance(value, dict) else None
    named = said if isinstance(said, str) and PurePosixPath(said).name == said else "survey"
    try:
        return load_texts(contract.name, {**contract.files, f"surveys/{named}.yaml": file}).surveys[named]
    except ContractError as error:
        raise InvalidInput("The survey has mistakes: " + "; ".join(error.problems[:10]), path="file") from None


async def _preview(context: Context, survey: Survey, between: tuple[int, int]) -> Preview:
    services, scope = context.services, Scope.system(context.scope.workspace)
    full = await services.feedback.full(scope.workspace, services.contract)
    preview, before, seen = Preview(), None, 0
    while True:
        states = await services.users.page(scope, limit=_PAGE, before=before)
        active = [one for one in states if one.last_seen >= between[0]]
        active, seen = active[: MOST_USERS - seen], seen + len(active)
        if not await _add(context, preview, survey, active, between, full):
            preview.complete = False
            return preview
        if seen > MOST_USERS or (seen == MOST_USERS and len(states) == _PAGE):
            preview.complete = False
            return preview
        if len(active) < _PAGE:
            return preview
        before = (states[-1].last_seen, states[-1].user)


async def _add(
    context: Context,
    preview: Preview,
    survey: Survey,
    states: list[UserState],
    between: tuple[int, int],
    full: frozenset[str],
) -> bool:
    """Go through what these users did; False when that is enough for one question."""
    services, scope = context.services, Scope.system(context.scope.workspace)
    identities = await services.identities.of_users(scope, [one.user for one in states])
    words = await services.privacy.words_of_each(scope.workspace, [identities[one.user] for one in states])
    for state, said in zip(states, words, strict=True):
        if state.events > MOST_EVENTS:
            preview.complete = False
            continue
        sks = [one.sk for one in identities[state.user]]
        events = await services.events.of_identities(scope.workspace, sks)
        within = sum(between[0] <= event.at < between[1] for event in events)
        if not within:
            continue
        if preview.moments + within > MOST_MOMENTS:
            return False
        preview.moments += within
        consent = {purpose: word.granted for purpose, word in said.items()}
        found = await asyncio.to_thread(
            would_ask,
            survey,
            services.contract,
            state.user,
            events,
            between,
            consent=consent,
            unsaid=services.privacy.unsaid,
            cap=services.feedback.cap,
            full=full,
        )
        preview.add(found)
    return True
