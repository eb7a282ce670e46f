"""Alerts: something an operator or a team should look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. Times are milliseconds since 1970 UTC.

    `key` names what is wrong, so that the same trouble raises one alert however often it is met: as long as it is open
    `count` and `last_at` grow. `about` says what it concerns, by the field's word and its key (`connector`: `crm`).
    No personal data stands in it. `channels` are the instances that are told of it; empty: all.
    """

    id: str
    workspace: str
    key: str
    severity: Severity
    title: str
    text: str
    hint: str
    about: tuple[str, str]
    first_at: int
    last_at: int
    count: int = 1
    resolved_at: int | None = None
    channels: tuple[str, ...] = ()
