"""Whom a survey would have asked: each user's events are gone through again, asking after each what comes next.

What other surveys did to the user counts as it happened, what this one did within the range as it would have: it may be
new, or changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.contract import Contract
from gateway.contract.surveys import Survey
from gateway.feedback.asking import segments_of
from gateway.feedback.choosing import Cap, choose
from gateway.feedback.eligibility import FRESH_MS, Ground, Moment
from gateway.feedback.standing import Asked, Standing, heard
from gateway.journeys.fold import fold
from gateway.model.consent import Consent
from gateway.model.event import Event
from gateway.model.journey import Journey, UserState
from gateway.model.response import SURVEYED


@dataclass(frozen=True, slots=True)
class WouldAsk:
    """When (ms) a user would have been asked, and why; `grounds`: of who would not, what kept them from it the last
    time that something was an occasion, else at their last event."""

    user: str
    asked: tuple[tuple[int, str], ...] = ()
    grounds: tuple[Ground, ...] = ()


@dataclass(slots=True)
class Preview:
    """`looked_at`: how many users did something in the range, `moments`: how many things. `asked`: those who would have
    been asked, the last seen first; `grounds`: of the others, how often each was what kept them. `complete`: whether
    all users were looked at."""

    looked_at: int = 0
    moments: int = 0
    asked: list[WouldAsk] = field(default_factory=list)
    grounds: Counter[Ground] = field(default_factory=Counter)
    complete: bool = True

    def add(self, one: WouldAsk) -> None:
        """Count a user."""
        self.looked_at += 1
        if one.asked:
            self.asked.append(one)
        else:
            self.grounds.update(one.grounds)


def would_ask(
    survey: Survey,
    contract: Contract,
    user: str,
    events: Sequence[Event],
    between: tuple[int, int],
    *,
    consent: Consent,
    unsaid: bool,
    cap: Cap,
    full: Collection[str] = (),
) -> WouldAsk:
    """Whether one user, of whom these are all events in order, would have been asked in [start, end) ms. Where the
    survey is tied to touchpoints, they are taken to have been at one; what happens on a page cannot be seen."""
    start, end = between
    surveys = {**contract.surveys, survey.key: survey}
    before = [event for event in events if event.at < start]
    state, runs = _folded(contract, user, before, None, start, {})
    said = [event for event in events if event.name in SURVEYED and not _own(event, survey, start)]
    asked: list[tuple[int, str]] = []
    last: tuple[Ground, ...] = ()
    for place, event in enumerate(events):
        if not start <= event.at < end:
            continue
        state, runs = _folded(contract, user, [event], state, event.at, runs)
        known, displays = heard([one for one in said if one.order <= event.order])
        standing = Standing(
            user,
            state,
            segments_of(contract, state, consent, event.at),
            consent,
            unsaid,
            _with_own(known, survey, asked),
            sorted([*displays, *((at, survey.key) for at, _ in asked)], reverse=True),
            _recent(events, place, event.at),
            list(runs.values()),
        )
        touchpoint = survey.touchpoints[0] if survey.touchpoints else None
        choice = choose(surveys, standing, Moment(event.at, touchpoint), full=full, cap=cap)
        if choice.verdict is not None and choice.verdict.survey.key == survey.key:
            asked.append((event.at, choice.verdict.because))
            continue
        verdict = next(one for one in choice.verdicts if one.survey.key == survey.key)
        grounds = tuple(ground for ground, _ in verdict.grounds) or (Ground.CAP,)  # a rarer one comes first
        if Ground.TRIGGER not in grounds or Ground.TRIGGER in last or not last:
            last = grounds
    return WouldAsk(user, tuple(asked), () if asked else last)


def _folded(
    contract: Contract,
    user: str,
    events: Sequence[Event],
    state: UserState | None,
    as_of: int,
    runs: Mapping[str, Journey],
) -> tuple[UserState | None, dict[str, Journey]]:
    """The state after further events, and every run through a map so far."""
    if not events:
        return state, dict(runs)
    found = fold(user, events, contract.journeys, as_of=as_of, state=state, segments=contract.grouping)
    return found.state, {**runs, **found.journeys}


def _own(event: Event, survey: Survey, start: int) -> bool:
    return event.at >= start and event.properties.get("survey") == survey.key


def _with_own(known: Mapping[str, Asked], survey: Survey, asked: Sequence[tuple[int, str]]) -> dict[str, Asked]:
    if not asked:
        return dict(known)
    before = known.get(survey.key, Asked(0))
    return {**known, survey.key: Asked(max(before.at, asked[-1][0]), before.answers, before.responded)}


def _recent(events: Sequence[Event], place: int, at: int) -> list[Event]:
    """The events of the last day up to one of them."""
    first = place
    while first and events[first - 1].at > at - FRESH_MS:
        first -= 1
    return list(events[first : place + 1])
