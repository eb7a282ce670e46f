"""The ten-minute tutorial of plugins/README.md, run as a reader would, beside the gateway's wheel."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.testing import FaultServer, Reply
from tests.flow.conftest import ROOT
from tests.flow.documents import Block, blocks_of
from tests.flow.wheels import Installed, installed, ready
from tests.pace import PATIENCE

__all__ = ["installed"]

pytestmark = pytest.mark.slow

_PORT = "9797"
_GATEWAY_PORT = "8000"


def blocks(language: str) -> list[Block]:
    found = blocks_of(ROOT / "plugins/README.md")
    return [block for block in found if (block.language, block.mark) == (language, "tutorial")]


def run(installed: Installed, folder: Path, script: str) -> str:
    """What a shell says of these lines; every one of them has to work."""
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=folder,
        env={**installed.environment, "PATH": f"{installed.bin}:/usr/local/bin:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def fill(connector: Path, lines: str) -> None:
    """Put the tutorial's lines in the place of those that were written."""
    text = connector.read_text()
    start = text.index("        event = message.event\n")
    end = text.index("\n\n", start)
    filled = text[:start] + lines.rstrip("\n") + text[end:]
    connector.write_text(filled.replace("    result_of,\n", "    result_of,\n    wire_time,\n"))


def deliver(installed: Installed, folder: Path, server: FaultServer, serve: str, send: str) -> None:
    """Serve, send an event, and wait until it is delivered."""
    init, start = serve.splitlines()
    assert start == "journey-gateway serve"
    assert init.split("#")[0].split() == ["journey-gateway", "init"]
    key = json.loads(run(installed, folder, "journey-gateway init --json"))["writeKey"]
    environment = {**installed.environment, "ACME_TOKEN": "a-secret"}
    before = len(server.requests)
    # Into a file: nobody reads a pipe meanwhile.
    with (folder / "serve.log").open("w") as log:
        serving = subprocess.Popen(
            [str(installed.bin / "journey-gateway"), "serve"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            port = environment["GATEWAY_PORT"]
            wait_for(lambda: ready(f"http://127.0.0.1:{port}"), folder)
            run(installed, folder, f"WRITE_KEY={key}\n{send.replace(_GATEWAY_PORT, port)}")
            wait_for(lambda: len(server.requests) > before, folder)
        finally:
            serving.terminate()
            serving.wait(PATIENCE)
    said = (folder / "serve.log").read_text()
    (sent,) = server.requests[before].json()["events"]
    assert (sent["name"], sent["user"]) == ("Order Completed", "ada")
    assert "a-secret" not in said


def wait_for(done: Callable[[], bool], folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until, (folder / "serve.log").read_text()
        time.sleep(0.1)


def test_the_tutorial_leads_to_a_delivery(installed: Installed, fault_server: FaultServer, tmp_path: Path) -> None:
    write, build, use, serve, send = (block.text for block in blocks("sh"))
    (mapping,) = blocks("python")
    (settings,) = blocks("toml")
    fault_server.answer = lambda request: Reply(200)

    assert " passed" in run(installed, tmp_path, write)
    fill(tmp_path / "acme/gateway_acme/connector.py", mapping.text)
    said = run(installed, tmp_path / "acme", build)
    assert " passed" in said
    assert _PORT in settings.text
    (tmp_path / settings.file).write_text(settings.text.replace(_PORT, str(fault_server.port)))

    said = run(installed, tmp_path, use)
    assert "in order" in said
    assert "Result: Delivered" in said
    assert "journey-gateway-acme 0.1.0" in said
    assert "acme (destination)" in said
    (request,) = [one for one in fault_server.requests if one.method == "POST"]
    assert request.headers["authorization"] == "Bearer a-secret"
    (sent,) = request.json()["events"]
    assert (sent["name"], sent["user"]) == ("Order Completed", "ada")
    assert sent["when"].endswith("Z")
    assert "a-secret" not in said
    deliver(installed, tmp_path, fault_server, serve, send)
    where = installed.run("python", "-c", "import gateway_acme; print(gateway_acme.__file__)").stdout
    assert where.startswith(str(installed.bin.parent)), "what runs is the wheel that was built"
