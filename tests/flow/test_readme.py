"""Every command of the README, run as a reader would: in order, against a running demo."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flow.conftest import ROOT, free_port
from tests.pace import PATIENCE

BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.M | re.S)
ECOM = ROOT.parent / "shared" / "data" / "ecom.csv.gz"


def blocks(language: str, kind: str | None) -> list[str]:
    return [
        text
        for found, mark, text in BLOCK.findall((ROOT / "README.md").read_text())
        if (found, mark or None) == (language, kind)
    ]


@dataclass(frozen=True)
class Reader:
    """A terminal in a folder that looks like a clone in which `make run` has run."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, *, interpreter: tuple[str, ...] = ("bash", "-euo", "pipefail", "-c")) -> str:
        done = subprocess.run(
            [*interpreter, script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def reader(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    command = folder / ".venv" / "bin" / "journey-gateway"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o755)
    port = free_port()
    own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    environment = {
        **own,
        "GATEWAY_MONGO_URI": mongo_uri,
        "GATEWAY_DATABASE": f"readme_{port}",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [str(command), "serve", "--demo", "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=log
    )
    deadline = time.monotonic() + 3 * PATIENCE
    while "Eight weeks" not in (folder / "log").read_text():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)
    lines = (folder / ".gateway" / "demo.env").read_text().splitlines()
    yield Reader(folder, {**environment, **dict(line.split("=", 1) for line in lines)})
    process.terminate()
    assert process.wait(PATIENCE) == 0
    log.close()


@pytest.mark.parametrize("script", blocks("sh", "demo"))
async def test_shell_commands_for_the_demo(reader: Reader, script: str) -> None:
    printed = await asyncio.to_thread(reader.run, script)
    assert '"errors"' not in printed
    assert '"success":false' not in printed


@pytest.mark.parametrize("script", blocks("python", "demo"))
async def test_python_for_the_demo(reader: Reader, script: str) -> None:
    await asyncio.to_thread(reader.run, script, interpreter=(sys.executable, "-c"))


@pytest.mark.parametrize("script", blocks("js", "demo"))
async def test_javascript_for_the_demo(reader: Reader, script: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    printed = await asyncio.to_thread(reader.run, script, interpreter=(node, "--input-type=module", "-e"))
    assert "because" in printed


async def test_printed_commands_work_as_pasted(reader: Reader) -> None:
    printed = (reader.folder / "log").read_text()
    sent, asked, watched = [
        line.strip()
        for line in printed.splitlines()
        if line.startswith(("  curl ", "  ")) and ("curl" in line or " watch " in line)
    ]
    assert '"accepted":1' in await asyncio.to_thread(reader.run, sent)
    await asyncio.sleep(1)
    assert "because" in await asyncio.to_thread(reader.run, asked)
    assert "cursor" in await asyncio.to_thread(reader.run, watched + " --count 1")


async def test_init_prints_keys(reader: Reader) -> None:
    script = next(text for text in blocks("sh", None) if "init" in text)
    assert "API key" in await asyncio.to_thread(reader.run, script)


@pytest.mark.skipif(not ECOM.exists(), reason="../shared/data/ecom.csv.gz is not here")
async def test_the_real_log_shows_its_published_figures(reader: Reader) -> None:
    (reader.folder / "ecom.csv.gz").write_bytes(ECOM.read_bytes())
    (script,) = blocks("sh", "ecom")
    printed = await asyncio.to_thread(reader.run, script)
    assert "31,106" in printed
    assert '"users":{"totalCount":600}' in printed
    assert '"events":{"totalCount":31106}' in printed
    assert re.findall(r'"users":(\d+)}', printed.split("purchase_conversion")[1])[:3] == ["600", "511", "285"]
    assert re.search(r'"session_length".*?"value":1039\.5\d*,"n":3605', printed)
    again = await asyncio.to_thread(reader.run, script)
    assert re.search(r"duplicate +31,106", again)
    assert '"events":{"totalCount":31106}' in again


def test_make_run_and_make_test_are_what_the_makefile_has() -> None:
    """`make run` itself is started by tests/flow/test_start.py, `make test` is what runs this."""
    (start,) = [text for text in blocks("sh", None) if "make run" in text]
    for line in start.strip().splitlines():
        target = line.split("#")[0].split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
