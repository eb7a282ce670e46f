"""Whether one survey may be put before one user now, and why: a pure function of survey, user and moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import cast

from gateway.contract.durations import duration_in_words
from gateway.contract.rules import Condition
from gateway.contract.surveys import (
    OnEvent,
    OnExitIntent,
    OnStage,
    OnTaskCompleted,
    OnTimeOnPage,
    Periodically,
    Survey,
    Trigger,
    Variant,
)
from gateway.feedback.sampling import is_sampled, variant_of
from gateway.feedback.standing import Standing
from gateway.model.consent import Purpose
from gateway.model.journey import Journey, JourneyStatus

#: For so long (ms) after it happened something is an occasion to ask about it.
FRESH_MS = 24 * 3600 * 1000
#: Who is asked anything at all must not have denied this.
ASKING: Purpose = "surveys"

PageTrigger = OnTimeOnPage | OnExitIntent


class Ground(StrEnum):
    """Why somebody is not asked."""

    CONSENT = "consent"
    SCHEDULE = "schedule"
    TOUCHPOINT = "touchpoint"
    SEGMENT = "segment"
    ANSWERED = "answered"
    SAMPLING = "sampling"
    CONTROL = "control"
    CLOCK = "clock"
    QUOTA = "quota"
    TRIGGER = "trigger"
    CAP = "cap"
    PAUSE = "pause"


Grounds = tuple[tuple[Ground, str], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """When and where somebody could be asked. `at` is ms; `path` and `seconds` are the page they are on and for how
    long; `leaving`: they are about to leave it."""

    at: int
    touchpoint: str | None = None
    path: str | None = None
    seconds: int = 0
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`grounds` say why not, each with words; without any the survey may be put before the user. `because`: the
    occasion, in words. `waiting`: what would have to happen on the page, if that alone is missing."""

    survey: Survey
    grounds: Grounds = ()
    because: str = ""
    variant: Variant | None = None
    waiting: tuple[PageTrigger, ...] = ()

    @property
    def eligible(self) -> bool:
        return not self.grounds


def judged(survey: Survey, standing: Standing, moment: Moment, *, full: bool = False) -> Verdict:
    """Whether the survey may be put before the user at that moment, but for what other surveys have taken of their
    patience (see `choosing`). `full`: its quota is."""
    variant = variant_of(survey, standing.user)
    grounds = [
        *_permitted(survey, standing),
        *_scheduled(survey, moment),
        *_targeted(survey, standing),
        *_sampled(survey, standing, variant),
        *_rested(survey, standing, moment),
        *([(Ground.QUOTA, "It has the answers that were wanted.")] if full else []),
    ]
    if survey.touchpoints and moment.touchpoint not in survey.touchpoints:
        grounds.append((Ground.TOUCHPOINT, f"It is asked at {' or '.join(survey.touchpoints)} only."))
    because = _occasion(survey, standing, moment)
    waiting: tuple[PageTrigger, ...] = ()
    if because is None:
        waiting = tuple(
            one for one in survey.triggers if isinstance(one, PageTrigger) and _may_come(one, moment) and not grounds
        )
        grounds.append((Ground.TRIGGER, "Nothing that it asks about has just happened."))
    return Verdict(survey, tuple(grounds), because or "", variant, waiting)


# -- what has to hold ---------------------------------------------------------------------------------------------


def _permitted(survey: Survey, standing: Standing) -> Iterator[tuple[Ground, str]]:
    for purpose in dict.fromkeys((ASKING, cast(Purpose, survey.targeting.consent or ASKING))):
        if not standing.consents(purpose):
            yield Ground.CONSENT, f"There is no consent to {purpose}."


def _scheduled(survey: Survey, moment: Moment) -> Iterator[tuple[Ground, str]]:
    today = day_of(moment.at)
    if survey.begins is not None and today < survey.begins:
        yield Ground.SCHEDULE, f"It begins on {survey.begins}."
    if survey.ends is not None and today > survey.ends:
        yield Ground.SCHEDULE, f"It ended with {survey.ends}."


def _targeted(survey: Survey, standing: Standing) -> Iterator[tuple[Ground, str]]:
    targeting = survey.targeting
    if targeting.segment is not None and targeting.segment not in standing.segments:
        yield Ground.SEGMENT, f"It is for the segment {targeting.segment}."
    for one in targeting.answered:
        known = standing.asked.get(one.survey)
        answers = {} if known is None else known.answers
        given = {"answer": answers[one.question]} if one.question in answers else {}
        if not Condition("answer", one.op, one.value).holds(given):
            yield Ground.ANSWERED, f"It is for certain answers to {one.survey}, question {one.question}."


def _sampled(survey: Survey, standing: Standing, variant: Variant | None) -> Iterator[tuple[Ground, str]]:
    if not is_sampled(survey, standing.user):
        yield Ground.SAMPLING, f"It is asked of {survey.sampling:g} percent of the users."
    if variant is not None and not variant.ask:
        yield Ground.CONTROL, f"The variant {variant.key} is not asked."


def _rested(survey: Survey, standing: Standing, moment: Moment) -> Iterator[tuple[Ground, str]]:
    known = standing.asked.get(survey.key)
    if known is not None and survey.clock and moment.at - known.at < _ms(survey.clock):
        again = moment_in_words(known.at + _ms(survey.clock))
        yield Ground.CLOCK, f"It was asked on {moment_in_words(known.at)}, and not again before {again}."


# -- occasions ----------------------------------------------------------------------------------------------------


def _occasion(survey: Survey, standing: Standing, moment: Moment) -> str | None:
    """The first trigger that fits, in words; nothing that was asked about already is an occasion again."""
    known = standing.asked.get(survey.key)
    since = max(moment.at - FRESH_MS, -1 if known is None else known.at)
    for trigger in survey.triggers:
        found = _fits(trigger, standing, moment, since)
        if found is not None:
            return found
    return None


def _fits(trigger: Trigger, standing: Standing, moment: Moment, since: int) -> str | None:
    match trigger:
        case OnEvent(rule):
            times = [
                one.at
                for one in standing.recent
                if since < one.at <= moment.at and rule.matches(one.name, one.properties)
            ]
            return f"{rule.event} at {moment_in_words(max(times))}." if times else None
        case OnStage() | OnTaskCompleted():
            found = (_moved(trigger, run, since, moment.at) for run in standing.runs_through(trigger.map))
            return next((words for words in found if words is not None), None)
        case Periodically(every):
            return _due(standing, moment, every)
        case OnTimeOnPage(seconds, path):
            held = moment.seconds >= seconds and _on(path, moment)
            return f"{seconds} s on this page." if held else None
        case OnExitIntent(path):
            return "About to leave this page." if moment.leaving and _on(path, moment) else None


def _moved(trigger: OnStage | OnTaskCompleted, run: Journey, since: int, until: int) -> str | None:
    if isinstance(trigger, OnTaskCompleted):
        done = run.ended_at if run.status is JourneyStatus.COMPLETED else None
        if done is None or not since < done <= until:
            return None
        return f"The journey {trigger.map} was completed at {moment_in_words(done)}."
    of_stage = [one for one in run.visits if one.stage == trigger.stage]
    times = [one.entered_at if trigger.change == "entered" else one.left_at for one in of_stage]
    found = [at for at in times if at is not None and since < at <= until]
    if not found:
        return None
    return f"The stage {trigger.stage} of {trigger.map} was {trigger.change} at {moment_in_words(max(found))}."


def _due(standing: Standing, moment: Moment, every: timedelta) -> str | None:
    """Periods run from the last time, at first from the user's first event: nobody is asked on the day they come."""
    if standing.state is None or moment.at - standing.state.first_seen < _ms(every):
        return None
    return f"It is asked every {duration_in_words(every)}."


def _may_come(trigger: PageTrigger, moment: Moment) -> bool:
    return moment.path is None or _on(trigger.path, moment)


def _on(path: str | None, moment: Moment) -> bool:
    if path is None:
        return True
    if moment.path is None:
        return False
    return moment.path.startswith(path[:-1]) if path.endswith("*") else moment.path == path


def day_of(at: int) -> date:
    """The day (UTC) of a moment in ms."""
    return datetime.fromtimestamp(at / 1000, UTC).date()


def moment_in_words(at: int) -> str:
    """2026-11-21 10:00 UTC."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
