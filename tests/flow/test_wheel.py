"""The wheel, built and installed into an environment of its own outside the repository, is the whole product."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator

import httpx2
import pytest

import gateway
from gateway.api.graphiql_files import missing, page_files
from tests.flow.conftest import ROOT
from tests.flow.wheels import Installed, installed, ready
from tests.pace import PATIENCE

__all__ = ["installed"]

pytestmark = pytest.mark.slow

PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())


def test_the_wheel_holds_what_it_needs_and_no_more(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "gateway",
        "gateway_schema",
        *(path.name for path in ROOT.glob("plugins/*/gateway_*")),
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
    left = [str(path.relative_to(installed.folder)) for path in installed.folder.glob("*/*")]
    assert left == [".gateway/columnar"], "nothing else is left where it ran"
