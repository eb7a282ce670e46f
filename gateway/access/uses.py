"""When each key was used last: noted in memory, written together once a minute."""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.store.keys import Keys


class Uses:
    """No request waits for it; what a crash loses is a minute of notes."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._noted: dict[tuple[str, bytes], int] = {}

    def note(self, workspace: str, key: bytes, at: int) -> None:
        """The key was used now (milliseconds)."""
        self._noted[workspace, key] = at

    async def write(self) -> None:
        """Write what was noted, once per key; kept for the next time when MongoDB does not take it."""
        noted, self._noted = self._noted, {}
        try:
            await self._keys.used(noted)
        except GatewayError:
            self._noted = noted | self._noted
            raise
