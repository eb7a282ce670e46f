"""The one way in: messages to a receipt. Whatever door they came through, they pass here.

An event is acknowledged once a majority of MongoDB's members has journaled it, never before. Requests that arrive
while an insert is under way share the next one (group commit).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from gateway.clock import Clock, random_id
from gateway.errors import StoreError, TooLarge, Unavailable
from gateway.model.event import Problem, Receipt, Verdict
from gateway.model.identity import digest
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.store.database import Document, InsertOutcome
from gateway.store.events import Events, to_document
from gateway.store.quarantine import Quarantine

MAX_GROUP = 5_000
_PARALLEL = 2


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages of one request. `sent_at` is the request's own time stamp (ms), `body_digest` names its bytes.

    `seqs` and `message_ids`, one per message, are given by imports, which number their rows themselves.
    """

    workspace: str
    source: str
    messages: Sequence[Any]
    sent_at: int | None = None
    body_digest: bytes | None = None
    seqs: Sequence[int] | None = None
    message_ids: Sequence[str] | None = None
    correct_skew: bool = True


class Intake:
    """Takes deliveries; one per process."""

    def __init__(
        self,
        events: Events,
        quarantine: Quarantine,
        clock: Clock,
        *,
        max_event_bytes: int = 32_768,
        max_batch_events: int = 2_500,
    ) -> None:
        self._events = events
        self._quarantine = quarantine
        self._clock = clock
        self._max_event_bytes = max_event_bytes
        self.max_batch_events = max_batch_events
        self._waiting: list[tuple[list[Document], asyncio.Future[list[Verdict]]]] = []
        self._writers: set[asyncio.Task[None]] = set()

    async def ingest(self, delivery: Delivery) -> Receipt:
        """One verdict per message, all of them durable.

        Raises TooLarge for too many messages, Unavailable when the outcome is unknown: nothing is acknowledged then,
        and sending the same again is safe.
        """
        if len(delivery.messages) > self.max_batch_events:
            raise TooLarge(
                f"The batch has {len(delivery.messages):,} events; the limit is {self.max_batch_events:,}.",
                hint="Send it in parts.",
            )
        origin = self._origin(delivery)
        documents, problems = self._read(delivery, origin)
        kept = [self._quarantine_row(delivery, origin, problem) for problem in problems]
        verdicts, _ = await asyncio.gather(self._commit([row for _, row in documents]), self._quarantine.keep(kept))
        conflicts = [
            Problem(
                index,
                Verdict.CONFLICT,
                "id_reused",
                "This messageId was used before with other content; give every event its own.",
                row["messageId"],
            )
            for (index, row), verdict in zip(documents, verdicts, strict=True)
            if verdict is Verdict.CONFLICT
        ]
        await self._quarantine.keep([self._quarantine_row(delivery, origin, problem) for problem in conflicts])
        return Receipt(
            accepted=verdicts.count(Verdict.ACCEPTED),
            duplicate=verdicts.count(Verdict.DUPLICATE),
            conflict=len(conflicts),
            quarantined=len(problems),
            problems=tuple(sorted(problems + conflicts, key=lambda problem: problem.index)),
            ids=tuple(row["_id"] for _, row in documents),
        )

    def preview(self, delivery: Delivery) -> list[Problem]:
        """What would be quarantined; nothing is stored."""
        return self._read(delivery, self._origin(delivery))[1]

    async def drain(self) -> None:
        """Wait until everything that was handed in has its verdict."""
        while self._writers:
            await asyncio.gather(*self._writers, return_exceptions=True)

    # -- reading ------------------------------------------------------------------------------------------------

    def _origin(self, delivery: Delivery) -> Origin:
        return Origin(
            delivery.workspace,
            delivery.source,
            received_at=self._clock.now(),
            sent_at=delivery.sent_at,
            max_event_bytes=self._max_event_bytes,
            correct_skew=delivery.correct_skew,
        )

    def _read(self, delivery: Delivery, origin: Origin) -> tuple[list[tuple[int, Document]], list[Problem]]:
        seqs = self._sequence(len(delivery.messages)) if delivery.seqs is None else delivery.seqs
        documents: list[tuple[int, Document]] = []
        problems: list[Problem] = []
        for index, message in enumerate(delivery.messages):
            try:
                fallback = partial(_missing_id, delivery, index)
                event, escape = read_message(message, origin, seq=seqs[index], fallback_id=fallback)
                documents.append((index, to_document(event, escape=escape)))
            except Unacceptable as reason:
                found = message.get("messageId") if isinstance(message, dict) else None
                message_id = _storable(found[:100]) if isinstance(found, str) else None
                problems.append(Problem(index, Verdict.QUARANTINED, reason.code, str(reason), message_id))
        return documents, problems

    def _sequence(self, count: int) -> range:
        first = self._clock.sequence(count)
        return range(first, first + count)

    def _quarantine_row(self, delivery: Delivery, origin: Origin, problem: Problem) -> Document:
        original = _original(delivery, problem.index)
        return {
            "_id": digest(delivery.workspace, delivery.source, problem.code, original),
            "workspace": delivery.workspace,
            "source": delivery.source,
            "messageId": problem.message_id,
            "code": problem.code,
            "receivedAt": origin.received_at,
            "sentAt": origin.sent_at,
            "original": original,
        }

    # -- group commit -------------------------------------------------------------------------------------------

    async def _commit(self, documents: list[Document]) -> list[Verdict]:
        if not documents:
            return []
        verdicts: asyncio.Future[list[Verdict]] = asyncio.get_running_loop().create_future()
        self._waiting.append((documents, verdicts))
        if len(self._writers) < _PARALLEL:
            writer = asyncio.create_task(self._write_waiting())
            self._writers.add(writer)
        return await verdicts

    async def _write_waiting(self) -> None:
        try:
            await self._write_groups()
        finally:
            # In the same breath as finding nothing left: a commit that comes next must start a writer of its own.
            self._writers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_groups(self) -> None:
        while self._waiting:
            group: list[tuple[list[Document], asyncio.Future[list[Verdict]]]] = []
            size = 0
            while (self._waiting and size + len(self._waiting[0][0]) <= MAX_GROUP) or not group:
                group.append(self._waiting.pop(0))
                size += len(group[-1][0])
            documents = [document for part, _ in group for document in part]
            try:
                verdicts = await self._insert(documents)
            except BaseException as error:
                unknown = error if isinstance(error, Unavailable | StoreError) else _unknown()
                for _, waiter in group:
                    with suppress(asyncio.InvalidStateError):
                        waiter.set_exception(unknown)
                if not isinstance(error, Exception):
                    raise
                continue
            start = 0
            for part, waiter in group:
                with suppress(asyncio.InvalidStateError):
                    waiter.set_result(verdicts[start : start + len(part)])
                start += len(part)

    async def _insert(self, documents: list[Document]) -> list[Verdict]:
        outcome = await self._events.insert(documents)
        if outcome.failed:
            raise StoreError("MongoDB refused an event.", number=next(iter(outcome.failed.values())))
        if not outcome.duplicates:
            return [Verdict.ACCEPTED] * len(documents)
        return await self._compare(documents, outcome)

    async def _compare(self, documents: list[Document], outcome: InsertOutcome) -> list[Verdict]:
        """Duplicates with the same content are duplicates, those with another are conflicts."""
        ids: dict[str, list[bytes]] = {}
        for index in outcome.duplicates:
            ids.setdefault(documents[index]["workspace"], []).append(documents[index]["_id"])
        stored: dict[bytes, bytes] = {}
        for workspace, keys in ids.items():
            stored |= await self._events.hashes(workspace, keys)
        verdicts = [Verdict.ACCEPTED] * len(documents)
        for index in outcome.duplicates:
            same = stored.get(documents[index]["_id"]) == documents[index]["hash"]
            verdicts[index] = Verdict.DUPLICATE if same else Verdict.CONFLICT
        return verdicts


def _missing_id(delivery: Delivery, index: int) -> str:
    """A repeatable id if the bytes tell a retry from a second, equal event; else a random one."""
    if delivery.message_ids is not None:
        return delivery.message_ids[index]
    if delivery.body_digest is None or delivery.sent_at is None:
        return random_id()
    return digest(delivery.body_digest, index.to_bytes(4, "big")).hex()


def _original(delivery: Delivery, index: int) -> bytes:
    return json.dumps(delivery.messages[index], ensure_ascii=True).encode()


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _unknown() -> Unavailable:
    return Unavailable("MongoDB did not confirm the events in time.", hint="Send them again.")
