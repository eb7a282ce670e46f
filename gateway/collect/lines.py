"""Lines of a file as text with their bytes, and what becomes of each: a row, or the reason why it is none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import IO

from gateway.model.event import JsonObject

MAX_ROW_BYTES = 1_048_576
BOM = b"\xef\xbb\xbf"


class Refused(Exception):
    """This row cannot become a message. `code` is stable, the text says what is wrong with it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LeftOut(Exception):
    """This row is not asked for: it is neither read nor refused."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its bytes without the line end, and what it says or why it says nothing.

    `whole` marks what is a message already, whatever format its file has.
    """

    raw: bytes
    content: JsonObject | Refused
    whole: bool = False

    def read(self) -> JsonObject:
        """What it says; raises Refused."""
        if isinstance(self.content, Refused):
            raise self.content
        return self.content


class Lines:
    """Lines of a stream as text; `taken` keeps the bytes of those handed out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._again: deque[bytes] = deque()
        self.taken: list[bytes] = []

    def __iter__(self) -> Lines:
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
        line = self._read().removeprefix(BOM)
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
