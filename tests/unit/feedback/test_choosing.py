"""Fatigue: whatever people do, nobody is asked too often, and what is asked rarely has its turn."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.rules import EventRule
from gateway.contract.surveys import OnEvent, OnExitIntent, Periodically, Question, QuestionKind, Survey, Trigger
from gateway.feedback import CAP, Ground, Moment, Standing, choose, heard
from gateway.model.event import Event, EventType
from gateway.model.journey import UserState
from gateway.model.response import SHOWN

DAY = 24 * 3600 * 1000
START = 1_795_255_200_000


def survey(key: str, kind: QuestionKind, trigger: Trigger, days: float) -> Survey:
    cooldown = timedelta(days=days)
    return Survey(key, kind, key, ("ux",), (Question("q", kind, {"en": "?"}),), (trigger,), cooldown=cooldown)


CSAT = survey("csat", "CSAT", OnEvent(EventRule("r", "Order Completed")), 0)
CES = survey("ces", "CES", OnEvent(EventRule("r", "Support Solved")), 3)
NPS = survey("nps", "NPS", Periodically(timedelta(days=90)), 0)


def event(name: str, at: int, **properties: object) -> Event:
    key = f"{name}{at}".encode()
    track = EventType.TRACK
    return Event(key, "main", "test", key.decode(), track, name, "ada", None, at, 0, at, key, dict(properties))


def lived(surveys: Iterable[Survey], visits: Iterable[tuple[int, list[str]]]) -> list[tuple[int, str]]:
    """What is put before somebody who visits at these times, does these things, and is asked whenever there is
    something to ask."""
    by_key = {one.key: one for one in surveys}
    log: list[Event] = []
    displays: list[tuple[int, str]] = []
    for at, names in visits:
        recent = [event(name, at) for name in names]
        asked, shown = heard(log)
        state = UserState("ada", START, (START, 0, b""))
        standing = Standing("ada", state, asked=asked, displays=shown, recent=recent)
        chosen = choose(by_key, standing, Moment(at)).verdict
        if chosen is not None:
            displays.append((at, chosen.survey.key))
            log.append(event(SHOWN, at, survey=chosen.survey.key, offer=str(at)))
    return displays


NAMES = st.lists(st.sampled_from(["Order Completed", "Support Solved"]), min_size=1, max_size=2, unique=True)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 60), NAMES), min_size=200, max_size=300))
def test_what_is_frequent_never_starves_what_is_asked_every_quarter(gaps: list[tuple[int, list[str]]]) -> None:
    """Visits up to 60 hours apart, each an occasion for the frequent surveys."""
    at, visits = START, []
    for hours, names in gaps:
        at += hours * DAY // 24
        visits.append((at, names))
    displays = lived([CSAT, CES, NPS], visits)
    window, pause = CAP.window // timedelta(milliseconds=1), CAP.pause // timedelta(milliseconds=1)
    assert all(later - earlier >= pause for (earlier, _), (later, _) in pairwise(displays))
    for moment, _ in displays:
        assert sum(moment - window < one <= moment for one, _ in displays) <= CAP.most
    # Its turn comes within a quarter, a pause, and the two visits that follow.
    turns = [START, *(one for one, key in displays if key == "nps")]
    longest = 90 * DAY + pause + 2 * 60 * DAY // 24
    assert all(later - earlier <= longest for earlier, later in pairwise([*turns, at]) if later != at)
    assert at - turns[-1] <= longest


def test_with_an_occasion_every_day_the_frequent_has_one_place_a_week_and_the_rare_its_own() -> None:
    displays = lived([CSAT, NPS], [(START + day * DAY, ["Order Completed"]) for day in range(1, 366)])
    assert [key for _, key in displays].count("nps") == 4
    assert [key for _, key in displays].count("csat") == 53


def test_a_rare_survey_finds_a_place_whose_occasions_come_after_those_of_the_frequent() -> None:
    """Orders on two days of each week could fill the cap before the support call in the middle of it."""
    calls = survey("calls", "CES", OnEvent(EventRule("r", "Support Solved")), 30)
    week = [(0.0, "Order Completed"), (1.1, "Order Completed"), (3.0, "Support Solved")]
    visits = [(START + int((7.05 * number + day) * DAY), [name]) for number in range(20) for day, name in week]
    displays = lived([CSAT, calls], visits)
    assert [key for _, key in displays].count("calls") == 4
    assert [key for _, key in displays].count("csat") == 20


def test_the_rarest_is_asked_first_of_what_fits_together() -> None:
    displays = lived([CSAT, CES, NPS], [(START + 90 * DAY, ["Order Completed", "Support Solved"])])
    assert [key for _, key in displays] == ["nps"]


def test_what_waits_for_the_page_does_not_wait_where_there_were_enough_surveys() -> None:
    leaving = survey("leaving", "CES", OnExitIntent(), 30)
    standing = Standing("ada", displays=[(START - 2 * DAY, "a"), (START - 3 * DAY, "b")])
    chosen = choose({"leaving": leaving}, standing, Moment(START))
    assert (chosen.verdict, chosen.waiting) == (None, ())
    assert {ground for ground, _ in chosen.verdicts[0].grounds} == {Ground.TRIGGER, Ground.CAP}
    assert choose({"leaving": leaving}, Standing("ada"), Moment(START)).waiting == ((leaving, OnExitIntent()),)


@pytest.mark.parametrize(("days", "asked"), [(89.9, False), (90, True)])
def test_what_is_periodic_begins_with_the_first_event(days: float, asked: bool) -> None:
    displays = lived([NPS], [(START + int(days * DAY), [])])
    assert bool(displays) is asked
