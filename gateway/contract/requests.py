"""Data requests: what UX asks backend to send. Whether it was agreed and shipped stands beside it, not in the file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataRequest:
    """One request. `event` and `properties` name what is wanted, as far as it is known; they need not be planned."""

    key: str
    title: str
    what: str
    why: str
    asked_by: str
    event: str | None = None
    properties: tuple[str, ...] = ()
