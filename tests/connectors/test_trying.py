"""`plugin try` on connectors that pack what they send, and on alert channels."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.exchanges import readable
from gateway.cli.plugins import plugin
from gateway.testing import FaultServer, Reply

TOKEN = "planted-token-8c1f"


@pytest.fixture
def server(fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """Behind `mixpanel`, which packs, and `slack`."""
    settings = tmp_path / "gateway.toml"
    settings.write_text(
        f"""
[connectors.mixpanel]
project_id = "7"
username = "gateway-{TOKEN}"
secret = "env:TRIED_TOKEN"
base_url = "{fault_server.url}"
allow_hosts = ["127.0.0.1"]

[connectors.slack]
token = "env:TRIED_TOKEN"
channel = "C1"
api_url = "{fault_server.url}/api"
allow_hosts = ["127.0.0.1"]
"""
    )
    monkeypatch.setenv("GATEWAY_CONFIG", str(settings))
    monkeypatch.setenv("TRIED_TOKEN", TOKEN)
    return fault_server


def tried(*words: str) -> Result:
    return CliRunner().invoke(plugin, ["try", *words])


def test_a_packed_body_is_shown_unpacked_and_masked(server: FaultServer, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(f'{{"type": "track", "event": "Paid", "userId": "ada", "properties": {{"said": "{TOKEN}"}}}}')
    server.answer = lambda request: Reply(200, {"code": 200})
    done = tried("mixpanel", "--event", str(file))
    assert done.exit_code == 0, done.output
    assert server.requests[0].headers["content-encoding"] == "gzip"
    assert f"> (gzip, {len(server.requests[0].body):,} bytes)" in done.output
    assert '> [{"event":"Paid","properties":{"said":"********"' in done.output
    assert TOKEN not in done.output
    assert "\ufffd" not in done.output


def test_an_alert_channel_gets_a_sample(server: FaultServer) -> None:
    server.answer = lambda request: Reply(200, {"ok": True, "ts": "1.2"})
    done = tried("slack")
    assert done.exit_code == 0, done.output
    assert "A sample of an alert" in server.requests[0].json()["text"]
    assert "Result: Delivered(reference='1.2')" in done.output
    assert TOKEN not in done.output
    assert len(server.requests) == 1
    assert tried("slack", "--dry-run").exit_code == 0
    assert len(server.requests) == 1


def test_an_alert_that_is_over_follows_the_one_that_was_raised(server: FaultServer) -> None:
    server.answer = lambda request: Reply(200, {"ok": True, "ts": "1.2"})
    done = tried("slack", "--resolved")
    assert done.output.count("Result: Delivered") == 2
    assert "thread_ts" not in server.requests[0].json()
    assert server.requests[1].json()["thread_ts"] == "1.2"
    server.answer = lambda request: Reply(200, {"ok": False, "error": "invalid_auth"})
    refused = tried("slack", "--resolved")
    assert (refused.exit_code, refused.output.count("Result: AuthFailed")) == (1, 1)


def test_what_is_of_the_other_kind_is_said(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{}")
    assert "no --event" in tried("slack", "--event", str(tmp_path / "event.json")).output
    assert "--resolved is of alert channels" in tried("mixpanel", "--resolved").output
    assert server.requests == []


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"plain", ("plain", "")),
        (b"", ("", "")),
        (gzip.compress(b"x" * 2_000_000), ("x" * 1_000_000, "gzip, 1,972 bytes")),
        (b"\x1f\x8bnonsense", ("", "gzip, 10 bytes, which cannot be unpacked")),
        (b"a\0b", ("", "3 bytes that are no text")),
    ],
)
def test_a_body_is_shown_as_far_as_it_can_be(body: bytes, shown: tuple[str, str]) -> None:
    text, how = readable(body)
    assert (text, how.partition(" bytes")[2]) == (shown[0], shown[1].partition(" bytes")[2])
    assert how.startswith("gzip") == shown[1].startswith("gzip")


BROKEN = """
import time
from gateway.plugin import Capabilities, Config, Delivered, Destination, Health, Manifest, hookimpl

class Broken(Destination[Config]):
    manifest = Manifest(name="broken", version="1", brief="Breaks.", test_level="D")
    Config = Config
    capabilities = Capabilities()
    def map(self, message):
        {map}
    async def send(self, items):
        {send}
    async def check(self):
        return Health(True)

@hookimpl
def register_connectors():
    return [Broken]
"""
GOOD = "return {'a': 1}"


@pytest.mark.parametrize(
    ("map_", "send", "said"),
    [
        ("raise KeyError('total')", "pass", "Result: map raised KeyError: 'total'"),
        ("return {'a': object()}", "pass", "Result: the payload holds what is no JSON value: Object of type object"),
        ("return ['a']", "pass", "Result: map gave a list, which is neither a dict nor Skip."),
        (GOOD, "raise SystemExit(0)", "Result: send raised SystemExit: 0"),
        (GOOD, "return ['fine']", "Result: list, which is no result"),
        (GOOD, "time.sleep(3)", "No result within 0.2 s: it waits without `await`, and blocks its thread."),
        ("time.sleep(3)", "pass", "No result within 0.2 s: it waits without `await`, and blocks its thread."),
    ],
)
def test_a_connector_that_is_not_right_yet_is_told_what_is_wrong(
    map_: str, send: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text(BROKEN.format(map=map_, send=send))
    (tmp_path / "gateway.toml").write_text('plugins_dir = "plugins"\n[connectors.broken]\n')
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.toml"))
    monkeypatch.chdir(tmp_path)
    if "sleep" in map_ + send:
        monkeypatch.setattr("gateway.cli.trying._SECONDS", 0.2)
        monkeypatch.setattr("gateway.cli.trying._ENDING_SECONDS", 0.2)
    done = tried("broken")
    assert done.exit_code == 1, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert said in done.output
