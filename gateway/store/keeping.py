"""The embedded mongod kept running: one that ends while the gateway runs is started again, a few times in a row."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from gateway.clock import monotonic
from gateway.errors import SetupError, Unavailable
from gateway.store.embedded import EmbeddedMongod

log = logging.getLogger("gateway.store")

LOOK_SECONDS = 0.5
PAUSE_SECONDS = 1.0
"""Between two tries; a port or a disk may need a moment."""
MOST_TRIES = 3
SETTLED_SECONDS = 60.0
"""One that ran so long ends anew: the tries before it do not count."""


class KeptMongod:
    """The mongod of one data directory, at one address for as long as the gateway runs."""

    def __init__(self, mongod: EmbeddedMongod, data_dir: Path, setting: Path | None) -> None:
        self.uri = mongod.uri
        self._mongod = mongod
        self._data_dir = data_dir.absolute()
        self._setting = setting
        self._tries = 0

    @classmethod
    async def start(cls, data_dir: Path, *, mongod: Path | None = None) -> KeptMongod:
        """As EmbeddedMongod.start."""
        return cls(await EmbeddedMongod.start(data_dir, mongod=mongod), data_dir, mongod)

    async def keep(self) -> None:
        """Start mongod again whenever it ends; raises Unavailable with the reason when that fails."""
        since = monotonic()
        while True:
            while _runs(self._mongod):  # noqa: ASYNC110 - a process that ends tells nobody
                await asyncio.sleep(LOOK_SECONDS)
            if monotonic() - since > SETTLED_SECONDS:
                self._tries = 0
            log.error(
                "the embedded mongod ended; it is started again",
                extra={"pid": self._mongod.pid, "log": self._data_dir / "mongod.log.1"},  # where its start moves it
            )
            await self._again()
            since = monotonic()
            log.info("the embedded mongod runs again", extra={"pid": self._mongod.pid})

    async def stop(self) -> None:
        """Stop it, if it is our own."""
        await self._mongod.stop()

    async def _again(self) -> None:
        await self._mongod.stop()  # lets go of what says that its owner lives
        reason = "it ended again and again."
        while self._tries < MOST_TRIES:
            self._tries += 1
            try:
                self._mongod = await EmbeddedMongod.start(self._data_dir, mongod=self._setting)
            except SetupError as error:
                reason = str(error)
                log.error("the embedded mongod did not start", extra={"reason": error.message})
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if self._mongod.uri == self.uri:
                return
            await self._mongod.stop()
            reason = "another program has taken its port."
            break
        raise Unavailable(
            f"The embedded mongod ended and could not be started again: {reason}",
            hint=f"Its log is {self._data_dir / 'mongod.log'}. What was acknowledged is there at the next start.",
        )


def _runs(mongod: EmbeddedMongod) -> bool:
    """Whether it runs; another process's is known by its pid alone."""
    if mongod.owned:
        return not mongod.ended
    try:
        os.kill(mongod.pid, 0)
    except OSError:
        return False
    return True
