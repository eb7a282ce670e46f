"""Every kind of change, and the grade it gets: what to mend is said, and by whom it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.contract.changes import Change, Grade, classify, refusals, worst
from gateway.contract.lineage import Node
from tests.unit.contract.orders import ORDERS, orders

Edit = tuple[str, str, str]

EVENT = "events/order_completed.1.yaml"
MAP = "journeys/buying.yaml"
PLAN = "properties.yaml"
SURVEY = "surveys/ease.yaml"

#: Edits of the contract, and each change they make: kind, key, grade, words of it.
TABLE: list[tuple[list[Edit], list[tuple[str, str, str, str]]]] = [
    # the plan
    ([(EVENT, "bought.", "bought!")], [("event", "order_completed.1", "safe", "described otherwise")]),
    ([(EVENT, "[backend]", "[backend, web]")], [("event", "order_completed.1", "safe", "described otherwise")]),
    ([(EVENT, "major: 1", "major: 1\ntype: page")], [("event", "order_completed.1", "breaking", "is a page call")]),
    (
        [(EVENT, "major: 1", "major: 1\nmode: quarantine")],
        [("event", "order_completed.1", "dangerous", "mode quarantine")],
    ),
    ([(EVENT, "major: 1", "major: 1\nmode: observe")], [("event", "order_completed.1", "safe", "mode observe")]),
    ([(EVENT, "  - {property: coupon}\n", "")], [("event", "order_completed.1", "breaking", "coupon no longer")]),
    (
        [(EVENT, "{property: coupon}", "{property: coupon, required: true}")],
        [("event", "order_completed.1", "breaking", "must carry coupon, which was optional")],
    ),
    (
        [(EVENT, "{property: total, required: true}", "{property: total}")],
        [("event", "order_completed.1", "dangerous", "need not carry total")],
    ),
    (
        [(EVENT, "coupon}", "coupon}\n  - {property: spare}")],
        [("event", "order_completed.1", "safe", "may carry spare")],
    ),
    (
        [(EVENT, "coupon}", "coupon}\n  - {property: spare, required: true}")],
        [("event", "order_completed.1", "breaking", "must carry spare")],
    ),
    ([(PLAN, "[card, invoice]", "[card]")], [("property", "payment", "breaking", "no longer be invoice")]),
    ([(PLAN, "[card, invoice]", "[card, invoice, cash]")], [("property", "payment", "dangerous", "also be cash")]),
    ([(PLAN, ", enum: [card, invoice]", "")], [("property", "payment", "dangerous", "any value")]),
    (
        [(PLAN, "A code., maxLength: 20", "A code., enum: [a]")],
        [("property", "coupon", "breaking", "only be a"), ("property", "coupon", "safe", "no maxLength")],
    ),
    ([(PLAN, "maxLength: 20", "maxLength: 10")], [("property", "coupon", "breaking", "maxLength 10")]),
    ([(PLAN, "maxLength: 20", "maxLength: 30")], [("property", "coupon", "safe", "maxLength 30")]),
    ([(PLAN, "minimum: 0", "minimum: 1")], [("property", "total", "breaking", "minimum 1")]),
    ([(PLAN, "minimum: 0", "minimum: -1")], [("property", "total", "safe", "minimum -1")]),
    ([(PLAN, ", minimum: 0", ", maximum: 9")], [
        ("property", "total", "breaking", "maximum 9"), ("property", "total", "safe", "no minimum"),
    ]),
    ([(PLAN, "maxLength: 20", "maxLength: 20, pattern: '^a'")], [("property", "coupon", "breaking", "must match ^a")]),
    ([(PLAN, "unit: currency", "unit: cents")], [("property", "total", "dangerous", "in cents and was in currency")]),
    ([(PLAN, "A code.,", "A code., privacy: personal,")], [("property", "coupon", "dangerous", "class personal")]),
    ([(PLAN, "A code.", "The code.")], [("property", "coupon", "safe", "description")]),
    (
        [(PLAN, "coupon, type: string, brief: A code., maxLength: 20", "coupon, type: boolean, brief: A code.")],
        [("property", "coupon", "breaking", "is boolean and was string")],
    ),
    (
        [(PLAN, "pieces, type: integer", "pieces, type: number")],
        [("property", "pieces", "dangerous", "is number and was integer")],
    ),
    ([(PLAN, "  - {key: spare, type: string, brief: Nothing carries it.}\n", "")], [
        ("property", "spare", "safe", "is removed"),
    ]),
    # maps
    ([(MAP, "version: 1\nname: Buying", "version: 2\nname: Shopping")], [("map", "buying", "safe", "described")]),
    ([(MAP, "label: Looking", "label: Having a look")], [("stage", "buying.look", "safe", "described")]),
    ([(MAP, "abandonedAfter: 12h", "abandonedAfter: 1d")], [("map", "buying", "dangerous", "ends runs")]),
    ([(MAP, "gte: 1", "gte: 2")], [("stage", "buying.bought", "dangerous", "other rules")]),
    ([(MAP, "key: look", "key: browse")], [("stage", "buying.look", "breaking", "renamed to browse")]),
    (
        [(MAP, "  - key: bought", "  - {key: asked, label: Asked, enter: [{event: Answered}]}\n  - key: bought")],
        [("stage", "buying.asked", "dangerous", "is added")],
    ),
    (
        [(MAP, "  - key: look\n    label: Looking\n    enter:\n      - event: Viewed\n", "")],
        [("stage", "buying.look", "breaking", "is removed")],
    ),
    # KPIs, surveys, words
    ([("kpis/easy.yaml", "Is it easy?", "Easy?")], [("kpi", "easy", "safe", "described")]),
    ([("kpis/easy.yaml", "unit: percent", "unit: percent\ntarget: 80")], [("kpi", "easy", "safe", "targets")]),
    ([("kpis/easy.yaml", "atLeast: 4", "atLeast: 5")], [("kpi", "easy", "dangerous", "counts something else")]),
    ([("kpis/easy.yaml", "better: higher", "better: lower")], [("kpi", "easy", "dangerous", "better when lower")]),
    ([(SURVEY, "en: Was it easy", "en: Easy")], [("survey", "ease", "dangerous", "other words")]),
    ([(SURVEY, "name: Ease", "name: Effort")], [("survey", "ease", "safe", "described")]),
    (
        [(SURVEY, "    kind: CSAT\n    text", "    kind: CES\n    text"), (SURVEY, "\nkind: CSAT", "\nkind: CES")],
        [("survey", "ease", "breaking", "takes other answers to easy"), ("survey", "ease", "safe", "described")],
    ),
    ([(SURVEY, "stageEntered", "stageLeft")], [("survey", "ease", "dangerous", "shown to others")]),
    ([("glossary.yaml", "about to buy", "going to buy")], [("term", "basket", "safe", "explained")]),
    (
        [("glossary.yaml", "  - {key: unused, name: Unused, definition: Nobody says it.}\n", "")],
        [("term", "unused", "safe", "is removed")],
    ),
]  # fmt: skip


def told(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.key, str(one.grade)) for one in changes]


@pytest.mark.parametrize(("edits", "expected"), TABLE, ids=lambda given: given[0][-1] if given else None)
def test_every_change_gets_its_grade(edits: list[Edit], expected: list[tuple[str, str, str, str]]) -> None:
    found = classify(orders(), orders(*edits))
    assert told(found) == [(kind, key, grade) for kind, key, grade, _ in expected]
    for change, (*_, words) in zip(found, expected, strict=True):
        assert words in change.what
        assert change.why
        assert not change.refused


def test_the_same_says_nothing_and_neither_does_the_first() -> None:
    assert classify(orders(), orders()) == []
    assert classify(None, orders()) == []
    assert worst([]) is Grade.SAFE


V2 = ORDERS[EVENT].replace("major: 1", "major: 2").replace("  - {property: coupon}\n", "")


def test_a_kpi_in_another_unit_cannot_be_compared() -> None:
    # No function has two units yet, so that no file says it.
    before, after = orders(), orders()
    after.kpis["easy"] = replace(after.kpis["easy"], unit="score")
    assert told(classify(before, after)) == [("kpi", "easy", "dangerous")]


def test_a_new_major_beside_the_old_is_safe() -> None:
    (change,) = classify(orders(), orders(**{"events/order_completed.2.yaml": V2}))
    assert (change.key, change.grade, change.change) == ("order_completed.2", Grade.SAFE, "added")
    assert "beside order_completed.1" in change.why


def test_an_event_may_go_when_another_major_is_read_in_its_place() -> None:
    after = {"events/order_completed.2.yaml": V2, EVENT: None}
    removed = next(one for one in classify(orders(), orders(**after)) if one.change == "removed")
    assert (removed.grade, removed.refused) == (Grade.BREAKING, False)


def test_a_deprecated_event_may_go() -> None:
    old = orders(("events/viewed.1.yaml", "owners", "deprecated: Use Seen.\nowners"), **{"kpis/cards.yaml": None})
    new = orders((MAP, "event: Viewed", "event: Answered"), **{"events/viewed.1.yaml": None, "kpis/cards.yaml": None})
    removed = next(one for one in classify(old, new) if one.change == "removed")
    assert (removed.grade, removed.refused) == (Grade.DANGEROUS, False)


SCORE = "  - {key: score, type: integer, brief: From 1 to 5.}\n"
REFUSED: list[tuple[list[Edit], dict[str, str | None], str]] = [
    # the property a KPI reads is gone from its event, then altogether
    ([("events/answered.1.yaml", "properties:\n  - {property: score, required: true}\n", "")], {}, "KPI easy"),
    (
        [("events/answered.1.yaml", "properties:\n  - {property: score, required: true}\n", ""), (PLAN, SCORE, "")],
        {},
        "KPI easy",
    ),
    # it has another type
    ([(PLAN, "key: score, type: integer", "key: score, type: string")], {}, "KPI easy"),
    # a condition of a funnel reads it
    ([(EVENT, "  - {property: payment, required: true}\n", "")], {}, "KPI cards"),
    # the event is gone
    ([], {"events/answered.1.yaml": None}, "KPI easy"),
    # a stage that a KPI measures reads it
    ([(EVENT, "  - {property: pieces}\n", "")], {}, "KPI buyers"),
]
BUYERS = """\
key: buyers
question: How many buy?
unit: users
better: higher
owners: [ux]
function:
  stage: {map: buying, stage: bought, measure: users}
"""


@pytest.mark.parametrize(("edits", "files", "kpi"), REFUSED)
def test_what_a_kpi_reads_is_never_taken_away(edits: list[Edit], files: dict[str, str | None], kpi: str) -> None:
    buyers = {"kpis/buyers.yaml": BUYERS}
    found = classify(orders(**buyers), orders(*edits, **buyers, **files))
    lines = refusals(found)
    assert lines, told(found)
    assert all(kpi in line for line in lines), lines
    assert worst(found) is Grade.BREAKING


def test_what_no_kpi_reads_any_more_may_go() -> None:
    after = orders(
        ("events/answered.1.yaml", "properties:\n  - {property: score, required: true}\n", ""),
        (PLAN, SCORE, ""),
        **{"kpis/easy.yaml": None},
    )
    found = classify(orders(), after)
    assert refusals(found) == []
    assert ("property", "score", "breaking") in told(found)
    assert ("kpi", "easy", "breaking") in told(found)


def test_a_property_may_be_retyped_with_the_kpi_that_reads_it() -> None:
    retyped = (PLAN, "key: score, type: integer", "key: score, type: boolean")
    found = classify(orders(), orders(retyped, ("kpis/easy.yaml", "atLeast: 4", "atLeast: 5")))
    assert refusals(found) == []
    assert worst(found) is Grade.BREAKING


def test_a_kpi_that_comes_with_another_type_of_what_it_reads_is_not_refused() -> None:
    """Such as one's own contract in place of another: nothing has read the property so far."""
    before = orders(**{"kpis/easy.yaml": None})
    retyped = orders((PLAN, "key: score, type: integer", "key: score, type: boolean"))
    assert refusals(classify(before, retyped)) == []
    assert worst(classify(before, retyped)) is Grade.BREAKING


def test_dependants_are_named() -> None:
    (change,) = classify(orders(), orders((PLAN, "[card, invoice]", "[card]")))
    assert change.dependants == (Node("kpi", "cards"),)
    assert "KPI cards reads it" in change.why
    (change,) = classify(orders(), orders((MAP, "key: look", "key: browse")))
    assert change.dependants == (Node("map", "buying"),)
    found = classify(orders(), orders((EVENT, "  - {property: pieces}\n", "")))
    assert Node("stage", "buying.bought") in found[0].dependants
    assert Node("kpi", "cards") not in found[0].dependants


def test_a_term_that_is_meant_is_missed() -> None:
    (change,) = classify(
        orders(),
        orders(("glossary.yaml", "  - {key: basket, name: Basket, definition: What somebody is about to buy.}\n", "")),
    )
    assert (change.grade, change.dependants) == (Grade.DANGEROUS, (Node("kpi", "easy"),))
