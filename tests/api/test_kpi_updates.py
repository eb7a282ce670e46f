"""`kpiUpdated`: the same numbers as a query gives, at most four times a second, and resumable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.api import kpi_changes
from tests.api.gateway_api import Gateway, Socket, track
from tests.pace import PATIENCE

VALUE = 'result(range: {last: "28d"}) { value n low high }'
WATCH = f"""subscription($keys: [ID!]!, $after: Cursor) {{ kpiUpdated(keys: $keys, after: $after) {{
  cursor gap {{ reason }} kpis {{ key {VALUE} }} }} }}"""
ASK = f"query($key: ID!) {{ kpi(key: $key) {{ {VALUE} }} }}"


def answer(score: int) -> dict[str, Any]:
    return track("Survey Response Submitted", 5, userId="bob", properties={"survey": "csat", "score": score})


@asynccontextmanager
async def watching(gateway: Gateway, key: str, **variables: Any) -> AsyncIterator[Socket]:
    async with gateway.socket(key) as socket:
        await socket.subscribe(WATCH, **variables)
        yield socket


async def told(socket: Socket) -> dict[str, Any]:
    found: dict[str, Any] = (await socket.news())["kpiUpdated"]
    return found


async def until(socket: Socket, n: int) -> dict[str, Any]:
    """The message in which csat has so many answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = await told(socket)
            if any(kpi["key"] == "csat" and kpi["result"]["n"] == n for kpi in message["kpis"] or ()):
                return message


async def test_a_stream_says_what_a_query_says(gateway: Gateway) -> None:
    key = await gateway.api_key("kpis:read")
    async with watching(gateway, key, keys=["csat", "purchase_conversion"]) as socket:
        first = await told(socket)
        assert [one["key"] for one in first["kpis"]] == ["csat", "purchase_conversion"]
        for number, score in enumerate((5, 1, 4, 3), 1):
            await gateway.send(answer(score))
            message = await until(socket, number)
            assert [one["key"] for one in message["kpis"]] == ["csat"], "nothing else was touched"
            asked = await gateway.ask(ASK, key, key="csat")
            assert message["kpis"][0]["result"] == asked["kpi"]["result"]
        cursor = message["cursor"]
    await gateway.send(answer(5))
    async with watching(gateway, key, keys=["csat"], after=cursor) as socket:
        message = await until(socket, 5)
        assert message["gap"] is None


async def test_what_comes_together_is_told_together(gateway: Gateway) -> None:
    key = await gateway.api_key("kpis:read")
    async with watching(gateway, key, keys=["csat"]) as socket:
        await told(socket)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(12):
            await gateway.send(answer(5))
        messages = 0
        while True:
            message = await told(socket)
            messages += 1
            if message["kpis"] and message["kpis"][0]["result"]["n"] == 12:
                break
        assert messages <= 2 + (loop.time() - began) / kpi_changes.PAUSE_SECONDS


async def test_a_minute_is_news_as_well(gateway: Gateway, monkeypatch: Any) -> None:
    monkeypatch.setattr(kpi_changes, "AGAIN_SECONDS", 0.3)
    key = await gateway.api_key("kpis:read")
    async with watching(gateway, key, keys=["csat"]) as socket:
        for _ in range(2):
            assert [one["key"] for one in (await told(socket))["kpis"]] == ["csat"]


async def test_unknown_keys_are_refused(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key("kpis:read")
    for keys, hint in ((["csta"], "Did you mean 'csat'?"), ([], ""), (["csat"] * 31, "")):
        async with watching(idle_gateway, key, keys=keys) as socket:
            message = await socket.receive()
            (error,) = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
            assert error["extensions"]["code"] == "INVALID_INPUT"
            assert hint in error["extensions"].get("hint", "")


async def test_whoever_may_not_read_kpis_may_not_watch_them(idle_gateway: Gateway) -> None:
    async with watching(idle_gateway, await idle_gateway.api_key("events:read"), keys=["csat"]) as socket:
        errors = (await socket.receive())["payload"]
        assert {error["extensions"]["code"] for error in errors} == {"FORBIDDEN"}
