"""The doctor's look at packages, with metadata that asks for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.doctor import mongod_binary, packages
from gateway.settings import look_up_settings


def test_packages_that_are_missing_or_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "journey_gateway-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(
        "Metadata-Version: 2.4\nName: journey-gateway\nVersion: 0.1.0\n"
        "Requires-Dist: nowhere-to-be-found>=1.0\nRequires-Dist: pymongo>=99.1\nRequires-Dist: orjson>=3.10\n"
        "Requires-Dist: nobody-asks==1; extra == 'embedded'\nRequires-Dist: a-tracer>=1; extra == 'tracing'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    every = list(packages(look_up_settings({}).settings))
    assert [each.said.split(" ")[0] for each in every] == ["nowhere-to-be-found", "pymongo"]
    assert [each.fix.split("pip install ")[1] for each in every] == [
        "'nowhere-to-be-found>=1.0'`.",
        "'pymongo>=99.1'`.",
    ]
    traced = {"GATEWAY_TRACES_URL": "http://127.0.0.1:1/v1/traces"}
    every = list(packages(look_up_settings(traced).settings))
    assert "a-tracer is missing" in [each.said for each in every]


@pytest.mark.parametrize("ends", [0, 1])
def test_a_program_that_is_no_mongod_is_called_so(tmp_path: Path, ends: int) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexit {ends}\n")
    program.chmod(0o755)
    (finding,) = mongod_binary(program)
    assert finding.state == "fail"
    assert "it is no mongod" in finding.said
    assert finding.fix == "Put another mongod on PATH or into GATEWAY_MONGOD."
