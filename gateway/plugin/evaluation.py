"""What a provider of feature flags is asked, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FlagReason(StrEnum):
    """Why a flag has its value, in the words of OpenFeature."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class FlagContext:
    """Whom flags are evaluated for: a stable key, and what the gateway knows (JSON values)."""

    targeting_key: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlagResult:
    """One flag's value. `error` is OpenFeature's code (FLAG_NOT_FOUND, TYPE_MISMATCH …) and leaves `value` None."""

    key: str
    value: Any = None
    variant: str | None = None
    reason: FlagReason = FlagReason.UNKNOWN
    error: str | None = None
    message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
