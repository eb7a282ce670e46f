"""Processes of a run: each ends with the run, however that ends, and no other is touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class Process:
    """One child. It has a session of its own (Ctrl-C is for the run alone) and is killed when the run is killed."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.frozen = False
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def status(self) -> int | None:
        return None if self._child is None else self._child.poll()

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """To be called from the main thread: the child dies with the thread that made it."""
        assert not self.running, f"{self.name} runs already"
        setpriv = shutil.which("setpriv")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )
        self.frozen = False

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._child is not None
            os.kill(self._child.pid, number)

    def freeze(self) -> None:
        self.frozen = True
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self.signal(signal.SIGCONT)

    async def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.running:  # noqa: ASYNC110 - a child tells nobody
                    await asyncio.sleep(0.02)
        return not self.running

    async def terminate(self, seconds: float) -> None:
        """SIGTERM; killed when it takes longer."""
        self.signal(signal.SIGTERM)
        if not await self.ended(seconds):
            self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
        self.frozen = False

    def tail(self, size: int = 2_000) -> str:
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
