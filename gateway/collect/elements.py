"""The bytes that each element of a list in a JSON body was sent as."""

from __future__ import annotations

import re
from functools import cached_property
from json import JSONDecodeError, JSONDecoder

_BLANK = re.compile(r"[ \t\n\r]*")
# Values are only passed over: numbers need not be made of their digits.
_DECODER = JSONDecoder(parse_int=len, parse_float=len)


class Elements:
    """Of the list under `key` in the object that `body` is. The body is searched only when somebody asks."""

    def __init__(self, body: bytes, key: str) -> None:
        self._body = body
        self._key = key

    def of(self, index: int) -> bytes | None:
        """The bytes of one element; None when they cannot be told."""
        return self._found[index] if index < len(self._found) else None

    @cached_property
    def _found(self) -> list[bytes]:
        try:
            return [part.encode() for part in _elements(self._body.decode("utf-8-sig"), self._key)]
        except (JSONDecodeError, UnicodeError, RecursionError, IndexError):
            return []


def _elements(text: str, key: str) -> list[str]:
    """The elements of the last list under `key`: of a key that is there twice parsers take the last."""
    found: list[str] = []
    at = _after_blanks(text, 0) + 1
    while text[at := _after_blanks(text, at)] != "}":
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
        name, at = _DECODER.raw_decode(text, at)
        at = _after_blanks(text, _after_blanks(text, at) + 1)  # the colon
        if name == key and text[at] == "[":
            found, at = _list(text, at)
        else:
            at = _DECODER.raw_decode(text, at)[1]
    return found


def _list(text: str, at: int) -> tuple[list[str], int]:
    found = []
    at = _after_blanks(text, at + 1)
    while text[at] != "]":
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
        end = _DECODER.raw_decode(text, at)[1]
        found.append(text[at:end])
        at = _after_blanks(text, end)
    return found, at + 1


def _after_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return at if match is None else match.end()
