"""What a check of the set-up found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `journey-gateway doctor`. `check` is stable and meant for programs; `fix` says what to do."""

    check: str
    state: State
    said: str
    fix: str = ""
