"""Rows of CSV, NDJSON and XES files, gzipped or not, one at a time and with their exact bytes."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from gateway.collect.bodies import read_json
from gateway.collect.lines import BOM, MAX_ROW_BYTES, LeftOut, Lines, Refused, Row
from gateway.collect.xes import XesEvents
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject

__all__ = ["MAX_ROW_BYTES", "LeftOut", "Refused", "Row", "RowFile"]

_GZIP_MAGIC = b"\x1f\x8b"
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


class RowFile:
    """An open file of rows. A file whose first character is `<` is XES, one that begins with `{` NDJSON; all else is
    CSV and needs a line of column names. `classifiers` are those of an XES log: their keys by name.

    Raises InvalidInput when the file cannot be read or has no rows.
    """

    kind: Literal["csv", "ndjson", "xes"]
    columns: tuple[str, ...] = ()
    classifiers: dict[str, tuple[str, ...]]

    def __init__(self, path: Path) -> None:
        self._path = path
        self._broken = False
        self._file = _open(path)
        try:
            zipped = self._file.read(2) == _GZIP_MAGIC
            self._file.seek(0)
            # Without the cast mypy misses that a GzipFile is a stream of bytes.
            stream = cast(io.BufferedReader, gzip.GzipFile(fileobj=self._file)) if zipped else self._file
            try:
                self._begin(stream)
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
            yield from {"csv": self._csv, "ndjson": self._ndjson, "xes": self._xes}[self.kind]()
        except _BROKEN_GZIP:
            self._broken = True

    def check_end(self) -> None:
        """Raise InvalidInput if the rows ended too early."""
        if self._broken:
            raise InvalidInput(
                f"The gzip stream of {self._path.name} is cut short or broken; the rows before that place were read.",
                hint="Get the file anew.",
            )
        if self.kind == "xes":
            self._events.check_end()

    def _begin(self, stream: io.BufferedReader) -> None:
        self.classifiers = {}
        if _is_xml(stream.peek(1024)):
            self.kind = "xes"
            self._events = XesEvents(stream, self._path.name)
            self.classifiers = self._events.classifiers
            return
        if self._path.name.endswith((".xes", ".xes.gz")):
            raise InvalidInput(f"{self._path.name} holds no XML.", hint="Name it by what it is: .csv or .ndjson.")
        self._lines = Lines(stream)
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
            except Refused as refused:
                raise InvalidInput(
                    f"The first line of {self._path.name} cannot be read as column names: {refused}",
                    hint="Save it as CSV in UTF-8." if refused.code == "not_utf8" else "",
                ) from None
            except csv.Error as error:
                raise InvalidInput(
                    f"The first line of {self._path.name} cannot be read as column names: {_csv_reason(error)}.",
                    hint="Save it with the line ends of Unix or Windows." if _is_about_line_ends(error) else "",
                ) from None

    def _xes(self) -> Iterator[Row]:
        return self._events.rows()

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
                content = Refused("broken_csv", f"The row is not valid CSV: {_csv_reason(error)}.")
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


def _is_xml(start: bytes) -> bool:
    return start.removeprefix(BOM).lstrip()[:1] == b"<" or start[:4] in (b"\xff\xfe<\0", b"\xfe\xff\0<")


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}).") from None


def _is_about_line_ends(error: csv.Error) -> bool:
    return str(error).startswith("new-line character")


def _csv_reason(error: csv.Error) -> str:
    """What is wrong, not in the words that Python has for its programmers."""
    said = str(error)
    if _is_about_line_ends(error):
        return "a carriage return without a line feed stands in it"
    if said.startswith("field larger"):
        return f"a field has more than {csv.field_size_limit():,} characters"
    return {"unexpected end of data": "a quote is not closed"}.get(said, said)


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
