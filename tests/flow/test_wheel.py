"""The wheel, built and installed into an environment of its own outside the repository, is the whole product."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

import gateway
from gateway.api.graphiql_files import missing, page_files
from tests.flow.conftest import ROOT, free_port
from tests.pace import PATIENCE

pytestmark = pytest.mark.slow

PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())


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
    own = {key: value for key, value in os.environ.items() if not key.startswith(("GATEWAY_", "PYTHON"))}
    settings = {
        "GATEWAY_MONGO_URI": mongo_uri,
        "GATEWAY_DATABASE": f"wheel_{free_port()}",
        "GATEWAY_PORT": str(free_port()),
        "NO_COLOR": "1",
    }
    return Installed(wheel, binaries, folder, {**own, **settings})


def test_the_wheel_holds_what_it_needs_and_no_more(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "gateway",
        "gateway_schema",
        *(f"gateway_{plugin}" for plugin in PLUGINS),
        f"journey_gateway-{gateway.__version__}.dist-info",
    }
    for needed in (
        "gateway/py.typed",
        "gateway/console/static/index.html",
        "gateway_schema/api.graphql",
        "gateway_schema/shop/journeys/purchase.yaml",
        f"journey_gateway-{gateway.__version__}.dist-info/licenses/LICENSE",
    ):
        assert needed in names
    page = [f"gateway/api/static/npm/{file.name}" for file in page_files()]
    assert set(page) <= set(names) or missing()
    assert [name for name in names if "__pycache__" in name or "node_modules" in name] == []


def test_what_runs_is_the_wheel(installed: Installed) -> None:
    where = installed.run("python", "-c", "import gateway; print(gateway.__file__)").stdout
    assert where.startswith(str(installed.bin.parent))
    version = f"journey-gateway, version {gateway.__version__}\n"
    assert installed.run("journey-gateway", "--version").stdout == version
    assert installed.run("python", "-m", "gateway", "--version").stdout == version
    assert "are in order" in installed.run("journey-gateway", "config", "check").stdout
    assert "up to date" in installed.run("journey-gateway", "schema", "check").stdout


def test_the_plugins_come_along(installed: Installed) -> None:
    code = """
from importlib.metadata import distribution
found = distribution("journey-gateway").entry_points.select(group="journey_gateway")
for one in sorted(found, key=lambda one: one.name):
    module = one.load()
    print(one.name, module.__file__, *(kind.manifest.name for kind in module.register_connectors()))
"""
    lines = [line.split() for line in installed.run("python", "-c", code).stdout.splitlines()]
    assert [line[0] for line in lines] == PLUGINS
    assert all(line[1].startswith(str(installed.bin.parent)) for line in lines)
    assert all(name == line[0] or name.startswith(f"{line[0]}.") for line in lines for name in line[2:])


@pytest.fixture(scope="module")
def serving(installed: Installed) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [str(installed.bin / "journey-gateway"), "serve"],
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


@pytest.mark.matrix("Start", "here", "wheel in a clean environment")
def test_it_serves_its_sample_contract(installed: Installed, serving: subprocess.Popen[str]) -> None:
    url = f"http://127.0.0.1:{installed.environment['GATEWAY_PORT']}"
    printed = json.loads(installed.run("journey-gateway", "init", "--json").stdout)
    deadline = time.monotonic() + PATIENCE
    while not ready(url):
        assert serving.poll() is None, serving.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)

    event = {"userId": "ada", "event": "Product Viewed", "properties": {"name": "Desk lamp"}}
    sent = httpx2.post(f"{url}/v1/track", json=event, auth=(printed["writeKey"], ""), timeout=PATIENCE)
    assert sent.status_code == 200, sent.text
    query = '{ user(by: {userId: "ada"}) { journey(map: "purchase") { stage { key } } } }'
    stage = None
    while stage is None:
        answer = httpx2.post(
            f"{url}/graphql",
            json={"query": query},
            headers={"authorization": f"Bearer {printed['apiKey']}"},
            timeout=PATIENCE,
        ).json()
        assert "errors" not in answer, answer
        stage = ((answer["data"]["user"] or {}).get("journey") or {}).get("stage")
        assert time.monotonic() < deadline
    assert stage["key"]

    doctor = json.loads(installed.run("journey-gateway", "doctor", "--json").stdout)
    said = {check["check"]: check["said"] for check in doctor["checks"]}
    assert doctor["ok"] is True
    assert "served by a running Journey Gateway" in said["port"]
    assert "gateway_schema/shop" in said["contract"]
    assert said["mongodb.indexes"].startswith("all ")
    serving.send_signal(signal.SIGTERM)
    output = serving.communicate(timeout=PATIENCE)[0]
    assert serving.returncode == 0, output
    assert "Traceback" not in output
    assert list(installed.folder.iterdir()) == [], "nothing is left where it ran"


def ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False
