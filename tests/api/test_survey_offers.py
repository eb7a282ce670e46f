"""Surveys offered live, and previews of whom a survey would have asked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.store.database import Database
from tests.api.gateway_api import Gateway, Json, track
from tests.api.survey_files import CES, CSAT, NPS, asking
from tests.api.test_surveys import DISPLAY, gateway_of, next_of, ordered
from tests.api.test_watching import silent

DAY = 24 * 60
WATCH = """subscription($touchpoint: ID, $user: UserBy, $after: Cursor) {
  surveyOffered(touchpoint: $touchpoint, user: $user, after: $after) {
  cursor gap { reason } offer { offer because survey { key } waiting { kind } } } }"""
PREVIEW = """query($key: ID, $file: String, $range: RangeInput!) {
  surveyPreview(key: $key, file: $file, range: $range) {
  lookedAt asked complete users { user { id } at because times } grounds { code users } } }"""


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    """A gateway that asks three surveys."""
    async for gateway in gateway_of(database, asking(CSAT, NPS, CES)):
        yield gateway


async def test_a_survey_is_offered_the_moment_it_fits_and_withdrawn_once_it_was_shown(shop: Gateway) -> None:
    token = shop.token(userId="ada")
    async with shop.socket(token) as socket:
        await socket.subscribe(WATCH)
        first = (await socket.news())["surveyOffered"]
        assert (first["offer"]["survey"], first["offer"]["because"]) == (None, "There is nothing to ask now.")
        await shop.send(track("Product Viewed", 5, userId="ada"))
        await shop.send(*ordered(1))
        offered = (await socket.news())["surveyOffered"]
        assert offered["offer"]["survey"] == {"key": "csat"}
        assert offered["offer"]["offer"] == (await next_of(shop))["offer"]
        await shop.ask(DISPLAY, token, input={"offer": offered["offer"]["offer"]})
        await shop.derive()
        assert (await socket.news())["surveyOffered"]["offer"]["survey"] is None
        await shop.send(track("Product Viewed", -1, userId="ada"))
        assert await silent(socket), "nothing is said twice"
        resumed_from = offered["cursor"]
    async with shop.socket(token) as socket:
        await socket.subscribe(WATCH, after=resumed_from)
        again = (await socket.news())["surveyOffered"]
        assert (again["gap"], again["offer"]["survey"]) == (None, None)


async def test_what_others_do_offers_nothing_and_a_tool_names_whom_it_watches(shop: Gateway) -> None:
    key = await shop.api_key()
    async with shop.socket(key) as socket:
        await socket.subscribe(WATCH, user={"userId": "ada"})
        await socket.news()
        await shop.send(*ordered(1, user="lee"))
        assert await silent(socket)
        await shop.send(*ordered(1))
        assert (await socket.news())["surveyOffered"]["offer"]["survey"] == {"key": "csat"}
        await socket.subscribe(WATCH, id="2")
        message = await socket.receive()
        (error,) = message["payload"]["errors"]
        assert error["extensions"]["argument"] == "user"


async def preview(shop: Gateway, **given: object) -> Json:
    asked = {"range": {"last": "7d"}, **given}
    found = await shop.ask(PREVIEW, await shop.api_key(), **asked)
    result: Json = found["surveyPreview"]
    return result


async def test_a_preview_says_whom_it_would_have_asked_when_and_whom_not(shop: Gateway) -> None:
    await shop.send(
        *ordered(3 * DAY, "ada"),
        *ordered(2 * DAY, "ada"),  # within the week the frequent have one place only
        *ordered(10 * DAY, "old"),
        *ordered(2 * DAY, "lee"),
        track("Survey Shown", 2 * DAY + 10, userId="lee", properties={"survey": "nps", "offer": "x"}),
        track("Product Viewed", DAY, userId="zoe"),
    )
    found = await preview(shop, key="csat")
    assert (found["lookedAt"], found["asked"], found["complete"]) == (3, 1, True)
    (ada,) = found["users"]
    assert ada["at"] == "2026-11-18T10:00:00.000Z"
    assert ada["because"] == "The stage purchased of purchase was entered at 2026-11-18 10:00 UTC."
    assert ada["times"] == 1
    assert {one["code"]: one["users"] for one in found["grounds"]} == {"PAUSE": 1, "TRIGGER": 1}
    # The same file with a longer memory asks nobody else; one for others asks nobody.
    assert (await preview(shop, file=CSAT.replace("cooldown: 1d", "cooldown: 30d")))["asked"] == 1
    sampled = await preview(shop, file=CSAT + "sampling: 0.01\n")
    assert (sampled["asked"], {one["code"] for one in sampled["grounds"]} >= {"SAMPLING"}) == (0, True)


async def test_a_preview_asks_whom_the_gateway_asks(shop: Gateway) -> None:
    """Twenty people whose orders are minutes old: the preview of now and `nextSurvey` agree about each."""
    names = [f"u{number}" for number in range(20)]
    for name in names:
        await shop.send(*ordered(5, name), derive=False)
    await shop.derive()
    half = CSAT + "sampling: 50\n"
    async for other in gateway_of(shop.database, asking(half)):
        found = await preview(other, key="csat")
        asked = {one["user"]["id"] for one in found["users"]}
        told = set()
        for name in names:
            me = "{ me { id nextSurvey { survey { key } } } }"
            one = (await other.ask(me, other.token(userId=name)))["me"]
            if one["nextSurvey"]["survey"] is not None:
                told.add(one["id"])
        assert asked == told
        assert 0 < len(told) < 20


async def test_a_preview_says_when_it_has_not_seen_everybody(shop: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("ada", "lee", "zoe"):
        await shop.send(*ordered(60, user))
    assert (await preview(shop, key="csat"))["complete"] is True
    monkeypatch.setattr("gateway.api.survey_previews.MOST_MOMENTS", 6)
    found = await preview(shop, key="csat")
    assert (found["lookedAt"], found["asked"], found["complete"]) == (2, 2, False)


async def test_a_preview_of_nothing_or_of_a_mistake_is_refused(shop: Gateway) -> None:
    key = await shop.api_key()
    for given, argument, hint in (
        ({}, "key", "Send `key` or `file`, one of them."),
        ({"key": "csta"}, "key", "did you mean 'csat'?"),
    ):
        error = (await shop.refusal(PREVIEW, key, range={"last": "7d"}, **given))["extensions"]
        assert (error["argument"], error["hint"]) == (argument, hint)
    cyclic = CSAT.replace("next: [{gte: 4, go: end}]", "next: [{gte: 4, go: satisfaction}]")
    error = await shop.refusal(PREVIEW, key, range={"last": "7d"}, file=cyclic)
    assert "leads back to itself" in error["message"]
