"""Replay: quarantined messages, mended or not, through the same intake as everything else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from gateway.clock import Clock
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject, Receipt
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake, Replay
from gateway.store.database import Document
from gateway.store.quarantine import Quarantine, QuarantineFilter

#: Rows that one call replays.
MAX_ROWS = 10_000
#: Read at a time: each may have megabytes.
_PAGE = 100
_MAX_DIGITS = 4_000
#: What a row of a gateway that did not note it yet must have lacked.
_UNPROVEN = frozenset({"user_hash_missing", "user_hash_wrong"})


@dataclass(slots=True)
class Replayed:
    """What became of `matched` rows, by verdict; those accepted and duplicate have left quarantine, unless it was a dry
    run. `reasons` counts the others by code. `more`: there are rows behind those that were tried."""

    matched: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    more: bool = False

    def add(self, receipt: Receipt) -> None:
        self.accepted += receipt.accepted
        self.duplicate += receipt.duplicate
        self.conflict += receipt.conflict
        self.quarantined += receipt.quarantined
        self.refused += receipt.refused
        self.reasons.update(problem.code for problem in receipt.problems)


class Replays:
    """Replays what is in quarantine. A message keeps its source and its messageId, so that twice is once."""

    def __init__(self, quarantine: Quarantine, intake: Intake, clock: Clock) -> None:
        self._quarantine = quarantine
        self._intake = intake
        self._clock = clock

    async def run(
        self,
        scope: Scope,
        wanted: QuarantineFilter,
        *,
        patch: JsonObject | None = None,
        dry_run: bool = False,
        limit: int = MAX_ROWS,
    ) -> Replayed:
        """Replay the rows of a filter, the oldest first, each changed by a JSON merge patch (RFC 7396).

        A row leaves quarantine once its event is durable; what is still wrong with the others is written to them.
        Raises Unavailable: what was replayed by then is, and running the same again goes on.
        """
        if not 1 <= limit <= MAX_ROWS:
            raise InvalidInput(f"`first` is {limit}; one call replays 1 to {MAX_ROWS:,} rows.", path="first")
        # What comes into quarantine from here on is not replayed.
        now = self._clock.now() + 1
        wanted = replace(wanted, to=now if wanted.to is None else min(wanted.to, now))
        done, after = Replayed(), None
        page = min(_PAGE, self._intake.max_batch_events)
        while done.matched < limit:
            rows = await self._quarantine.next(scope, wanted, limit=min(page, limit - done.matched), after=after)
            if not rows:
                return done
            for _, alike in groupby(sorted(rows, key=_group), key=_group):
                await self._replay(scope.workspace, list(alike), patch, dry_run, done)
            done.matched += len(rows)
            after = (rows[-1]["receivedAt"], bytes(rows[-1]["_id"]))
        done.more = bool(await self._quarantine.next(scope, wanted, limit=1, after=after))
        return done

    async def _replay(
        self, workspace: str, rows: list[Document], patch: JsonObject | None, dry_run: bool, done: Replayed
    ) -> None:
        delivery = _delivery(workspace, rows, patch)
        if dry_run:
            done.add(await self._intake.judge(delivery))
            return
        receipt = await self._intake.ingest(delivery)
        wrong = {problem.index: problem for problem in receipt.problems}
        await self._quarantine.release(workspace, [row for index, row in enumerate(rows) if index not in wrong])
        reasons = [(rows[index], problem) for index, problem in wrong.items()]
        await self._quarantine.explain(workspace, reasons, self._clock.now())
        done.add(receipt)


def _group(row: Document) -> tuple[str, bool]:
    return row["source"], row.get("correctSkew", True)


def _delivery(workspace: str, rows: list[Document], patch: JsonObject | None) -> Delivery:
    source, correct_skew = _group(rows[0])
    return Delivery(
        workspace,
        source,
        [_message(row, patch) for row in rows],
        message_ids=[row.get("fallbackId") or bytes(row["_id"]).hex() for row in rows],
        correct_skew=correct_skew,
        replay=Replay(
            [row["receivedAt"] for row in rows],
            [row.get("proven", row["code"] not in _UNPROVEN) for row in rows],
        ),
    )


def _message(row: Document, patch: JsonObject | None) -> Any:
    """The message as it was sent, changed by the patch; the request's `sentAt` stands for one of its own."""
    original = bytes(row["original"]).decode("utf-8", "replace")
    message = json.loads(original, parse_int=lambda digits: int(digits[:_MAX_DIGITS]))
    if patch is not None:
        message = merged(message, patch)
    if isinstance(message, dict) and row.get("sentAt") is not None:
        message = {"sentAt": row["sentAt"], **message}
    return message


def merged(target: Any, patch: Any) -> Any:
    """`target` after a JSON merge patch: objects are merged, null removes, all else replaces (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
