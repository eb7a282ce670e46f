"""What became of a piece in one turn, and what that says of its destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Done:
    """It is delivered, or needs not be: `how` says which."""

    how: Literal["delivered", "duplicate", "skipped", "withheld", "gone"] = "delivered"


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not get through on its own account, and is tried again. `burnt`: that was an attempt."""

    code: str
    reason: str
    after: float | None = None
    burnt: bool = True
    bug: bool = False


@dataclass(frozen=True, slots=True)
class Dead:
    """It never will get through."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Untouched:
    """It was not sent, or went down with all the others: its turn comes again, and nothing is held against it."""


Outcome: TypeAlias = Done | Failed | Dead | Untouched


@dataclass(slots=True)
class Weather:
    """What the sends of one turn say of the destination.

    `failures` in a row since the last success, of at most `most`; `stop` ends the turn: the destination is left alone.
    """

    failures: int = 0
    most: int = 5
    succeeded: bool = False
    stop: Literal["", "auth", "throttled", "failing"] = ""
    code: str = ""
    reason: str = ""
    after: float | None = None

    def good(self) -> None:
        """Something got through."""
        self.failures, self.succeeded = 0, True

    def bad(self, code: str, reason: str, after: float | None = None, *, stop: bool, counts: bool = True) -> None:
        """A send got nothing through. What failed before on its own account says little of the destination."""
        self.failures += counts
        self.code, self.reason, self.after = code, reason, after
        if (stop or self.failures >= self.most) and not self.stop:
            self.stop = "failing"

    def halt(self, why: Literal["auth", "throttled"], code: str, reason: str, after: float | None = None) -> None:
        """Nothing more may be sent for now."""
        if self.stop != "auth":
            self.stop, self.code, self.reason, self.after = why, code, reason, after
