"""What files of surveys say, at work: quotas, variants, segments, earlier answers, and edits under way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.contract import Contract
from gateway.model.response import SURVEYED
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, track
from tests.api.survey_files import CSAT, NPS, asking
from tests.api.test_surveys import DISPLAY, gateway_of, grounds_of, next_of, ordered, submit


@asynccontextmanager
async def opened(database: Database, contract: Contract) -> AsyncIterator[Gateway]:
    async for gateway in gateway_of(database, contract):
        yield gateway


async def test_a_quota_is_full_with_the_last_answer_that_was_wanted_and_opens_with_the_next_day(
    database: Database,
) -> None:
    quota = CSAT + "quota: {answers: 2, per: day}\n"
    async with opened(database, asking(quota)) as shop:
        names = ["ada", "lee", "zoe"]
        for name in names:
            await shop.send(*ordered(5, name))
        for name in names[:2]:
            await submit(shop, (await next_of(shop, name))["offer"], ("satisfaction", 5), user=name)
            shop.clock.advance(6_000)  # so long a quota is taken to be what it was
        assert (await next_of(shop, "zoe"))["survey"] is None
        assert await grounds_of(shop, "zoe") == {"csat": {"QUOTA"}}
        shop.clock.advance(14 * 3600 * 1000)
        assert (await next_of(shop, "zoe"))["survey"]["key"] == "csat"


async def test_a_variant_asks_in_its_own_words_and_its_answers_say_so(database: Database) -> None:
    variants = """\
variants:
  - key: short
    share: 100
    questions: [{key: satisfaction, text: {en: "Happy?", de: "Zufrieden?"}}]
"""
    async with opened(database, asking(CSAT + variants)) as shop:
        await shop.send(*ordered())
        offer = await next_of(shop, language="de-AT")
        assert offer["survey"]["variant"] == "short"
        texts = [one["text"] for one in offer["survey"]["questions"]]
        assert texts == ["Zufrieden?", "Woran lag es?", "Was könnte besser sein?"]
        await submit(shop, offer["offer"], ("satisfaction", 4))
        found = await shop.ask("{ me { responses { nodes { variant } } } }", shop.token(userId="ada"))
        assert found["me"]["responses"]["nodes"] == [{"variant": "short"}]
    control = "variants: [{key: control, share: 100, ask: false}]\n"
    async with opened(database, asking(CSAT + control)) as shop:
        await shop.send(*ordered(3, "lee"))
        assert (await next_of(shop, "lee"))["survey"] is None
        assert await grounds_of(shop, "lee") == {"csat": {"CONTROL"}}


async def test_only_who_answered_so_before_and_is_in_the_segment_is_asked(database: Database) -> None:
    contract = asking(CSAT)
    segment = next(key for key, one in contract.segments.items() if "Order Completed" in one.definition)
    follow = f"""\
key: why
kind: TEXT
name: Why
owners: [ux]
questions: [{{key: why, kind: TEXT, text: "Why?"}}]
triggers: [{{event: {{name: Product Viewed}}}}]
targeting:
  segment: {segment}
  answered: [{{survey: csat, question: satisfaction, lte: 2}}]
"""
    async with opened(database, asking(CSAT, follow)) as shop:
        for name, score in (("ada", 1), ("lee", 5)):
            await shop.send(*ordered(5, name))
            await submit(shop, (await next_of(shop, name))["offer"], ("satisfaction", score), user=name)
        shop.clock.advance(8 * 24 * 3600 * 1000)
        for name in ("ada", "lee", "new"):
            await shop.send(track("Product Viewed", -8 * 24 * 60, userId=name))
        told = {name: await grounds_of(shop, name) for name in ("ada", "lee", "new")}
        in_segment = {one["key"] for one in await _segments(shop, "ada")}
        assert told["ada"].get("why", set()) == (set() if segment in in_segment else {"SEGMENT"})
        assert "ANSWERED" in told["lee"]["why"]
        assert {"ANSWERED", "SEGMENT"} <= told["new"]["why"]


async def _segments(shop: Gateway, user: str) -> list[dict[str, str]]:
    found = await shop.ask("{ me { segments { key } } }", shop.token(userId=user))
    segments: list[dict[str, str]] = found["me"]["segments"]
    return segments


async def test_a_survey_that_is_edited_while_somebody_answers_loses_nothing(database: Database) -> None:
    async with opened(database, asking(CSAT)) as shop:
        await shop.send(*ordered(), *ordered(5, "lee"), *ordered(5, "zoe"))
        offers = {name: (await next_of(shop, name))["offer"] for name in ("ada", "lee", "zoe")}
    edited = CSAT.replace("key: satisfaction", "key: happiness").replace("key: paying", "key: payment")
    async with opened(database, asking(edited)) as shop:
        done = await submit(shop, offers["ada"], ("satisfaction", 2), ("reason", ["paying"]), ("comment", "slow"))
        assert (done["stored"], done["errors"]) == (True, [])
        found = await shop.ask(
            "{ me { responses { nodes { score comment answers { question value } } } } }", shop.token(userId="ada")
        )
        (one,) = found["me"]["responses"]["nodes"]
        # Everything is kept; but what is asked no more is in no score of what is asked now.
        assert {answer["question"]: answer["value"] for answer in one["answers"]} == {
            "comment": "slow",
            "satisfaction": 2,
            "reason": ["paying"],
        }
        assert (one["score"], one["comment"]) == (None, "slow")
        wrong = await submit(shop, offers["lee"], ("satisfaction", {"deep": 1}), user="lee")
        assert [error["code"] for error in wrong["errors"]] == ["UNKNOWN_QUESTION"]
    async with opened(database, asking(NPS)) as shop:  # it is gone altogether
        done = await submit(shop, offers["zoe"], ("satisfaction", 5), user="zoe")
        assert (done["stored"], done["errors"]) == (True, [])


async def test_what_a_user_was_asked_is_found_by_an_index_of_its_own(database: Database) -> None:
    """Whatever else somebody did: a page that wonders whether to ask does not read all of it."""
    async with opened(database, asking(CSAT)) as shop:
        await shop.send(*(track("Product Viewed", 1 + number, userId="ada") for number in range(200)), *ordered())
        await shop.ask(DISPLAY, shop.token(userId="ada"), input={"offer": (await next_of(shop))["offer"]})
        wanted = {"workspace": "main", "sk": {"$in": ["u:ada"]}, "name": {"$in": list(SURVEYED)}}
        plan = await database.admin(
            {
                "explain": {"find": "events", "filter": wanted, "sort": {"at": -1, "seq": -1, "_id": -1}, "limit": 500},
                "verbosity": "executionStats",
            },
            on=database.name,
        )
        stats = plan["executionStats"]
        assert (stats["nReturned"], stats["totalDocsExamined"]) == (1, 1), stats
