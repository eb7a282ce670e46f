"""What one user's events say about being asked: what was shown, answered and dismissed, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.model.consent import Consent, Purpose
from gateway.model.event import Event
from gateway.model.journey import Journey, UserState
from gateway.model.response import QUESTION_ANSWERED, RESPONDED, SURVEYED


@dataclass(frozen=True, slots=True)
class Asked:
    """How one survey went with a user. `at` is the last time (ms) that anything was heard of it, `answers` the last
    answer to each question, `responded` whether it was ever answered to the end."""

    at: int
    answers: Mapping[str, Any] = field(default_factory=dict)
    responded: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """All that decides whether somebody is asked. Times are ms.

    `state` is the user as folded; None before their first event. `segments` are those they are in. `consent` is what
    they said, `unsaid` what holds for the rest. `displays` are (when, survey) of what was put before them, the newest
    first. `recent` are their own last events, which triggers may look for, and `runs` their last runs through maps:
    another may have begun right after the one that is asked about.
    """

    user: str
    state: UserState | None = None
    segments: frozenset[str] = frozenset()
    consent: Consent = field(default_factory=dict)
    unsaid: bool = True
    asked: Mapping[str, Asked] = field(default_factory=dict)
    displays: Sequence[tuple[int, str]] = ()
    recent: Sequence[Event] = ()
    runs: Sequence[Journey] = ()

    def runs_through(self, key: str) -> list[Journey]:
        """Their runs through a map, as far as they are known."""
        latest = None if self.state is None else self.state.runs.get(key)
        known = {one.id: one for one in self.runs if one.map == key}
        return list((known if latest is None else {latest.id: latest} | known).values())

    def consents(self, purpose: Purpose) -> bool:
        """Whether the user may be asked under this purpose."""
        return self.consent.get(purpose, self.unsaid)


def heard(events: Iterable[Event]) -> tuple[dict[str, Asked], list[tuple[int, str]]]:
    """What a user's survey events, in any order, say: by survey, and what was displayed, the newest first.

    An answer that came without a display counts as one: the person was asked, wherever that was.
    """
    asked: dict[str, Asked] = {}
    shown: dict[tuple[str, str], int] = {}
    for event in sorted(events, key=lambda one: one.order):
        survey = event.properties.get("survey")
        if not isinstance(survey, str) or event.name not in SURVEYED:
            continue
        before = asked.get(survey, Asked(event.at))
        answers = {**before.answers, **_answers(event)}
        asked[survey] = Asked(event.at, answers, before.responded or event.name == RESPONDED)
        # A display and what became of it are one.
        shown.setdefault((survey, _display(event)), event.at)
    return asked, sorted(((at, survey) for (survey, _), at in shown.items()), reverse=True)


def _display(event: Event) -> str:
    for name in ("offer", "responseId"):
        if isinstance(found := event.properties.get(name), str):
            return found
    return event.id.hex()


def _answers(event: Event) -> dict[str, Any]:
    properties = event.properties
    if event.name == QUESTION_ANSWERED and isinstance(properties.get("question"), str):
        return {properties["question"]: properties.get("value")}
    given = properties.get("answers")
    if event.name != RESPONDED or not isinstance(given, list):
        return {}
    return {
        one["question"]: one.get("value")
        for one in given
        if isinstance(one, dict) and isinstance(one.get("question"), str)
    }
