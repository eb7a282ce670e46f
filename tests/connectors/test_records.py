"""One failure of a plugin, told alike by the command line, the API and the log, and found again by its trace id."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.api.plugins import PluginFailure as Told
from gateway.app.plugins import load_plugins
from gateway.cli.main import commands
from gateway.clock import REQUEST_ID
from gateway.configuration import Tables
from gateway.connectors.failing import failure_of
from gateway.connectors.instances import Instance
from gateway.errors import PluginError, PluginFailure, SetupError
from gateway.plugin import HttpFailed
from gateway.plugin.failures import traced
from gateway.settings import Settings
from tests.connectors.delivering import Empty, Recorder, context
from tests.flow.served import serve

#: A setting that is wrong, a plugin that is not there, a provider that does not open.
TABLES: dict[str, dict[str, Any]] = {
    "segment": {"write_key": "env:NOT_SET_ANYWHERE"},
    "hubspott": {"token": "env:NOT_SET_ANYWHERE"},
}
FIELDS = "plugin version operation category message fix retryable traceId"


def records_in(caplog: pytest.LogCaptureFixture) -> dict[str, dict[str, Any]]:
    """What the log has, by trace id."""
    return {
        record.__dict__["trace_id"]: record.__dict__
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if "trace_id" in record.__dict__
    }


async def test_api_and_log_tell_the_same_record(
    mongo_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text("{")
    tables = Tables({**TABLES, "openfeature": {"file": str(flags), "poll_seconds": 0.1}})
    with caplog.at_level(logging.INFO, "gateway"):
        async with serve(mongo_uri, connectors=tables, data_dir=tmp_path) as served:
            asked = f"{{ plugins {{ failure {{ {FIELDS} }} instances {{ failure {{ {FIELDS} }} }} }} }}"
            answer = (await served.graphql(asked)).json()["data"]["plugins"]
    told = [one["failure"] for plugin in answer for one in (plugin, *plugin["instances"]) if one["failure"]]
    assert len(told) == 4  # the plugin that is not there, its instance, and one for each of the others
    logged = records_in(caplog)
    for one in told:
        record = logged[one["traceId"]]
        assert record["reason"] == one["message"]
        assert record["category"].upper() == one["category"]
        same = ("plugin", "version", "operation", "fix", "retryable")
        assert {name: record[name] for name in same} == {name: one[name] for name in same}
    assert len({one["traceId"] for one in told}) == 4
    assert {field.python_name for field in Told.__strawberry_definition__.fields} == set(  # type: ignore[attr-defined]
        PluginFailure.__dataclass_fields__
    )


def test_the_command_line_tells_the_same_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        f"[connectors.{name}]\n" + "".join(f'{k} = "{v}"\n' for k, v in one.items()) for name, one in TABLES.items()
    ]
    (tmp_path / "gateway.toml").write_text("".join(lines))
    monkeypatch.setenv("GATEWAY_CONFIG", "")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(commands, ["plugin", "check", "--json"])
    failures = json.loads(done.stdout)["failures"]
    assert done.exit_code == 2
    assert [set(one) for one in failures] == [set(PluginFailure.__dataclass_fields__)] * 3
    assert all(one["trace_id"] for one in failures)
    (missing,) = [one for one in failures if one["operation"] == "import"]
    assert records_in(caplog)[missing["trace_id"]]["reason"] == missing["message"]
    text = CliRunner().invoke(commands, ["plugin", "check"]).output
    assert "(segment 0.1.0, configure segment: config; trace " in text


def test_a_failure_has_the_id_of_its_request_or_one_of_its_own() -> None:
    instance = Instance("sink", "main", Recorder(Empty(), context("sink")))
    first, _ = alone = [failure_of(instance, "lookup", KeyError("x")) for _ in range(2)]
    assert len({one.trace_id for one in alone}) == 2
    before = REQUEST_ID.set("request-7")
    try:
        assert failure_of(instance, "lookup", KeyError("x")).trace_id == "request-7"
        own = traced(PluginFailure(**{**asdict(first), "trace_id": "its own"}))
        assert traced(own) is own
        assert failure_of(instance, "lookup", PluginError(own)).trace_id == "its own"
    finally:
        REQUEST_ID.reset(before)


@pytest.mark.parametrize(
    ("error", "category", "retryable", "message"),
    [
        (KeyError("planted"), "bug", False, "read ended with KeyError"),
        (HttpFailed("a.example: ReadError"), "remote", True, "a.example: ReadError"),
        (
            HttpFailed("a.example is not a public address", final=True),
            "remote",
            False,
            "a.example is not a public address",
        ),
        (TimeoutError(), "remote", True, "read does not end in time"),
        (SetupError("The secret env:X is empty.", hint="Set it."), "config", False, "The secret env:X is empty."),
    ],
)
def test_what_is_raised_becomes_a_record(error: Exception, category: str, retryable: bool, message: str) -> None:
    found = failure_of(Instance("sink", "main", Recorder(Empty(), context("sink"))), "read", error)
    assert (found.plugin, found.operation, found.category) == ("recorder", "read", category)
    assert (found.retryable, found.message) == (retryable, message)
    assert found.fix


def test_a_strict_start_raises_the_record_with_its_id() -> None:
    with pytest.raises(PluginError) as caught:
        load_plugins(Settings(connectors=Tables(TABLES), strict_plugins=True))
    assert caught.value.failure.trace_id
