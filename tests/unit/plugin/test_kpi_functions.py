"""Functions of KPIs are checked as their plugin is loaded, and shown by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.plugins import check, plugins
from gateway.plugin.host import Host

GOOD = """
from gateway.plugin import Config, KpiFunction, hookimpl

class Settings(Config):
    hours: float = 24

class Gaps(KpiFunction):
    name, brief, version, kind = "acme.gaps", "Gaps.", "1.4", "mean"
    Parameters = Settings

    def observe(self, parameters, at, value):
        return 1.0

@hookimpl
def register_kpi_functions():
    return [Gaps()]
"""
OTHER = GOOD.replace("acme.gaps", "better.gaps")


def test_a_plugin_of_one_file_brings_its_function(tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(GOOD)
    host = Host.load([], folder=tmp_path)
    assert list(host.kpi_functions) == ["acme.gaps"]
    assert (host.plugins["acme"].version, host.plugins["acme"].failure) == ("1.4", None)


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        (GOOD.replace("acme.gaps", "better.gaps"), "Gaps is named 'better.gaps'.", "'acme.something'"),
        (GOOD.replace("acme.gaps", "gaps"), "Gaps is named 'gaps'.", "'acme.something'"),
        (GOOD.replace("acme.gaps", "acme.Gaps!"), "Gaps is named 'acme.Gaps!'.", "letters, digits and _"),
        (GOOD.replace("[Gaps()]", "[Gaps(), Gaps()]"), "two functions of KPIs named 'acme.gaps'", "Rename one."),
        (GOOD.replace("[Gaps()]", "[Gaps]"), "Gaps is no function of KPIs.", "instances"),
        (GOOD.replace("[Gaps()]", "Gaps()"), "register_kpi_functions returned Gaps.", "Return a list"),
        (GOOD.replace('"mean"', '"median"'), "acme.gaps is of no kind.", "'mean' or 'share'"),
        (GOOD.replace('"1.4"', "1.4"), "Gaps has no version.", "a text"),
        (GOOD.replace("= Settings", "= dict"), "no model of its parameters", "gateway.plugin.Config"),
        (GOOD.replace("def observe", "async def observe"), "observe must not be asynchronous", "`def observe`"),
        (GOOD.replace("def observe", "def observed"), "TypeError in ", "author"),
        (GOOD.replace("return [Gaps()]", "yield Gaps(); 1 / 0"), "ZeroDivisionError in ", "author"),
    ],
)
def test_a_plugin_with_a_wrong_function_is_left_out_and_the_others_are_not(
    tmp_path: Path, text: str, said: str, fix: str
) -> None:
    (tmp_path / "acme.py").write_text(text)
    (tmp_path / "better.py").write_text(OTHER)
    host = Host.load([], folder=tmp_path)
    failure = host.plugins["acme"].failure
    assert failure is not None
    assert said in failure.message
    assert fix in failure.fix
    assert list(host.kpi_functions) == ["better.gaps"]


def test_the_command_line_lists_them_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(tmp_path))
    (tmp_path / "acme.py").write_text(GOOD)
    assert "acme.gaps (KPI function)" in CliRunner().invoke(plugins).output
    (listed,) = json.loads(CliRunner().invoke(plugins, ["--json"]).stdout)["plugins"]
    (function,) = listed["kpiFunctions"]
    assert (function["name"], function["version"], function["kind"]) == ("acme.gaps", "1.4", "mean")
    assert list(function["parameters"]["properties"]) == ["hours"]
    checked = CliRunner().invoke(check)
    assert checked.exit_code == 0
    assert "acme.gaps 1.4 (KPI function, mean): Gaps." in checked.output
    (tmp_path / "acme.py").write_text(GOOD.replace("[Gaps()]", "[Gaps(), Gaps()]"))
    refused = CliRunner().invoke(check)
    assert refused.exit_code == 2
    assert "There are two functions of KPIs named 'acme.gaps'." in refused.output
