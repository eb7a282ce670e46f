"""Sending pieces to one destination: cut into batches, split and bisected where they are refused whole.

Pieces of one queue never overtake each other: once one of them is to be tried again, those behind it are left alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from gateway.connectors.instances import Instance
from gateway.connectors.limits import Patience, TokenBucket
from gateway.connectors.outcomes import Dead, Done, Failed, Outcome, Untouched, Weather
from gateway.connectors.pieces import Id, Piece
from gateway.connectors.redaction import masked, reason_of
from gateway.connectors.threads import Blocked, Late
from gateway.plugin import (
    AlertChannel,
    AuthFailed,
    Delivered,
    Destination,
    Duplicate,
    HttpFailed,
    Item,
    ItemResult,
    PluginError,
    Rejected,
    Retry,
    Skip,
    Throttled,
    TooLarge,
)

_RESULTS = (Delivered, Duplicate, Retry, Throttled, Rejected, AuthFailed, TooLarge)

#: Kinds that are given to a method of their own, one at a time.
_ALONE = ("alert", "erase")

Outcomes = dict[Id, Outcome]


class Sender:
    """Maps and sends for one instance; what a stranger's code does is an outcome, never an exception."""

    def __init__(self, instance: Instance, bucket: TokenBucket, patience: Patience) -> None:
        self._instance = instance
        self._bucket = bucket
        self._patience = patience
        self._secrets = instance.secrets()

    async def open(self, weather: Weather) -> None:
        """Open the instance before its first use."""
        try:
            await self._instance.open()
        except PluginError as error:
            weather.bad("open", reason_of(error.failure.message, secrets=self._secrets), stop=True)
        except (Late, Blocked):
            weather.bad("open", "open does not return in time", stop=True)
        except Exception as error:
            weather.bad("open", f"open raised {type(error).__name__}", stop=True)

    # -- mapping ------------------------------------------------------------------------------------------------

    async def map(self, pieces: Sequence[Piece], outcomes: Outcomes, weather: Weather) -> None:
        """Give each piece its payload, or an outcome where there is none."""
        destination = self._instance.connector
        waiting = [one for one in pieces if one.id not in outcomes and one.message is not None]
        if not isinstance(destination, Destination) or not waiting:
            return
        try:
            mapped = await self._instance.thread.run(
                lambda: [_mapped(destination, one) for one in waiting], self._patience.map_seconds
            )
        except (Late, Blocked):
            weather.bad("map_blocked", "map does not return in time", stop=True)
            outcomes.update({one.id: Untouched() for one in waiting})
            return
        largest = destination.capabilities.max_item_bytes
        for one, (payload, size, said) in zip(waiting, mapped, strict=True):
            if payload is None:
                outcomes[one.id] = Done("skipped") if said is None else Dead("mapping", f"map raised {said}")
            elif size > (largest or destination.capabilities.max_bytes):
                outcomes[one.id] = Dead("too_large", f"the payload has {size:,} bytes")
            else:
                one.payload, one.size = payload, size

    # -- sending ------------------------------------------------------------------------------------------------

    async def send(self, pieces: Sequence[Piece], outcomes: Outcomes, weather: Weather, *, limit: int) -> None:
        """Send what has no outcome yet, in order within each queue, at most `limit` at a time."""
        waiting = [one for one in pieces if one.id not in outcomes]
        streams: list[list[Piece]] = [[] for _ in range(max(1, self._instance.capabilities.concurrency))]
        for one in waiting:
            streams[hash(one.queue) % len(streams)].append(one)
        await asyncio.gather(*(self._stream(one, outcomes, weather, limit) for one in streams if one))
        for one in waiting:
            outcomes.setdefault(one.id, Untouched())

    async def _stream(self, waiting: list[Piece], outcomes: Outcomes, weather: Weather, limit: int) -> None:
        held: set[str] = set()
        while waiting and not weather.stop:
            batch, waiting = self._cut(waiting, limit)
            if (seconds := self._bucket.wait_for(len(batch))) > 0:
                await asyncio.sleep(seconds)
            await self._deliver(batch, outcomes, weather, held)
            waiting = [one for one in waiting if one.queue not in held]

    def _cut(self, waiting: list[Piece], limit: int) -> tuple[list[Piece], list[Piece]]:
        """The next batch and the rest. Where items may end differently, one batch has one of each queue."""
        capabilities = self._instance.capabilities
        alone = capabilities.partial and capabilities.ordering == "user"
        most = max(1, min(limit, capabilities.max_items))
        batch: list[Piece] = []
        rest: list[Piece] = []
        size, queues = 2, set[str]()
        for index, one in enumerate(waiting):
            if one.item.kind in _ALONE:
                return (batch, rest + waiting[index:]) if batch else ([one], waiting[index + 1 :])
            if len(batch) >= most or (batch and size + one.size + 1 > capabilities.max_bytes):
                return batch, rest + waiting[index:]
            if alone and one.queue in queues:
                rest.append(one)
                continue
            queues.add(one.queue)
            batch.append(one)
            size += one.size + 1
        return batch, rest

    async def _deliver(self, batch: list[Piece], outcomes: Outcomes, weather: Weather, held: set[str]) -> None:
        """Send a batch, in parts if need be."""
        batch = [one for one in batch if one.queue not in held]
        if not batch or weather.stop:
            return
        results = await self._attempt(batch, weather)
        if results is None:  # it went down as a whole
            self._hold(batch, held)
            return
        if isinstance(results, _Raised):
            if len(batch) == 1:
                outcomes[batch[0].id] = Failed("bug", f"{results.operation} raised {results.kind}", bug=True)
                weather.bad("bug", f"{results.operation} raised {results.kind}", stop=False, counts=_is_new(batch))
                self._hold(batch, held)
            else:
                await self._halves(batch, outcomes, weather, held)
            return
        partial = self._instance.capabilities.partial
        if len(batch) > 1 and not partial and all(isinstance(one, Rejected | TooLarge) for one in results):
            await self._halves(batch, outcomes, weather, held)
            return
        await self._sort(batch, results, outcomes, weather, held)

    async def _sort(
        self,
        batch: list[Piece],
        results: Sequence[ItemResult],
        outcomes: Outcomes,
        weather: Weather,
        held: set[str],
    ) -> None:
        whole = len(batch) > 1 and all(isinstance(one, Retry) for one in results)
        split: list[Piece] = []
        for one, result in zip(batch, results, strict=True):
            if isinstance(result, Delivered | Duplicate):
                outcomes[one.id] = Done("delivered" if isinstance(result, Delivered) else "duplicate")
            elif isinstance(result, TooLarge) and len(batch) > 1:
                split.append(one)
            elif isinstance(result, Rejected | TooLarge):
                code = result.code if isinstance(result, Rejected) else "too_large"
                outcomes[one.id] = Dead(masked(code, self._secrets)[:40], self._said(result.reason, one))
            elif whole:
                held.add(one.queue)
            else:
                held.add(one.queue)
                self._not_now(one, result, outcomes, weather)
        if any(not isinstance(one, Retry | Throttled | AuthFailed) for one in results):
            weather.good()  # it reads what it is sent
        elif all(isinstance(one, Retry) for one in results):
            first = cast(Retry, results[0])
            code = "refused" if isinstance(first, _Refused) else "retry"
            weather.bad(code, self._said(first.reason, batch[0]), _longest(results), stop=whole, counts=_is_new(batch))
        if split:
            await self._halves(split, outcomes, weather, held)

    def _not_now(self, one: Piece, result: ItemResult, outcomes: Outcomes, weather: Weather) -> None:
        if isinstance(result, AuthFailed):
            weather.halt("auth", "auth", self._said(result.reason, one))
        elif isinstance(result, Throttled) and result.scope == "destination":
            weather.halt("throttled", "throttled", self._said(result.reason, one), result.after)
        elif isinstance(result, Throttled):
            said = self._said(result.reason, one)
            outcomes[one.id] = Failed("throttled", said, result.after, burnt=False)
        elif isinstance(result, Retry):
            outcomes[one.id] = Failed("retry", self._said(result.reason, one), result.after)

    async def _halves(self, batch: list[Piece], outcomes: Outcomes, weather: Weather, held: set[str]) -> None:
        middle = max(1, len(batch) // 2)
        await self._deliver(batch[:middle], outcomes, weather, held)
        await self._deliver(batch[middle:], outcomes, weather, held)

    async def _attempt(self, batch: list[Piece], weather: Weather) -> Sequence[ItemResult] | _Raised | None:
        """One call of the connector. None: nobody knows what became of it, or nothing was sent."""
        work, operation = self._work(batch)
        try:
            results: Any = await self._instance.thread.call(work, self._patience.send_seconds)
        except HttpFailed as failed:
            if len(batch) == 1:
                return [_Refused(failed.reason) if failed.final else Retry(failed.reason)]
            weather.bad(
                "refused" if failed.final else "http", reason_of(failed.reason, secrets=self._secrets), stop=True
            )
        except Late:
            if len(batch) == 1:
                return [Retry(f"{operation} took longer than {self._patience.send_seconds:g} s")]
            weather.bad("deadline", f"{operation} took longer than {self._patience.send_seconds:g} s", stop=True)
        except Blocked:
            weather.bad("blocked", "the connector blocks its thread", stop=True)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return _Raised(operation, "CancelledError")
        except Exception as error:
            return _Raised(operation, type(error).__name__)
        else:
            if not isinstance(results, list | tuple) or len(results) != len(batch):
                return _Raised(operation, "no list of one result per item")
            if not all(isinstance(one, _RESULTS) for one in results):
                return _Raised(operation, "what is no result")
            return results
        return None

    def _work(self, batch: list[Piece]) -> tuple[Callable[[], Any], str]:
        connector = self._instance.connector
        if batch[0].item.kind == "alert":
            alert = batch[0].alert
            channel = cast("AlertChannel[Any]", connector)
            assert alert is not None
            return lambda: _one(channel.notify(alert)), "notify"
        if batch[0].item.kind == "erase":
            users = list(batch[0].item.about["users"])
            return lambda: _erased(cast("Destination[Any]", connector).erase(users)), "erase"
        items = [
            Item(one.message, one.payload, one.item.attempts + 1)
            for one in batch
            if one.message is not None and one.payload is not None
        ]
        return lambda: cast("Destination[Any]", connector).send(items), "send"

    def _said(self, reason: str, piece: Piece) -> str:
        return reason_of(str(reason), piece.payload, self._secrets)

    @staticmethod
    def _hold(batch: Sequence[Piece], held: set[str]) -> None:
        held.update(one.queue for one in batch)


def _is_new(batch: Sequence[Piece]) -> bool:
    return any(not one.item.attempts for one in batch)


class _Raised:
    """A connector raised, or answered what is no answer."""

    def __init__(self, operation: str, kind: str) -> None:
        self.operation = operation
        self.kind = kind


class _Refused(Retry):
    """The gateway itself has refused the request: by another try alone it does not get better."""


async def _one(result: Awaitable[ItemResult]) -> list[ItemResult]:
    return [await result]


async def _erased(erasing: Awaitable[None]) -> list[ItemResult]:
    await erasing
    return [Delivered()]


def _mapped(destination: Destination[Any], piece: Piece) -> tuple[dict[str, Any] | None, int, str | None]:
    """The payload and its size as compact JSON; no payload: it is skipped, or what was raised."""
    assert piece.message is not None
    try:
        payload: Any = destination.map(piece.message)
        if isinstance(payload, Skip):
            return None, 0, None
        if not isinstance(payload, dict):
            return None, 0, "no payload"
        return payload, len(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()), None
    except Exception as error:
        return None, 0, type(error).__name__


def _longest(results: Sequence[ItemResult]) -> float | None:
    asked = [one.after for one in results if isinstance(one, Retry) and one.after is not None]
    return max(asked, default=None)
