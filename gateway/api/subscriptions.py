"""What can be watched. Every message carries a cursor; `after` goes on behind it, and a gap says what is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from enum import Enum
from typing import Annotated, Any

import strawberry

from gateway.api.alerts import ALERTS, Alert
from gateway.api.clients import EVENTS
from gateway.api.context import Info
from gateway.api.events import Event
from gateway.api.events import as_node as event_node
from gateway.api.following import follow
from gateway.api.journeys import JOURNEYS, Journey, JourneyStatus
from gateway.api.journeys import as_node as journey_node
from gateway.api.maps import Stage, check_keys, stage_of
from gateway.api.planned.plan import Where, plan_of
from gateway.api.responses import SurveyKey, SurveyResponse
from gateway.api.scalars import Cursor, DateTime
from gateway.api.users import User, UserBy, load_user, user_id_by
from gateway.live.hub import Gap as LostNews
from gateway.live.hub import News
from gateway.model.response import RESPONDED
from gateway.plugin import ANYONE, Source, field, subscription

_FEED = Source.many("feed", "workspace, kind")

Resume = Annotated[
    Cursor | None, strawberry.argument(description="Go on behind this message: its `cursor`. Null: from now on.")
]


@strawberry.enum(description="Why messages cannot be had any more.")
class GapReason(Enum):
    """Reasons."""

    EXPIRED = strawberry.enum_value("EXPIRED", description="They are older than what is kept for resuming.")
    OTHER_PROCESS = strawberry.enum_value(
        "OTHER_PROCESS",
        description="The cursor is of another process of the gateway, or of before a restart: of `flagChanged` only, "
        "which every process tells by itself. Ask for the flags anew.",
    )


@strawberry.type(description="Messages that are lost to this subscription.")
class Gap:
    """A gap."""

    gap: strawberry.Private[LostNews]

    @field(source=_FEED, policy=ANYONE, description="Why.")
    def reason(self) -> GapReason:
        return GapReason(self.gap.reason)

    @field(
        source=_FEED,
        policy=ANYONE,
        description="How many changes of the workspace at most; not all of them need concern this subscription.",
    )
    def missed(self) -> int | None:
        return self.gap.missed

    @field(source=_FEED, policy=ANYONE, description="Where it goes on.")
    def resume_from(self) -> Cursor:
        return Cursor(self.gap.resume_from)


@strawberry.interface(
    description=(
        "A message of a subscription. One that only moves the cursor on tells of no change: its `journey` or `event` "
        "is null."
    )
)
class Change:
    """A message."""

    news: strawberry.Private[News]

    @field(source=_FEED, policy=ANYONE, description="The position behind this message, for `after`.")
    def cursor(self) -> Cursor:
        return Cursor(self.news.cursor)

    @field(source=_FEED, policy=ANYONE, description="What was lost before this message; null when nothing is missing.")
    def gap(self) -> Gap | None:
        return None if self.news.gap is None else Gap(gap=self.news.gap)

    def told(self, key: str) -> Any:
        """A value of the feed's row; None without one."""
        return None if self.news.row is None else self.news.row[key]


@strawberry.type(description="A journey moved: to another stage, or to another status.")
class JourneyChange(Change):
    """A step of a journey. `watched` is the one user it is about, if there is one."""

    watched: strawberry.Private[UserBy | None]

    @field(
        source=Source.one("journeys", "feed.journey"),
        policy=JOURNEYS,
        description="The journey as it is now; null when it is there no longer, because two users became one.",
    )
    async def journey(self, info: Info) -> Journey | None:
        key = self.told("journey")
        run = None if key is None else await info.context.load.journeys.load(key)
        return None if run is None else journey_node(info.context.services.contract, run)

    @field(
        source=Source.document("feed", "from"),
        policy=JOURNEYS,
        description="The stage it was in; null when it began or was between stages.",
        name="from",
    )
    def from_stage(self, info: Info) -> Stage | None:
        return self._stage(info, "from")

    @field(
        source=Source.document("feed", "to"),
        policy=JOURNEYS,
        description="The stage it is in since; null when it left one and entered no other, or is there no longer.",
        name="to",
    )
    def to_stage(self, info: Info) -> Stage | None:
        return self._stage(info, "to")

    @field(source=Source.document("feed", "status"), policy=JOURNEYS, description="The status it has since.")
    def status(self) -> JourneyStatus | None:
        status = self.told("status")
        return None if status is None else JourneyStatus(status)

    @field(source=Source.document("feed", "at"), policy=JOURNEYS, description="When it moved.")
    def at(self) -> DateTime | None:
        at = self.told("at")
        return None if at is None else DateTime(at)

    @field(
        source=Source.one("users", "feed.user"),
        policy=JOURNEYS,
        description=(
            "Whose journey it is. When one user is watched they also come with messages that only move the cursor on, "
            "the first among them: how things stand now."
        ),
    )
    async def user(self, info: Info) -> User | None:
        context, user = info.context, self.told("user")
        if self.news.row is None:
            # So that nobody asks beside the subscription, at its start or after a gap, and has to put the two in order.
            if context.scope.subject is not None:
                user = await context.subject_user()
            elif self.watched is not None:
                user = await user_id_by(context, self.watched)
        return await load_user(context, user)

    def _stage(self, info: Info, key: str) -> Stage | None:
        stage = self.told(key)
        journey_map = info.context.services.contract.journeys.get(self.told("map") or "")
        return None if stage is None or journey_map is None else stage_of(journey_map, stage)


@strawberry.type(description="An event was stored and derived.")
class EventChange(Change):
    """A new event."""

    @field(source=Source.one("events", "feed.event"), policy=EVENTS, description="The event.")
    def event(self) -> Event | None:
        return None if self.news.event is None else event_node(self.news.event)


@strawberry.type(description="An alert was raised, or resolved.")
class AlertChange(Change):
    """An alert's news."""

    @field(
        source=Source.one("alerts", "feed.alert"), policy=ALERTS, description="The alert as it is now.", name="alert"
    )
    async def alert(self, info: Info) -> Alert | None:
        key = self.told("alert")
        if key is None:
            return None
        found = (await info.context.services.alerts.get(info.context.scope.workspace, [key])).get(key)
        return None if found is None else Alert(alert=found)

    @field(
        source=Source.document("feed", "raised"),
        policy=ALERTS,
        description="True: it was raised; false: it was resolved.",
    )
    def raised(self) -> bool | None:
        return self.told("raised")  # type: ignore[no-any-return]

    @field(source=Source.document("feed", "at"), policy=ALERTS, description="When.")
    def at(self) -> DateTime | None:
        at = self.told("at")
        return None if at is None else DateTime(at)


@strawberry.type(description="Somebody answered a survey.")
class ResponseChange(Change):
    """A new response."""

    @field(source=Source.one("events", "feed.event"), policy=EVENTS, description="The response.")
    def response(self) -> SurveyResponse | None:
        return None if self.news.event is None else SurveyResponse(event=self.news.event)


@strawberry.input(description="Which new events; what is left out does not filter.")
class EventStoredFilter:
    """Conditions that all hold."""

    names: list[str] | None = strawberry.field(default=None, description="Events with one of these names.")
    user: UserBy | None = strawberry.field(default=None, description="Events of this user.")


@strawberry.type(description="What can be watched, over WebSocket or as an event stream.")
class Subscription:
    """The root of subscriptions."""

    @subscription(
        source=_FEED,
        policy=JOURNEYS,
        description="Each time a journey moves. A user's own token hears of that user only.",
    )
    async def journey_changed(
        self,
        info: Info,
        map: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only journeys through the map with this key.")
        ] = None,
        stage: Annotated[
            strawberry.ID | None, strawberry.argument(description="Only moves into or out of this stage.")
        ] = None,
        user: Annotated[UserBy | None, strawberry.argument(description="Only journeys of this user.")] = None,
        after: Resume = None,
    ) -> AsyncIterator[JourneyChange]:
        check_keys(info.context.services.contract, map, stage)
        async for news in follow(info.context, "journey", user, after, map_key=map, stage=stage):
            info.context.position.cursor = news.cursor
            yield JourneyChange(news=news, watched=user)

    @subscription(
        source=_FEED,
        policy=ALERTS,
        description="Each alert as it is raised, and as it is resolved.",
    )
    async def alert_raised(self, info: Info, after: Resume = None) -> AsyncIterator[AlertChange]:
        async for news in follow(info.context, "alert", None, after):
            info.context.position.cursor = news.cursor
            yield AlertChange(news=news)

    @subscription(
        source=_FEED,
        policy=EVENTS,
        description="Each response to a survey, once it is derived. A user's own token hears of that user only.",
    )
    async def response_received(
        self, info: Info, survey: SurveyKey = None, after: Resume = None
    ) -> AsyncIterator[ResponseChange]:
        async for news in follow(info.context, "event", None, after, names=frozenset({RESPONDED})):
            info.context.position.cursor = news.cursor
            event = news.event
            other = survey is not None and event is not None and event.properties.get("survey") != survey
            yield ResponseChange(news=replace(news, row=None) if other else news)

    @subscription(
        source=_FEED,
        policy=EVENTS,
        description="Each new event, once it is derived. A user's own token hears of that user only.",
    )
    async def event_stored(
        self,
        info: Info,
        filter: Annotated[
            EventStoredFilter | None, strawberry.argument(description="Which events; null for all.")
        ] = None,
        where: Where = None,
        after: Resume = None,
    ) -> AsyncIterator[EventChange]:
        wanted, meeting = filter or EventStoredFilter(), plan_of(info).meeting(where)
        names = None if wanted.names is None else frozenset(wanted.names)
        if meeting is not None:
            meeting.wanted.check(info.context.scope)
            name = frozenset({meeting.wanted.name})
            names = name if names is None else names & name
        async for news in follow(info.context, "event", wanted.user, after, names=names):
            info.context.position.cursor = news.cursor
            other = meeting is not None and news.event is not None and not meeting.holds(news.event)
            yield EventChange(news=replace(news, row=None) if other else news)
