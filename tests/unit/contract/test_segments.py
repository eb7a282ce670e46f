"""Files of segments and of alert rules: what they say in words, every mistake with its place and a way out, and what a
change of them means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.contract import Contract, find_schema_root, load_contract, load_texts
from gateway.contract.changes import Grade, classify
from gateway.contract.checking import check_contract
from gateway.contract.exporting import as_markdown
from gateway.contract.lineage import Lineage, Node
from gateway.errors import ContractError

SHOP = load_contract(find_schema_root() / "shop")
SEGMENT = "key: s\nname: S\ndescription: Some.\nowners: [ux]\nwho: "
ALERT = "key: a\nname: A\nowners: [ux]\n"


def shop(**files: str | None) -> Contract:
    """The shop with files changed, or without those that are None; `segments__s` is `segments/s.yaml`."""
    changed = {f"{path.replace('__', '/')}.yaml": text for path, text in files.items()}
    merged = {**SHOP.files, **changed}
    return load_texts("shop", {path: text for path, text in merged.items() if text is not None})


def problem(**files: str | None) -> str:
    with pytest.raises(ContractError) as refused:
        shop(**files)
    (one,) = refused.value.problems
    return one


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("{did: {event: A}}", 'Users who did "A" ever.'),
        (
            "{did: {event: A, where: [{property: p, gte: 2}], atLeast: 3, within: 7d}}",
            'Users who did "A" where "p" is at least 2 at least 3 times within the last 7 days.',
        ),
        ("{didNot: {event: A, within: 1h}}", 'Users who did not do "A" within the last 1 hour.'),
        ("{trait: {property: plan, in: [a, b]}}", 'Users whose trait "plan" is one of "a", "b".'),
        (
            "{client: {property: device, equals: mobile}}",
            'Users whose client\'s "device" equals "mobile", as far as was known last.',
        ),
        ("{stage: {map: purchase}}", 'Users whose latest run through the journey map "purchase" is there at all.'),
        (
            "{stage: {map: purchase, status: abandoned}}",
            'Users whose latest run through the journey map "purchase" is abandoned.',
        ),
        (
            "{stage: {map: purchase, stage: cart}}",
            'Users whose latest run through the journey map "purchase" is in the stage "cart".',
        ),
        (
            "{stage: {map: purchase, stage: cart, status: active}}",
            'Users whose latest run through the journey map "purchase" is active and is in the stage "cart".',
        ),
        ("{persona: loyal_returner}", 'Users who are the persona "loyal_returner" (trait "plan" equals "plus").'),
        (
            "{all: [{did: {event: A}}, {any: [{did: {event: B}}, {not: {persona: loyal_returner}}]}]}",
            'Users who did "A" ever and (who did "B" ever or who are not those who are the persona "loyal_returner" '
            '(trait "plan" equals "plus")).',
        ),
    ],
)
def test_a_segment_says_who_is_meant(who: str, said: str) -> None:
    assert shop(segments__s=SEGMENT + who).segments["s"].definition == said


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("{did: {evnt: A}}", "unknown key 'evnt' - did you mean 'event'?"),
        ("{did: {event: A}, didNot: {event: B}}", "did and didNot stand together - write exactly one of"),
        ("{did: {event: A, within: 7 days}}", "write a number and m, h, d or w"),
        ("{did: {event: A, atLeast: 0}}", "write at least 1"),
        ("{did: {event: A, within: 9999w}}", "write at most ten years"),
        ("{client: {property: devise, equals: mobile}}", "did you mean 'device'?"),
        ("{client: {property: ip, exists: true}}", "no client has the key 'ip'"),
        ("{persona: loyal_returnee}", "did you mean 'loyal_returner'?"),
        ("{stage: {map: purchas}}", "did you mean 'purchase'?"),
        ("{stage: {map: purchase, stage: chekout}}", "did you mean 'checkout'?"),
        ("{all: []}", "write at least 1"),
        ("{not: " * 6 + "{did: {event: A}}" + "}" * 6, "stands too deep"),
        ("{all: [" + ", ".join(["{any: [" + ", ".join(["{did: {event: A}}"] * 19) + "]}"] * 3) + "]}", "has 61 rules"),
    ],
)
def test_a_mistake_in_a_segment_is_told_with_its_place(who: str, said: str) -> None:
    told = problem(segments__s=SEGMENT + who)
    assert told.startswith("shop/segments/s.yaml:5 who")
    assert said in told


def test_a_persona_without_traits_is_nobody() -> None:
    persona = "key: p\nname: P\nbrief: b\n"
    told = problem(segments__s=SEGMENT + "{persona: p}", personas__p=persona)
    assert "has no traits by which one could be told" in told


def test_a_survey_names_a_segment_that_is_there() -> None:
    text = SHOP.files["surveys/csat.yaml"].replace("consent: surveys", "{consent: surveys, segment: regular}")
    text = text.replace("targeting:\n  {", "targeting: {")
    assert "did you mean 'regulars'?" in problem(surveys__csat=text)
    named = shop(surveys__csat=text.replace("segment: regular}", "segment: regulars}"))
    assert named.surveys["csat"].targeting.segment == "regulars"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("watch: {kpi: {key: cast}}\nwhen: {lt: 1}\nwindow: 1d\n", "did you mean 'csat'?"),
        ("watch: {kpi: {key: csat, segment: regular}}\nwhen: {lt: 1}\nwindow: 1d\n", "did you mean 'regulars'?"),
        ("watch: {kpi: {key: csat}}\nwhen: {lt: 1}\n", "add window: 7d"),
        ("watch: {silence: {event: A}}\nwhen: {gt: 1}\nwindow: 1d\n", "the hours since an event have no window"),
        ("watch: {silence: {event: A}}\nwhen: {gt: 1, lt: 3}\n", "gt and lt stand together"),
        ("watch: {drift: {event: A, property: 'a.b.c[].d.e'}}\nwhen: {gt: 1}\nwindow: 1d\n", "levels deep"),
        ("watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nnoData: nothing\n", "use one of: keep, ok, alert"),
        ("watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nhysteresis: -1\n", "write at least 0"),
        ("watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nmute: [{from: 2026-02-30, to: 2026-03-01}]\n", "is no day"),
        (
            "watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nmute: [{from: 2026-03-02, to: 2026-03-01}]\n",
            "before it begins",
        ),
        ("watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nseverity: high\n", "use one of: info, warning, critical"),
        ("watch: {loss: {}}\nwhen: {gt: 1}\nwindow: 1d\nfor: 1 hour\n", "write a number and m, h, d or w"),
    ],
)
def test_a_mistake_in_an_alert_rule_is_told_with_its_place(more: str, said: str) -> None:
    told = problem(alerts__a=ALERT + more)
    assert told.startswith("shop/alerts/a.yaml:")
    assert said in told


def test_an_alert_rule_has_what_its_file_says() -> None:
    rule = SHOP.alerts["satisfaction_drops"]
    assert (rule.comparison, rule.threshold, rule.minimum, rule.hysteresis, rule.every_ms) == ("lt", 60, 20, 5, 300_000)
    assert [rule.breached(value) for value in (59.9, 60.0)] == [True, False]
    assert [rule.back(value) for value in (64.9, 65.0)] == [False, True]
    above = replace(rule, comparison="gt")
    assert [above.back(value) for value in (55.0, 55.1)] == [True, False]


def test_events_that_nobody_sends_are_found() -> None:
    wrong = shop(
        segments__s=SEGMENT + "{did: {event: Order Complete, where: [{property: totl, gte: 1}]}}",
        alerts__a=ALERT + "watch: {silence: {event: Order Complete}}\nwhen: {gt: 1}\n",
    )
    found = {one.file: one for one in check_contract(wrong) if one.severity == "error"}
    assert set(found) == {"shop/segments/s.yaml", "shop/alerts/a.yaml"}
    assert all("did you mean 'Order Completed'?" in one.fix for one in found.values())
    assert not [one for one in check_contract(SHOP) if one.file.startswith(("shop/segments", "shop/alerts"))]


def test_users_are_folded_anew_when_a_rule_changes_and_only_then() -> None:
    def regulars(old: str, new: str) -> Contract:
        text = SHOP.files["segments/regulars.yaml"]
        assert old in text
        return shop(segments__regulars=text.replace(old, new))

    assert regulars("name: Regulars", "name: Others").journeys_hash == SHOP.journeys_hash
    assert regulars("atLeast: 3", "atLeast: 4").journeys_hash != SHOP.journeys_hash
    assert shop(segments__regulars=None).journeys_hash != SHOP.journeys_hash
    assert shop(alerts__events_are_lost=None).journeys_hash == SHOP.journeys_hash
    persona = SHOP.files["personas/loyal_returner.yaml"].replace("plan: plus", "plan: more")
    assert shop(personas__loyal_returner=persona).journeys_hash != SHOP.journeys_hash
    both = [SEGMENT + f"{{{name}: [{{did: {{event: A}}}}]}}" for name in ("all", "any")]
    assert shop(segments__s=both[0]).segments["s"].hash != shop(segments__s=both[1]).segments["s"].hash


@pytest.mark.parametrize(
    ("files", "grade", "what"),
    [
        ({"segments__s": SEGMENT + "{did: {event: Home}}"}, Grade.SAFE, "segment s is added"),
        ({"segments__regulars": None}, Grade.BREAKING, "segment regulars is removed"),
        ({"segments__regulars": ("atLeast: 3", "atLeast: 4")}, Grade.DANGEROUS, "segment regulars means other users"),
        ({"segments__regulars": ("name: R", "name: S")}, Grade.SAFE, "segment regulars is described otherwise"),
        ({"alerts__events_are_lost": None}, Grade.DANGEROUS, "alert events_are_lost is removed"),
        (
            {"alerts__events_are_lost": ("gt: 2", "gt: 3")},
            Grade.DANGEROUS,
            "alert events_are_lost fires for something else",
        ),
        (
            {"alerts__events_are_lost": ("name: T", "name: U")},
            Grade.SAFE,
            "alert events_are_lost is described otherwise",
        ),
    ],
)
def test_changes_are_graded(files: dict[str, Any], grade: Grade, what: str) -> None:
    changed = {
        path: SHOP.files[f"{path.replace('__', '/')}.yaml"].replace(*said) if isinstance(said, tuple) else said
        for path, said in files.items()
    }
    (one,) = classify(SHOP, shop(**changed))
    assert (one.what, one.grade) == (what, grade)


def test_segments_and_alerts_have_their_place_in_the_lineage() -> None:
    lineage = Lineage(SHOP)
    up = lineage.of(Node("segment", "mobile_checkout"), "upstream")
    assert Node("stage", "purchase.checkout") in up
    assert Node("event", "checkout_started.1") in up
    down = lineage.of(Node("event", "order_completed.1"), "downstream")
    assert {Node("segment", "regulars"), Node("alert", "orders_have_stopped")} <= set(down)
    assert Node("kpi", "csat") in lineage.of(Node("alert", "satisfaction_drops"), "upstream")


def test_the_catalogue_has_them() -> None:
    text = as_markdown(SHOP)
    assert "## Segments" in text
    assert "### Slipping away" in text
    assert "## Alerts" in text
    assert "at or above 12" in text
