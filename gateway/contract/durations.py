"""Durations as contract files write them: `30m`, `12h`, `7d`, `8w`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: Ten years: whatever is added to a date of this age stays a date.
LONGEST = timedelta(days=3653)


def parse_duration(text: str) -> timedelta:
    """The duration that `text` writes.

    Raises ValueError, with the fix, when it is none or longer than ten years.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", text)
    if match is None:
        raise ValueError("write a number and m, h, d or w, for example 30m, 12h, 7d or 8w")
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if duration > LONGEST:
        raise ValueError("write at most ten years")
    return duration


def duration_in_words(duration: timedelta) -> str:
    """`7 days`, `1 hour`: in the largest unit up to days that needs no fraction."""
    minutes = int(duration.total_seconds()) // 60
    for unit, size in (("day", 24 * 60), ("hour", 60), ("minute", 1)):
        if minutes % size == 0:
            count = minutes // size
            return f"{count} {unit}" + ("" if count == 1 else "s")
    raise AssertionError("a minute divides every duration a file can write")
