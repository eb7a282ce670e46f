"""Surveys: how many judgements a second, and how long `nextSurvey` takes over a database with people in it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from gateway.feedback import Moment, Standing, choose
from gateway.model.journey import UserState
from gateway.store.database import connect
from tests.api.gateway_api import NOW, Gateway
from tests.api.survey_files import CES, CSAT, NPS, asking
from tests.api.test_surveys import gateway_of, ordered
from tests.databases import lend
from tests.scale.measuring import quantiles, say
from tests.unit.feedback.test_choosing import event

SECONDS = 2.0
PEOPLE, ASKED = 200, 400
NEXT = "{ me { nextSurvey { survey { key } because } } }"


@pytest.fixture
async def shop(mongo_uri: str) -> AsyncIterator[Gateway]:
    """A gateway that asks three surveys of two hundred people who have just bought."""
    async with lend(mongo_uri) as name:
        database = connect(mongo_uri, name)
        async for gateway in gateway_of(database, asking(CSAT, NPS, CES)):
            for number in range(PEOPLE):
                await gateway.send(*ordered(5, f"u{number}"), derive=False)
            await gateway.derive()
            yield gateway
        await database.close()


def test_judgements_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    surveys = asking(CSAT, NPS, CES).surveys
    recent = [event("Support Solved", NOW - 60_000)]
    standing = Standing("ada", UserState("ada", 0, (0, 0, b"")), recent=recent)
    done, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SECONDS:
        choose(surveys, standing, Moment(NOW, "help"))
        done += len(surveys)
    assert done
    say(capsys, "Surveys judged", [("eligibility evaluations a second, in one process", f"{done / took:,.0f}")])


async def test_how_long_the_next_survey_takes(shop: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    took = []
    for number in range(ASKED):
        token = shop.token(userId=f"u{number % PEOPLE}")
        began = time.perf_counter()
        found = await shop.ask(NEXT, token)
        took.append(time.perf_counter() - began)
        assert found["me"]["nextSurvey"]["survey"] == {"key": "csat"}
    say(capsys, "nextSurvey over GraphQL, one at a time", [("p50 / p99, ms", quantiles(took))])
