"""Where files stand, what they are called, how long they are, and what none of them may say.

Each rule returns one line per breach; beside it stands the proof that it can fail.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.order import LONGEST
from tests.rules.sources import FOLDERS, ROOT, files, modules, parse, plant

VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "managers"}
MODULE_LINES, MODULE_LIMIT, FUNCTION_LINES = 400, 600, 40

# Where packages come from and where a checkout lies differ from machine to machine.
ADDRESSES = re.compile(
    r"pypi\.org|pythonhosted\.org|\bregistry\.[\w-]+\.\w+|index[-_]url|find[-_]links"
    r"|(?<![\w.}\]*])/(?:root|home/\w+|Users/\w+|tmp|work)/\w",
    re.IGNORECASE,
)


def vague_names(root: Path) -> list[str]:
    named = [path.relative_to(root) for path in modules(root, "gateway", "plugins", "tests")]
    return [str(path) for path in named if VAGUE_NAMES & {part.strip("_") for part in path.with_suffix("").parts}]


def shadowing_packages(root: Path) -> list[str]:
    """`schema` and `plugins` as packages would hide libraries of these names when run from the root."""
    found = [*(root / "schema").rglob("*.py"), root / "plugins/__init__.py", root / "tests/__init__.py"]
    return [str(path.relative_to(root)) for path in found if path.exists()]


def long_modules(root: Path, limit: int) -> list[str]:
    sizes = {path: path.read_text().count("\n") for path in modules(root, "gateway", "plugins", "tests")}
    return [f"{path.relative_to(root)}: {lines} lines" for path, lines in sizes.items() if lines > limit]


def long_functions(root: Path) -> list[str]:
    found = []
    for path in modules(root, "gateway", "plugins"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found.append(f"{path.relative_to(root)}:{node.lineno}: {node.name} has {lines} lines")
    return found


def addresses(root: Path) -> list[str]:
    found = []
    beside = [path for path in sorted(root.glob("*")) if path.is_file() and path.name != ".env"]
    for path in [*beside, *files(root, *FOLDERS)]:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := ADDRESSES.search(line):
                found.append(f"{path.relative_to(root)}:{number}: {match[0]}")
    return found


def test_modules_have_names_that_say_what_they_hold() -> None:
    assert vague_names(ROOT) == []


def test_no_package_hides_a_library() -> None:
    assert shadowing_packages(ROOT) == []


def test_no_module_is_longer_than_600_lines() -> None:
    assert long_modules(ROOT, MODULE_LIMIT) == []


def test_long_modules_and_functions_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [*long_modules(ROOT, MODULE_LINES), *long_functions(ROOT)]
    with capsys.disabled():
        print(*(f"\nlong: {line}" for line in shown), sep="", end="" if not shown else "\n")


def test_no_file_names_a_package_index_or_a_place_on_a_machine() -> None:
    assert addresses(ROOT) == []


@pytest.mark.parametrize("name", ["gateway/utils.py", "gateway/store/_helpers.py", "plugins/x/common/a.py"])
def test_a_vague_name_is_found(tmp_path: Path, name: str) -> None:
    plant(tmp_path, name)
    plant(tmp_path, "gateway/commonwealth.py")
    assert vague_names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["schema/__init__.py", "schema/shop/a.py", "plugins/__init__.py", "tests/__init__.py"])
def test_a_package_that_hides_a_library_is_found(tmp_path: Path, name: str) -> None:
    plant(tmp_path, name)
    plant(tmp_path, "plugins/x/gateway_x/__init__.py")
    assert shadowing_packages(tmp_path) == [name]


def test_a_long_module_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "gateway/long.py", "x = 1\n" * 601)
    plant(tmp_path, "gateway/fits.py", "x = 1\n" * 600)
    assert long_modules(tmp_path, MODULE_LIMIT) == ["gateway/long.py: 601 lines"]


def test_a_long_function_is_found(tmp_path: Path) -> None:
    body = "    x = 1\n"
    plant(tmp_path, "gateway/a.py", f"def fits():\n{body * 39}\nasync def long():\n{body * 40}")
    assert long_functions(tmp_path) == ["gateway/a.py:42: long has 41 lines"]


@pytest.mark.parametrize(
    "parts",
    [
        ("https:", "", "pypi" + ".org", "simple"),
        ("https:", "", "registry" + ".npmjs.org", "x"),
        ("pip install --index" + "-url=x",),
        ("cd ", "root", "checkout"),
        ('"', "home", "ann", "x"),
    ],
)
def test_an_address_is_found(tmp_path: Path, parts: tuple[str, ...]) -> None:
    plant(tmp_path, "tests/notes.md", "/".join(parts))
    plant(tmp_path, "gateway/doors.py", 'ROUTES = ["/v1/home/x", "docs/root/a"]  # the registry of doors')
    assert [line.split(":")[0] for line in addresses(tmp_path)] == ["tests/notes.md"]


def test_the_files_that_a_run_begins_with_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
