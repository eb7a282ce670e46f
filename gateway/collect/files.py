"""Import of CSV, NDJSON and XES files, through the same intake as every other event.

A row's id comes from its bytes and its place among equal rows, its order from its number: whatever is interrupted and
run again, each row counts once and the file's order stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TypeVar

from gateway.clock import Clock
from gateway.collect.mapping import Mapping, check_columns
from gateway.collect.presets import XesLog
from gateway.collect.rows import LeftOut, Refused, RowFile
from gateway.errors import InvalidInput, Unavailable
from gateway.model.event import JsonObject, Problem, Receipt, Verdict
from gateway.model.identity import digest
from gateway.pipeline.intake import Delivery, Intake
from gateway.store.imports import Imports

__all__ = ["Importer", "Mapping", "Report", "Sample"]

BATCH_ROWS = 1_000
BATCH_BYTES = 4_000_000
IN_FLIGHT = 4
PATIENCE_SECONDS = 60.0
MAX_SAMPLES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_NOTE_SECONDS = 1.0

#: Called with the bytes of the file and the rows that have been read.
Progress = Callable[[int, int], None]
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Sample:
    """One row that was not accepted; `row` counts from 1, without the line of column names."""

    row: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row:,}: {self.code}: {self.message}"


@dataclass(slots=True)
class Report:
    """What became of a file's rows: those behind `resumed_from` are accepted … refused, each counted once.

    `refused` rows could not be read or say no time; nothing of them is stored. `left_out` are those that the mapping
    does not ask for. `reasons` counts by code everything that was refused, quarantined or in conflict. A dry run knows
    of no duplicates and no conflicts.
    """

    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0
    refused: int = 0
    left_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    resumed_from: int = 0

    def add(self, row: int, code: str, message: str) -> None:
        """Count a row that was not accepted."""
        self.reasons[code] += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(Sample(row, code, message))


@dataclass(slots=True)
class _Batch:
    """Messages of consecutive rows with their rows' numbers and ids; `end` is the number of rows read so far."""

    messages: list[JsonObject] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: list[tuple[int, Refused]] = field(default_factory=list)
    left_out: int = 0
    size: int = 0
    end: int = 0

    def add(self, row: int, message: JsonObject, message_id: str) -> None:
        self.messages.append(message)
        self.rows.append(row)
        self.ids.append(message_id)


class Importer:
    """Imports files. `patience` is how many seconds MongoDB may be away before an import gives up."""

    def __init__(self, intake: Intake, imports: Imports, clock: Clock, *, patience: float = PATIENCE_SECONDS) -> None:
        self._intake = intake
        self._imports = imports
        self._clock = clock
        self._patience = patience
        self._batch_rows = min(BATCH_ROWS, intake.max_batch_events)

    async def run(
        self, file: Path, mapping: Mapping, workspace: str, source: str, *, progress: Progress | None = None
    ) -> Report:
        """Import what of the file is not in yet.

        Raises InvalidInput for a file that cannot be read or does not fit the mapping, Unavailable when MongoDB is
        away for too long: running the same again goes on.
        """
        began, report = self._clock.monotonic(), Report()
        with RowFile(file) as rows:
            mapping = _fitting(mapping, rows, file)
            key = digest(workspace, source, await asyncio.to_thread(_content, file))
            begin = self._imports.begin
            base = (await self._patiently(partial(begin, key, workspace, self._clock.sequence())))["base"]
            # Rows that one mapping could not read may be readable with another: how far it came is its own.
            attempt = digest(key, *mapping.describe())
            known = await self._patiently(partial(begin, attempt, workspace, base))
            report.resumed_from = 0 if known.get("finished") else known["rows"]
            deliver = partial(_delivery, workspace, source, base, decisions=_takes_decisions(mapping))
            batches = self._batches(rows, mapping, source, report, progress)
            await self._ingest(batches, deliver, report, partial(self._imports.reached, attempt, workspace))
            rows.check_end()
            await self._patiently(partial(self._imports.finish, attempt, workspace))
        report.seconds = self._clock.monotonic() - began
        return report

    async def preview(
        self, file: Path, mapping: Mapping, workspace: str, source: str, *, progress: Progress | None = None
    ) -> Report:
        """Read and check every row; nothing is stored. Raises InvalidInput as `run` does."""
        began, report = self._clock.monotonic(), Report()
        with RowFile(file) as rows:
            mapping = _fitting(mapping, rows, file)
            for batch in self._batches(rows, mapping, source, report, progress):
                problems = self._intake.preview(
                    _delivery(workspace, source, 0, batch, decisions=_takes_decisions(mapping))
                )
                accepted = len(batch.messages) - len(problems)
                _count(report, batch, Receipt(accepted, quarantined=len(problems), problems=tuple(problems)))
                await asyncio.sleep(0)
            rows.check_end()
        report.seconds = self._clock.monotonic() - began
        return report

    # -- storing ------------------------------------------------------------------------------------------------

    async def _ingest(
        self,
        batches: Iterator[_Batch],
        deliver: Callable[[_Batch], Delivery],
        report: Report,
        reached: Callable[[int], Awaitable[None]],
    ) -> None:
        """A few batches at a time, settled in order, so that what `reached` notes is never behind a gap."""
        under_way: deque[tuple[_Batch, asyncio.Task[Receipt]]] = deque()
        noted, me = self._clock.monotonic(), asyncio.current_task()

        async def settle() -> None:
            nonlocal noted
            batch, task = under_way[0]
            _count(report, batch, await task)
            under_way.popleft()
            if self._clock.monotonic() - noted > _NOTE_SECONDS or not under_way:
                await self._patiently(partial(reached, batch.end))
                noted = self._clock.monotonic()
            # Inside the driver Python 3.11's wait_for now and then swallows a cancellation, such as Ctrl-C.
            if me is not None and me.cancelling():
                raise asyncio.CancelledError

        try:
            for batch in batches:
                work = partial(self._intake.ingest, deliver(batch))
                under_way.append((batch, asyncio.create_task(self._patiently(work))))
                if len(under_way) == IN_FLIGHT:
                    await settle()
            while under_way:
                await settle()
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)

    async def _patiently(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        deadline, pause = self._clock.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                return await work()
            except Unavailable as away:
                if self._clock.monotonic() + pause > deadline:
                    raise Unavailable(
                        f"MongoDB has taken nothing for {self._patience:.0f} seconds; the rows before are in.",
                        hint="Run the same command again to go on.",
                    ) from away
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    # -- reading ------------------------------------------------------------------------------------------------

    def _batches(
        self, file: RowFile, mapping: Mapping, source: str, report: Report, progress: Progress | None
    ) -> Iterator[_Batch]:
        """The rows behind `report.resumed_from`."""
        batch, begin = _Batch(), report.resumed_from
        equal_rows: dict[bytes, int] = {}
        for row in file.rows():
            number = report.rows
            report.rows += 1
            content = digest(source, row.raw)
            place = equal_rows[content] = equal_rows.get(content, -1) + 1
            if number < report.resumed_from:
                continue
            try:
                message = mapping.message(row.read(), whole=row.whole)
                batch.add(number, message, digest(content, place.to_bytes(8, "big")).hex())
            except Refused as refused:
                batch.refused.append((number, refused))
            except LeftOut:
                batch.left_out += 1
            batch.size += len(row.raw)
            batch.end = report.rows
            if report.rows - begin == self._batch_rows or batch.size > BATCH_BYTES:
                if progress is not None:
                    progress(file.position, report.rows)
                yield batch
                batch, begin = _Batch(), report.rows
        if progress is not None:
            progress(file.position, report.rows)
        if batch.end:
            yield batch


def read_messages(file: Path, mapping: Mapping) -> Iterator[JsonObject]:
    """The messages of those rows that say one, as an import would read them. Raises InvalidInput as that does."""
    with RowFile(file) as rows:
        mapping = _fitting(mapping, rows, file)
        for row in rows.rows():
            with suppress(Refused, LeftOut):
                yield mapping.message(row.read(), whole=row.whole)
        rows.check_end()


def _fitting(mapping: Mapping, rows: RowFile, file: Path) -> Mapping:
    """The mapping as it reads this file; raises InvalidInput where it cannot."""
    preset = mapping.preset
    if rows.kind == "xes" and preset is None:
        preset = XesLog()
    if isinstance(preset, XesLog) and rows.kind != "xes":
        raise InvalidInput(
            f"{file.name} holds {rows.kind.upper()}; what you ask for reads XES logs.",
            hint="Leave out --trace-is, --classifier, --only-complete and --preset xes; --map fits any CSV or NDJSON.",
        )
    if preset is not None and preset.kind != rows.kind:
        raise InvalidInput(
            f"{file.name} holds {rows.kind.upper()}; the preset {preset.name} reads {preset.kind.upper()}.",
            hint="`--list-presets` shows what there is; --map fits any CSV or NDJSON.",
        )
    if isinstance(preset, XesLog):
        preset = preset.with_classifier(rows.classifiers)
    if rows.kind == "csv":
        check_columns(mapping, rows.columns, str(file))
    return replace(mapping, preset=preset)


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").digest()


def _takes_decisions(mapping: Mapping) -> bool:
    """Whether rows may be messages that our own export wrote, merges and splits among them."""
    return mapping.empty or isinstance(mapping.preset, XesLog)


def _delivery(workspace: str, source: str, base: int, batch: _Batch, *, decisions: bool) -> Delivery:
    return Delivery(
        workspace,
        source,
        batch.messages,
        seqs=[base + row for row in batch.rows],
        message_ids=batch.ids,
        correct_skew=False,
        decisions=decisions,
    )


def _count(report: Report, batch: _Batch, receipt: Receipt) -> None:
    report.accepted += receipt.accepted
    report.duplicate += receipt.duplicate
    report.conflict += receipt.conflict
    report.quarantined += receipt.quarantined
    report.refused += len(batch.refused) + receipt.refused
    report.left_out += batch.left_out
    found = [(batch.rows[problem.index], problem.code, _told(problem, batch)) for problem in receipt.problems]
    found += [(row, refused.code, str(refused)) for row, refused in batch.refused]
    for row, code, message in sorted(found):
        report.add(row + 1, code, message)


def _told(problem: Problem, batch: _Batch) -> str:
    """The problem in the words of files, where conflicts have causes of their own."""
    if problem.verdict is not Verdict.CONFLICT:
        return problem.message
    if problem.message_id == batch.ids[problem.index]:
        return (
            "This row was imported before with another --map, --rename-event or --preset, and stays as it was; "
            "to count it as it reads now beside that, give another --source."
        )
    return (
        "Its messageId was stored before with other content, which stays. Read with another --map, --rename-event or "
        "--preset than before? Ids of another sender? Then give another --source."
    )
