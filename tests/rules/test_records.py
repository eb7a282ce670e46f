"""What is written in two places agrees: versions, dependencies and their pins, settings and the README."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gateway
from gateway.settings import environment_names
from tests.rules.sources import ROOT, modules, plant


def declared(root: Path) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    texts = [*project["build-system"]["requires"], *project["project"].get("dependencies", [])]
    for extra in project["project"].get("optional-dependencies", {}).values():
        texts += extra
    return [Requirement(text) for text in texts]


def needed(requirements: list[Requirement]) -> set[str]:
    """Names of the requirements and, as far as they are installed here, of what they need in turn."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        names.add(name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            further = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue
        for inner in further:
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                waiting += [(inner, inner_extra) for inner_extra in ("", *inner.extras)]
    return names


def pins(root: Path) -> dict[str, set[str]]:
    """Name to the exact versions that constraints.txt gives for it, one per platform."""
    found: dict[str, set[str]] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{line}: not an exact version"
            found.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return found


def unpinned(root: Path) -> list[str]:
    own = {"journey-gateway"}  # an extra may name others of the same distribution
    return sorted(needed(declared(root)) - pins(root).keys() - own)


def undocumented_settings(root: Path, names: set[str]) -> list[str]:
    """Settings of which the README says nothing: those given and those that the code mentions."""
    readme = root / "README.md"
    text = readme.read_text() if readme.exists() else ""
    for path in modules(root, "gateway"):
        names = names | set(re.findall(r"\bGATEWAY_[A-Z][A-Z0-9_]*[A-Z0-9]\b", path.read_text()))
    return sorted(name for name in names if not re.search(rf"\b{name}\b", text))


def newest_version(root: Path) -> str:
    """The version that the changelog's first section is about."""
    heading = re.search(r"^## \D*(\d+\.\d+\.\d+\w*)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading, "CHANGELOG.md has no section with a version"
    return heading[1]


def test_every_dependency_is_pinned() -> None:
    assert unpinned(ROOT) == []


def test_what_is_installed_is_what_is_pinned() -> None:
    pinned = pins(ROOT)
    differing = []
    for name in needed(declared(ROOT)) & pinned.keys():
        try:
            if version(name) not in pinned[name]:
                differing.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            pass
    assert differing == []


def test_every_setting_is_documented() -> None:
    assert undocumented_settings(ROOT, set(environment_names())) == []


def test_the_changelog_is_about_this_version() -> None:
    assert newest_version(ROOT) == gateway.__version__


PROJECT = """
[build-system]
requires = ["hatchling"]
[project]
dependencies = ["pytest>=9"]
[project.optional-dependencies]
dev = ["somewhere-else>=1; sys_platform == 'nowhere'"]
"""


def test_a_missing_pin_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "pyproject.toml", PROJECT)
    plant(tmp_path, "constraints.txt", "# pins\nhatchling==1.0\npytest==9.0\npackaging==1\npygments==2\niniconfig==1\n")
    found = unpinned(tmp_path)
    assert "somewhere-else" in found
    assert "pluggy" in found, "what pytest needs in turn"
    assert "iniconfig" not in found


def test_a_pin_that_is_a_range_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "constraints.txt", "orjson>=3\n")
    with pytest.raises(AssertionError, match="not an exact version"):
        pins(tmp_path)


def test_an_undocumented_setting_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "gateway/app.py", 'os.environ["GATEWAY_NEW"], "GATEWAY_"')
    assert undocumented_settings(tmp_path, {"GATEWAY_PORT"}) == ["GATEWAY_NEW", "GATEWAY_PORT"]
    plant(tmp_path, "README.md", "| `GATEWAY_PORT` | and GATEWAY_NEWER |")
    assert undocumented_settings(tmp_path, {"GATEWAY_PORT"}) == ["GATEWAY_NEW"]


@pytest.mark.parametrize("heading", ["## Unreleased (0.2.0)", "## 0.2.0 - 2026-12-01", "## [0.2.0] - 2026-12-01"])
def test_the_newest_version_is_read_from_the_changelog(tmp_path: Path, heading: str) -> None:
    plant(tmp_path, "CHANGELOG.md", f"# Changelog\n\n{heading}\n\ntext 9.9.9\n\n## 0.1.0 - 2026-11-01\n")
    assert newest_version(tmp_path) == "0.2.0"
