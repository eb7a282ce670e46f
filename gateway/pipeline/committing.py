"""Group commit: what several requests want stored shares one insert, and each hears of its own events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from gateway.errors import GatewayError, InvalidInput, StoreError, Unavailable
from gateway.model.event import Verdict
from gateway.store.database import Document, InsertOutcome, Timestamp
from gateway.store.events import Events

MAX_GROUP = 5_000
_PARALLEL = 2
#: MongoDB's codes for what is wrong with one document: bad value (16 MB), overflow, invalid BSON, too large, long keys.
#: Not 121: a validator on the collection is the operator's, and may refuse everything.
_ONE_DOCUMENT = frozenset({2, 15, 22, 10334, 17280})
#: Those with which it refuses a whole command for the sake of one document in it.
_WHOLE_COMMAND = frozenset({15, 22, 10334})


@dataclass(frozen=True, slots=True)
class Commit:
    """A verdict for each document, all of them durable: accepted, duplicate, conflict, or quarantined for those that
    MongoDB refuses for good. `time` is at or after the cluster time of each that is stored."""

    verdicts: Sequence[Verdict] = ()
    time: Timestamp | None = None


@dataclass(slots=True)
class _Part:
    """What one request wants stored."""

    documents: list[Document]
    commit: asyncio.Future[Commit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: Exception) -> None:
        with suppress(asyncio.InvalidStateError):  # the one who waited may be gone
            self.commit.set_exception(error)

    def settle(self, verdicts: Sequence[Verdict | GatewayError], time: Timestamp | None) -> None:
        for verdict in verdicts:
            if isinstance(verdict, GatewayError):
                self.fail(verdict)
                return
        with suppress(asyncio.InvalidStateError):
            self.commit.set_result(Commit(cast("Sequence[Verdict]", verdicts), time))


class GroupCommit:
    """Stores events; one per process."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: list[_Part] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def store(self, documents: list[Document]) -> Commit:
        """Raises Unavailable or StoreError when the outcome of even one is unknown: nothing may be acknowledged."""
        if not documents:
            return Commit()
        part = _Part(documents)
        self._waiting.append(part)
        if len(self._writers) < _PARALLEL:
            self._writers.add(asyncio.create_task(self._write_waiting()))
        return await part.commit

    async def drain(self) -> None:
        """Wait until everything that was handed in has its verdict."""
        while self._writers:
            await asyncio.gather(*self._writers, return_exceptions=True)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                await self._write_group(self._next_group())
        finally:
            # In the same breath as finding nothing left: a commit that comes next must start a writer of its own.
            self._writers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _next_group(self) -> list[_Part]:
        group: list[_Part] = []
        size = 0
        while (self._waiting and size + len(self._waiting[0].documents) <= MAX_GROUP) or not group:
            group.append(self._waiting.pop(0))
            size += len(group[-1].documents)
        return group

    async def _write_group(self, group: list[_Part]) -> None:
        documents = [document for part in group for document in part.documents]
        try:
            outcome = await self._insert(documents)
            verdicts = await self._judge(documents, outcome)
        except BaseException as error:
            for part in group:
                part.fail(error if isinstance(error, Unavailable | StoreError) else _unknown())
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for part in group:
            part.settle(verdicts[start : start + len(part.documents)], outcome.operation_time)
            start += len(part.documents)

    async def _insert(self, documents: list[Document]) -> InsertOutcome:
        """The outcome of each; a document that makes the whole insert fail is found by halving."""
        try:
            return await self._events.insert(documents)
        except (InvalidInput, StoreError) as error:
            number = error.number if isinstance(error, StoreError) else 0
            if number not in _WHOLE_COMMAND and not isinstance(error, InvalidInput):
                raise
        if len(documents) == 1:
            return InsertOutcome(frozenset(), frozenset(), {0: number or min(_ONE_DOCUMENT)})
        half = len(documents) // 2
        return _joined(half, await self._insert(documents[:half]), await self._insert(documents[half:]))

    async def _judge(self, documents: list[Document], outcome: InsertOutcome) -> Sequence[Verdict | GatewayError]:
        verdicts: list[Verdict | GatewayError] = [Verdict.ACCEPTED] * len(documents)
        for index, code in outcome.failed.items():
            refused = StoreError(f"MongoDB refused an event (code {code}).", number=code)
            verdicts[index] = Verdict.QUARANTINED if code in _ONE_DOCUMENT else refused
        if outcome.duplicates:
            duplicates = [documents[index] for index in outcome.duplicates]
            stored = await self._hashes(duplicates, outcome.operation_time)
            for index in outcome.duplicates:
                verdicts[index] = _compared(documents[index], stored)
        return verdicts

    async def _hashes(self, documents: list[Document], at: Timestamp | None) -> Mapping[bytes, bytes]:
        """Read as of the insert that met them: a primary just elected may not show yet what it refused to repeat."""
        ids: dict[str, list[bytes]] = {}
        for document in documents:
            ids.setdefault(document["workspace"], []).append(document["_id"])
        found: dict[bytes, bytes] = {}
        for workspace, keys in ids.items():
            found |= await self._events.hashes(workspace, keys, after=at)
        return found


def _compared(document: Document, stored: Mapping[bytes, bytes]) -> Verdict | GatewayError:
    """A duplicate has the same content as what is stored, a conflict another; what has gone since is neither."""
    content = stored.get(document["_id"])
    if content is None:
        return _unknown()
    return Verdict.DUPLICATE if content == document["hash"] else Verdict.CONFLICT


def _joined(half: int, first: InsertOutcome, second: InsertOutcome) -> InsertOutcome:
    times = [outcome.operation_time for outcome in (first, second) if outcome.operation_time is not None]
    return InsertOutcome(
        first.inserted | {index + half for index in second.inserted},
        first.duplicates | {index + half for index in second.duplicates},
        first.failed | {index + half: code for index, code in second.failed.items()},
        max(times, default=None),
    )


def _unknown() -> Unavailable:
    return Unavailable("MongoDB did not confirm the events in time.", hint="Send them again.")
