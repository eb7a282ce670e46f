"""Plays messages into a running gateway over HTTP, as a server-side SDK does: batches, retries, the same ids again.

`Player.play` sends a history as fast as it is taken, `play_live` at its own pace, `drive` at a fixed rate and timed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import httpx2
import orjson

from gateway.errors import Forbidden, GatewayError, InvalidInput, NotFound, TooLarge, Unauthenticated, Unavailable
from gateway.testing.simulate import Emission, stamped, wire_time

Progress = Callable[[int], None]

BATCH_BYTES = 450_000  # SDKs stay below the usual limit of 500 KB per batch
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
# A live stream this far behind its plan (a stopped gateway, a sleeping laptop) goes on from now and does not catch up.
PATIENCE = 5.0


@dataclass(slots=True)
class Tally:
    """What became of the messages, in the gateway's words; each is counted once, however often it had to be sent."""

    sent: int = 0  # messages in acknowledged batches
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: int = 0
    retried: int = 0  # requests that were repeated
    seconds: float = 0.0


class Delivery(NamedTuple):
    """One message of `Player.drive`. Times are of the monotonic clock, in seconds.

    `sent` is when it was due, whether or not the sender was free by then: a stalled gateway must not hide its stall by
    slowing its own load (coordinated omission). `acked` is when the answer had been read.
    """

    message_id: str
    sent: float
    acked: float


@dataclass(slots=True)
class _Batch:
    """Messages of devices whose clocks are equally wrong: one `sentAt` speaks for all of them."""

    device_offset: timedelta
    message_ids: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, message: dict[str, Any]) -> None:
        line = orjson.dumps(message)
        self.message_ids.append(message["messageId"])
        self.lines.append(line)
        self.size += len(line) + 1

    def body(self, now: datetime) -> bytes:
        """The same messages byte for byte at every attempt; only `sentAt` is that of the attempt, as in SDKs, or an
        hour of retries would look like a clock that is an hour wrong."""
        sent_at = wire_time(now + self.device_offset).encode()
        return b'{"batch":[' + b",".join(self.lines) + b'],"sentAt":"' + sent_at + b'"}'


class Player:
    """Sends to one source of one gateway; `now` gives the true time (aware, UTC) for `sentAt`.

    Answers 429 and 5xx and broken connections are tried again with growing pauses, or after `Retry-After`, until
    `deadline` seconds have passed for that batch: then errors.Unavailable. Any other answer but 200 raises at once the
    error that says what to change (Unauthenticated, Forbidden, NotFound, TooLarge, InvalidInput).
    """

    def __init__(
        self,
        url: str,
        write_key: str,
        *,
        now: Callable[[], datetime],
        batch_size: int = 100,
        concurrency: int = 8,
        deadline: float = 300.0,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{url!r} is no address of a gateway.", hint="Give one like http://127.0.0.1:8080.")
        self._url = url.rstrip("/") + "/v1/batch"
        self._write_key = write_key
        self._now = now
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._deadline = deadline

    async def play(self, emissions: Iterable[Emission], *, progress: Progress | None = None) -> Tally:
        """Sends everything as fast as the gateway takes it, `concurrency` batches at a time, reading lazily.

        `progress` is called with the number of messages of each acknowledged batch.
        """
        tally, began = Tally(), _monotonic()
        batches = self._batches(emissions)

        async def worker(client: httpx2.AsyncClient) -> None:
            for batch in batches:
                await self._send(client, batch, tally, progress)

        async with self._client() as client:
            await _together(worker(client) for _ in range(self._concurrency))
        tally.seconds = _monotonic() - began
        return tally

    async def play_live(
        self,
        schedule: Iterable[tuple[float, Emission]],
        *,
        seconds: float = math.inf,
        progress: Progress | None = None,
    ) -> Tally:
        """Sends each message when its offset (seconds from the start) has come, dated accordingly, for `seconds`."""
        tally, began = Tally(), _monotonic()
        free = asyncio.Semaphore(self._concurrency)
        start = self._now()

        async def send(client: httpx2.AsyncClient, batch: _Batch) -> None:
            try:
                await self._send(client, batch, tally, progress)
            finally:
                free.release()

        async def run(client: httpx2.AsyncClient) -> None:
            nonlocal start
            async with asyncio.TaskGroup() as sending:
                async for slot in self._slots(_until(schedule, seconds), patience=PATIENCE):
                    planned = start + timedelta(seconds=slot[-1][0])
                    if abs((lead := self._now() - planned).total_seconds()) > PATIENCE:
                        start += lead
                    dated = (_dated(emission, start + timedelta(seconds=offset)) for offset, emission in slot)
                    for batch in self._batches(dated):
                        await free.acquire()
                        sending.create_task(send(client, batch))

        async with self._client() as client:
            await _together([run(client)])
        tally.seconds = _monotonic() - began
        return tally

    async def drive(
        self, emissions: Iterable[Emission], *, rate: float, seconds: float, together: int = 1
    ) -> list[Delivery]:
        """For benchmarks: `rate` messages a second for `seconds`, whether or not the gateway keeps up (open loop).

        The messages are made before the first is sent, and dated when they are. At most `concurrency` connections are
        open; `together` messages fall due at a time, and what is due together shares a request.
        """
        prepared = list(islice(emissions, round(rate * seconds)))
        if len(prepared) < round(rate * seconds):
            raise InvalidInput(
                f"{len(prepared)} messages are too few for {rate:g} a second over {seconds:g} s.",
                hint="Drive from an endless stream or a larger population.",
            )
        deliveries: list[Delivery] = []
        schedule = ((number // together * together / rate, emission) for number, emission in enumerate(prepared))
        began = _monotonic()

        async def send(client: httpx2.AsyncClient, batch: _Batch, due: dict[str, float]) -> None:
            await self._send(client, batch, Tally(), None)
            acked = _monotonic()
            deliveries.extend(Delivery(key, began + due[key], acked) for key in batch.message_ids)

        async def run(client: httpx2.AsyncClient) -> None:
            async with asyncio.TaskGroup() as sending:
                async for slot in self._slots(schedule):
                    now = self._now()
                    due = {emission.message["messageId"]: offset for offset, emission in slot}
                    for batch in self._batches(_dated(emission, now) for _, emission in slot):
                        sending.create_task(send(client, batch, due))

        async with self._client() as client:
            await _together([run(client)])
        return deliveries

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            auth=httpx2.BasicAuth(self._write_key, ""),
            headers={"Content-Type": "application/json"},
            limits=httpx2.Limits(max_connections=self._concurrency),
            # Waiting for a free connection is not a failure of the gateway.
            timeout=httpx2.Timeout(30.0, pool=None),
            trust_env=False,
        )

    def _batches(self, emissions: Iterable[Emission]) -> Iterator[_Batch]:
        filling: dict[timedelta, _Batch] = {}
        for emission in emissions:
            offset = emission.device_offset
            batch = filling.setdefault(offset, _Batch(offset))
            batch.add(emission.message)
            if len(batch.lines) >= self._batch_size or batch.size >= BATCH_BYTES:
                yield filling.pop(offset)
        yield from filling.values()

    async def _slots(
        self, schedule: Iterable[tuple[float, Emission]], *, patience: float = math.inf
    ) -> AsyncIterator[list[tuple[float, Emission]]]:
        """What is due, when it is due; what is more than `patience` seconds late moves the rest back instead."""
        began = _monotonic()
        slot: list[tuple[float, Emission]] = []
        for offset, emission in schedule:
            if slot and (began + offset > _monotonic() or len(slot) >= self._batch_size):
                yield slot
                slot = []
            wait = began + offset - _monotonic()
            if wait < -patience:
                began -= wait
            await asyncio.sleep(max(0.0, wait))
            slot.append((offset, emission))
        if slot:
            yield slot

    async def _send(self, client: httpx2.AsyncClient, batch: _Batch, tally: Tally, progress: Progress | None) -> None:
        give_up, pause = _monotonic() + self._deadline, FIRST_PAUSE
        while True:
            wait, why = pause, ""
            try:
                answer = await client.post(self._url, content=batch.body(self._now()))
            except httpx2.TransportError as error:
                why = type(error).__name__
            else:
                if answer.status_code == 200:
                    break
                if answer.status_code != 429 and answer.status_code < 500:
                    raise _refusal(answer)
                why = str(answer.status_code)
                after = answer.headers.get("Retry-After", "")
                wait = max(FIRST_PAUSE, float(after)) if after.isdigit() else pause
            if _monotonic() + wait > give_up:
                raise Unavailable(
                    f"{self._url} did not take a batch within {self._deadline:g} s (last: {why}).",
                    hint="Is the gateway running there, and is its MongoDB?",
                )
            tally.retried += 1
            await asyncio.sleep(wait)
            pause = min(LONGEST_PAUSE, pause * 2)
        _count(tally, batch, _counts(answer))
        if progress:
            progress(len(batch.lines))


def _count(tally: Tally, batch: _Batch, counts: dict[str, Any]) -> None:
    tally.sent += len(batch.lines)
    tally.accepted += counts.get("accepted", 0)
    tally.duplicate += counts.get("duplicate", 0)
    tally.quarantined += counts.get("quarantined", 0)
    tally.refused += counts.get("refused", 0)


def _counts(answer: httpx2.Response) -> dict[str, Any]:
    try:
        counts = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        counts = None
    if not isinstance(counts, dict) or counts.get("success") is not True:
        raise InvalidInput(f"{answer.url} does not answer like a gateway.", hint="Check the address.")
    return counts


def _refusal(answer: httpx2.Response) -> GatewayError:
    branch = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 413: TooLarge}.get(answer.status_code, InvalidInput)
    try:
        said = orjson.loads(answer.content)["message"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        said = answer.reason_phrase
    return branch(f"{answer.url} answered {answer.status_code}: {said}")


def _dated(emission: Emission, due: datetime) -> Emission:
    """The emission as if it became due at `due`; what was under way for a while still happened that much earlier."""
    at = due - (emission.due - emission.at)
    message = stamped(emission.message, at + emission.device_offset)
    return Emission(at, due, message, emission.device_offset)


def _until(schedule: Iterable[tuple[float, Emission]], seconds: float) -> Iterator[tuple[float, Emission]]:
    for offset, emission in schedule:
        if offset >= seconds:
            return
        yield offset, emission


async def _together(work: Iterable[Coroutine[None, None, None]]) -> None:
    """Runs all; the first error stops the rest and is raised as itself, not as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as failures:
        cause: BaseException = failures
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        raise cause from None


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
