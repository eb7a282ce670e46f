from __future__ import annotations

import pickle
from datetime import timedelta

import pytest

from gateway.contract import Condition, EventRule, JourneyMap, Stage
from gateway.errors import NotFound


def stage(key: str, *events: str, optional: bool = False, completes: bool = False) -> Stage:
    rules = tuple(EventRule(f"m.{key}.enter[{index}]", event) for index, event in enumerate(events or (key.title(),)))
    return Stage(key, key.title(), rules, optional=optional, completes=completes)


def journey(*stages: Stage) -> JourneyMap:
    return JourneyMap("m", 1, "M", "Somebody", "Something", ("ux",), (), timedelta(days=7), stages)


def next_keys(journey_map: JourneyMap, current: str | None) -> list[str]:
    return [stage.key for stage in journey_map.next_stages(current)]


PLAIN = journey(stage("browse"), stage("cart"), stage("purchased", completes=True))


def test_a_run_starts_with_the_first_stage() -> None:
    assert next_keys(PLAIN, None) == ["browse"]


def test_after_a_stage_comes_the_next() -> None:
    assert next_keys(PLAIN, "browse") == ["cart"]
    assert next_keys(PLAIN, "cart") == ["purchased"]


def test_nothing_comes_after_the_stage_that_completes() -> None:
    assert next_keys(PLAIN, "purchased") == []


def test_optional_stages_can_be_skipped_up_to_the_first_that_is_not() -> None:
    skipping = journey(
        stage("ad", optional=True),
        stage("browse"),
        stage("wish", optional=True),
        stage("compare", optional=True),
        stage("cart"),
        stage("purchased", completes=True),
    )
    assert next_keys(skipping, None) == ["ad", "browse"]
    assert next_keys(skipping, "ad") == ["browse"]
    assert next_keys(skipping, "browse") == ["wish", "compare", "cart"]
    assert next_keys(skipping, "wish") == ["compare", "cart"]


def test_an_optional_stage_that_completes_ends_the_run_too() -> None:
    branching = journey(
        stage("browse"), stage("subscribed", optional=True, completes=True), stage("purchased", completes=True)
    )
    assert next_keys(branching, "browse") == ["subscribed", "purchased"]
    assert next_keys(branching, "subscribed") == []


def test_a_last_stage_that_does_not_complete_leads_nowhere() -> None:
    assert next_keys(journey(stage("a", completes=True, optional=True), stage("b")), "b") == []


@pytest.mark.parametrize("ask", [PLAIN.stage, PLAIN.next_stages])
def test_an_unknown_stage_is_not_found_and_the_message_lists_the_known(ask: object) -> None:
    with pytest.raises(NotFound, match=r"'m' has no stage 'caart'\. It has: browse, cart, purchased\."):
        ask("caart")  # type: ignore[operator]


def test_a_stage_is_found_by_its_key() -> None:
    assert PLAIN.stage("cart") is PLAIN.stages[1]


def test_the_rules_about_an_event_come_with_their_stages_in_the_maps_order() -> None:
    shared = journey(stage("a", "X", "Y"), stage("b", "X"), stage("c", "Z", completes=True))
    assert [(entered.key, rule.id) for entered, rule in shared.entering("X")] == [
        ("a", "m.a.enter[0]"),
        ("b", "m.b.enter[0]"),
    ]
    assert [rule.id for _, rule in shared.entering("Y")] == ["m.a.enter[1]"]
    assert shared.entering("Unheard Of") == ()


def test_a_map_can_be_sent_to_another_process_and_used_as_a_key() -> None:
    rule = EventRule("m.a.enter[0]", "X", (Condition("p", "in", (1, 2)),))
    original = journey(Stage("a", "A", (rule,), completes=True))
    copy = pickle.loads(pickle.dumps(original))  # noqa: S301
    assert copy == original
    assert hash(copy) == hash(original)
    assert copy.entering("X") == original.entering("X")


def test_branches_name_what_is_expected_next_and_repeating_stages_follow_the_later_ones() -> None:
    rule = (EventRule("r", "E"),)
    split = journey(
        Stage("browse", "Browse", rule, repeats=True),
        Stage("cart", "Cart", rule),
        Stage("pay", "Pay", rule, next=("bought", "browse"), repeats=True),
        Stage("bought", "Bought", rule, completes=True),
    )
    assert next_keys(split, "cart") == ["pay", "browse"]
    assert list(split.moves("cart", left=False)) == ["pay", "bought", "browse"]
    assert next_keys(split, "pay") == ["bought", "browse"]
    assert [stage.key for stage in split.next_stages("pay", left=True)] == ["bought", "browse", "pay"]
    assert [stage.key for stage in split.next_stages("cart", left=True)] == ["pay", "browse"]
    assert list(split.moves("bought", left=False)) == []
    assert split.event_names == {"E"}
