"""`plugin new` writes packages whose tests pass at once; `plugin try` shows what goes out, and never a secret."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.plugins import plugin
from gateway.testing import FaultServer, Reply
from tests.pace import PATIENCE

KINDS = ("destination", "webhook", "pull", "enricher", "flags", "alerts")
WRITE_KEY = "planted-write-key-8c1f"
HOOK_SECRET = "whsec_" + base64.b64encode(b"planted-hook-secret-8c1f").decode()


def called(*words: str) -> Result:
    return CliRunner().invoke(plugin, [*words])


def test_what_is_written_passes_its_tests_at_once(tmp_path: Path) -> None:
    for kind in KINDS:
        written = called("new", f"my_{kind}", "--kind", kind, "--into", str(tmp_path))
        assert written.exit_code == 0, written.output
    folders = [tmp_path / f"my_{kind}" for kind in KINDS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder) for folder in folders)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    for kind in KINDS:
        package = tmp_path / f"my_{kind}" / f"gateway_my_{kind}"
        assert "acme" not in (package / "connector.py").read_text().lower()
        source = (package / "connector.py").read_text()
        assert f"class My{kind.capitalize()}(" in source
        # Of an address paths are added to, and it may hold no credentials.
        assert "url: str" not in source


def test_nothing_is_overwritten_and_names_are_checked(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    done = called("new", "acme", "--kind", "pull", "--into", str(tmp_path))
    assert (done.exit_code, "exists already" in done.output) == (2, True)
    assert list((tmp_path / "acme").iterdir()) == []
    done = called("new", "webhook", "--kind", "pull", "--into", str(tmp_path))
    assert (done.exit_code, "installed already" in done.output) == (2, True)
    assert called("new", "Acme-1", "--kind", "pull", "--into", str(tmp_path)).exit_code == 2


@pytest.fixture
def sink(fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """A server that the configured `hook` posts to."""
    settings = tmp_path / "gateway.toml"
    settings.write_text(
        f"""
[connectors.hook]
use = "webhook"
url = "{fault_server.url}/in?k={WRITE_KEY}"
secret = "env:HOOK_SECRET"
allow_hosts = ["127.0.0.1"]

[connectors.in]
use = "webhook.source"
secret = "env:HOOK_SECRET"
"""
    )
    monkeypatch.setenv("GATEWAY_CONFIG", str(settings))
    monkeypatch.setenv("HOOK_SECRET", HOOK_SECRET)
    return fault_server


def event(tmp_path: Path) -> str:
    file = tmp_path / "sample.json"
    file.write_text(json.dumps({"type": "track", "event": "Paid", "userId": "ada", "properties": {"s": HOOK_SECRET}}))
    return str(file)


def test_a_try_shows_the_payload_the_exchange_the_result_and_no_secret(sink: FaultServer, tmp_path: Path) -> None:
    sink.answer = lambda request: Reply(200, {"echo": request.body.decode()})
    done = called("try", "hook", "--event", event(tmp_path))
    assert done.exit_code == 0, done.output
    assert '"event": "Paid"' in done.output
    assert f"> POST {sink.url}/in" in done.output
    assert "< HTTP 200" in done.output
    assert "Result: Delivered" in done.output
    assert "Time: " in done.output
    assert len(sink.requests) == 1
    assert HOOK_SECRET in sink.requests[0].body.decode()
    assert HOOK_SECRET not in done.output
    assert sink.requests[0].headers["webhook-signature"] not in done.output


def test_a_dry_run_sends_nothing(sink: FaultServer, tmp_path: Path) -> None:
    done = called("try", "hook", "--event", event(tmp_path), "--dry-run")
    assert done.exit_code == 0, done.output
    assert '"event": "Paid"' in done.output
    assert sink.requests == []


def test_a_try_that_does_not_get_through_says_so(sink: FaultServer, tmp_path: Path) -> None:
    sink.answer = lambda request: Reply(401)
    done = called("try", "hook", "--event", event(tmp_path))
    assert done.exit_code == 1
    assert "Result: AuthFailed(reason='HTTP 401')" in done.output
    assert called("try", "in").exit_code == 2
    assert "no destination" in called("try", "in").output
    assert "There are: hook, in" in called("try", "crm").output
