"""An instance for a workspace that there is not is left out, and it is said which key to mend and how."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.access.keys import KeyRing
from gateway.app.building import open_gateway
from gateway.cli.main import commands
from gateway.clock import ServerClock
from gateway.configuration import Tables
from gateway.errors import PluginError
from gateway.plugin.configuring import Plugged, check_workspaces, configure
from gateway.plugin.host import Host
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.keys import Keys


def plugged(tables: Tables) -> Plugged:
    host = Host.load(["webhook"], strict=True)
    return Plugged(host, tuple(configure(tables, host)))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Tables:
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + "YWFh" * 8)
    table: dict[str, Any] = {"use": "webhook", "url": "https://a.example", "secret": "env:HOOK_SECRET"}
    values = {
        "here": {**table, "events": ["Order Completed"]},
        "near": {**table, "workspace": "shpo"},
        "far": {**table, "workspace": "elsewhere"},
    }
    return Tables(values, {("near", "workspace"): "gateway.toml:7"})


def test_it_is_said_with_its_key_and_what_could_be_meant(given: Tables) -> None:
    here, near, far = check_workspaces(plugged(given), given, ["main", "shop"]).instances
    assert here.failure is None
    assert near.failure is not None
    assert near.failure.message == "gateway.toml:7: near.workspace: there is no workspace 'shpo'."
    assert near.failure.fix.startswith("Did you mean shop? Or make it with `journey-gateway init shpo`")
    assert far.failure is not None
    assert far.failure.fix.startswith("There are: main, shop.")
    assert (far.failure.category, far.failure.plugin, far.failure.operation) == ("config", "webhook", "configure far")
    assert far.failure.trace_id


def test_before_there_is_any_workspace_nobody_is_wrong(given: Tables) -> None:
    assert check_workspaces(plugged(given), given, []).failures == []


async def test_a_start_leaves_it_out_and_a_strict_one_refuses(
    given: Tables, mongo_uri: str, database: Database, tmp_path: Path
) -> None:
    await KeyRing(Keys(database), ServerClock()).create_write_key("main", "web")
    settings: dict[str, Any] = {
        "mongo_uri": mongo_uri,
        "database": database.name,
        "data_dir": tmp_path,
        "columnar_url": "off",
    }
    async with open_gateway(Settings(connectors=given, **settings), serves=True) as gateway:
        assert list(gateway.connectors.instances) == ["here"]
        assert gateway.connectors.instances["here"].events == {"Order Completed"}
        assert [one.name for one in gateway.connectors.plugged.instances if one.failure] == ["near", "far"]
        ready = " ".join(gateway.watch.plugins)
        assert "near.workspace: there is no workspace 'shpo'" in ready
        assert "shop" not in ready
    with pytest.raises(PluginError, match="no workspace 'shpo'"):
        async with open_gateway(Settings(connectors=given, strict_plugins=True, **settings), serves=True):
            pass


async def test_plugin_check_and_doctor_say_it_before_a_start(
    given: Tables, mongo_uri: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await KeyRing(Keys(database), ServerClock()).create_write_key("main", "web")
    lines = [
        f"[connectors.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in given.values.items()
    ]
    (tmp_path / "gateway.toml").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_CONFIG", "")
    monkeypatch.setenv("GATEWAY_MONGO_URI", mongo_uri)
    monkeypatch.setenv("GATEWAY_DATABASE", database.name)
    done = await asyncio.to_thread(CliRunner().invoke, commands, ["plugin", "check"])
    assert done.exit_code == 2
    assert "near.workspace: there is no workspace 'shpo'." in done.output
    assert "far.workspace: there is no workspace 'elsewhere'." in done.output
    assert "configure here" not in done.output
    one = await asyncio.to_thread(CliRunner().invoke, commands, ["plugin", "check", "here"])
    assert one.exit_code == 0
    found = await asyncio.to_thread(CliRunner().invoke, commands, ["doctor"])
    assert "gateway.toml:" in found.output
    assert "there is no workspace 'shpo'" in found.output
    assert "There are: main." in found.output

    monkeypatch.setenv("GATEWAY_MONGO_URI", "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200")
    done = await asyncio.to_thread(CliRunner().invoke, commands, ["plugin", "check"])
    assert done.exit_code == 0  # nobody knows
    assert "workspaces were not compared" in done.output
