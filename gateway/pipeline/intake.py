"""The one way in: messages to a receipt. Whatever door they came through, they pass here.

An event is acknowledged once a majority of MongoDB's members has journaled it, never before; and its verdict is
counted before it is answered (accounting.py). Requests that arrive while an insert is under way share the next one
(committing.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.clock import Clock, random_id
from gateway.errors import TooLarge, Unavailable
from gateway.model.consistency import ConsistencyToken
from gateway.model.event import Problem, Receipt, Verdict
from gateway.model.identity import digest, lane_of
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.addresses import Addresses
from gateway.pipeline.budget import Budget, jittered
from gateway.pipeline.clients import NOBODY, Peer
from gateway.pipeline.committing import Commit, GroupCommit
from gateway.pipeline.conforming import Conforming, Read
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.pipeline.screening import MOST_NAMED, named_in, screened, stamp
from gateway.pipeline.withheld import NOTHING, Withheld, with_ip, withhold
from gateway.privacy import Privacy
from gateway.quality.gathering import Gathering
from gateway.store.database import Document
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine, misfits_row

#: More than this of one message is kept nowhere; MongoDB's own limit is 16 MB for a row with all that is in it.
MAX_KEPT_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Replay:
    """What is known of messages that come out of quarantine, one entry per message.

    `received_at` is when each came (ms): its time is corrected by that; `events` stamp when they are stored. A userId
    in one that is not `proven` is not taken. Replayed messages are not sent again: they enter no count but `replayed`,
    and what is still wrong with them is told, not kept a second time.
    """

    received_at: Sequence[int]
    proven: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages of one request. `sent_at` is the request's own time stamp (ms), `body_digest` names its bytes.

    `seqs` and `message_ids`, one per message, are given by imports, which number their rows themselves. `peer` is
    who made the request; with `user_hash_secret` messages must prove their userIds. `raw` gives the bytes that a
    message was sent as, where the door can tell them; it is asked for those that are quarantined. `plain`: no text
    in them can be without UTF-8 or hold a NUL, no number is beyond 64 bits or none. `system`: they are the gateway's
    own, of the types that nobody can send. `decisions`: merges and splits may be among them, because an
    operator takes back what an export wrote.
    """

    workspace: str
    source: str
    messages: Sequence[Any]
    sent_at: int | None = None
    body_digest: bytes | None = None
    seqs: Sequence[int] | None = None
    message_ids: Sequence[str] | None = None
    correct_skew: bool = True
    peer: Peer = NOBODY
    user_hash_secret: str | None = None
    system: bool = False
    decisions: bool = False
    raw: Callable[[int], bytes | None] | None = None
    plain: bool = False
    replay: Replay | None = None


class Intake:
    """Takes deliveries; one per process. `budget` is for the doors' bodies. `conforming` compares events with the
    plan, `gathering` catalogues what they carry."""

    def __init__(
        self,
        events: Events,
        quarantine: Quarantine,
        clock: Clock,
        *,
        accounts: Accounts | None = None,
        budget: Budget | None = None,
        max_event_bytes: int = 32_768,
        max_batch_events: int = 2_500,
        addresses: Addresses | None = None,
        privacy: Privacy | None = None,
        conforming: Conforming | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        self._events = events
        self._commits = GroupCommit(events)
        self._quarantine = quarantine
        self._accounts = accounts or Accounts(None, clock)
        self._clock = clock
        self._addresses = addresses or Addresses()
        self._privacy = privacy
        self._conforming = conforming
        self._gathering = gathering
        self._max_event_bytes = max_event_bytes
        self._closed: str | None = None
        self.max_batch_events = max_batch_events
        self.budget = budget or Budget()

    async def ingest(self, delivery: Delivery) -> Receipt:
        """One verdict per message, all of them durable.

        Raises TooLarge for too many messages, Unavailable when the outcome is unknown: nothing is acknowledged then,
        and sending the same again is safe.
        """
        self.check_open()
        self.check_size(len(delivery.messages))
        origin = self._origin(delivery)
        (documents, problems), apart, warnings = self._conformed(delivery, self._read(delivery, origin))
        if self._privacy is not None and not delivery.system:
            await stamp(self._privacy, delivery.workspace, documents)
        with self._accounts.page(delivery.workspace, delivery.source, origin.received_at) as page:
            rows = [row for _, row in documents]
            for row in rows if delivery.replay is None else ():
                row["run"] = page.totals.run
            if problems or not self._accounts.is_open(page):
                commit, problems, _ = await asyncio.gather(
                    self._commits.store(rows),
                    self._keep(delivery, origin, problems, "read"),
                    self._accounts.opened(page),
                )
            else:  # as mostly: nothing to wait for but the one insert
                commit = await self._commits.store(rows)
            conflicts, unstorable = _late_problems(documents, commit)
            problems += await self._keep(delivery, origin, conflicts, "dedup") if conflicts else []
            problems += await self._keep(delivery, origin, unstorable, "store") if unstorable else []
            receipt = _receipt(documents, commit, problems, warnings)
            again = delivery.replay is not None
            await self._accounts.count(page, {"replayed": receipt.accepted} if again else receipt.counts())
        if self._gathering is not None and not delivery.system:
            self._gathering.note(_stored(documents, commit), () if again else [row for _, row in apart])
        return receipt

    def check_size(self, events: int) -> None:
        """To be asked before work is done for each of them. Raises TooLarge."""
        if events > self.max_batch_events:
            raise TooLarge(
                f"The batch has {events:,} events; the limit is {self.max_batch_events:,}.", hint="Send it in parts."
            )

    def check_open(self) -> None:
        """To be asked before a body is read. Raises Unavailable while nothing is taken in."""
        if self._closed is not None:
            raise Unavailable(self._closed, retry_after=10 + jittered())

    def close(self, reason: str | None) -> None:
        """Take nothing in for this reason, until it is None again."""
        self._closed = reason

    def preview(self, delivery: Delivery) -> list[Problem]:
        """What would be quarantined; nothing is stored."""
        (_, problems), _, _ = self._conformed(delivery, self._read(delivery, self._origin(delivery)))
        return problems

    async def judge(self, delivery: Delivery) -> Receipt:
        """The receipt that `ingest` would give now; nothing is stored."""
        (documents, problems), _, warnings = self._conformed(delivery, self._read(delivery, self._origin(delivery)))
        stored = await self._events.hashes(delivery.workspace, [row["_id"] for _, row in documents])
        verdicts = []
        for _, row in documents:
            known = stored.setdefault(row["_id"], row["hash"])
            new = known is row["hash"]
            verdicts.append(
                Verdict.ACCEPTED if new else Verdict.DUPLICATE if known == row["hash"] else Verdict.CONFLICT
            )
        commit = Commit(verdicts)
        return _receipt(documents, commit, problems + _late_problems(documents, commit)[0], warnings)

    async def drain(self) -> None:
        """Wait until everything that was handed in has its verdict, and is counted."""
        await self._commits.drain()
        await self._accounts.drain()
        if self._gathering is not None:
            await self._gathering.drain()

    # -- reading ------------------------------------------------------------------------------------------------

    def _origin(self, delivery: Delivery) -> Origin:
        return Origin(
            delivery.workspace,
            delivery.source,
            received_at=self._clock.now(),
            sent_at=delivery.sent_at,
            max_event_bytes=self._max_event_bytes,
            correct_skew=delivery.correct_skew,
            peer=delivery.peer,
            user_hash_secret=delivery.user_hash_secret,
            system=delivery.system,
            decisions=delivery.decisions,
            plain=delivery.plain,
        )

    def _read(self, delivery: Delivery, origin: Origin) -> Read:
        read = self._read_all(delivery, origin)
        if self._privacy is None or delivery.system:
            return read
        return screened(self._privacy.suppressed, delivery.workspace, delivery.messages, read)

    def _conformed(self, delivery: Delivery, read: Read) -> tuple[Read, list[tuple[int, Document]], list[Problem]]:
        if self._conforming is None or delivery.system:
            return read, [], []
        return self._conforming.check(delivery.workspace, delivery.source, read)

    def _read_all(self, delivery: Delivery, origin: Origin) -> Read:
        seqs = self._sequence(len(delivery.messages)) if delivery.seqs is None else delivery.seqs
        documents: list[tuple[int, Document]] = []
        problems: list[Problem] = []
        for index, sent in enumerate(delivery.messages):
            message, withheld = withhold(sent)
            try:
                document = read_message(
                    message,
                    origin if delivery.replay is None else _held(origin, delivery.replay, index),
                    seq=seqs[index],
                    fallback_id=partial(_missing_id, delivery, index),
                    withheld=withheld,
                    addresses=self._addresses,
                )
                if delivery.replay is not None:
                    document |= {"receivedAt": origin.received_at, "heldSince": delivery.replay.received_at[index]}
                documents.append((index, document))
            except Unacceptable as reason:
                found = message.get("messageId") if isinstance(message, dict) else None
                message_id = _storable(found[:100]) if isinstance(found, str) else None
                problems.append(Problem(index, Verdict.QUARANTINED, reason.code, str(reason), message_id))
        return documents, problems

    def _sequence(self, count: int) -> range:
        first = self._clock.sequence(count)
        return range(first, first + count)

    # -- keeping and counting -----------------------------------------------------------------------------------

    async def _keep(self, delivery: Delivery, origin: Origin, problems: list[Problem], stage: str) -> list[Problem]:
        """Quarantine what is wrong; what is too large even for that is refused."""
        if delivery.replay is not None:
            return problems
        rows: list[Document] = []
        kept: list[Problem] = []
        for problem in problems:
            if problem.verdict is Verdict.REFUSED:
                kept.append(problem)
                continue
            message, withheld = withhold(delivery.messages[problem.index])
            original = self._original(delivery, problem.index, message, withheld)
            who = named_in(delivery.workspace, delivery.messages[problem.index])
            if len(original) > MAX_KEPT_BYTES or len(who) > MOST_NAMED:
                what = "is too large" if len(original) > MAX_KEPT_BYTES else "names too many ids"
                told = f"{problem.message} It {what} to be kept aside."
                kept.append(replace(problem, verdict=Verdict.REFUSED, code="too_large_to_keep", message=told))
                continue
            kept.append(problem)
            row = _row(delivery, origin, problem, stage, original, withheld)
            rows.append(row | {"who": who})
        await self._quarantine.keep(rows)
        return kept

    def _original(self, delivery: Delivery, index: int, message: Any, withheld: Withheld) -> bytes:
        """The message's own bytes; written anew where something was taken out, or where the door cannot tell them."""
        if withheld is NOTHING and delivery.raw is not None and (raw := delivery.raw(index)) is not None:
            return raw
        ip = None if withheld.ip is None else self._addresses.storable(withheld.ip)
        return json.dumps(with_ip(message, ip), ensure_ascii=True).encode()


def _stored(documents: list[tuple[int, Document]], commit: Commit) -> list[Document]:
    """The rows of those that are events now and were not before."""
    pairs = zip(documents, commit.verdicts, strict=True)
    return [row for (_, row), verdict in pairs if verdict is Verdict.ACCEPTED]


def _receipt(
    documents: list[tuple[int, Document]], commit: Commit, problems: list[Problem], warnings: Sequence[Problem] = ()
) -> Receipt:
    told = [problem.verdict for problem in problems]
    return Receipt(
        accepted=commit.verdicts.count(Verdict.ACCEPTED),
        duplicate=commit.verdicts.count(Verdict.DUPLICATE),
        conflict=told.count(Verdict.CONFLICT),
        quarantined=told.count(Verdict.QUARANTINED),
        refused=told.count(Verdict.REFUSED),
        problems=tuple(sorted(problems, key=lambda problem: problem.index)),
        warnings=tuple(warnings),
        ids=tuple(row["_id"] for _, row in documents),
        consistency_token=_token(documents, commit),
    )


def _token(documents: list[tuple[int, Document]], commit: Commit) -> str | None:
    if commit.time is None:
        return None
    stored = zip(documents, commit.verdicts, strict=True)
    # Identity, not membership: an enum's hash is a call of Python.
    lanes = frozenset(
        lane_of(row["workspace"], row["sk"])
        for (_, row), verdict in stored
        if verdict is Verdict.ACCEPTED or verdict is Verdict.DUPLICATE
    )
    if not lanes:
        return None
    return ConsistencyToken(commit.time.time, commit.time.inc, lanes).encode()


def _late_problems(documents: list[tuple[int, Document]], commit: Commit) -> tuple[list[Problem], list[Problem]]:
    """Conflicts, and what MongoDB would not store."""
    conflicts: list[Problem] = []
    unstorable: list[Problem] = []
    if commit.verdicts.count(Verdict.ACCEPTED) == len(documents):  # as mostly
        return conflicts, unstorable
    for (index, row), verdict in zip(documents, commit.verdicts, strict=True):
        if verdict is Verdict.CONFLICT:
            told = "This messageId was used before with other content; give every event its own."
            conflicts.append(Problem(index, verdict, "id_reused", told, row["messageId"]))
        elif verdict is Verdict.QUARANTINED:
            told = "MongoDB cannot store this event, though nothing is known to be wrong with it; send it simpler."
            unstorable.append(Problem(index, verdict, "not_storable", told, row["messageId"]))
    return conflicts, unstorable


def _row(
    delivery: Delivery, origin: Origin, problem: Problem, stage: str, original: bytes, withheld: Withheld
) -> Document:
    message, fallback_id = delivery.messages[problem.index], _missing_id(delivery, problem.index)
    # Without an id of its own an equal message is a second one, in quarantine as among events; what is no object
    # never becomes one.
    apart = () if _has_id(message) else (fallback_id,)
    return {
        "_id": digest(delivery.workspace, delivery.source, original, *apart),
        "workspace": delivery.workspace,
        "source": delivery.source,
        "messageId": problem.message_id,
        "fallbackId": fallback_id,
        "code": problem.code,
        "reason": problem.message,
        "stage": "plan" if problem.misfits else stage,
        "receivedAt": origin.received_at,
        "lastSeen": origin.received_at,
        "count": 1,
        "sentAt": origin.sent_at,
        "correctSkew": delivery.correct_skew,
        "proven": _proven(delivery, problem.index, withheld),
        "original": original,
        **misfits_row(problem),
    }


def _proven(delivery: Delivery, index: int, withheld: Withheld) -> bool:
    """Whether the userId in a message may be believed: nobody asks for a proof of it, or it came with one."""
    if delivery.user_hash_secret is None:
        return True
    message = delivery.messages[index]
    user_id = message.get("userId") if isinstance(message, dict) else None
    return user_id is not None and withheld.proves(_storable(str(user_id)), delivery.user_hash_secret)


def _held(origin: Origin, replay: Replay, index: int) -> Origin:
    secret = None if replay.proven[index] else random_id()  # which nobody has used
    return replace(origin, received_at=replay.received_at[index], user_hash_secret=secret)


def _has_id(message: Any) -> bool:
    return not isinstance(message, dict) or message.get("messageId") not in (None, "")


def _missing_id(delivery: Delivery, index: int) -> str:
    """A repeatable id if the bytes tell a retry from a second, equal event; else a random one."""
    if delivery.message_ids is not None:
        return delivery.message_ids[index]
    if delivery.body_digest is None or delivery.sent_at is None:
        return random_id()
    return digest(delivery.body_digest, index.to_bytes(4, "big")).hex()


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
