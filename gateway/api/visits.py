"""Sessions: how many, how long, how engaged."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.consistency import AtLeast
from gateway.api.context import Info
from gateway.api.questions import (
    BEHIND,
    COST,
    ONLY,
    WORKED_OUT,
    Answered,
    Asked,
    Behind,
    BehindConnection,
    Counted,
    EventInput,
    Share,
    Spread,
    figure,
    people,
    seconds,
    share,
    spread,
    told,
    within,
)
from gateway.api.ranges import KPIS, RangeInput
from gateway.insights.asking import Gathered, Reading
from gateway.insights.kernels.sessions import SessionStats, session_stats
from gateway.plugin import field

_MOST_EVENTS = 30


@strawberry.input(description="Sessions.")
class SessionStatsInput:
    """Sessions."""

    range: RangeInput = strawberry.field(description="Events of which time; a visit that goes beyond it is cut there.")
    segment: strawberry.ID | None = strawberry.field(default=None, description=ONLY)
    views: list[EventInput] | None = strawberry.field(
        default=None, description="Views of pages or screens: two of them make a session engaged."
    )
    key_events: list[EventInput] | None = strawberry.field(
        default=None, description="Events that matter: one of them makes a session engaged."
    )


@strawberry.type(description="Sessions; `users` are all who had one.")
class SessionStatsAnswer(Answered, Counted):
    """Sessions."""

    engaged_ones: strawberry.Private[Behind[SessionStats]]
    single_ones: strawberry.Private[Behind[SessionStats]]

    sessions: int = figure("How many sessions.")
    people: int = figure("How many different users had them.")
    events: Spread = figure("Events of a session.")
    duration: Spread = figure("Seconds from the first to the last event; 0 with one event.")
    duration_of_several: Spread = figure("The same, of sessions with two events or more.")
    engaged: Share = figure("Longer than 10 s, or with a key event, or with two views.")
    bounce: Share = figure("Not engaged.")
    single_event: Share = figure("Of one event: the older bounce.")

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who had an engaged session.")
    async def engaged_users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> BehindConnection:
        return await people(info.context, self.engaged_ones, first, after)

    @field(source=WORKED_OUT, policy=BEHIND, description="The users who had a session of a single event.")
    async def single_event_users(
        self, info: Info, first: First = DEFAULT_FIRST, after: After = None
    ) -> BehindConnection:
        return await people(info.context, self.single_ones, first, after)


@strawberry.type
class VisitQuestions:
    """What can be asked."""

    @field(source=WORKED_OUT, policy=KPIS, weight=COST, description="How many sessions, how long, how engaged.")
    async def session_stats(
        self,
        info: Info,
        input: Annotated[SessionStatsInput, strawberry.argument(description="Which sessions.")],
        at_least: AtLeast = None,
    ) -> SessionStatsAnswer:
        await info.context.wait_for(at_least)
        asked = Asked("sessionStats", input.range, input.segment)
        within(len(input.views or ()), 0, 0, _MOST_EVENTS, "views")
        within(len(input.key_events or ()), 0, 0, _MOST_EVENTS, "keyEvents")
        views, keys = asked.events(input.views, "views"), asked.events(input.key_events, "keyEvents")
        asked.said = {"views": len(views)}

        def reading(as_of: int) -> Reading:
            return asked.reading(asked.between(as_of), others=True, sessions=True)

        def work(gathered: Gathered, as_of: int) -> SessionStats:
            codes = [tuple(code for place in some for code in gathered.codes[place]) for some in (views, keys)]
            return session_stats(gathered.events, *codes)

        answer = await asked.answer(info.context, reading, work)
        found = answer.found
        engaged = ["longer than 10 s"]
        engaged += [f"with {asked.words(keys)}"] if keys else []
        engaged += [f"with two of {asked.words(views)}"] if views else []
        sentence = (
            f"Sessions of all events {asked.range_words}: a pause of more than 30 minutes starts one. Engaged: "
            f"{', or '.join(engaged)}. Users who deny analytics are left out."
        )
        everybody = np.ones(found.sessions, np.bool_)
        return SessionStatsAnswer(
            **told(asked, answer, sentence),
            behind=Behind(answer, lambda: found.people(everybody)),
            engaged_ones=Behind(answer, lambda: found.people(found.is_engaged)),
            single_ones=Behind(answer, lambda: found.people(found.count == 1)),
            sessions=found.sessions,
            people=found.users,
            events=spread(found.events),
            duration=seconds(found.duration),
            duration_of_several=seconds(found.duration_of_several),
            engaged=share(found.engaged),
            bounce=share(found.bounce),
            single_event=share(found.single_event),
        )
