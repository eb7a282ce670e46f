"""When a message says that it happened, and when it did by our clock. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.model.event import JsonObject

SKEW_MS = 60_000


def time_in(message: JsonObject, key: str, flags: set[str]) -> int | None:
    """Milliseconds; None and a flag for what is no time."""
    value = message.get(key)
    if value is None:
        return None
    parsed = parse_time(value)
    if parsed is None:
        flags.add("clock_suspect")
    return parsed


def parse_time(value: object) -> int | None:
    """ISO 8601 (no zone means UTC) or a number of seconds or milliseconds since 1970, as milliseconds."""
    if not isinstance(value, str):
        return _number_as_time(value)
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        seconds = moment.timestamp()
    except (OverflowError, ValueError):
        return None
    return round(seconds * 1000) if seconds >= 0 else None


def _number_as_time(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    milliseconds = value if abs(value) >= 1e11 else value * 1000
    return int(milliseconds) if 0 <= milliseconds < 253_402_300_800_000 else None


def corrected(timestamp: int | None, original: int | None, sent_at: int | None, received_at: int, *, skew: bool) -> int:
    """The event's time by our clock, at most 60 s past its arrival.

    One time stamp, whatever its name, is the sender's clock: corrected by `sentAt` beyond 60 s of skew. Of two that
    differ `timestamp` is when it happened and stays (RudderStack's rule): somebody corrected it, or told it on purpose.
    """
    at = original if timestamp is None else timestamp
    if at is None:
        return received_at
    told = timestamp is not None and original is not None and timestamp != original
    if skew and not told and sent_at is not None and abs(received_at - sent_at) > SKEW_MS:
        at = received_at - (sent_at - at)
    return max(0, min(at, received_at + SKEW_MS))
