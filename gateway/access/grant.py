"""What a credential opens, and how those who keep something open hear that it may have ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.model.actor import Actor
from gateway.model.scope import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """A scope, when it ends (milliseconds; None: no end is set), the id of the key that stands behind it, and the
    teams that an API key speaks for.

    Nothing is granted for good: whoever keeps something open asks again when the bell rings and at `expires_at`.
    """

    scope: Scope
    expires_at: int | None = None
    key: str | None = None
    teams: tuple[str, ...] = ()

    @property
    def actor(self) -> Actor:
        """Who does something with it."""
        return Actor(self.key, self.teams)


class Bell:
    """Rings for one listener when some key has changed: `rung` is done then, until `hang` makes it ready again."""

    __slots__ = ("rung",)

    def __init__(self) -> None:
        self.rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ring(self) -> None:
        if not self.rung.done():
            self.rung.set_result(None)

    def hang(self) -> None:
        if self.rung.done():
            self.rung = asyncio.get_running_loop().create_future()
