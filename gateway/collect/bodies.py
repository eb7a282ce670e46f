"""Request bodies under limits, and the JSON in them.

What is wrong with a body as a whole is refused here; what is wrong with one event is left for intake to quarantine,
so the reading is lenient wherever other clients' JSON is: NaN, lone surrogates, numbers of any length.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.errors import InvalidInput, Late, TooLarge
from gateway.model.event import JsonObject
from gateway.pipeline.budget import Budget, jittered
from gateway.pipeline.intake import Intake
from gateway.settings import Settings

MAX_DEPTH = 512
RECEIVE_SECONDS = 30.0
#: How much of a body that is too large is read on and thrown away, in multiples of the limit: a client that is still
#: sending would see a broken connection instead of the answer, and try again.
_PATIENCE = 4
#: Whoever is silent for so long is not sending, and gets the answer.
_SILENT_SECONDS = 0.5

_SEND_ONE = 'Send one, such as {"userId": "…", "event": "…"}.'
_GZIP = 16 + zlib.MAX_WBITS
# Every digit becomes a zero, all else but the minus a blank: then a long number is found at the speed of a search.
_DIGITS = bytes(ord("0") if chr(byte).isdecimal() else byte if byte == ord("-") else ord(" ") for byte in range(256))
_LONG = b"0" * 19
_MAX_DIGITS = 4_000


class Bodies:
    """Reads request bodies; one per door. Doors share a `budget`; `open` is asked before a byte is read."""

    def __init__(
        self,
        max_bytes: int,
        *,
        budget: Budget | None = None,
        seconds: float = RECEIVE_SECONDS,
        check_open: Callable[[], None] | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._budget = budget or Budget()
        self._seconds = seconds
        self._check_open = check_open

    @classmethod
    def of_events(cls, intake: Intake, settings: Settings) -> Bodies:
        """As the doors for events read them: within the process's budget, and only while intake is open."""
        return cls(
            settings.max_body_bytes,
            budget=intake.budget,
            seconds=settings.body_seconds,
            check_open=intake.check_open,
        )

    @asynccontextmanager
    async def read(self, headers: Headers, receive: Receive) -> AsyncIterator[bytes]:
        """The body, unzipped; its bytes count as in flight until the context ends.

        Raises TooLarge, InvalidInput for gzip that is broken or not announced right, Unavailable when too much is in
        flight or nothing is taken in, Late when the body does not come in time, and ClientDisconnect.
        """
        if self._check_open is not None:
            self._check_open()
        parts: list[bytes] = []
        try:
            await self._receive(headers, receive, parts)
            yield b"".join(parts)
        finally:
            self._budget.give(sum(map(len, parts)))

    async def _receive(self, headers: Headers, receive: Receive, parts: list[bytes]) -> None:
        chunks = _Chunks(receive)
        try:
            async with asyncio.timeout(self._seconds):
                await self._fill(headers, chunks, parts)
        except TimeoutError:
            raise Late(f"The body did not arrive within {self._seconds:g} seconds.", retry_after=jittered()) from None
        except InvalidInput:
            if _announced(headers) <= self._max_bytes * _PATIENCE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds):
                        await chunks.discard(self._max_bytes * _PATIENCE)
            raise

    async def _fill(self, headers: Headers, chunks: _Chunks, parts: list[bytes]) -> None:
        length = _announced(headers)
        if length > self._max_bytes:
            raise self._too_large()
        self._budget.check(length)
        inflate = _inflater(headers.get("content-encoding", ""))
        on_the_wire = size = 0
        while chunks.more:
            chunk = await chunks.next()
            on_the_wire += len(chunk)
            part = chunk if inflate is None else inflate.feed(chunk, self._max_bytes + 1 - size)
            size += len(part)
            if max(size, on_the_wire) > self._max_bytes:
                raise self._too_large()
            self._budget.take(len(part))
            parts.append(part)
        if inflate is not None:
            inflate.finish()

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body has more than {self._max_bytes:,} bytes, counted unzipped.",
            hint="Send less at a time, many events in several batches.",
        )


def _announced(headers: Headers) -> int:
    """The length a request says its body has; 0 if it does not."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


class _Chunks:
    """The pieces of one body; `more` says whether another one comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.more = message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def discard(self, at_most: int) -> None:
        while self.more and at_most > 0:
            async with asyncio.timeout(_SILENT_SECONDS):
                at_most -= len(await self.next())


class _Gunzip:
    """Inflates one gzip stream piece by piece."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, chunk: bytes, at_most: int) -> bytes:
        """The next bytes, no more than `at_most` (positive); what is beyond them is lost."""
        try:
            part = self._inflate.decompress(chunk, at_most)
        except zlib.error:
            raise _broken("is not valid gzip, though Content-Encoding says so") from None
        if self._inflate.unused_data:
            raise _broken("goes on behind the end of its gzip stream")
        return part

    def finish(self) -> None:
        if not self._inflate.eof:
            raise _broken("ends in the middle of its gzip stream")


def _inflater(encoding: str) -> _Gunzip | None:
    name = encoding.strip().lower()
    if name in ("gzip", "x-gzip"):
        return _Gunzip()
    if name in ("", "identity"):
        return None
    raise InvalidInput("This Content-Encoding is not known.", hint="Send the body plain or with gzip.")


def _broken(what: str) -> InvalidInput:
    return InvalidInput(f"The body {what}.", hint="Compress it once, as one gzip stream, or send it plain.")


# -- JSON -----------------------------------------------------------------------------------------------------------


def read_object(body: bytes, hint: str = _SEND_ONE) -> JsonObject:
    """The JSON object in a body; raises InvalidInput for anything else."""
    return read_plain_object(body, hint)[0]


def read_plain_object(body: bytes, hint: str = _SEND_ONE) -> tuple[JsonObject, bool]:
    """The same, and whether it is plain: without a backslash, strictly JSON, every number in the range of 64 bits.

    In what is plain nothing but keys can be wrong: no surrogate stands alone, nothing is NUL, nothing is NaN.
    """
    if not body or body.isspace():
        raise InvalidInput("The body is empty, and no JSON object.", hint=hint)
    value, plain = _read(body)
    if not isinstance(value, dict):
        raise InvalidInput("The body is no JSON object.", hint=hint)
    return value, plain and b"\\" not in body


def read_json(text: bytes) -> Any:
    """JSON as its sender meant it: integers exact however long (to 4,000 digits), NaN and lone surrogates kept.

    Raises InvalidInput for what is not UTF-8, not JSON, or nested deeper than 512 levels.
    """
    return _read(text)[0]


def _read(text: bytes) -> tuple[Any, bool]:
    """JSON, and whether it is strictly that, with all its integers far from the ends of 64 bits."""
    digits = text.translate(_DIGITS)
    plain = _LONG not in digits
    if not plain and _may_hold_long_integer(digits):
        value = _read_leniently(text)
    else:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value, plain = _read_leniently(text), False
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, value):
        raise _too_deep()
    return value, plain


def _may_hold_long_integer(digits: bytes) -> bool:
    """Whether there may be an integer outside of -2^63 … 2^64-1, which orjson would round to a float."""
    return b"0" * 20 in digits or b"-" + _LONG in digits


def _read_leniently(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_int=_integer)
    except UnicodeDecodeError:
        raise InvalidInput("The body is not valid UTF-8.", hint="Encode it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"The body is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}).",
            hint="Send it as a JSON library writes it.",
        ) from None
    except RecursionError:
        raise _too_deep() from None


def _integer(digits: str) -> int:
    # Python refuses to read longer ones. This one is out of range in any case, and quarantined with what is kept.
    return int(digits[:_MAX_DIGITS])


def _deeper_than(limit: int, value: Any) -> bool:
    try:
        orjson.dumps(value)
    except (TypeError, RecursionError):  # orjson's encoder stops at 254 levels: quick proof that most are flat
        pass
    else:
        return False
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep() -> InvalidInput:
    return InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels.", hint="Flatten it.")
