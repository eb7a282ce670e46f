"""Plugins are found, checked, and kept apart: what is wrong with one is said, with the place and the way out."""

from __future__ import annotations

import logging
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest

from gateway.configuration import Tables
from gateway.errors import PluginError, SetupError
from gateway.plugin.configuring import configure, plugins_named
from gateway.plugin.host import Host

GOOD = """
from pydantic import Field

from gateway.plugin import (
    BaseUrl, Capabilities, Config, Delivered, Destination, Health, Item, ItemResult, Manifest, Message, Secret, hookimpl
)

class Inner(Config):
    name: str = ""

class Settings(Config):
    region: str = "eu"
    limit: int = 10
    key: Secret | None = None
    url: BaseUrl = "https://acme.example"
    extra: dict[str, Inner] = {}
    code: str = Field("AC", pattern="^[A-Z]+$", description="The project's code.")

class Acme(Destination[Settings]):
    manifest = Manifest(name="acme", version="1.2", brief="Sends to Acme.", test_level="D")
    Config = Settings
    capabilities = Capabilities()
    def map(self, message):
        return {"name": message.event.name}
    async def send(self, items):
        return [Delivered() for _ in items]
    async def check(self):
        return Health(True)

@hookimpl
def register_connectors():
    return [Acme]
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(dedent(text))
    return path


def load(folder: Path, **options: Any) -> Host:
    return Host.load([], folder=folder, **options)


def test_a_plugin_of_one_file_brings_its_connector(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    host = load(tmp_path)
    assert list(host.connectors) == ["acme"]
    assert host.plugins["acme"].version == "1.2"
    assert host.plugins["acme"].failure is None


@pytest.mark.parametrize(
    ("wrong", "said", "fix"),
    [
        ("def register_conectors():", "there is no hook register_conectors", "Did you mean register_connectors?"),
        ("def register_connectors(gateway):", "has no argument gateway", "It takes: nothing."),
        ("async def register_connectors():", "must not be asynchronous", "Write `def`"),
    ],
)
def test_hooks_written_wrongly_refuse_the_start_with_file_and_line(
    tmp_path: Path, wrong: str, said: str, fix: str
) -> None:
    path = write(tmp_path, "acme", GOOD.replace("def register_connectors():", wrong))
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if text.startswith("@hookimpl"))
    with pytest.raises(PluginError) as caught:
        load(tmp_path)
    assert f"{path}:{line}" in str(caught.value)
    assert said in str(caught.value)
    assert fix in str(caught.value)


def test_a_plugin_without_a_marked_hook_refuses_the_start(tmp_path: Path) -> None:
    path = write(tmp_path, "acme", GOOD.replace("@hookimpl\n", ""))
    with pytest.raises(PluginError, match="marked as a hook") as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    assert "@hookimpl" in caught.value.failure.fix


@pytest.mark.parametrize(
    "text", ["import time\ntime.sleep(60)", GOOD.replace("return [Acme]", "import time; time.sleep(60)")]
)
def test_a_plugin_that_does_not_come_to_an_end_is_left_out(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.plugin.host.HOOK_SECONDS", 1.0)
    write(tmp_path, "acme", text)
    write(tmp_path, "better", GOOD.replace('"acme"', '"better"'))
    host = load(tmp_path)
    failure = host.plugins["acme"].failure
    assert failure is not None
    assert "has not come to an end within 1 s" in failure.message
    assert list(host.connectors) == ["better"]


def test_the_log_has_the_whole_record_of_a_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "acme", "import nothing_of_this_name")
    failure = load(tmp_path).plugins["acme"].failure
    assert failure is not None
    (record,) = caplog.records
    said = record.__dict__
    assert (said["plugin"], said["category"], said["reason"]) == ("acme", "config", failure.message)
    assert (said["operation"], said["fix"], said["retryable"]) == ("import", failure.fix, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "The package nothing_of_this_name is missing."),
        ("raise RuntimeError('password=hunter2')", "RuntimeError in "),
        ("raise SystemExit(3)", "SystemExit in "),
        ("def broken(:", "SyntaxError in "),
        (GOOD.replace('test_level="D"', 'test_level="D", api=2'), "is made for version 2 of the plugin API"),
        (GOOD.replace('name="acme"', 'name="other"'), "is named 'other', which is not the plugin's"),
        (GOOD.replace("async def check", "async def check_not"), "Acme lacks check."),
        (GOOD.replace("    capabilities = Capabilities()\n", ""), "Acme has no capabilities."),
        (GOOD.replace("return [Acme]", "return [Acme, Acme]"), "There are two connectors named 'acme'."),
        (GOOD.replace("return [Acme]", "return [Acme(None, None)]"), "is no connector class"),
        (GOOD.replace("    Config = Settings\n", "    Config = dict\n"), "has no configuration model"),
    ],
)
def test_a_plugin_that_fails_is_left_out_and_the_others_are_not(
    tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "acme", text)
    write(tmp_path, "better", GOOD.replace('"acme"', '"better"'))
    host = load(tmp_path)
    failure = host.plugins["acme"].failure
    assert failure is not None
    assert said in failure.message
    assert failure.fix
    assert "hunter2" not in f"{failure} {caplog.text}"
    assert list(host.connectors) == ["better"]
    with pytest.raises(PluginError):
        load(tmp_path, strict=True)


def test_only_those_that_are_named_are_loaded(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    write(tmp_path, "better", "raise RuntimeError")
    assert list(load(tmp_path, only=["acme"]).plugins) == ["acme"]
    assert load(tmp_path, only=[]).plugins == {}


def test_an_unknown_plugin_is_shown_with_what_could_be_meant(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    failure = Host.load(["acmee"], folder=tmp_path).plugins["acmee"].failure
    assert failure is not None
    assert failure.fix == "Did you mean acme?"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="There is no folder"):
        load(tmp_path / "nowhere")


def test_calls_are_traced_without_arguments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "acme", GOOD)
    with caplog.at_level(logging.INFO, "gateway.plugins"):
        load(tmp_path, trace=True)
    traced = [(record.__dict__["operation"], record.__dict__["how"]) for record in caplog.records]
    assert traced == [("import", "ended"), ("register_connectors", "ended")]


def test_commands_of_plugins_join_and_one_that_raises_is_left_out(tmp_path: Path) -> None:
    text = """
    import click
    from gateway.plugin import hookimpl
    @hookimpl
    def register_commands(group):
        @group.command()
        def hello():
            click.echo("hello")
    """
    write(tmp_path, "acme", text)
    write(tmp_path, "bad", text.replace("@group.command()", "raise RuntimeError"))
    host, group = load(tmp_path), click.Group()
    host.add_commands(group)
    assert list(group.commands) == ["hello"]
    assert host.plugins["bad"].failure is not None


def test_a_plugin_whose_commands_take_for_ever_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.plugin.host.HOOK_SECONDS", 0.5)
    text = """
    import time
    from gateway.plugin import hookimpl
    @hookimpl
    def register_commands(group):
        time.sleep(60)
    """
    write(tmp_path, "bad", text)
    host = load(tmp_path)
    host.add_commands(click.Group())
    failure = host.plugins["bad"].failure
    assert failure is not None
    assert (failure.operation, failure.message) == ("register_commands", "It has not come to an end within 0.5 s.")


def tables(places: dict[tuple[str, ...], str] | None = None, **values: dict[str, Any]) -> Tables:
    return Tables(values, places or {})


def test_an_instance_gets_its_checked_settings(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    given = tables(crm={"use": "acme", "region": "us", "workspace": "shop"}, off={"use": "x.y", "enabled": False})
    assert plugins_named(given) == ["acme"]
    (one,) = configure(given, load(tmp_path))
    assert (one.name, one.workspace, one.use, one.failure) == ("crm", "shop", "acme", None)
    assert one.config is not None
    assert one.config.model_dump(include={"region", "limit", "key"}) == {"region": "us", "limit": 10, "key": None}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://acme.example", "https://acme.example"),
        ("http://10.0.0.7:8080/acme/v1/", "http://10.0.0.7:8080/acme/v1"),
        ("https://acme.example?x=1", None),
        ("https://me:secret@acme.example", None),
        ("https://acme.example/a b", None),
        ("ftp://acme.example", None),
    ],
)
def test_a_base_url_is_kept_without_its_last_slash(tmp_path: Path, given: str, kept: str | None) -> None:
    write(tmp_path, "acme", GOOD)
    (one,) = configure(tables(crm={"use": "acme", "url": given}), load(tmp_path))
    assert (one.config.model_dump()["url"] if one.config else None) == kept
    assert "secret" not in repr(one.failure)


@pytest.mark.parametrize(
    ("table", "said", "fix"),
    [
        ({"regoin": "us"}, "gateway.toml:7: crm.regoin: unknown key; did you mean region?", "plugin check crm"),
        ({"limit": "many"}, "crm.limit: Input should be a valid integer", "plugin check crm"),
        (
            {"key": "sk-live-hunter2"},
            "crm.key: a secret is given by reference: env:NAME or file:/path.",
            "plugin check",
        ),
        ({"use": ""}, "crm.use is not what it should be.", "It must be a text."),
        ({"region": 7}, "crm.region: it must be a text, in quotes.", "plugin check crm"),
        ({"extra": {"one": {"nmae": "x"}}}, "crm.extra.one.nmae: unknown key; did you mean name?", "plugin check"),
        ({"use": "acme.crm"}, "has no connector 'acme.crm'", "Did you mean acme?"),
        ({"use": "nothing"}, "The plugin of 'nothing' is not loaded.", "GATEWAY_LOAD_PLUGINS"),
        ({"workspace": 7}, "crm.workspace is not what it should be.", "It must be a text."),
        ({"enabled": "yes"}, "crm.enabled is not what it should be.", "It must be true or false."),
        ({"allow_hosts": "10.0.0.1"}, "crm.allow_hosts is not what it should be.", "It must be a list of texts."),
        ({"allow_hosts": ["10.0.0.1/8"]}, "crm.allow_hosts is not what it should be.", "neither a host nor a network"),
        ({"key": "env:NOT_SET_ANYWHERE"}, "crm.key: The secret env:NOT_SET_ANYWHERE is empty.", "Set it"),
        ({"key": "file:/no/such/file"}, "crm.key: The secret file:/no/such/file cannot be read", "Name a file"),
        ({"url": "acme.example"}, "crm.url: an address begins with https://", "plugin check crm"),
        ({"code": "x y"}, "crm.code: it does not have the form of what it is: The project's code.", "plugin check crm"),
    ],
)
def test_wrong_settings_are_said_with_key_and_fix_and_without_the_value(
    tmp_path: Path, table: dict[str, Any], said: str, fix: str
) -> None:
    write(tmp_path, "acme", GOOD)
    given = tables({("crm", "regoin"): "gateway.toml:7"}, crm={"use": "acme", **table})
    (one,) = configure(given, load(tmp_path))
    assert one.failure is not None
    assert said in one.failure.message
    assert fix in one.failure.fix
    assert "hunter2" not in repr(one.failure)
    assert one.config is None
