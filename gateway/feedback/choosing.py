"""Which survey comes next for a user: at most one, the rarest first, under a cap that no survey can fill alone.

A survey whose clock is at least as long as the cap's window is rare: it takes a place in a window once. The others are
frequent, and together may never take the last place of a window; so one of them that always fits leaves room for what
is asked every quarter. Of those that fit at the same moment the one with the longest clock is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from gateway.contract.durations import duration_in_words
from gateway.contract.surveys import Survey
from gateway.feedback.eligibility import Ground, Moment, PageTrigger, Verdict, judged
from gateway.feedback.standing import Standing


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` surveys (2 or more) before one user in any `window`, and none within `pause` of another."""

    most: int = 2
    window: timedelta = timedelta(days=7)
    pause: timedelta = timedelta(days=1)


CAP = Cap()


@dataclass(frozen=True, slots=True)
class Choice:
    """The survey to ask, if there is one; all verdicts; and what on the page would bring one up, with its survey."""

    verdict: Verdict | None
    verdicts: tuple[Verdict, ...]

    @property
    def waiting(self) -> tuple[tuple[Survey, PageTrigger], ...]:
        """What the page should listen for, once nothing is asked now."""
        return tuple((one.survey, trigger) for one in self.verdicts for trigger in one.waiting)


def choose(
    surveys: Mapping[str, Survey],
    standing: Standing,
    moment: Moment,
    *,
    full: Collection[str] = (),
    cap: Cap = CAP,
) -> Choice:
    """What to ask a user at a moment. `full`: keys of surveys that have the answers that were wanted."""
    verdicts = []
    for survey in surveys.values():
        verdict = judged(survey, standing, moment, full=survey.key in full)
        spared = tuple(_spared(survey, surveys, standing, moment, cap))
        if spared:
            verdict = replace(verdict, grounds=(*verdict.grounds, *spared), waiting=())
        verdicts.append(verdict)
    return Choice(min(_eligible(verdicts), key=_rarest, default=None), tuple(verdicts))


def _eligible(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    return (one for one in verdicts if one.eligible)


def _rarest(verdict: Verdict) -> tuple[timedelta, str]:
    return (-verdict.survey.clock, verdict.survey.key)


def _spared(
    survey: Survey, surveys: Mapping[str, Survey], standing: Standing, moment: Moment, cap: Cap
) -> Iterator[tuple[Ground, str]]:
    """What the user was asked already that keeps this survey from them."""
    past = [(at, key) for at, key in standing.displays if at <= moment.at]
    if past and moment.at - past[0][0] < cap.pause // timedelta(milliseconds=1):
        yield Ground.PAUSE, f"There was a survey within the last {duration_in_words(cap.pause)}."
    within = [key for at, key in past if moment.at - at < cap.window // timedelta(milliseconds=1)]
    often = duration_in_words(cap.window)
    if len(within) >= cap.most:
        yield Ground.CAP, f"There were {len(within)} surveys within the last {often}."
    elif survey.clock < cap.window and sum(_is_frequent(surveys.get(key), cap) for key in within) >= cap.most - 1:
        yield Ground.CAP, f"The last place within {often} is kept for surveys that are asked more rarely."


def _is_frequent(survey: Survey | None, cap: Cap) -> bool:
    return survey is None or survey.clock < cap.window
