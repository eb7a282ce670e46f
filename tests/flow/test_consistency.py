"""`atLeast`: who was told that an event is stored sees it in the next query, or is told that it is not yet there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.model.consistency import ConsistencyToken
from tests.flow.served import Served, serve

QUERY = """query ($t: String!) {
  user(by: {userId: "ada"}, atLeast: $t) { eventCount journey(map: "purchase") { run } }
}"""


async def ask(served: Served, token: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await served.graphql(QUERY, t=token)).json()
    return answer


async def test_a_page_sees_its_own_event(mongo_uri: str) -> None:
    async with serve(mongo_uri) as served:
        for number in range(1, 31):
            sent = await served.track(f"message {number}")
            answer = await ask(served, sent.json()["consistencyToken"])
            assert "extensions" not in answer, answer
            assert answer["data"]["user"]["eventCount"] == number


async def test_what_is_not_derived_in_time_is_said(mongo_uri: str) -> None:
    async with serve(mongo_uri) as served:
        served.gateway.deriver.stop()
        await asyncio.sleep(1)
        sent = await served.track("message")
        began = time.monotonic()
        answer = await ask(served, sent.json()["consistencyToken"])
        assert time.monotonic() - began > 1
        assert answer["data"]["user"] is None
        assert answer["extensions"] == {"consistency": {"reached": False}}


@pytest.mark.parametrize("token", ["", "x", "AAAA", ConsistencyToken(1, 1, frozenset({1})).encode()[:-1] + "!"])
async def test_what_is_no_token_is_refused(mongo_uri: str, token: str) -> None:
    async with serve(mongo_uri) as served:
        answer = await ask(served, token)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_INPUT"]
