"""What providers are told of a user."""

from __future__ import annotations

from typing import Any

from gateway.flags import known_subject, unknown_subject
from gateway.model.identity import Identity
from gateway.model.journey import Journey, JourneyStatus, StageVisit, UserState

ANONYMOUS, KNOWN = Identity("anonymousId", "a1"), Identity("userId", "ann")
HOUR = 3_600_000


def run(*, due_at: int | None, left_at: int | None = None) -> Journey:
    visit = StageVisit("payment", 0, left_at, "r", b"", b"", 1)
    return Journey("j", "u", "checkout", 1, 2, JourneyStatus.ACTIVE, (visit,), 0, 0, None, due_at)


def state(**more: Any) -> UserState:
    return UserState(user="u" * 32, first_seen=1, last=(2, 0, b""), events=3, sessions=4, **more)


def test_a_user_with_traits_and_journey() -> None:
    known = state(traits={"plan": "pro", "journey": "of one's own"}, runs={"checkout": run(due_at=None)})
    subject = known_subject(known, [ANONYMOUS, KNOWN], {"marketing": False}, HOUR)
    assert subject.context.targeting_key == "u" * 32
    assert subject.context.attributes == {
        "anonymous": False,
        "consent.marketing": False,
        "events": 3,
        "firstSeen": 1,
        "journey.checkout.run": 2,
        "journey.checkout.stage": "payment",
        "journey.checkout.status": "active",
        "lastSeen": 2,
        "plan": "pro",
        "sessions": 4,
        "traits.journey": "of one's own",
        "traits.plan": "pro",
        "userId": "ann",
    }


def test_the_status_is_that_of_now_and_a_stage_that_was_left_is_none() -> None:
    overdue = known_subject(state(runs={"checkout": run(due_at=HOUR)}), [ANONYMOUS], {}, HOUR).context.attributes
    assert (overdue["journey.checkout.status"], overdue["anonymous"]) == ("abandoned", True)
    between = known_subject(state(runs={"checkout": run(due_at=None, left_at=5)}), [KNOWN], {}, HOUR)
    assert "journey.checkout.stage" not in between.context.attributes


def test_what_a_request_says_never_stands_where_the_gateway_speaks() -> None:
    asked = {
        "device": "phone",
        "plan": "free",
        "targetingKey": "bob",
        "userId": "bob",
        "traits.plan": "gold",
        "traits": {"plan": "gold"},
        "journey.checkout.stage": "done",
        "consent.personalization": True,
        "events": 10**6,
        "x" * 256: "too long a name",
    }
    attributes = known_subject(state(traits={"plan": "pro"}), [KNOWN], {}, HOUR, asked).context.attributes
    assert (attributes["device"], attributes["plan"], attributes["traits.plan"]) == ("phone", "pro", "pro")
    assert (attributes["userId"], attributes["events"]) == ("ann", 3)
    assert not {"traits", "targetingKey", "journey.checkout.stage", "consent.personalization"} & attributes.keys()
    nobody = unknown_subject("k", [], {}, asked).context
    assert (nobody.targeting_key, nobody.attributes) == ("k", {"anonymous": True, "device": "phone", "plan": "free"})


def test_who_denied_personalization_is_a_key_and_nothing_else() -> None:
    denied = {"personalization": False, "marketing": True}
    subject = known_subject(state(traits={"plan": "pro"}), [KNOWN], denied, HOUR, {"device": "phone"})
    assert subject.withheld
    assert subject.context.attributes == {"consent.personalization": False}
    assert unknown_subject("k", [KNOWN], denied, {"device": "phone"}).withheld
    granted = known_subject(state(), [KNOWN], {"personalization": True}, HOUR)
    assert not granted.withheld
    assert granted.context.attributes["consent.personalization"] is True
