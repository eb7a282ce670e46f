"""The gateway's wheel, built and installed into an environment of its own outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.api.graphiql_files import missing
from tests.flow.conftest import ROOT, free_port
from tests.pace import PATIENCE


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and an empty folder to work in."""

    wheel: Path
    bin: Path
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def installed(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built by hatchling, installed by pip; the packages that it needs are those of this environment, without us."""
    made = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made / "dist")]
    # With GraphiQL's files where they have been fetched; nothing is fetched here.
    without = {"JOURNEY_GATEWAY_WITHOUT_GRAPHIQL": "1"} if missing() else {}
    subprocess.run(build, cwd=ROOT, env={**os.environ, **without}, check=True, capture_output=True, timeout=300)
    (wheel,) = (made / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made / "venv")], check=True)
    site = next((made / "venv" / "lib").glob("python*/site-packages"))
    # A folder that a .pth names is searched, but its own .pth files (our editable install is one) are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    binaries = made / "venv" / "bin"
    install = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", "-q", "--no-deps"]
    subprocess.run([*install, "--no-index", "--disable-pip-version-check", str(wheel)], check=True, timeout=PATIENCE)
    folder = made / "elsewhere"
    folder.mkdir()
    own = {key: value for key, value in os.environ.items() if not key.startswith(("GATEWAY_", "PYTHON", "PIP_"))}
    settings = {
        "GATEWAY_MONGO_URI": mongo_uri,
        "GATEWAY_DATABASE": f"wheel_{free_port()}",
        "GATEWAY_PORT": str(free_port()),
        "NO_COLOR": "1",
    }
    return Installed(wheel, binaries, folder, {**own, **settings})


def ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False
