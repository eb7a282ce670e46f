"""Who does something to what teams define together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """The API key that was used, by its id, and the teams it speaks for. `key` None: a token without a key."""

    key: str | None
    teams: tuple[str, ...] = ()
