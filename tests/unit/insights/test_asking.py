"""From a scan to what kernels read: codes for several rules, sessions, breakdowns, and people in the order of ids."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.contract import Condition, EventRule
from gateway.errors import InvalidInput
from gateway.insights.asking import Answer, By, Reading, gather, in_words
from gateway.insights.columnar.scan import Scanned, Version
from gateway.insights.columnar.selecting import Selection
from gateway.insights.columnar.users import Users

VIEW = EventRule("view", "View")
BUY = EventRule("buy", "Buy")
LARGE = EventRule("large", "Buy", (Condition("total", "gt", 100),))
MINUTE = 60_000
#: (user, minute, name, total, plan), in order.
ROWS = [(0, 0, "View", None, "b"), (0, 5, "Buy", 150.0, "a"), (0, 40, "Other", None, None), (2, 1, "Buy", 50.0, "b")]
USERS = Users(high=np.array([1, 2, 3], np.uint64), low=np.array([10, 20, 30], np.uint64))


def scan(rules: tuple[EventRule, ...], others: tuple[str, ...] = ()) -> Scanned:
    """What a scan of ROWS gives."""
    selection = Selection(rules, (0, 100 * MINUTE), others=others, labels=("plan",))
    rows = [row for row in ROWS if row[2] in selection.names]
    values = ["b", "a"]  # as a scan met them
    return Scanned(
        selection=selection,
        version=Version(0, 0, ()),
        user=np.array([row[0] for row in rows], np.int32),
        at=np.array([row[1] * MINUTE for row in rows], np.int64),
        seq=np.arange(len(rows)),
        name=np.array([selection.names.index(row[2]) for row in rows], np.uint16),
        matches=tuple(np.array([rule.matches(row[2], {"total": row[3] or 0}) for row in rows]) for rule in rules),
        numbers={"total": np.array([np.nan if row[3] is None else row[3] for row in rows])},
        labels={"plan": np.array([-1 if row[4] is None else values.index(row[4]) for row in rows], np.int32)},
        values={"plan": list(values)},
        users=USERS,
    )


def reading(*rules: EventRule, **more: object) -> Reading:
    return Reading(rules=rules, between=(0, 1), **more)  # type: ignore[arg-type]


def test_an_event_that_several_rules_match_has_a_code_that_all_of_them_name() -> None:
    rules = (VIEW, BUY, LARGE)
    found = gather(scan(rules), reading(*rules))
    matched = [[int(code) in codes for code in found.events.code] for codes in found.codes]
    assert matched == [[True, False, False], [False, True, True], [False, True, False]]
    assert [found.names[code] for code in found.events.code] == ["View", "Buy (total gt 100)", "Buy"]


def test_a_rule_that_nothing_matches_has_no_code() -> None:
    rules = (EventRule("never", "Never"), VIEW)
    found = gather(scan(rules), reading(*rules))
    assert found.codes[0] == (-1,)
    assert not found.events.having(found.codes[0]).any()


def test_sessions_are_those_of_all_events_though_others_are_left_out() -> None:
    rules = (VIEW, BUY)
    found = gather(scan(rules, ("Other",)), reading(*rules, sessions=True))
    assert found.events.session is not None
    assert found.events.session.tolist() == [0, 0, 2]
    everything = gather(scan(rules, ("Other",)), reading(*rules, sessions=True, others=True))
    assert [everything.names[code] for code in everything.events.code] == ["View", "Buy", "Other", "Buy"]
    assert everything.events.session is not None
    assert everything.events.session.tolist() == [0, 0, 1, 2]


def test_values_of_a_breakdown_are_sorted_whatever_order_they_were_met_in() -> None:
    found = gather(scan((VIEW, BUY), ("Other",)), reading(VIEW, BUY, others=True, by=By("property", "plan")))
    assert found.values == ("a", "b")
    assert found.events.breakdown is not None
    assert found.events.breakdown.tolist() == [1, 0, -1, 1]


def test_a_trait_is_that_of_the_user() -> None:
    by = By("trait", "plan")
    found = gather(scan((VIEW, BUY)), reading(VIEW, BUY, by=by), {0: True, 1: 1})
    assert found.values == (True, 1)
    assert found.events.breakdown is not None
    assert found.events.breakdown.tolist() == [0, 0, -1]


def test_values_are_those_of_a_property() -> None:
    found = gather(scan((BUY,)), reading(BUY, value="total"))
    assert found.events.value is not None
    assert found.events.value.tolist() == [150.0, 50.0]


def test_nothing_is_scanned() -> None:
    found = gather(scan((EventRule("never", "Never"),)), reading(EventRule("never", "Never"), by=By("trait", "x")), {})
    assert (len(found.events), found.names, found.values) == (0, (), ())


def test_people_come_in_pages_in_the_order_of_ids() -> None:
    answer = Answer(None, 0, 3, (), (), USERS)
    people = np.array([0, 1, 2])
    first = answer.page(people, 2)
    assert first == [f"{1:016x}{10:016x}", f"{2:016x}{20:016x}"]
    assert answer.page(people, 2, first[-1]) == [f"{3:016x}{30:016x}"]
    # Who has gone meanwhile was somewhere.
    assert answer.page(np.array([0, 2]), 2, first[-1]) == [f"{3:016x}{30:016x}"]


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(InvalidInput, match="61 events; at most 60"):
        reading(*[VIEW] * 61)


def test_rules_in_words() -> None:
    rule = EventRule("x", "Buy", (Condition("plan", "in", ("a", True)), Condition("total", "exists", False)))
    assert in_words(rule) == "Buy (plan in a or true and total exists false)"
