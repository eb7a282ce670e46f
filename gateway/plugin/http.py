"""HTTP as connectors use it: a small face, and the table from answers to results.

The client behind it (`gateway.connectors`) refuses private addresses, checks every redirect anew, caps the size and
the time of answers, and keeps credentials out of logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from gateway.plugin.results import AuthFailed, Delivered, ItemResult, Rejected, Retry, Throttled, TooLarge

_EXCERPT = 200
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?\Z")
#: Beyond this many seconds since 1970 a number in a reset header is a moment, below it a duration.
_MOMENT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; ValueError when it is none."""
        return json.loads(self.body)


class Http(Protocol):
    """What connectors ask of the network."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever its status.

        Raises HttpFailed when there was no whole answer: it may or may not have arrived.
        """
        ...


class HttpFailed(Exception):
    """No whole answer: refused, reset, too slow, too large, or an address that must not be asked.

    `final`: trying again does not help (a forbidden address, an answer over the limit).
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


def retry_after(headers: Mapping[str, str], now: int, *, resets: tuple[str, ...] = ()) -> float | None:
    """Seconds to wait as the answer says: `Retry-After` in seconds or as a date, then the vendor's `resets` headers
    (seconds, or a moment in seconds or milliseconds since 1970). `now` is ms since 1970; None: nothing is said."""
    found = headers.get("retry-after", "").strip()
    if _SECONDS.match(found):
        return float(found)
    if found:
        try:
            moment = parsedate_to_datetime(found)
        except ValueError:
            pass
        else:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(0.0, moment.timestamp() - now / 1000)
    for name in resets:
        value = headers.get(name.lower(), "").strip()
        if not re.match(r"\d{1,16}(\.\d{1,6})?\Z", value):
            continue
        number = float(value)
        if number < _MOMENT:
            return number
        seconds = number / 1000 if number > _MOMENT * 100 else number
        return max(0.0, seconds - now / 1000)
    return None


def result_of(
    answer: Answer,
    now: int,
    *,
    resets: tuple[str, ...] = (),
    overrides: Mapping[int, ItemResult] | None = None,
) -> ItemResult:
    """What the status of an answer means for all items of its request; a vendor's own meanings go into `overrides`.

    2xx is delivered (a vendor that answers 200 with errors inside must look itself), 401 and 403 are credentials, 408,
    409, 423, 425 and 5xx but 501 are tried again, 413 is split, 429 is throttled, every other is rejected.
    """
    status = answer.status
    if overrides is not None and status in overrides:
        return overrides[status]
    after = retry_after(answer.headers, now, resets=resets)
    said = f"HTTP {status}"
    if 200 <= status < 300:
        return Delivered()
    if status in (401, 403):
        return AuthFailed(said)
    if status == 413:
        return TooLarge(said)
    if status == 429:
        return Throttled(said, after)
    if status == 503 and after is not None:
        return Throttled(said, after)
    if status in (408, 409, 423, 425) or (status >= 500 and status != 501):
        return Retry(said, after)
    return Rejected(f"{said}: {answer.text[:_EXCERPT]}" if answer.body else said, code=f"http_{status}")
