"""The command's habits: settings shown with their sources, completion, colours, exit codes, pace."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.cli.completion import PROGRAM
from gateway.cli.config import example_file
from gateway.cli.demo import _alone
from gateway.cli.main import COMMANDS, commands
from gateway.settings import READER, Settings, look_up_settings
from tests.flow.conftest import ROOT, RunningGateway, free_port
from tests.pace import PATIENCE

README = ROOT / "gateway" / "cli" / "README.md"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no settings but those of a test."""
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    # `--config` sets it for the process; set before, it is put back after the test.
    monkeypatch.setenv("GATEWAY_CONFIG", "")
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(commands, arguments, prog_name=PROGRAM)
    assert done.exit_code == code, done.output
    return done.output


def terminal(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real process, whose output is no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_show_says_value_and_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('# mine\nport = 9000\nlease_seconds = 5\nhost = "::1"\n')
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")  # noqa: S104 - shown, not listened on
    monkeypatch.setenv("GATEWAY_MONGO_URI", "mongodb://ann:hush@db/?replicaSet=rs0")
    printed = run("config", "show", "--sources", "--port", "9001")
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    assert lines["port"] == ["9001", "--port"]
    assert lines["lease_seconds"] == ["5.0", "gateway.toml:3"]
    assert lines["host"] == ["0.0.0.0", "GATEWAY_HOST"]  # noqa: S104
    assert lines["mongo_uri"] == ["mongodb://***@db/?replicaSet=rs0", "GATEWAY_MONGO_URI"]
    assert lines["driver"] == ["pymongo", "default"]
    assert lines.keys() == READER.kinds.keys()
    as_json = json.loads(run("config", "show", "--json", "--config", "gateway.toml"))
    assert as_json["settings"]["port"] == {"value": 9000, "source": "file", "place": "gateway.toml:2"}
    assert "hush" not in printed + json.dumps(as_json)


def test_what_is_wrong_is_said_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("prot = 9000\n")
    for command in ("show", "check"):
        assert "gateway.toml:1: unknown setting prot.\n  Did you mean port?" in run("config", command, code=2)
    done = terminal("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: gateway.toml:1: unknown setting prot.\nDid you mean port?\n"
    (tmp_path / "gateway.toml").unlink()
    assert "0 given, no gateway.toml here" in run("config", "check")


@pytest.mark.parametrize("name", ["a b$", "a.b", 'xx"y', "x" * 64, "admin", "Local"])
def test_a_name_that_no_database_can_have_is_said_by_every_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE", name)
    assert f"GATEWAY_DATABASE={name!r}: this " in run("config", "check", code=2)
    done = terminal("keys", "list", GATEWAY_MONGO_URI="mongodb://127.0.0.1:1/?replicaSet=rs0")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: GATEWAY_DATABASE={name!r}: this ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GATEWAY_MONGO_URI", "http://ann:hush@x", "GATEWAY_MONGO_URI is not a MongoDB connection string"),
        ("GATEWAY_MONGO_URI", "mongodb://127.0.0.1:1/?replicaSet=rs0", ""),
        ("GATEWAY_MONGOD", "/no/such", "GATEWAY_MONGOD: there is no file /no/such"),
        ("GATEWAY_CONTRACT", "nope", "nope: there is no such folder"),
        ("GATEWAY_SCHEMA_DIR", "/no/such", "/no/such is not a folder"),
        ("GATEWAY_COUNTRY_DATABASE", "/etc/passwd", "/etc/passwd cannot be read: it is not in that format"),
        ("GATEWAY_TRACES_URL", "zzz", "GATEWAY_TRACES_URL='zzz': this is not an address of HTTP."),
        ("GATEWAY_TRACES_URL", "http://[", "this is not an address of HTTP."),
        ("GATEWAY_TRACES_URL", "http://collector:4318/v1/traces?a=b", ""),
    ],
)
def test_check_says_what_a_start_would_refuse(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    printed = run("config", "check", code=2 if said else 0)
    assert said in printed
    assert "hush" not in printed


def test_the_example_has_every_setting_at_its_default(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=[a-z_]+ = |\[)", "", example_file(), flags=re.M)
    document = tomllib.loads(text)
    assert document.keys() == READER.kinds.keys()
    (tmp_path / "gateway.toml").write_text(text)
    reading = look_up_settings({})
    wrong = [
        problem.message for problem in reading.problems if not problem.message.split(": ")[1].startswith("issuers")
    ]
    assert wrong == []
    for name, kind in READER.kinds.items():
        default = getattr(Settings(), name)
        if default not in (None, ()) and name != "data_dir" and not kind.tables:
            assert getattr(reading.settings, name) == default
    (tmp_path / "gateway.toml").write_text(run("config", "example"))
    assert look_up_settings({}).checked() == Settings(), "as it is printed, it sets nothing"


def test_secrets_are_marked() -> None:
    """A name that sounds secret is one, unless it is about time."""
    sounding = {name for name in READER.kinds if re.search(r"password|secret|_token$|_key$|credential", name)}
    assert {name for name in sounding if not READER.kinds[name].secret} == set()


def test_the_list_of_commands_is_what_they_say_of_themselves() -> None:
    context = click.Context(commands)
    for name, (_, said) in COMMANDS.items():
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert any(option.name == "config" for option in command.params), name
        assert said.endswith(".")
    top = run("--help")
    assert all(f"  {name} " in top for name in COMMANDS)
    assert "Exit codes: 0 done" in re.sub(r"\s+", " ", top)


def test_help_loads_no_command() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert loaded & {"pymongo", "strawberry", "starlette", "rich", "uvloop"} == set()
    assert "click" in loaded


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    program = tmp_path / PROGRAM
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom gateway.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    script = f"""
    eval "$({PROGRAM} completion bash)"
    complete -p {PROGRAM} >/dev/null || exit 3
    try() {{
      COMP_WORDS=({PROGRAM} "$@"); COMP_CWORD=$#; COMPREPLY=()
      _journey_gateway_completion {PROGRAM}
      echo "${{COMPREPLY[*]}}"
    }}
    try se
    try doctor --js
    try completion ""
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.splitlines() == ["serve", "--json", "bash zsh fish"], done.stderr
    for shell in ("zsh", "fish"):
        assert "_JOURNEY_GATEWAY_COMPLETE" in run("completion", shell)


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    runner = CliRunner()
    assert "\x1b[1m9000" in runner.invoke(commands, ["config", "show"], color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in runner.invoke(commands, ["config", "show"], color=True).output
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in terminal("config", "show").stdout


def test_wrong_use_is_exit_code_2() -> None:
    run("serve", "--prot", "1", code=2)
    run("completion", "powershell", code=2)
    done = terminal("serve", "--port", "99999")
    assert done.returncode == 2
    assert done.stderr == "Error: --port='99999': expected a whole number from 1 to 65535, such as 8000.\n"


@pytest.mark.parametrize("more", [(), ("--live",)])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:99999", "http://["])
def test_a_simulation_is_not_played_to_nobody(url: str, more: tuple[str, ...]) -> None:
    done = terminal("simulate", "--url", url, "--write-key", "wk_nope", "--weeks", "1", *more)
    assert done.returncode == 1
    assert done.stderr == f"Error: No gateway answers at {url}.\nIs it running? Check --url.\n"


@pytest.mark.parametrize("source", ["", " ", "a\tb", "a\x1b[31m", "x" * 256])
def test_a_source_is_a_readable_name_for_imports_as_for_keys(source: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("who\nada\n")
    done = terminal("import", "x.csv", "--map", "userId=who", "--source", source)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The source must be 1 to ")


def test_an_end_that_is_no_time_is_answered_with_dates_too() -> None:
    done = terminal("keys", "create", "write", "--expires", "yesterday")
    assert done.returncode == 1
    assert "2027-01-31" in done.stderr
    assert "90d" in done.stderr or "12h" in done.stderr


@pytest.mark.timed
def test_a_live_simulation_is_paced() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "simulate", "--live", "--rate", "20", "--weeks", "1", "--visitors", "5"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        began = time.monotonic()
        lines = [json.loads(process.stdout.readline()) for _ in range(40)]
        took = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, b"")
    assert all(line["messageId"] for line in lines)
    assert took > 0.5, "printed at once, 40 messages at 20 a second are not paced"


def test_only_one_process_plays_a_demo(tmp_path: Path) -> None:
    """A second gateway on the same folder must not make demo.env point away from the one that plays."""
    with _alone(tmp_path) as first, _alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with _alone(tmp_path) as third:
        assert third


def test_the_second_demo_leaves_the_first_ones_address(gateway_environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**gateway_environment, "GATEWAY_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment["PYTHONUNBUFFERED"] = "1"
    kept = "URL=http://127.0.0.1:1\n"
    (tmp_path / "demo.env").write_text(kept)
    with _alone(tmp_path):
        second = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--demo", "--port", str(free_port())],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert second.stdout is not None
        try:
            said = next((line for line in second.stdout if "visitors come from" in line), "")
        finally:
            second.send_signal(signal.SIGINT)
            rest = second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 0, rest
    assert "the gateway at http://127.0.0.1:1;" in said
    assert (tmp_path / "demo.env").read_text() == kept


def test_watching_a_map_that_nobody_has_is_refused(running: RunningGateway) -> None:
    done = running.command("watch", "--url", running.url, "--token", running.api_key, "--map", "nope", check=False)
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == (
        "",
        "Error: There is no journey map 'nope'.\nUse one of: purchase, returning, support.\n",
    )


def test_the_reference_is_right() -> None:
    text = README.read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    (Path("gateway.toml")).write_text(example)
    assert list(look_up_settings({}).problems) == []
    for name in COMMANDS:
        assert f"`{name}" in text, name
    for code in ("| 0 |", "| 1 |", "| 2 |"):
        assert code in text
