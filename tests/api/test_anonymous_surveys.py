"""Anonymous surveys: answered once each, and nothing in the database says by whom."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.store.anonymous_answers import ANSWERS, MARKS, SECRETS
from gateway.store.database import Database
from tests.api.gateway_api import NOW, Gateway, track
from tests.api.survey_files import NPS, asking
from tests.api.test_surveys import DISPLAY, gateway_of, next_of, submit

ANONYMOUS = """\
key: mood
kind: NPS
name: How it is
owners: [ux]
anonymous: true
questions:
  - {key: recommend, kind: NPS, required: true, text: Would you recommend us?}
  - {key: why, kind: TEXT, text: Why?}
triggers:
  - event: {name: Order Completed}
cooldown: 30d
schedule: {to: 2026-12-31}
"""


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    """A gateway that asks an anonymous survey."""
    async for gateway in gateway_of(database, asking(ANONYMOUS, NPS)):
        yield gateway


async def answered(shop: Gateway, people: dict[str, tuple[int, str]], *, pause: int = 1000) -> None:
    """Everybody is asked, shown the survey, and answers, one after the other."""
    await shop.send(*(track("Order Completed", 1, userId=user) for user in people))
    for user, (score, why) in people.items():
        offer = await next_of(shop, user)
        assert offer["survey"]["anonymous"] is True
        await shop.ask(DISPLAY, shop.token(userId=user), input={"offer": offer["offer"]})
        done = await submit(shop, offer["offer"], ("recommend", score), ("why", why), user=user)
        assert (done["stored"], done["known"], done["responseId"]) == (True, False, None)
        shop.clock.advance(pause)


async def test_one_answer_each_and_no_event_of_it(shop: Gateway) -> None:
    await shop.send(track("Order Completed", 1, userId="ada"))
    offer = (await next_of(shop))["offer"]
    whole = await submit(shop, offer, ("recommend", 3), complete=False)
    assert [one["code"] for one in whole["errors"]] == ["ANONYMOUS"]
    for known in (False, True):
        done = await submit(shop, offer, ("recommend", 3))
        assert (done["stored"], done["known"], done["consistencyToken"]) == (True, known, None)
    assert await shop.database.count(ANSWERS, {"workspace": "main"}) == 1
    await shop.derive()
    found = await shop.ask("{ me { events { nodes { name } } } }", shop.token(userId="ada"))
    assert [one["name"] for one in found["me"]["events"]["nodes"]] == ["Order Completed"]


async def test_answers_become_known_five_at_a_time_with_the_same_hour(shop: Gateway) -> None:
    people = {f"user-{number}": (number, "") for number in range(4)}
    await answered(shop, people, pause=20 * 60_000)
    assert [row["at"] for row in await shop.database.find(ANSWERS, {"workspace": "main"})] == [None] * 4
    await answered(shop, {"last": (9, "")})
    times = {row["at"] for row in await shop.database.find(ANSWERS, {"workspace": "main"})}
    (hour,) = times
    assert datetime.fromtimestamp(hour / 1000, UTC).isoformat() == "2026-11-21T11:00:00+00:00"


async def test_who_has_everything_links_no_better_than_by_chance(shop: Gateway) -> None:
    """An attacker has every row as it lies in the database, and an access log with the second of each request. Of
    rows that came in a known order they guess the order they were sent in."""
    people = {f"user-{number}": (number % 11, f"because of {number}") for number in range(60)}
    order = list(people)
    random.Random(7).shuffle(order)
    await answered(shop, {user: people[user] for user in order})
    lying = await shop.database.find(ANSWERS, {"workspace": "main"})
    marks = await shop.database.find(MARKS, {"workspace": "main"})
    assert len(lying) == len(marks) == 60
    said = [next(one["value"] for one in row["answers"] if one["question"] == "why") for row in lying]
    right = sum(said[place] == people[user][1] for place, user in enumerate(order))
    # By chance one of them is right, whatever their number; more than six are so with a probability of 1 in 10,000.
    assert right <= 6
    # Nothing of a person, and no time but the hour that many have.
    for row in lying:
        assert set(row) == {"_id", "workspace", "survey", "score", "answers", "at"}
        assert bytes(row["_id"])[6] >> 4 == 4, "a random number of the fourth kind, which holds no time"
    assert {row["at"] for row in lying} == {NOW}
    assert not any(user in str(row) for row in [*lying, *marks] for user in people)
    # Rows lie in the order of their random keys: of the order they came in nothing is left.
    assert [bytes(row["_id"]) for row in lying] == sorted(bytes(row["_id"]) for row in lying)
    assert [bytes(row["_id"]) for row in marks] == sorted(bytes(row["_id"]) for row in marks)


async def test_when_the_survey_is_over_nobody_can_find_out_who_answered(shop: Gateway) -> None:
    await answered(shop, {"ada": (9, ""), "lee": (3, "")})
    anonymous, surveys = shop.services.feedback.anonymous, shop.contract.surveys
    assert await anonymous.close_ended("main", surveys) == 0
    shop.clock.advance(60 * 24 * 3600 * 1000)
    assert await anonymous.close_ended("main", surveys) == 1
    assert await shop.database.count(SECRETS, {}) == 0
    assert await shop.database.count(MARKS, {}) == 0
    assert await shop.database.count(ANSWERS, {}) == 2
