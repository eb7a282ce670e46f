"""Closing the loop: a bad answer becomes a follow-up and an alert, once, until somebody has looked after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.contract import Contract, Reaction, load_contract, load_texts
from gateway.contract.changes import Grade, classify
from gateway.contract.exporting import as_markdown
from gateway.errors import ContractError
from gateway.pipeline.intake import Delivery
from gateway.store.database import Database
from tests.api.gateway_api import SHOP, Gateway, Json
from tests.api.survey_files import CSAT, asking
from tests.api.test_privacy import erased
from tests.api.test_surveys import gateway_of, next_of, ordered, submit

UNHAPPY = """\
key: unhappy
name: Somebody is unhappy with an order
owners: [service]
severity: critical
when:
  survey: csat
  score: {lte: 2}
  stage: {map: purchase, stage: purchased}
then:
  followUp: {owner: service, due: 2d}
  tell: {channels: [desk]}
"""
LIST = """query($open: Boolean, $owner: String, $first: Int, $after: Cursor) {
  followUps(open: $open, owner: $owner, first: $first, after: $after) {
  nodes { id rule survey score owner status at dueAt doneAt note response { survey comment } }
  pageInfo { endCursor hasNextPage } } }"""
ALERTS = "query($open: Boolean) { alerts(open: $open) { nodes { severity title text count resolvedAt } } }"
ASSIGN = """mutation($input: AssignFollowUpInput!) { assignFollowUp(input: $input) {
  followUp { owner status } errors { code } } }"""
RESOLVE = """mutation($input: ResolveFollowUpInput!) { resolveFollowUp(input: $input) {
  followUp { status doneAt note } errors { code } } }"""


def rules(*texts: str) -> dict[str, Reaction]:
    """The rules that these files say, beside the shop's own files."""
    shop = load_contract(SHOP)
    files = {path: text for path, text in shop.files.items() if not path.startswith("rules/")}
    said = {f"rules/{text.partition('key: ')[2].partition(chr(10))[0]}.yaml": text for text in texts}
    return load_texts("shop", {**files, **said}).rules


def reacting(*texts: str) -> Contract:
    return replace(asking(CSAT), rules=rules(*texts))


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    """A gateway with one rule about unhappy buyers."""
    async for gateway in gateway_of(database, reacting(UNHAPPY)):
        yield gateway


async def answer(shop: Gateway, score: int, user: str = "ada") -> None:
    await shop.send(*ordered(5, user))
    offer = (await next_of(shop, user))["offer"]
    done = await submit(shop, offer, ("satisfaction", score), ("comment", "too late"), user=user)
    assert done["stored"] is True
    await shop.derive()


async def listed(shop: Gateway, **given: Any) -> list[Json]:
    found = await shop.ask(LIST, await shop.api_key(), **given)
    nodes: list[Json] = found["followUps"]["nodes"]
    return nodes


async def alerts(shop: Gateway, **given: Any) -> list[Json]:
    await shop.derive()
    nodes: list[Json] = (await shop.ask(ALERTS, await shop.api_key(), **given))["alerts"]["nodes"]
    return nodes


async def test_a_bad_answer_is_followed_up_told_and_done(shop: Gateway) -> None:
    await answer(shop, 5, "lee")
    assert await listed(shop) == []
    await answer(shop, 1)
    (one,) = await listed(shop, open=True)
    assert one | {"id": None} == {
        "id": None,
        "rule": "unhappy",
        "survey": "csat",
        "score": 1,
        "owner": "service",
        "status": "OPEN",
        "at": "2026-11-21T10:00:00.000Z",
        "dueAt": "2026-11-23T10:00:00.000Z",
        "doneAt": None,
        "note": None,
        "response": {"survey": "csat", "comment": "too late"},
    }
    (alert,) = await alerts(shop)
    assert (alert["severity"], alert["title"]) == ("CRITICAL", "Somebody is unhappy with an order")
    assert alert["text"] == "A response to csat with a score of 1. service looks after it."
    assert "too late" not in str(alert), "what somebody wrote is told to nobody who may not see it"
    key = await shop.api_key()
    given = (await shop.ask(ASSIGN, key, input={"id": one["id"], "owner": "mira"}))["assignFollowUp"]
    assert given == {"followUp": {"owner": "mira", "status": "OPEN"}, "errors": []}
    assert [each["id"] for each in await listed(shop, owner="mira")] == [one["id"]]
    done = (await shop.ask(RESOLVE, key, input={"id": one["id"], "note": "called"}))["resolveFollowUp"]
    assert done["followUp"]["status"] == "DONE"
    assert await listed(shop, open=True) == []
    assert (await alerts(shop, open=False))[0]["resolvedAt"] is not None
    for mutation in (ASSIGN, RESOLVE):
        more = {"owner": "x"} if mutation is ASSIGN else {}
        (again,) = (await shop.ask(mutation, key, input={"id": one["id"], **more})).values()
        assert again["errors"] == [{"code": "NOT_OPEN"}]


async def test_once_for_each_response_however_often_it_is_derived(
    shop: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that derives a response dies before it is committed, and the next begins again."""
    await shop.send(*ordered())
    offer = (await next_of(shop))["offer"]
    await submit(shop, offer, ("satisfaction", 1))
    dies, react = True, shop.deriver._derivation.reacting.react

    async def once(*given: Any) -> None:
        nonlocal dies
        await react(*given)
        if dies:
            dies = False
            raise RuntimeError("the process died here")

    monkeypatch.setattr(shop.deriver._derivation.reacting, "react", once)
    with pytest.raises(RuntimeError, match="died"):
        await shop.derive()
    assert await listed(shop) == []
    await shop.derive()
    await shop.derive()
    assert len(await listed(shop)) == 1
    assert [one["count"] for one in await alerts(shop)] == [1]


async def test_what_is_overdue_is_told_once(shop: Gateway) -> None:
    await answer(shop, 2)
    shop.clock.advance(2 * 24 * 3600 * 1000 + 1)
    tell = shop.services.feedback.reacting.tell_overdue
    assert [await tell("main", shop.clock) for _ in range(2)] == [1, 0]
    (one,) = await listed(shop)
    assert one["status"] == "OVERDUE"
    titles = [alert["title"] for alert in await alerts(shop, open=True)]
    assert sorted(titles) == ["A follow-up is overdue: unhappy", "Somebody is unhappy with an order"]
    await shop.ask(RESOLVE, await shop.api_key(), input={"id": one["id"]})
    assert await alerts(shop, open=True) == []


async def test_what_was_answered_long_ago_is_nothing_to_act_on(shop: Gateway) -> None:
    said = {"survey": "csat", "score": 1, "journey": {"purchase": "purchased"}}
    for days, user in ((8, "old"), (6, "new")):
        at = f"2026-11-{21 - days}T10:00:00Z"
        message = {"type": "track", "event": "Survey Response Submitted", "userId": user, "properties": said}
        await shop.intake.ingest(Delivery("main", "import", [message | {"timestamp": at}]))
    await shop.derive()
    assert [one["at"] for one in await listed(shop)] == ["2026-11-15T10:00:00.000Z"]


async def test_who_is_erased_leaves_no_follow_up(shop: Gateway) -> None:
    await answer(shop, 1)
    await erased(shop, await shop.api_key(), {"userId": "ada"})
    assert await listed(shop) == []


@pytest.mark.parametrize(
    ("properties", "fires"),
    [
        ({}, True),
        ({"score": 3}, False),
        ({"score": "1"}, False),
        ({"survey": "nps"}, False),
        ({"journey": {"purchase": "checkout"}}, False),
        ({"journey": "purchased"}, False),
        ({"segments": []}, False),
        ({"segments": None}, False),
    ],
)
def test_all_that_a_rule_says_has_to_hold(properties: Json, fires: bool) -> None:
    segment = next(iter(load_contract(SHOP).segments))
    (rule,) = rules(UNHAPPY.replace("  survey: csat\n", f"  survey: csat\n  segment: {segment}\n")).values()
    whole = {"survey": "csat", "score": 2, "journey": {"purchase": "purchased"}, "segments": [segment]}
    assert rule.fires({**whole, **properties}) is fires


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("survey: csat", "survey: csta", "rules/unhappy.yaml:6 when.survey: no survey has the key 'csta'"),
        ("stage: purchased", "stage: purchsed", "when.stage.stage: no stage of that map has the key 'purchsed'"),
        ("due: 2d", "due: soon", "then.followUp.due: 'soon' cannot stand here"),
        ("  followUp: {owner: service, due: 2d}\n  tell: {channels: [desk]}", "  {}", "then: "),
        ("lte: 2", "lte: two", "when.score.lte: "),
    ],
)
def test_a_mistake_in_a_rule_is_told(old: str, new: str, problem: str) -> None:
    with pytest.raises(ContractError) as refused:
        rules(UNHAPPY.replace(old, new))
    assert any(problem in line for line in refused.value.problems), refused.value.problems


def test_a_rule_is_told_in_words() -> None:
    (rule,) = rules(UNHAPPY).values()
    assert rule.definition == (
        'A response to csat whose "score" is at most 2, in the stage purchased of purchase: service follows up within '
        "2 days, and desk is told."
    )
    assert rule.definition in as_markdown(replace(load_contract(SHOP), rules={"unhappy": rule}))


def test_changes_of_rules_are_graded() -> None:
    shop = load_contract(SHOP)
    for after, grade in (({}, Grade.DANGEROUS), (rules(UNHAPPY), Grade.SAFE)):
        before = shop if not after else replace(shop, rules={})
        assert [one.grade for one in classify(before, replace(shop, rules=after))] == [grade]
