"""Who may import whom. The rooms' order stands in pyproject.toml; import-linter checks it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rules.sources import ROOT, imports, modules, parse, plant

# Sources of time and chance. What needs one takes a clock, so that tests can hold it still.
SOURCES = re.compile(
    r"time\.(time|monotonic|perf_counter|process_time)(_ns)?|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today"
    r"|uuid\.uuid[1-8]|os\.urandom|secrets\.(?!compare_digest).*|random\.(?!Random$).*"
)
# Uses allowed all the same: {file: source}, with the reason.
ALLOWED: dict[str, str] = {}


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _names(tree: ast.AST) -> dict[str, str]:
    """Local name of each import to what it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def sources_of_time(root: Path, allowed: dict[str, str]) -> Iterator[str]:
    for path in modules(root, "gateway"):
        name = str(path.relative_to(root))
        if name == "gateway/clock.py":
            continue
        tree = parse(path)
        names = _names(tree)
        for node in ast.walk(tree):
            source = _dotted(node, names)
            if SOURCES.fullmatch(source) and source != allowed.get(name):
                yield f"{name}:{getattr(node, 'lineno', 0)}: {source}"


def connector_imports(root: Path) -> Iterator[str]:
    """A connector builds on gateway.plugin alone, its tests on gateway.testing too."""
    for path in modules(root, "plugins"):
        name = path.relative_to(root)
        allowed = ("plugin", "testing") if "tests" in name.parts else ("plugin",)
        for line, origin in imports(parse(path)):
            first, _, rest = origin.partition(".")
            if first == "gateway" and rest.split(".")[0] not in allowed:
                yield f"{name}:{line}: {origin}"


def oracle_imports(root: Path) -> Iterator[str]:
    """An oracle that used the code it judges would agree with its mistakes."""
    for path in modules(root, "tests"):
        if path.stem.startswith("oracle") or "oracles" in path.relative_to(root).parts:
            for line, origin in imports(parse(path)):
                if origin.split(".")[0] == "gateway":
                    yield f"{path.relative_to(root)}:{line}: {origin}"


def room_imports(root: Path) -> str:
    """What import-linter reports under the root's pyproject.toml; empty when every contract is kept."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr


def test_imports_go_down_the_rooms_and_only_the_store_speaks_to_mongodb() -> None:
    assert room_imports(ROOT) == ""


def test_time_and_chance_come_from_the_clock() -> None:
    assert list(sources_of_time(ROOT, ALLOWED)) == []


def test_no_exception_to_the_clock_is_left_over() -> None:
    used = {(line.split(":")[0], line.split()[-1]) for line in sources_of_time(ROOT, {})}
    assert ALLOWED.items() - used == set()


def test_connectors_import_only_what_is_public() -> None:
    assert list(connector_imports(ROOT)) == []


def test_oracles_import_nothing_from_the_gateway() -> None:
    assert list(oracle_imports(ROOT)) == []


@pytest.fixture
def empty_rooms(tmp_path: Path) -> Path:
    """The rooms without anything in them, under the project's own contracts."""
    plant(tmp_path, "pyproject.toml", (ROOT / "pyproject.toml").read_text())
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = linter["contracts"]
    for package in linter["root_packages"]:
        plant(tmp_path, f"{package}/__init__.py")
    rooms = [room for layer in contracts[0]["layers"] for room in re.split(r"[ |]+", layer) if room[0] != "("]
    for name in ("", *(f"{room}/" for room in rooms)):
        plant(tmp_path, f"gateway/{name}__init__.py")
    plant(tmp_path, "gateway/store/database.py", "from bson import ObjectId\nimport pymongo")
    return tmp_path


def test_an_import_that_goes_up_is_found(empty_rooms: Path) -> None:
    assert room_imports(empty_rooms) == ""
    plant(empty_rooms, "gateway/model/event.py", "from gateway.store import database")
    assert "gateway.model.event -> gateway.store" in room_imports(empty_rooms)


def test_rooms_side_by_side_may_not_import_each_other(empty_rooms: Path) -> None:
    plant(empty_rooms, "gateway/identity/graph.py", "import gateway.access")
    assert "gateway.identity.graph -> gateway.access" in room_imports(empty_rooms)


def test_a_room_that_the_order_does_not_name_is_found(empty_rooms: Path) -> None:
    plant(empty_rooms, "gateway/attic/__init__.py")
    assert "gateway.attic" in room_imports(empty_rooms)


def test_another_room_that_speaks_to_mongodb_is_found(empty_rooms: Path) -> None:
    plant(empty_rooms, "gateway/insights/funnels.py", "from bson import ObjectId")
    assert "gateway.insights.funnels" in room_imports(empty_rooms)


@pytest.mark.parametrize(
    "code",
    [
        "import time as t\nt.monotonic()",
        "from time import time_ns\nstamp = time_ns",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import datetime as dt\ndt.utcnow()",
        "def make():\n    import uuid\n    return uuid.uuid4()",
        "from dataclasses import field\nfrom uuid import uuid4\nid = field(default_factory=uuid4)",
        "import random\nrandom.shuffle([])",
        "import secrets\nsecrets.token_hex()",
        "import os\nos.urandom(8)",
    ],
)
def test_a_source_of_time_or_chance_is_found(tmp_path: Path, code: str) -> None:
    plant(tmp_path, "gateway/clock.py", code)
    plant(
        tmp_path, "gateway/fine.py", "import random, secrets\nr = random.Random(7)\nr.random()\nsecrets.compare_digest"
    )
    plant(tmp_path, "gateway/live/feed.py", code)
    assert {line.split(":")[0] for line in sources_of_time(tmp_path, {})} == {"gateway/live/feed.py"}


@pytest.mark.parametrize(
    "code", ["from gateway.store import users", "import gateway.api.query", "from gateway import app"]
)
def test_a_connector_that_reaches_inside_is_found(tmp_path: Path, code: str) -> None:
    plant(tmp_path, "plugins/acme/gateway_acme/source.py", code)
    plant(tmp_path, "plugins/acme/gateway_acme/fine.py", "from gateway.plugin import Destination\nimport httpx2")
    plant(tmp_path, "plugins/acme/tests/test_acme.py", "from gateway.testing import DestinationContract")
    assert [line.split(":")[0] for line in connector_imports(tmp_path)] == ["plugins/acme/gateway_acme/source.py"]


def test_a_plugin_that_reaches_inside_is_found_by_the_linter_too(empty_rooms: Path) -> None:
    plant(
        empty_rooms,
        "gateway_unleash/connector.py",
        "from gateway.plugin import fields\nfrom gateway.store import users",
    )
    plant(empty_rooms, "gateway/plugin/fields.py")
    plant(empty_rooms, "gateway/store/users.py")
    assert "gateway_unleash.connector -> gateway.store" in room_imports(empty_rooms)


def test_every_plugin_is_packaged_checked_and_named() -> None:
    """A plugin stands in nine lists of pyproject.toml, by its folder or by its package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())
    build, tools = project["tool"]["hatch"]["build"], project["tool"]
    packages = [f"gateway_{name}" for name in names]
    folders = [f"plugins/{name}" for name in names]
    places = [f"plugins/{name}/gateway_{name}" for name in names]
    connectors = next(one for one in tools["importlinter"]["contracts"] if one["name"].startswith("Connectors"))
    unknown = next(one for one in tools["importlinter"]["contracts"] if one["name"].startswith("The gateway knows"))
    assert project["project"]["entry-points"]["journey_gateway"] == dict(zip(names, packages, strict=True))
    assert build["dev-mode-dirs"] == [".", *folders]
    assert build["targets"]["wheel"]["only-include"] == ["gateway", *places, "schema"]
    assert build["targets"]["wheel"]["sources"] == {**dict.fromkeys(folders, ""), "schema": "gateway_schema"}
    assert tools["mypy"]["files"] == ["gateway", *places, "tests"]
    assert tools["mypy"]["mypy_path"] == [".", *folders]
    assert tools["importlinter"]["root_packages"] == ["gateway", *packages]
    assert connectors["source_modules"] == unknown["forbidden_modules"] == packages


def test_an_oracle_that_uses_what_it_judges_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "tests/unit/journeys/oracle_fold.py", "def f():\n    from gateway.journeys import fold")
    plant(tmp_path, "tests/unit/journeys/test_fold.py", "from gateway.journeys import fold")
    assert list(oracle_imports(tmp_path)) == ["tests/unit/journeys/oracle_fold.py:2: gateway.journeys.fold"]
