"""Over a real socket: one budget for all doors, a deadline for bodies, and a disk that is nearly full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.flow.served import Served, serve
from tests.pace import PATIENCE

BUDGET = 1_000_000


@pytest.fixture
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri, max_body_bytes=800_000, intake_budget_bytes=BUDGET, body_seconds=1.5) as running:
        yield running


def head(served: Served, path: str, length: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", length]
    lines.append(f"authorization: {served.write['authorization']}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def hold(served: Served, size: int) -> asyncio.StreamWriter:
    """A connection that has sent so many bytes of a longer body."""
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head(served, "/v1/batch", "content-length: 790000") + b"x" * size)
    await writer.drain()
    return writer


async def ask(served: Served, request: bytes) -> bytes:
    """All that is answered until the server closes, or goes on to listen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            said = await reader.readuntil(b"\r\n\r\n")
            length = int(said.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return said + await reader.readexactly(length)
    finally:
        writer.close()


async def test_over_the_budget_requests_are_told_to_come_again_before_they_are_read(served: Served) -> None:
    budget = served.gateway.intake.budget
    budget.take(BUDGET - 300_000)  # as if others were being stored
    said = await ask(served, head(served, "/v1/batch", "content-length: 400000"))
    assert said.startswith(b"HTTP/1.1 503 "), "not a byte of the body was sent"
    assert b"\r\nretry-after: " in said.lower()
    chunk = b"%x\r\n" % 400_000 + b"x" * 400_000 + b"\r\n"
    said = await ask(served, head(served, "/track", "transfer-encoding: chunked") + chunk)
    assert said.startswith(b"HTTP/1.1 503 "), "of chunks as soon as it goes over, at every door"
    assert (await served.track("1")).status_code == 200, "what still fits is taken"
    budget.give(BUDGET - 300_000)
    assert budget.held == 0


async def test_bodies_on_their_way_are_held_and_given_back(served: Served) -> None:
    budget = served.gateway.intake.budget
    writers = [await hold(served, 400_000) for _ in range(2)]
    async with asyncio.timeout(PATIENCE):
        while budget.held < 700_000:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        said = await ask(served, head(served, "/v1/batch", "content-length: 400000"))
        assert said.startswith(b"HTTP/1.1 503 ")
        for writer in writers:
            writer.transport.abort()
        while budget.held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await served.track("1")).status_code == 200


async def test_a_body_that_does_not_come_is_answered_so_that_sdks_try_again_and_the_connection_ends(
    served: Served,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head(served, "/v1/batch", "content-length: 100") + b'{"batch"')
    async with asyncio.timeout(PATIENCE):
        said = await reader.read()  # to the end
    writer.close()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"TIMEOUT"' in said
    assert b"did not arrive within 1.5 seconds" in said
    assert b"\r\nretry-after: " in said.lower()
    assert served.gateway.intake.budget.held == 0


async def test_a_nearly_full_disk_stops_events_and_not_reads(served: Served) -> None:
    disk = served.gateway.disk
    assert (await served.track("1")).status_code == 200
    assert disk.free_percent is not None
    assert 0 < disk.free_percent < 100

    disk._limit = 100.0
    await disk.look()

    refused = await served.track("2")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 10
    assert "disk is nearly full" in refused.json()["message"]
    sent = (await served.graphql('mutation { track(input: {event: "A", userId: "ada"}) { verdict } }')).json()
    assert sent["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert (await served.graphql("{ events { nodes { name } } }")).json()["data"]["events"]["nodes"]
    status, ready = await served.ready()
    assert (status, ready["ready"]) == (200, True), "other processes have the same disk"
    assert ready["checks"]["disk"]["ok"] is False
    assert ("journey_gateway_mongodb_disk_free_percent", frozenset()) in await served.samples()

    disk._limit = 0.5
    await disk.look()
    assert (await served.track("2")).status_code == 200
    assert (await served.ready())[1]["checks"]["disk"] == {"ok": True}
