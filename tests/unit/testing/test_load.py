"""The player against a small HTTP stub that counts like a gateway: what is sent, sent again, and given up."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.errors import Forbidden, GatewayError, InvalidInput, NotFound, TooLarge, Unauthenticated, Unavailable
from gateway.testing.load import Player
from gateway.testing.simulate import Emission, Population
from tests.pace import PATIENCE

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def now() -> datetime:
    return NOW


@dataclass
class Stub:
    """Answers /v1/batch. `script` holds answers for the next requests: (status, headers, whether it is stored)."""

    url: str = ""
    script: list[tuple[int, dict[str, str], bool]] = field(default_factory=list)
    delay: float = 0.0
    held: asyncio.Event | None = None
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0
    reply: bytes | None = None

    async def batch(self, request: Request) -> Response:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.arrived.release()
        await asyncio.sleep(self.delay)
        if self.held:
            await self.held.wait()
        status, headers, stores = self.script.pop(0) if self.script else (200, {}, True)
        ids = [message["messageId"] for message in orjson.loads(body)["batch"]]
        accepted = len(set(ids) - self.stored) if stores else 0
        if stores:
            self.stored.update(ids)
        if status != 200:
            said = orjson.dumps({"code": "CODE", "message": "what the gateway says"})
            return Response(said, status_code=status, headers=headers)
        counts = {
            "success": True,
            "accepted": accepted,
            "duplicate": len(ids) - accepted,
            "quarantined": 0,
            "refused": 0,
        }
        return Response(self.reply or orjson.dumps(counts))

    def batches(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for body in self.bodies]

    def messages(self) -> list[dict[str, Any]]:
        return [message for batch in self.batches() for message in batch["batch"]]


@asynccontextmanager
async def listening(stub: Stub, port: int = 0) -> AsyncIterator[None]:
    listener = socket.create_server(("127.0.0.1", port))
    stub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = Starlette(routes=[Route("/v1/batch", stub.batch, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        listener.close()


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    stub = Stub()
    async with listening(stub):
        yield stub


def some(count: int, **options: float) -> list[Emission]:
    return list(islice(Population(seed=1, now=NOW, weeks=1, **options).backfill(), count))  # type: ignore[arg-type]


def ticking() -> Callable[[], datetime]:
    """A clock that runs with the loop's, from NOW on."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return lambda: NOW + timedelta(seconds=loop.time() - began)


# ---- play


async def test_everything_arrives_once_and_is_counted(stub: Stub) -> None:
    emissions, seen = some(950), list[int]()
    tally = await Player(stub.url, "wk", now=now).play(emissions, progress=seen.append)
    assert (tally.sent, tally.accepted, tally.duplicate, tally.retried) == (950, 950, 0, 0)
    assert tally.seconds > 0
    assert sum(seen) == 950
    by_id = {message["messageId"]: message for message in stub.messages()}
    assert by_id == {emission.message["messageId"]: emission.message for emission in emissions}
    assert len(stub.bodies) == 10


async def test_a_batch_looks_like_that_of_an_sdk(stub: Stub) -> None:
    await Player(stub.url + "/", "wk", now=now, batch_size=7).play(some(7))
    (batch,) = stub.batches()
    assert batch.keys() == {"batch", "sentAt"}
    assert batch["sentAt"] == "2026-03-02T12:00:00.000Z"
    assert stub.headers[0]["authorization"] == "Basic " + base64.b64encode(b"wk:").decode()
    assert stub.headers[0]["content-type"] == "application/json"


async def test_what_comes_twice_is_the_gateways_to_recognise(stub: Stub) -> None:
    emissions = some(600, duplicates=0.3)
    different = len({emission.message["messageId"] for emission in emissions})
    tally = await Player(stub.url, "wk", now=now).play(emissions)
    assert (tally.sent, tally.accepted, tally.duplicate) == (600, different, 600 - different)
    assert different < 600


async def test_a_batch_speaks_for_one_clock_only(stub: Stub) -> None:
    emissions = some(600, skew=0.5)
    offsets = {e.message["messageId"]: e.device_offset for e in emissions}
    tally = await Player(stub.url, "wk", now=now).play(emissions)
    assert tally.accepted == 600
    for batch in stub.batches():
        shown = datetime.fromisoformat(batch["sentAt"])
        assert {offsets[message["messageId"]] for message in batch["batch"]} == {shown - NOW}
    assert len({batch["sentAt"] for batch in stub.batches()}) > 3


async def test_no_more_than_the_given_number_of_requests_run_at_a_time(stub: Stub) -> None:
    stub.delay = 0.01
    await Player(stub.url, "wk", now=now, batch_size=10, concurrency=3).play(some(300))
    assert stub.most_under_way == 3


async def test_emissions_are_read_only_as_fast_as_they_are_sent(stub: Stub) -> None:
    stub.held = asyncio.Event()
    read = 0

    def counted() -> Any:
        nonlocal read
        for emission in some(500):
            read += 1
            yield emission

    playing = asyncio.create_task(Player(stub.url, "wk", now=now, batch_size=10, concurrency=2).play(counted()))
    await stub.arrived.acquire()
    await stub.arrived.acquire()
    assert read == 20
    stub.held.set()
    assert (await playing).sent == read == 500


async def test_a_large_batch_size_still_keeps_the_limit_of_bytes(stub: Stub) -> None:
    await Player(stub.url, "wk", now=now, batch_size=2500).play(some(1000))
    assert len(stub.bodies) >= 2
    assert all(len(body) < 500_000 for body in stub.bodies)


# ---- again


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_gateway_gets_the_same_messages_again_when_it_said(stub: Stub, status: int) -> None:
    stub.script = [(status, {"Retry-After": "1"}, False)]
    seen = list[int]()
    tally = await Player(stub.url, "wk", now=now).play(some(50), progress=seen.append)
    assert (tally.sent, tally.accepted, tally.duplicate, tally.retried) == (50, 50, 0, 1)
    assert tally.seconds >= 1
    assert seen == [50]
    assert stub.bodies[0] == stub.bodies[1]


async def test_an_answer_that_was_lost_is_not_counted_twice(stub: Stub) -> None:
    stub.script = [(500, {}, True)]
    tally = await Player(stub.url, "wk", now=now).play(some(50))
    assert (tally.sent, tally.accepted, tally.duplicate, tally.retried) == (50, 0, 50, 1)


async def test_a_retry_says_when_it_was_sent_itself(stub: Stub) -> None:
    stub.script = [(503, {}, False)]
    await Player(stub.url, "wk", now=ticking()).play(some(5))
    first, second = stub.batches()
    assert first["batch"] == second["batch"]
    assert first["sentAt"] < second["sentAt"]


async def test_a_gateway_that_is_not_up_yet_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    playing = asyncio.create_task(Player(f"http://127.0.0.1:{port}", "wk", now=now).play(some(50)))
    await asyncio.sleep(0.3)
    stub = Stub()
    async with listening(stub, port):
        tally = await playing
    assert tally.accepted == 50
    assert tally.retried >= 1


async def test_after_the_deadline_it_gives_up(stub: Stub) -> None:
    stub.script = [(503, {}, False)] * 100
    with pytest.raises(Unavailable, match="503"):
        await Player(stub.url, "wk", now=now, deadline=0.6).play(some(5))
    assert 1 <= len(stub.bodies) <= 2, "what comes after the deadline is not tried"


async def test_retry_after_zero_is_no_reason_to_hurry(stub: Stub) -> None:
    stub.script = [(503, {"Retry-After": "0"}, False)] * 100
    with pytest.raises(Unavailable):
        await Player(stub.url, "wk", now=now, deadline=0.6).play(some(5))
    assert 1 <= len(stub.bodies) <= 3, "without a wait between them it would be dozens"


async def test_a_wait_beyond_the_deadline_is_not_waited() -> None:
    stub = Stub(script=[(503, {"Retry-After": "3600"}, False)])
    async with listening(stub):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable):
                await Player(stub.url, "wk", now=now).play(some(5))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidInput),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (413, TooLarge),
        (302, InvalidInput),
    ],
)
async def test_a_refusal_is_raised_at_once_with_the_gateways_words(
    stub: Stub, status: int, error: type[GatewayError]
) -> None:
    stub.script = [(status, {}, False)] * 10
    with pytest.raises(error, match="what the gateway says") as raised:
        await Player(stub.url, "secret-key", now=now, concurrency=1).play(some(5))
    assert type(raised.value) is error
    assert "secret-key" not in str(raised.value)
    assert len(stub.bodies) == 1


@pytest.mark.parametrize("reply", [b"<html>", b'{"success":false}', b"[]"])
async def test_a_stranger_that_answers_200_is_no_gateway(stub: Stub, reply: bytes) -> None:
    stub.reply = reply
    with pytest.raises(InvalidInput, match="like a gateway"):
        await Player(stub.url, "wk", now=now).play(some(5))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Player("localhost:8080", "wk", now=now)


# ---- live


@pytest.mark.timed
async def test_live_messages_are_sent_when_due_and_dated_then(stub: Stub) -> None:
    schedule = Population(seed=1, now=NOW - timedelta(days=2), weeks=1).live(rate=40.0)
    clock = ticking()
    tally = await Player(stub.url, "wk", now=clock).play_live(schedule, seconds=1.5)
    assert tally.seconds == pytest.approx(1.5, abs=0.4)
    assert 35 <= tally.accepted <= 85
    assert len(stub.bodies) > 20
    for batch in stub.batches():
        for message in batch["batch"]:
            age = datetime.fromisoformat(batch["sentAt"]) - datetime.fromisoformat(message["timestamp"])
            assert timedelta(seconds=-0.1) < age < timedelta(seconds=1)
            assert message["originalTimestamp"] == message["timestamp"]


async def test_live_keeps_lateness_and_wrong_clocks(stub: Stub) -> None:
    (first, second, *_) = some(2)
    hour, ahead = timedelta(hours=1), timedelta(minutes=15)
    late = Emission(first.at, first.at + hour, first.message)
    skewed = Emission(second.at, second.at, second.message, ahead)
    await Player(stub.url, "wk", now=ticking()).play_live([(0.0, late), (0.01, skewed)])
    times = {
        batch["batch"][0]["messageId"]: (
            datetime.fromisoformat(batch["sentAt"]) - NOW,
            datetime.fromisoformat(batch["batch"][0]["timestamp"]) - NOW,
        )
        for batch in stub.batches()
    }
    about = timedelta(minutes=1)  # beside a quarter of an hour
    sent, dated = times[late.message["messageId"]]
    assert abs(sent) < about
    assert abs(dated + hour) < about
    sent, dated = times[skewed.message["messageId"]]
    assert abs(sent - ahead) < about
    assert abs(dated - ahead) < about


async def test_a_duplicate_is_the_same_message_in_live_as_well(stub: Stub) -> None:
    (one,) = some(1)
    again = Emission(one.at, one.at + timedelta(seconds=0.3), one.message)
    tally = await Player(stub.url, "wk", now=ticking()).play_live([(0.0, one), (0.3, again)])
    assert (tally.accepted, tally.duplicate) == (1, 1)
    first, second = stub.messages()
    assert first == second


async def test_live_goes_on_from_now_when_the_clock_has_moved_on(stub: Stub) -> None:
    slept = [timedelta(0)]
    clock = ticking()
    emissions = some(2)

    def schedule() -> Any:
        yield 0.0, emissions[0]
        slept[0] = timedelta(hours=8)
        yield 0.1, emissions[1]

    await Player(stub.url, "wk", now=lambda: clock() + slept[0]).play_live(schedule())
    last = datetime.fromisoformat(stub.messages()[-1]["timestamp"])
    assert abs(last - NOW - timedelta(hours=8)) < timedelta(minutes=1)


# ---- drive


async def test_drive_sends_at_a_constant_rate_and_times_every_message(stub: Stub) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    deliveries = await Player(stub.url, "wk", now=now).drive(some(500), rate=200, seconds=1.0)
    assert len(deliveries) == len(stub.stored) == 200
    assert {delivery.message_id for delivery in deliveries} == stub.stored
    sent = sorted(delivery.sent for delivery in deliveries)
    assert sent[-1] - sent[0] == pytest.approx(0.995, abs=0.001)
    assert all(began <= delivery.sent < delivery.acked <= loop.time() for delivery in deliveries)
    assert all(message["timestamp"] == "2026-03-02T12:00:00.000Z" for message in stub.messages())


async def test_a_stall_of_the_gateway_shows_in_the_times(stub: Stub) -> None:
    stub.delay = 0.4
    deliveries = await Player(stub.url, "wk", now=now, batch_size=1, concurrency=1).drive(
        some(10), rate=100, seconds=0.05
    )
    waited = sorted(acked - sent for _, sent, acked in deliveries)
    assert len(waited) == 5
    assert waited[-1] > 1.5


async def test_too_few_messages_for_a_drive_are_refused(stub: Stub) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        await Player(stub.url, "wk", now=now).drive(some(10), rate=100, seconds=1)
    assert stub.bodies == []


async def test_a_drive_that_is_refused_says_why(stub: Stub) -> None:
    stub.script = [(401, {}, False)] * 100
    with pytest.raises(Unauthenticated):
        await Player(stub.url, "wk", now=now).drive(some(100), rate=100, seconds=1)
