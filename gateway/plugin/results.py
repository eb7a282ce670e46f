"""What became of one item that a destination was asked to deliver; the type says what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Delivered:
    """It has it. `reference` is the destination's own id for it, if it gives one."""

    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It had it already: as good as delivered."""

    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: tried again with backoff, after at least `after` seconds. The user's later items wait behind it."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too fast. The whole destination (or this one user) waits `after` seconds; no attempt is burnt."""

    reason: str
    after: float | None = None
    scope: Literal["destination", "user"] = "destination"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never: it goes to the dead letters with the reason, and the user's later items go on. `field`: what is wrong."""

    reason: str
    code: str = "rejected"
    field: str | None = None


@dataclass(frozen=True, slots=True)
class AuthFailed:
    """The credentials are refused: the destination pauses, an alert is raised, no attempt is burnt."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request was too large: it is split; an item that is too large alone is a dead letter."""

    reason: str


ItemResult: TypeAlias = Delivered | Duplicate | Retry | Throttled | Rejected | AuthFailed | TooLarge


@dataclass(frozen=True, slots=True)
class Skip:
    """What `map` returns for a message that this destination has no use for, with the reason."""

    reason: str
