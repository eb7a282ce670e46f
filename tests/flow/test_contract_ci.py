"""The lines for a user's CI, taken from the documentation and run as scripts on a repository with a change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.conftest import ROOT
from tests.unit.contract.orders import ORDERS

README = (ROOT / "gateway" / "quality" / "README.md").read_text()
SCRIPTS = {
    "GitHub Actions": re.findall(r"^- run: (.+)$", README, re.MULTILINE),
    "Jenkins": re.findall(r"^sh '(.+)'$", README, re.MULTILINE),
}
SHELLS = {"GitHub Actions": ["bash", "-e", "-c"], "Jenkins": ["sh", "-xe", "-c"]}
EVENT, PLAN = "events/order_completed.1.yaml", "properties.yaml"
CHANGES = {
    "safe": (EVENT, "coupon}", "coupon}\n  - {property: spare}"),
    "breaking": (PLAN, "maxLength: 20", "maxLength: 10"),
    "refused": (EVENT, "  - {property: payment, required: true}\n", ""),
}


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=ci", "-c", "user.email=ci@shop.example", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone whose origin has the contract on its branch main."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    for path, text in ORDERS.items():
        place = origin / "contracts" / "shop" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "the contract")
    git(tmp_path, "clone", "-q", str(origin), str(clone))
    command = tmp_path / "bin" / "journey-gateway"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
    command.chmod(0o755)
    return clone


@pytest.mark.parametrize("system", SCRIPTS)
@pytest.mark.parametrize(("change", "code"), [("safe", 0), ("breaking", 1), ("refused", 1)])
def test_the_line_in_ci_stops_what_breaks(repository: Path, system: str, change: str, code: int) -> None:
    (script,) = SCRIPTS[system]
    path, old, new = CHANGES[change]
    place = repository / "contracts" / "shop" / path
    place.write_text(place.read_text().replace(old, new))
    environment = {
        **os.environ,
        "PATH": f"{repository.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        {"GitHub Actions": "GITHUB_BASE_REF", "Jenkins": "CHANGE_TARGET"}[system]: "main",
        "NO_COLOR": "1",
    }
    for _ in range(2):  # Jenkins builds where it has built before
        ran = subprocess.run(
            [*SHELLS[system], script],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert any(line.startswith(f"{change} ") for line in ran.stdout.splitlines()), ran.stdout
        if change == "refused":
            assert "KPI cards" in ran.stdout
