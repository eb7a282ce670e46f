"""Starting and stopping as a user does: Ctrl-C, kill -9, a second start, a taken port, a typo in the contract."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from gateway.store.mongod_binary import find_mongod
from tests.flow.conftest import ROOT, free_port
from tests.pace import PATIENCE


@dataclass
class Terminal:
    """A folder of one's own, with the embedded mongod in it."""

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, command: tuple[str, ...] = (sys.executable, "-m", "gateway")) -> Running:
        port = free_port()
        log = self.folder / f"log-{len(self.started)}"
        began = time.monotonic()
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, *(part.format(port=port) for part in arguments)],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return Running(process, port, log, began)

    def mongods(self) -> list[int]:
        """Process ids of every mongod of this folder."""
        listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
        found = [line.split() for line in listed.splitlines() if f"--dbpath {self.folder}" in line]
        return [int(words[0]) for words in found if words[1].endswith("mongod")]


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    log: Path
    began: float

    def wait_for(self, words: str, seconds: float = 900) -> float:
        """Seconds from the start until the output holds `words`."""
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - self.began < seconds, self.log.read_text()
            time.sleep(0.02)
        return time.monotonic() - self.began

    def interrupt(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)

    @property
    def api_key(self) -> str:
        found = re.search(r"sk_\S+", self.log.read_text())
        assert found is not None
        return found.group()

    def totals(self) -> tuple[int, int]:
        """Events and users of the demo."""
        data = httpx2.post(
            f"http://127.0.0.1:{self.port}/graphql",
            json={"query": "{ events(first: 1) { totalCount } users(first: 1) { totalCount } }"},
            headers={"authorization": f"Bearer {self.api_key}"},
            timeout=PATIENCE,
        ).json()["data"]
        return data["events"]["totalCount"], data["users"]["totalCount"]


@pytest.fixture
def terminal(tmp_path: Path, mongod_binary: Path | None) -> Iterator[Terminal]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    # What `make` hands down to its commands is not for the `make` that a test starts.
    own = {key: value for key, value in own.items() if key not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")}
    environment = {**own, "GATEWAY_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    if mongod_binary is not None:
        environment["GATEWAY_MONGOD"] = str(mongod_binary)
    terminal = Terminal(tmp_path, environment)
    yield terminal
    for process in terminal.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def gone(terminal: Terminal, seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while terminal.mongods():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.matrix("Start", "here", "serve --demo", "Ctrl-C and again")
def test_ctrl_c_drains_and_a_second_start_keeps_the_data(terminal: Terminal) -> None:
    first = terminal.start("serve", "--demo", "--port", "{port}")
    first.wait_for("Eight weeks of visitors are in")
    while first.totals()[1] < 1_000:
        assert time.monotonic() - first.began < 900
        time.sleep(0.2)
    events, users = first.totals()
    assert terminal.mongods()
    assert first.interrupt() == 0
    assert gone(terminal)
    assert "Traceback" not in first.log.read_text()
    second = terminal.start("serve", "--demo", "--port", "{port}")
    served = second.wait_for("Journey Gateway is running")
    print(f"second start served after {served:.2f} s")
    more_events, more_users = second.totals()
    assert more_events >= events >= 20_000
    assert more_users >= users >= 1_000
    assert second.api_key == first.api_key
    second.wait_for("Ctrl-C")
    assert second.interrupt() == 0
    assert "Eight weeks" not in second.log.read_text()


@pytest.mark.matrix("Start", "here", "after kill -9")
def test_a_killed_gateway_leaves_no_orphan_and_the_next_start_recovers(terminal: Terminal) -> None:
    first = terminal.start("serve", "--demo", "--port", "{port}")
    first.wait_for("Journey Gateway is running")
    time.sleep(1.5)  # in the middle of the backfill
    assert terminal.mongods()
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(PATIENCE)
    assert gone(terminal)
    second = terminal.start("serve", "--demo", "--port", "{port}")
    second.wait_for("Eight weeks of visitors are in")
    assert second.interrupt() == 0
    assert gone(terminal)


def post(running: Running, write_key: str) -> httpx2.Response:
    message = {"event": "x", "userId": "ada", "messageId": "m1"}
    return httpx2.post(
        f"http://127.0.0.1:{running.port}/v1/track", json=message, auth=(write_key, ""), timeout=PATIENCE
    )


def test_a_killed_mongod_is_started_again_with_its_data_and_survived_by_the_next_start(terminal: Terminal) -> None:
    first = terminal.start("serve", "--port", "{port}")
    first.wait_for("serves")
    made = terminal.start("init")
    assert made.process.wait(PATIENCE) == 0
    found = re.search(r"wk_\S+", made.log.read_text())
    assert found is not None
    assert post(first, found.group()).json()["accepted"] == 1
    for _ in range(2):
        (killed,) = terminal.mongods()
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while (answer := post(first, found.group())).status_code != 200:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert time.monotonic() < deadline, first.log.read_text()
        assert answer.json()["duplicate"] == 1, "what was acknowledged is still there"
        assert killed not in terminal.mongods()
    said = first.log.read_text()
    assert f"{terminal.folder / 'mongod.log'}" in said
    assert said.count("the embedded mongod ended") == 2
    first.interrupt()
    assert gone(terminal)
    second = terminal.start("serve", "--port", "{port}")
    second.wait_for("serves")
    assert second.interrupt() == 0


def test_a_mongod_that_cannot_be_started_again_ends_the_gateway_with_the_reason(terminal: Terminal) -> None:
    real = find_mongod(Path(given) if (given := terminal.environment.get("GATEWAY_MONGOD")) else None)
    script = terminal.folder / "script"
    script.write_text(
        f'#!/bin/sh\n[ -e "{terminal.folder}/broken" ] && echo "worn out" >&2 && exit 7\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    terminal.environment["GATEWAY_MONGOD"] = str(script)
    serving = terminal.start("serve", "--port", "{port}")
    serving.wait_for("serves")
    (terminal.folder / "broken").touch()
    os.kill(terminal.mongods()[-1], signal.SIGKILL)
    assert serving.process.wait(PATIENCE) == 1
    said = serving.log.read_text()
    assert "Error: The embedded mongod ended and could not be started again" in said
    assert "worn out" in said
    assert str(terminal.folder / "mongod.log") in said
    assert "Traceback" not in said
    assert terminal.mongods() == []


def test_a_taken_port_is_said_before_anything_starts(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = terminal.start("serve", "--port", str(port))
        assert refused.process.wait(PATIENCE) == 2
    said = refused.log.read_text()
    assert f"Cannot listen on 127.0.0.1:{port}" in said
    assert f"--port {port + 1}" in said
    assert "Does a gateway run there already?" in said
    assert terminal.mongods() == []


def test_a_typo_in_a_contract_file_is_said_with_file_line_and_fix(terminal: Terminal) -> None:
    folder = terminal.folder / "contracts" / "mine"
    shutil.copytree(ROOT / "schema" / "shop", folder)
    file = folder / "journeys" / "purchase.yaml"
    file.write_text(file.read_text().replace("abandonedAfter:", "abandonnedAfter:"))
    terminal.environment |= {"GATEWAY_SCHEMA_DIR": str(folder.parent), "GATEWAY_CONTRACT": "mine"}
    refused = terminal.start("serve", "--port", "{port}")
    assert refused.process.wait(PATIENCE) != 0
    said = refused.log.read_text()
    assert re.search(r"purchase\.yaml:\d+", said), said
    assert "did you mean 'abandonedAfter'" in said
    assert terminal.mongods() == []


def test_an_unknown_setting_stops_the_start(terminal: Terminal) -> None:
    terminal.environment["GATEWAY_PROT"] = "9000"
    refused = terminal.start("serve")
    assert refused.process.wait(PATIENCE) == 2
    assert "Did you mean GATEWAY_PORT?" in refused.log.read_text()


@pytest.mark.skipif(not (ROOT / ".venv" / "run.stamp").exists(), reason="`make run` has not set up .venv here")
@pytest.mark.matrix("Start", "here", "make run")
def test_make_run_starts_the_demo(terminal: Terminal) -> None:
    running = terminal.start("run", "PORT={port}", command=("make",))
    running.wait_for("Journey Gateway is running")
    assert running.totals()[0] >= 0
    assert running.interrupt() in (0, -signal.SIGINT)  # make itself ends by the signal it passed on
    assert "Error" not in running.log.read_text()
    assert gone(terminal)
