"""Plugins as a process loads them: safe mode, only some, strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.doctor import plugins
from gateway.app.plugins import load_plugins
from gateway.errors import PluginError
from gateway.settings import Settings, look_up_settings
from tests.unit.plugin.test_host import GOOD, write


def settings(folder: Path, **environ: str) -> Settings:
    named = {f"GATEWAY_{name}": value for name, value in environ.items()}
    return look_up_settings({"GATEWAY_PLUGINS_DIR": str(folder), **named}, folder=folder).checked()


CRM = {"CONNECTORS__CRM__USE": "acme", "CONNECTORS__CRM__REGION": "us"}


def test_what_is_configured_is_loaded_and_checked(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    plugged = load_plugins(settings(tmp_path, **CRM))
    assert [(one.name, one.failure) for one in plugged.instances] == [("crm", None)]
    assert plugged.failures == []


def test_safe_mode_loads_nothing_and_complains_of_nothing(tmp_path: Path) -> None:
    write(tmp_path, "acme", "raise RuntimeError")
    plugged = load_plugins(settings(tmp_path, LOAD_PLUGINS="", **CRM))
    assert (plugged.host.plugins, plugged.instances, plugged.failures) == ({}, (), [])


def test_an_instance_of_a_plugin_that_is_not_among_those_loaded_says_so(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    (failure,) = load_plugins(settings(tmp_path, LOAD_PLUGINS="other", **CRM)).failures
    assert "not loaded" in failure.message


def test_strict_refuses_what_is_left_out_otherwise(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD)
    wrong = settings(tmp_path, STRICT_PLUGINS="true", CONNECTORS__CRM__USE="acme", CONNECTORS__CRM__LIMIT="many")
    with pytest.raises(PluginError, match="limit"):
        load_plugins(wrong)
    assert load_plugins(wrong, refuse=False).failures


def test_a_command_that_looks_shows_a_misspelled_hook_and_a_start_refuses_it(tmp_path: Path) -> None:
    write(tmp_path, "acme", GOOD.replace("register_connectors", "register_conectors"))
    with pytest.raises(PluginError, match="there is no hook"):
        load_plugins(settings(tmp_path))
    (failure,) = load_plugins(settings(tmp_path), refuse=False).failures
    assert failure.fix == "Did you mean register_connectors?"
    (finding,) = plugins(settings(tmp_path))
    assert (finding.check, finding.state) == ("plugins", "fail")
