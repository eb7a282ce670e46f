"""Rows of CSV and NDJSON files, gzipped or not, one at a time and with their exact bytes."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from gateway.collect.bodies import read_json
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject

MAX_ROW_BYTES = 1_048_576
_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


class Refused(Exception):
    """This row cannot become a message. `code` is stable, the text says what is wrong with it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its bytes without the line end, and what it says or why it says nothing."""

    raw: bytes
    content: JsonObject | Refused

    def read(self) -> JsonObject:
        """What it says; raises Refused."""
        if isinstance(self.content, Refused):
            raise self.content
        return self.content


class RowFile:
    """An open file of rows. CSV needs a line of column names; a file whose first character is `{` is NDJSON.

    Raises InvalidInput when the file cannot be read or has no rows.
    """

    kind: Literal["csv", "ndjson"]
    columns: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken = False
        self._file = _open(path)
        try:
            zipped = self._file.read(2) == _GZIP_MAGIC
            self._file.seek(0)
            # Without the cast mypy misses that a GzipFile is a stream of bytes.
            self._lines = _Lines(cast(IO[bytes], gzip.GzipFile(fileobj=self._file)) if zipped else self._file)
            try:
                self._begin()
            except _BROKEN_GZIP:
                raise InvalidInput(f"{path.name} is not valid gzip.", hint="Get the file anew.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """How many of the file's bytes have been read."""
        return self._file.tell()

    def rows(self) -> Iterator[Row]:
        """All rows in order; blank lines are none. Ends early where a gzip stream does: ask `check_end` then."""
        try:
            yield from self._csv() if self.kind == "csv" else self._ndjson()
        except _BROKEN_GZIP:
            self._broken = True

    def check_end(self) -> None:
        """Raise InvalidInput if the rows ended too early."""
        if self._broken:
            raise InvalidInput(
                f"The gzip stream of {self._path.name} is cut short or broken; the rows before that place were read.",
                hint="Get the file anew.",
            )

    def _begin(self) -> None:
        first = self._lines.first()
        if first[:1] == b"[":
            raise InvalidInput(
                f"{self._path.name} is a JSON array.", hint="Write one object per line (NDJSON): jq -c '.[]' FILE."
            )
        self.kind = "ndjson" if first[:1] == b"{" else "csv"
        if not first:
            raise InvalidInput(f"{self._path.name} has no rows.")
        if self.kind == "csv":
            self._reader = csv.reader(self._lines, strict=True)
            try:
                self.columns = _columns(next(self._reader))
            except (csv.Error, Refused) as error:
                raise InvalidInput(
                    f"The first line of {self._path.name} cannot be read as column names: {error}"
                ) from None

    def _csv(self) -> Iterator[Row]:
        width = len(self.columns)
        while True:
            self._lines.taken.clear()
            content: JsonObject | Refused
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                content = Refused("broken_csv", f"The row is not valid CSV: {error}.")
                self._lines.give_back()
            except Refused as refused:
                content = refused
                self._lines.give_back()
            else:
                if not fields:
                    continue
                if len(fields) == width:
                    content = {name: field for name, field in zip(self.columns, fields, strict=True) if field != ""}
                else:
                    content = Refused(
                        "wrong_width", f"The row has {len(fields)} columns, the first line names {width}."
                    )
            yield Row(b"".join(self._lines.taken).rstrip(b"\r\n"), content)

    def _ndjson(self) -> Iterator[Row]:
        while True:
            self._lines.taken.clear()
            content: JsonObject | Refused
            try:
                text = next(self._lines)
            except StopIteration:
                return
            except Refused as refused:
                content = refused
            else:
                if text.isspace():
                    continue
                content = _object(self._lines.taken[0])
            yield Row(self._lines.taken[0].strip(), content)


class _Lines:
    """Lines of a stream as text; `taken` keeps the bytes of those handed out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._again: deque[bytes] = deque()
        self.taken: list[bytes] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.taken.append(line)
        if len(line) > MAX_ROW_BYTES:
            raise Refused("row_too_long", f"The row has more than {MAX_ROW_BYTES:,} bytes.")
        try:
            return line.decode()
        except UnicodeDecodeError:
            raise Refused("not_utf8", "The row is not valid UTF-8.") from None

    def first(self) -> bytes:
        """The first line that is not blank, which comes again as the first; empty when there is none."""
        line = self._read().removeprefix(_BOM)
        while line.isspace():
            line = self._read()
        self._again.append(line)
        return line.lstrip()

    def give_back(self) -> None:
        """All but the first line of a broken row: an open quote took them in."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def _read(self) -> bytes:
        line = self._stream.readline(MAX_ROW_BYTES + 1)
        rest = line
        while len(rest) > MAX_ROW_BYTES and not rest.endswith(b"\n"):
            rest = self._stream.readline(MAX_ROW_BYTES + 1)
        return line


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}).") from None


def _columns(names: list[str]) -> tuple[str, ...]:
    names = [name.strip() or f"column_{number}" for number, name in enumerate(names, 1)]
    for name in names:
        if names.count(name) > 1:
            raise Refused("repeated_column", f"there are several columns `{name}`.")
    return tuple(names)


def _object(line: bytes) -> JsonObject | Refused:
    value: Any = None
    try:
        value = read_json(line)
    except InvalidInput:
        return Refused("broken_json", "The row is not valid JSON.")
    return value if isinstance(value, dict) else Refused("not_an_object", "The row is no JSON object.")
