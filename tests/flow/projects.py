"""Frontend projects made from the documents' code blocks, with the Node packages that `make peers` installs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.flow.conftest import ROOT
from tests.flow.documents import blocks_of
from tests.pace import PATIENCE

PEERS = ROOT / "tests" / "peers"
MODULES = PEERS / "node_modules"
README = ROOT / "README.md"

#: For tests that run Node packages.
needs_node = [
    pytest.mark.peers,
    pytest.mark.skipif(
        shutil.which("node") is None or not MODULES.exists(), reason="no Node packages; `make peers` installs them"
    ),
]


def recipes(folder: Path) -> Path:
    """A project with the README's recipes in it; Relay's is compiled."""
    folder.mkdir()
    link_modules(folder)
    (folder / "package.json").write_text('{"type": "module"}')
    for block in blocks_of(README):
        if block.mark == "peers" and block.file:
            (folder / block.file).write_text(block.text)
    return folder


def link_modules(folder: Path) -> None:
    (folder / "node_modules").symlink_to(MODULES, target_is_directory=True)


class Program:
    """A running program and the lines it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        self._process = process
        self._more = asyncio.Condition()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._more:
                self.lines.append(line.decode().rstrip("\n"))
                self._more.notify_all()

    async def prints(self, *wanted: str, seconds: float = PATIENCE) -> None:
        """Wait until there is a line for each of these that begins so."""
        try:
            async with asyncio.timeout(seconds), self._more:
                await self._more.wait_for(lambda: all(self.those(start) for start in wanted))
        except TimeoutError:
            missing = [start for start in wanted if not self.those(start)]
            raise AssertionError(f"never printed: {missing}\n" + "\n".join(self.lines)) from None

    def those(self, start: str) -> list[str]:
        """The lines that begin so, without it."""
        return [line.removeprefix(start).strip() for line in self.lines if line.startswith(start)]


@asynccontextmanager
async def running_program(*command: str, folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Program]:
    """A program that is ended when this closes, with all that it has started."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", **environment},
        stdin=asyncio.subprocess.PIPE,  # open, as a terminal's is: some programs end with it
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    program = Program(process)
    listening = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await listening


async def finished(*command: str, folder: Path, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()
