"""Eligibility: each ground alone keeps somebody from being asked, and is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gateway.contract.rules import Condition, EventRule
from gateway.contract.surveys import (
    EarlierAnswer,
    OnEvent,
    OnStage,
    OnTaskCompleted,
    Question,
    Survey,
    Targeting,
    Trigger,
    Variant,
)
from gateway.feedback import Asked, Ground, Moment, Standing, heard, judged
from gateway.model.journey import Journey, JourneyStatus, StageVisit, UserState
from gateway.model.response import DISMISSED, RESPONDED, SHOWN
from tests.unit.feedback.test_choosing import event

NOW = int(datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
ON_ORDER = OnEvent(EventRule("r", "Order Completed", (Condition("total", "gte", 100),)))
SURVEY = Survey("csat", "CSAT", "c", ("ux",), (Question("q", "CSAT", {"en": "?"}),), (ON_ORDER,))
ORDERED = event("Order Completed", NOW - MINUTE, total=120)
STANDING = Standing("ada", recent=(ORDERED,), consent={"surveys": True}, unsaid=False)


def grounds(survey: Survey, standing: Standing = STANDING, *, full: bool = False) -> set[Ground]:
    verdict = judged(survey, standing, Moment(NOW), full=full)
    assert verdict.eligible is not bool(verdict.grounds)
    assert all(text.endswith(".") for _, text in verdict.grounds)
    return {ground for ground, _ in verdict.grounds}


def test_without_any_ground_it_is_asked_and_said_why() -> None:
    verdict = judged(SURVEY, STANDING, Moment(NOW))
    assert verdict.eligible
    assert verdict.because == "Order Completed at 2026-11-21 09:59 UTC."


@pytest.mark.parametrize(
    ("survey", "standing", "ground"),
    [
        ({}, {"consent": {"surveys": False}}, Ground.CONSENT),
        ({}, {"consent": {}}, Ground.CONSENT),
        ({"targeting": Targeting(consent="marketing")}, {}, Ground.CONSENT),
        ({"begins": date(2026, 11, 22)}, {}, Ground.SCHEDULE),
        ({"ends": date(2026, 11, 20)}, {}, Ground.SCHEDULE),
        ({"touchpoints": ("help",)}, {}, Ground.TOUCHPOINT),
        ({"targeting": Targeting(segment="buyers")}, {"segments": frozenset({"others"})}, Ground.SEGMENT),
        ({"targeting": Targeting(answered=(EarlierAnswer("nps", "r", "lte", 6),))}, {}, Ground.ANSWERED),
        (
            {"targeting": Targeting(answered=(EarlierAnswer("nps", "r", "lte", 6),))},
            {"asked": {"nps": Asked(0, {"r": 9})}},
            Ground.ANSWERED,
        ),
        ({"sampling": 0.01}, {}, Ground.SAMPLING),
        ({"variants": (Variant("control", 100, ask=False),)}, {}, Ground.CONTROL),
        ({"cooldown": timedelta(days=1)}, {"asked": {"csat": Asked(NOW - 3600_000)}}, Ground.CLOCK),
        ({}, {"recent": ()}, Ground.TRIGGER),
        ({}, {"recent": (event("Order Completed", NOW - MINUTE, total=99),)}, Ground.TRIGGER),
        ({}, {"recent": (event("Order Completed", NOW - 25 * 60 * MINUTE, total=120),)}, Ground.TRIGGER),
        ({}, {"asked": {"csat": Asked(NOW - MINUTE)}}, Ground.TRIGGER),
    ],
)
def test_each_ground_alone_is_enough(survey: dict[str, Any], standing: dict[str, Any], ground: Ground) -> None:
    assert grounds(replace(SURVEY, **survey), replace(STANDING, **standing)) == {ground}


@pytest.mark.parametrize(
    ("survey", "standing"),
    [
        ({"targeting": Targeting(consent="marketing")}, {"consent": {"surveys": True, "marketing": True}}),
        ({"begins": date(2026, 11, 21), "ends": date(2026, 11, 21)}, {}),
        ({"targeting": Targeting(segment="buyers")}, {"segments": frozenset({"buyers"})}),
        (
            {"targeting": Targeting(answered=(EarlierAnswer("nps", "r", "lte", 6),))},
            {"asked": {"nps": Asked(0, {"r": 6})}},
        ),
        ({"cooldown": timedelta(days=1)}, {"asked": {"csat": Asked(NOW - 86_400_000)}}),
        ({}, {"asked": {"nps": Asked(NOW - MINUTE)}}),
    ],
)
def test_what_just_holds_is_no_ground(survey: dict[str, Any], standing: dict[str, Any]) -> None:
    assert grounds(replace(SURVEY, **survey), replace(STANDING, **standing)) == set()


def test_a_full_quota_is_a_ground() -> None:
    assert grounds(SURVEY, full=True) == {Ground.QUOTA}


def _run(*visits: tuple[str, int, int | None], status: JourneyStatus = JourneyStatus.ACTIVE) -> Journey:
    made = tuple(StageVisit(stage, entered, left, "r", b"", b"", 1) for stage, entered, left in visits)
    ended = visits[-1][1] if status is JourneyStatus.COMPLETED else None
    return Journey("j", "ada", "buy", 1, 1, status, made, visits[0][1], visits[-1][1], ended, None)


@pytest.mark.parametrize(
    ("trigger", "because"),
    [
        (OnStage("entered", "buy", "cart"), "The stage cart of buy was entered at 2026-11-21 09:50 UTC."),
        (OnStage("left", "buy", "cart"), "The stage cart of buy was left at 2026-11-21 09:55 UTC."),
        (OnStage("left", "buy", "paid"), None),
        (OnTaskCompleted("buy"), "The journey buy was completed at 2026-11-21 09:55 UTC."),
        (OnTaskCompleted("other"), None),
        (OnStage("entered", "buy", "browse"), None),
    ],
)
def test_moves_through_a_journey_are_occasions(trigger: Trigger, because: str | None) -> None:
    run = _run(
        ("browse", NOW - 30 * 3600_000, NOW - 10 * MINUTE),
        ("cart", NOW - 10 * MINUTE, NOW - 5 * MINUTE),
        ("paid", NOW - 5 * MINUTE, None),
        status=JourneyStatus.COMPLETED,
    )
    state = UserState("ada", 0, (0, 0, b""), runs={"buy": run})
    verdict = judged(replace(SURVEY, triggers=(trigger,)), replace(STANDING, state=state), Moment(NOW))
    assert (verdict.because or None) == because
    assert verdict.eligible is (because is not None)


def test_a_display_and_what_became_of_it_are_one() -> None:
    events = [
        event(RESPONDED, 3, survey="csat", offer="x", answers=[{"question": "q", "value": 4}, "odd"]),
        event(SHOWN, 1, survey="csat", offer="x"),
        event(DISMISSED, 5, survey="csat", offer="y"),
        event(SHOWN, 4, survey="csat", offer="y"),
        event(RESPONDED, 6, survey="nps", score=9),
        event(SHOWN, 7, survey=7),
        event("Order Completed", 8, survey="csat"),
    ]
    asked, displays = heard(events)
    assert asked == {"csat": Asked(5, {"q": 4}, True), "nps": Asked(6, {}, True)}
    assert displays == [(6, "nps"), (4, "csat"), (1, "csat")]
